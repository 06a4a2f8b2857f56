//! What Lambda's event source mapping gave up and wrote to its on-failure destination in S3: the batch's metadata with the
//! invocation's whole payload.
//!
//! Lambda names an object `aws/lambda/<mapping>/<shard>/<date and time>-<uuid>`. One shard's objects are read twice before
//! those of the next: once for their place in the order, which is told by shard and number in the body and never by the key,
//! and once to be handed over. So memory is bounded by their number, not by their size, and a run that ends in the middle has
//! come further. An object is deleted when all of its records are acknowledged; after one that is not, nothing more of its
//! shard is handed over.
//!
//! An object without a payload, as destinations other than S3 get it, names records that only the table still has: it is
//! told with its table and time range, and stays until [`repay`] has made that backfill of that very table, or somebody has and
//! removes it.

mod object;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use self::object::order;
pub(super) use self::object::{Read, read};
use super::names::{Ended, Names, age, name};
use super::rows::{OVERLAP, Range};
use crate::forward::handed::{Handed, Origin, sequence_number};
use crate::forward::{Hand, HandError, Tally};
use crate::objects::{Listed, Objects};

/// What a run did, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing was handed over, only looked at.
    pub dry_run: bool,
    /// Objects that hold records of the audit table, in the order in which they are handed over; the first
    /// [`MOST_NAMED`](super::MOST_NAMED).
    pub found: Vec<Found>,
    /// All of those.
    pub waiting: Waiting,
    /// Those of them all of whose records were acknowledged, and that were deleted.
    pub objects: usize,
    /// What was acknowledged.
    #[serde(flatten)]
    pub tally: Tally,
    /// Objects without records: a backfill of their time is owed. The first [`MOST_NAMED`](super::MOST_NAMED).
    pub owed: Vec<Owed>,
    /// Those of them whose backfill [`repay`] has made, and that were deleted.
    pub repaid: usize,
    /// Objects that stay and why; the first [`MOST_NAMED`](super::MOST_NAMED).
    pub left: Vec<Left>,
    /// All objects that stay, those that are owed a backfill included.
    pub stay: usize,
    /// There are more objects than the run has looked at.
    pub more: bool,
    /// Why the run ended before all was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is there to be handed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Objects.
    pub objects: usize,
    /// Their records.
    pub records: usize,
    /// Their bytes.
    pub bytes: u64,
    /// For how long the oldest has been there, in seconds, where the place tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<u64>,
}

/// An object that holds records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The shard.
    pub shard: String,
    /// The lowest number.
    pub sequence_number: String,
    /// When its first record arrived in the stream, as Lambda wrote it.
    pub from: Option<String>,
    /// Its records.
    pub records: usize,
    /// Its size in bytes.
    pub bytes: u64,
}

/// An object whose records only the table still has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// Its name.
    pub name: String,
    /// When its first record arrived in the stream, as Lambda wrote it.
    pub from: Option<String>,
    /// When its last did.
    pub to: Option<String>,
    /// How many there are.
    pub records: Option<u64>,
    /// The table that has them, by its stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

impl Owed {
    /// The times whose backfill brings the records back, with [`OVERLAP`] on both sides: they arrived after they were
    /// written, by clocks of others. None if Lambda did not say.
    pub fn range(&self) -> Option<Range> {
        let time = |text: &Option<String>| {
            let at = OffsetDateTime::parse(text.as_deref()?, &Rfc3339).ok()?;
            Some(SystemTime::from(at))
        };
        let (from, to) = (time(&self.from)?, time(&self.to)?);
        Some(Range::new(from.checked_sub(OVERLAP)?, to.checked_add(OVERLAP)?))
    }

    /// Whether this table, a name or an ARN, has them. One that is not named is none.
    #[cfg(feature = "dynamodb")]
    pub(super) fn is_of(&self, table: &str) -> bool {
        self.table.is_some() && self.table.as_deref() == table.rsplit('/').next()
    }
}

/// An object that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Most objects of a shard that a run looks at: about 20 MB of names and numbers.
const MOST: usize = 100_000;
/// Objects that are read at a time: 6 MB each at the most.
const AT_ONCE: usize = 8;
/// How long reading one may take, with as many beside it on the same line.
const GET: Duration = Duration::from_mins(1);

/// Replays on-failure objects. Each object costs a GET to be looked at, and a GET, an invocation for each 4 MB and a DELETE
/// to be replayed; each thousand a LIST. `progress` is told the report after each object. Cancel-safe: what was not
/// deleted is handed over again.
pub async fn redrive(objects: &Objects, hand: Hand<'_>, progress: &(dyn Fn(&Report) + Sync)) -> Report {
    let mut report = Report {
        dry_run: hand.options.dry_run,
        ..Report::default()
    };
    if let Err(error) = run(objects, hand, progress, &mut report).await {
        tracing::warn!(%error, "what Lambda gave up is not replayed to its end");
        report.error = Some(error.to_string());
    }
    report
}

async fn run(
    objects: &Objects,
    hand: Hand<'_>,
    progress: &(dyn Fn(&Report) + Sync),
    report: &mut Report,
) -> Result<(), Ended> {
    report.more = true;
    let mut names = Names::new(objects, "");
    let mut next = hand.request(names.next()).await??;
    let mut whole = true;
    let mut stopped = BTreeSet::new();
    while let Some(first) = next.take() {
        let of = folder(&first.name).to_owned();
        let mut listed = vec![first];
        loop {
            next = hand.request(names.next()).await??;
            match &next {
                Some(one) if folder(&one.name) == of && listed.len() < MOST => listed.extend(next.take()),
                // The rest of so many is for the next run: what is numbered lower may be among it.
                Some(one) if folder(&one.name) == of => whole = false,
                _ => break,
            }
        }
        let mut found = look(objects, hand, listed, progress, report).await?;
        found.sort_by(|a, b| {
            (&a.shard, order(&a.sequence_number), &a.name).cmp(&(
                &b.shard,
                order(&b.sequence_number),
                &b.name,
            ))
        });
        for found in &found {
            name(&mut report.found, || found.clone());
        }
        if !report.dry_run {
            replay(objects, hand, found, &mut stopped, progress, report).await?;
        }
    }
    report.more = !whole;
    Ok(())
}

/// Where Lambda puts a shard's objects, with the last slash; of a name that is none of Lambda's its first folder. Names without
/// one are together, as far as they follow one another.
fn folder(name: &str) -> &str {
    let mapping = |name: &str| {
        name.split('/')
            .next()
            .is_some_and(|id| Uuid::try_parse(id).is_ok())
    };
    let folders = match name.starts_with("aws/lambda/") {
        true => 4,
        // In the place `aws/lambda/` itself.
        false if mapping(name) => 2,
        false => 1,
    };
    let end = name.match_indices('/').map(|(at, _)| at).take(folders).last();
    end.and_then(|end| name.get(..=end)).unwrap_or_default()
}

/// Hands over objects in their order. Shards that are stopped are so for the whole run: their order is kept.
async fn replay(
    objects: &Objects,
    hand: Hand<'_>,
    found: Vec<Found>,
    stopped: &mut BTreeSet<String>,
    progress: &(dyn Fn(&Report) + Sync),
    report: &mut Report,
) -> Result<(), Ended> {
    let handed = Handed {
        origin: Origin::Redrive,
        sink: None,
        range: None,
    };
    for object in found {
        if stopped.contains(&object.shard) {
            report.stay(
                &object.name,
                "one before it in its shard was not taken".to_owned(),
            );
            continue;
        }
        hand.in_time()?;
        let Some(body) = hand.within(GET, objects.get(&object.name)).await?? else {
            // Another run was there.
            continue;
        };
        let Read::Records { records, .. } = read(&object.name, &body.body) else {
            report.stay(&object.name, "it is not what it was".to_owned());
            continue;
        };
        let raws: Vec<&str> = records.iter().map(|raw| raw.get()).collect();
        match hand.over(&handed, &raws, &mut report.tally).await {
            Ok(()) => {
                hand.request(objects.delete(&object.name)).await??;
                report.objects += 1;
            }
            Err(error @ (HandError::Left(_) | HandError::Invoke(_))) => {
                report.stay(&object.name, error.to_string());
                stopped.insert(object.shard);
            }
            Err(error) => return Err(error.into()),
        }
        progress(report);
    }
    Ok(())
}

/// Makes the backfills of this table that are [`owed`](Report::owed), and deletes each object after its own; those of other
/// tables stay, for the reason that [`left`](Report::left) says. `report` tells of it. On a
/// provisioned index at most a fifth of `units` is taken. Cost: see [`Backfill`](super::Backfill); a DELETE an object.
/// Cancel-safe as [`redrive`].
#[cfg(feature = "dynamodb")]
pub async fn repay(
    objects: &Objects,
    log: &crate::audit::log::Dynamo,
    units: Option<u32>,
    hand: Hand<'_>,
    report: &mut Report,
    progress: &(dyn Fn(&Report) + Sync),
) {
    let all = async |report: &mut Report| -> Result<(), super::BackfillError> {
        let mut at = 0;
        while let Some(owed) = report.owed.get(at).cloned() {
            if !owed.is_of(log.table()) {
                report.owed.remove(at);
                let why = match owed.table {
                    Some(table) => format!("its records are of table {table}"),
                    None => "it does not say of which table its records are".to_owned(),
                };
                // It is counted as one that stays already.
                name(&mut report.left, || Left { name: owed.name, why });
                continue;
            }
            let Some(range) = owed.range() else {
                at += 1;
                continue;
            };
            let mut backfill = super::Backfill::new(log, range, None, hand)?.paced(units);
            while let Some(step) = backfill.next().await? {
                report.tally.records += step.tally.records;
                report.tally.bytes += step.tally.bytes;
                progress(report);
            }
            hand.request(objects.delete(&owed.name)).await??;
            report.owed.remove(at);
            report.repaid += 1;
            report.stay -= 1;
        }
        Ok(())
    };
    if let Err(error) = all(report).await {
        report.error = Some(error.to_string());
    }
}

/// Reads objects for what they are, a few at a time.
async fn look(
    objects: &Objects,
    hand: Hand<'_>,
    listed: Vec<Listed>,
    progress: &(dyn Fn(&Report) + Sync),
    report: &mut Report,
) -> Result<Vec<Found>, Ended> {
    let mut found = Vec::new();
    let reading = listed.into_iter().map(|listed| async move {
        hand.in_time()?;
        let object = hand.within(GET, objects.get(&listed.name)).await??;
        let read = object.map(|object| read(&listed.name, &object.body));
        Ok::<_, Ended>((listed, read))
    });
    let mut reading = stream::iter(reading).buffered(AT_ONCE);
    while let Some((listed, read)) = reading.try_next().await? {
        match read {
            // Another run was there.
            None => {}
            Some(Read::Records { shard, from, records }) => {
                let waiting = &mut report.waiting;
                waiting.objects += 1;
                waiting.records += records.len();
                waiting.bytes += listed.size;
                waiting.oldest_seconds = waiting.oldest_seconds.max(age(hand.clock, &listed));
                found.push(Found {
                    sequence_number: records
                        .iter()
                        .find_map(|raw| sequence_number(raw.get()))
                        .unwrap_or_default(),
                    name: listed.name,
                    shard,
                    from,
                    records: records.len(),
                    bytes: listed.size,
                });
            }
            Some(Read::Owed(owed)) => {
                report.stay += 1;
                name(&mut report.owed, || owed);
            }
            Some(Read::Other(why)) => report.stay(&listed.name, why.to_owned()),
        }
        progress(report);
    }
    Ok(found)
}

impl Report {
    fn stay(&mut self, object: &str, why: String) {
        self.stay += 1;
        name(&mut self.left, || Left {
            name: object.to_owned(),
            why,
        });
    }
}
