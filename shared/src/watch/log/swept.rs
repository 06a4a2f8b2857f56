//! What a sweep deleted: notes by which the appender tells an expired item from a deleted one.
//!
//! A sweep puts an intent before it deletes: no transaction of ours touches an owner's items. The delete is called
//! `expired` if the intent's revision and expiry are those of the old image; where the view has no old image, if the record
//! was created within five seconds of the intent and the log holds no other write of the key between. Owned tables need
//! none: their view has the old image, and an item that was past its expiry as it was deleted has expired, whoever did it.
//!
//! A note is an item of the log's table: `Log` = `<log id>#swept#<day>`, `Segment` = hash of the key, with `Key`,
//! `Revision`, `Expires` (unix seconds) and `Noted` (when, unix milliseconds). They go with compaction. Nobody looks for them
//! before a sweep was announced in the control item.

use std::collections::HashMap;
use std::time::SystemTime;

use aws_sdk_dynamodb::types::AttributeValue;

use super::control::Control;
use super::requests::Tries;
use super::segment::{Known, key_hash, millis};
use super::{Log, LogError, Sweeps};
use crate::clock::Instant;
use crate::state::fault::Attributes;
use crate::state::item::seconds;
use crate::state::{Key, Revision};
use crate::watch::event::{Delete, Operation};
use crate::watch::record::{Order, Record};

const DAY: u64 = 86_400_000;
/// How far a record's creation may be from its intent, its rounding to seconds included.
const NEAR: u64 = 6_000;
/// DynamoDB's limit on the items of a BatchGetItem.
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
    pub(super) fn item(&self, control: &Control, at: SystemTime) -> Attributes {
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

impl Sweeps {
    /// Notes that items of an attached table are about to be deleted, each on exactly this revision and expiry. If a
    /// delete is refused, [`void`](Self::void) its note. A request an item, several at once.
    ///
    /// # Errors
    /// [`LogError`]: do not delete then, or the deletes are told as of unknown cause.
    pub async fn intend(&self, swept: &[Swept], stop: Instant) -> Result<(), LogError> {
        self.each(swept, stop, async |swept, tries| {
            let item = swept.item(&self.control, self.log.inner.clock.now());
            // A note of an earlier sweep of the key that day makes room. A later one is another sweep's of these minutes:
            // whichever of the two deletes, its note stands.
            let earlier = (
                "attribute_not_exists(Noted) OR Noted <= :at",
                Attributes::from([(":at".to_owned(), at_of(&item))]),
            );
            tries.put_unless_later(item, earlier).await
        })
        .await
    }

    /// Takes intents back whose deletes were refused. Two requests an item, several at once.
    ///
    /// # Errors
    /// [`LogError`]: if such an item is deleted by somebody else within the next seconds, that may be told as expired.
    pub async fn void(&self, swept: &[Swept], stop: Instant) -> Result<(), LogError> {
        let today = millis(self.log.inner.clock.now()) / DAY;
        self.each(swept, stop, async |swept, tries| {
            for day in [today, today.saturating_sub(1)] {
                let day = partition(&self.control, day);
                let number = key_hash(swept.key.as_bytes());
                tries.read(|| self.log.remove(&day, number)).await?;
            }
            Ok(())
        })
        .await
    }
}

impl Log {
    /// The notes on what was deleted, by key. A request for 100 days of deletes.
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
            let places = places.iter().map(|(key, day)| {
                let (log, segment) = place(control, key, *day);
                Attributes::from([("Log".to_owned(), log), ("Segment".to_owned(), segment)])
            });
            for item in tries.get_all(places.collect()).await? {
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
}

fn at_of(item: &Attributes) -> AttributeValue {
    item.get("Noted").cloned().unwrap_or(AttributeValue::Null(true))
}

impl Note {
    /// The earliest creation time of what stands between the note and its record.
    pub(super) fn since(&self) -> u64 {
        self.at.saturating_sub(NEAR)
    }

    /// Whether the delete that a record tells of can be the sweep's, whatever the log holds. A note stands for a day, and
    /// what it cannot be of must not make the log be read back to it.
    pub(super) fn may_be_of(&self, record: &Record) -> bool {
        match &record.event.operation {
            Operation::Delete(Delete {
                previous: Some(previous),
                ..
            }) => {
                previous.revision.as_str() == self.revision
                    && previous.expires.map(seconds) == Some(self.expires)
            }
            Operation::Delete(Delete { previous: None, .. }) => {
                let created = record.event.created.map(millis);
                created.is_some_and(|created| created.abs_diff(self.at) <= NEAR)
            }
            _ => false,
        }
    }

    /// Whether the delete that a record tells of is the sweep's, by what the log holds of the key.
    pub(super) fn is_of(&self, record: &Record, mut known: impl Iterator<Item = Known>) -> bool {
        let told = matches!(&record.event.operation, Operation::Delete(delete) if delete.previous.is_some());
        self.may_be_of(record)
            && (told
                || !known.any(|known| {
                    let late = known.created.is_none_or(|created| created >= self.since());
                    let same = known.pair.as_ref().is_some_and(|(revision, expires)| {
                        **revision == *self.revision && *expires == Some(self.expires)
                    });
                    late && !same && is_before(&known.order, &record.order)
                }))
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
