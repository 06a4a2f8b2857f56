//! What a sweep deleted: notes by which the appender tells an expired item from a deleted one.
//!
//! | table | note | when the delete is called `expired` |
//! |---|---|---|
//! | owned | a marker, put by the transaction that deletes | its revision and expiry are those of the old image |
//! | attached | an intent, put before the delete: no transaction of ours touches the owner's items | the same; where the view has no old image: the record was created within five seconds of the intent, and the log holds no other write of the key between |
//!
//! A note is an item of the log's table: `Log` = `<log id>#swept#<day>`, `Segment` = hash of the key, with `Key`,
//! `Revision`, `Expires` (unix seconds) and `Noted` (when, unix milliseconds). They go with compaction. Nobody looks for them
//! before a sweep was announced in the control item.

use std::collections::HashMap;
use std::time::SystemTime;

use aws_sdk_dynamodb::types::{AttributeValue, Get, Put, TransactGetItem};

use super::control::Control;
use super::requests::Tries;
use super::segment::{Known, key_hash, millis};
use super::{Log, LogError};
use crate::clock::Instant;
use crate::state::fault::{Attributes, Fault};
use crate::state::item::seconds;
use crate::state::{Key, Revision};
use crate::watch::event::{Delete, Operation};
use crate::watch::record::{Order, Record};

const DAY: u64 = 86_400_000;
/// How far a record's creation may be from its intent, its rounding to seconds included.
const NEAR: u64 = 6_000;
/// DynamoDB's limit on the items of a transaction.
const MOST: usize = 100;

/// An item that a sweep is about to delete, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Its key.
    pub key: Key,
    /// Its revision.
    pub revision: Revision,
    /// Its expiry.
    pub expires: SystemTime,
}

/// A note that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    revision: String,
    expires: i64,
    at: u64,
}

impl Swept {
    fn item(&self, control: &Control, at: SystemTime) -> Attributes {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let (log, segment) = place(control, &self.key, millis(at) / DAY);
        Attributes::from([
            ("Log".to_owned(), log),
            ("Segment".to_owned(), segment),
            (
                "Key".to_owned(),
                text(&String::from_utf8_lossy(self.key.as_bytes())),
            ),
            ("Revision".to_owned(), text(self.revision.as_str())),
            (
                "Expires".to_owned(),
                AttributeValue::N(seconds(self.expires).to_string()),
            ),
            ("Noted".to_owned(), AttributeValue::N(millis(at).to_string())),
        ])
    }
}

pub(super) fn partition(control: &Control, day: u64) -> String {
    format!("{}#swept#{day}", control.id)
}

fn place(control: &Control, key: &Key, day: u64) -> (AttributeValue, AttributeValue) {
    (
        AttributeValue::S(partition(control, day)),
        AttributeValue::N(key_hash(key.as_bytes()).to_string()),
    )
}

impl Log {
    /// Tells the appenders that there will be notes: from ten minutes on each of them looks for notes of what was deleted,
    /// two read units a delete. Two requests, one if it was told before.
    ///
    /// # Errors
    /// [`LogError`]; repeat it.
    pub async fn announce_sweeps(&self, stop: Instant) -> Result<(), LogError> {
        let mut tries = Tries::new(self, stop);
        let announced = self.change_control(&mut tries, |control| {
            !std::mem::replace(&mut control.sweeps, true)
        });
        announced.await.map(drop)
    }

    /// Notes that an item of an attached table is about to be deleted, on exactly this revision and expiry. If the
    /// delete is refused, [`void`](Self::void) it. Two requests.
    ///
    /// # Errors
    /// [`LogError`]: do not delete then, or the delete is told as of unknown cause.
    pub async fn intend(&self, swept: &Swept, stop: Instant) -> Result<(), LogError> {
        let mut tries = Tries::new(self, stop);
        let control = self.control(&mut tries).await?;
        let item = swept.item(&control, self.inner.clock.now());
        // A note of an earlier sweep of the key that day makes room.
        let any = || {
            Some((
                "attribute_not_exists(Noted) OR Noted <= :at",
                Attributes::from([(":at".to_owned(), at_of(&item))]),
            ))
        };
        tries.read(|| self.put(item.clone(), any())).await
    }

    /// Takes an intent back whose delete was refused. Two requests.
    ///
    /// # Errors
    /// [`LogError`]: if the item is deleted by somebody else within the next seconds, that may be told as expired.
    pub async fn void(&self, swept: &Swept, stop: Instant) -> Result<(), LogError> {
        let mut tries = Tries::new(self, stop);
        let control = self.control(&mut tries).await?;
        let today = millis(self.inner.clock.now()) / DAY;
        for day in [today, today.saturating_sub(1)] {
            let day = partition(&control, day);
            tries
                .read(|| self.remove(&day, key_hash(swept.key.as_bytes())))
                .await?;
        }
        Ok(())
    }

    /// The marker to put in the transaction that deletes an item of an owned table. One request.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn marker(&self, swept: &Swept, stop: Instant) -> Result<Put, LogError> {
        let control = self.control(&mut Tries::new(self, stop)).await?;
        let item = swept.item(&control, self.inner.clock.now());
        let put = Put::builder()
            .table_name(&self.inner.table)
            .set_item(Some(item))
            .build();
        put.map_err(|error| self.error(super::LogErrorKind::BadParameter, error.to_string()))
    }

    /// The notes on what was deleted, by key. A request for 100 deletes.
    pub(super) async fn notes(
        &self,
        control: &Control,
        records: &[&Record],
        tries: &mut Tries<'_>,
    ) -> Result<HashMap<Key, Note>, LogError> {
        let mut places: Vec<(&Key, u64)> = Vec::new();
        for record in records.iter().filter(|record| record.doubtful) {
            let at = record.event.created.unwrap_or_else(|| self.inner.clock.now());
            for day in [millis(at).saturating_sub(NEAR) / DAY, (millis(at) + NEAR) / DAY] {
                if !places.contains(&(&record.event.key, day)) {
                    places.push((&record.event.key, day));
                }
            }
        }
        let mut notes = HashMap::new();
        for places in places.chunks(MOST) {
            let found = tries.read(|| self.transact_get(control, places)).await?;
            for item in found {
                let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
                let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok());
                let note = (|| {
                    Some(Note {
                        revision: text("Revision")?.clone(),
                        expires: number("Expires")?.parse().ok()?,
                        at: number("Noted")?.parse().ok()?,
                    })
                })();
                if let (Some(key), Some(note)) = (text("Key"), note) {
                    let key = Key::from(key.as_str());
                    if notes.get(&key).is_none_or(|other: &Note| other.at < note.at) {
                        notes.insert(key, note);
                    }
                }
            }
        }
        Ok(notes)
    }

    /// As a transaction: what a transaction put together with a delete is seen by whoever has seen the delete.
    async fn transact_get(
        &self,
        control: &Control,
        places: &[(&Key, u64)],
    ) -> Result<Vec<Attributes>, Fault> {
        let mut request = self.inner.client.transact_get_items();
        for (key, day) in places {
            let (log, segment) = place(control, key, *day);
            let get = Get::builder()
                .table_name(&self.inner.table)
                .key("Log", log)
                .key("Segment", segment)
                .build();
            let get =
                get.map_err(|error| Fault::Final(crate::state::ErrorKind::BadParameter, error.to_string()))?;
            request = request.transact_items(TransactGetItem::builder().get(get).build());
        }
        let answer = request.send().await.map_err(Fault::of)?;
        Ok(answer
            .responses
            .unwrap_or_default()
            .into_iter()
            .filter_map(|found| found.item)
            .collect())
    }
}

fn at_of(item: &Attributes) -> AttributeValue {
    item.get("Noted").cloned().unwrap_or(AttributeValue::Null(true))
}

impl Note {
    /// The earliest creation time of what stands between the note and its record.
    pub(super) fn since(&self) -> u64 {
        self.at.saturating_sub(NEAR)
    }

    /// Whether the delete that a record tells of is the sweep's, by what the log holds of the key.
    pub(super) fn is_of(&self, record: &Record, mut known: impl Iterator<Item = Known>) -> bool {
        let Operation::Delete(Delete { previous, .. }) = &record.event.operation else {
            return false;
        };
        if let Some(previous) = previous {
            return previous.revision.as_str() == self.revision
                && previous.expires.map(seconds) == Some(self.expires);
        }
        let Some(created) = record.event.created.map(millis) else {
            return false;
        };
        let near = created.abs_diff(self.at) <= NEAR;
        near && !known.any(|known| {
            let late = known.created.is_none_or(|created| created >= self.since());
            let same = known.pair.as_ref().is_some_and(|(revision, expires)| {
                **revision == *self.revision && *expires == Some(self.expires)
            });
            late && !same && is_before(&known.order, &record.order)
        })
    }
}

fn is_before(this: &Order, that: &Order) -> bool {
    match (this, that) {
        (Order::Sequence(this), Order::Sequence(that)) => this < that,
        (Order::Created(this, _), Order::Created(that, _)) => this <= that,
        _ => true,
    }
}

/// How far back compaction looks for notes, in days.
const NOTED_DAYS: u64 = 31;

/// The days whose notes nobody needs any more.
pub(super) fn past_days(horizon: u64) -> impl Iterator<Item = u64> {
    let last = horizon / DAY;
    last.saturating_sub(NOTED_DAYS)..last
}
