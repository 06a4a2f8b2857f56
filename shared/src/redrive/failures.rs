//! What Lambda's event source mapping gave up and wrote to its on-failure destination in S3: the batch's metadata with the
//! invocation's whole payload.
//!
//! Objects are read twice: once for their place in the order, which is told by shard and number in the body and never by
//! the key, and once to be handed over. So memory is bounded by their number, not by their size. An object is deleted when all
//! of its records are acknowledged; after one that is not, nothing more of its shard is handed over.
//!
//! An object without a payload, as destinations other than S3 get it, names records that only the table still has: it is
//! told with its time range and stays until somebody has made that backfill and removes it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::hand::{Hand, HandError, Tally};
use crate::forward::handed::{Handed, Origin, sequence_number};
use crate::objects::{Objects, ObjectsError, PAGE};

/// What a run did, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing was handed over, only looked at.
    pub dry_run: bool,
    /// Objects that hold records of the audit table, in the order in which they are handed over; the first
    /// [`MOST_NAMED`].
    pub found: Vec<Found>,
    /// All of those.
    pub waiting: usize,
    /// Those of them all of whose records were acknowledged, and that were deleted.
    pub objects: usize,
    /// What was acknowledged.
    #[serde(flatten)]
    pub tally: Tally,
    /// Objects without records: a backfill of their time is owed. The first [`MOST_NAMED`].
    pub owed: Vec<Owed>,
    /// Objects that stay and why; the first [`MOST_NAMED`].
    pub left: Vec<Left>,
    /// All objects that stay, those that are owed a backfill included.
    pub stay: usize,
    /// There are more objects than a run looks at.
    pub more: bool,
    /// Why the run ended before all was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
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
}

/// An object that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Most objects that a report names of each sort.
pub const MOST_NAMED: usize = 100;
/// Most objects that a run looks at: about 20 MB of names and numbers.
const MOST: usize = 100_000;

/// What Lambda writes, as far as it is needed.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, rename = "DDBStreamBatchInfo")]
    batch: Option<Batch<'a>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(borrow)]
    shard_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    approximate_arrival_of_first_record: Option<Cow<'a, str>>,
    #[serde(borrow)]
    approximate_arrival_of_last_record: Option<Cow<'a, str>>,
    batch_size: Option<u64>,
}

#[derive(Deserialize)]
struct Records {
    #[serde(rename = "Records")]
    records: Vec<Box<RawValue>>,
}

/// A record's keys: those of the audit table, or of another.
#[derive(Deserialize)]
struct Keyed {
    dynamodb: Option<Change>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(rename = "Keys")]
    keys: Option<Keys>,
}

#[derive(Deserialize)]
struct Keys {
    #[serde(rename = "SessionID")]
    session: Option<Box<RawValue>>,
    #[serde(rename = "EventIndex")]
    index: Option<Box<RawValue>>,
}

/// An object's contents.
enum Read {
    Records {
        shard: String,
        records: Vec<Box<RawValue>>,
    },
    Owed {
        from: Option<String>,
        to: Option<String>,
        records: Option<u64>,
    },
    Other(&'static str),
}

fn read(body: &[u8]) -> Read {
    let Ok(body) = serde_json::from_slice::<Body<'_>>(body) else {
        return Read::Other("it is no JSON that Lambda writes for a batch");
    };
    let Some(batch) = body.batch else {
        return Read::Other("it is of no DynamoDB stream");
    };
    let records = match body.payload {
        None => {
            let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
            return Read::Owed {
                from: text(batch.approximate_arrival_of_first_record),
                to: text(batch.approximate_arrival_of_last_record),
                records: batch.batch_size,
            };
        }
        // A text that holds JSON.
        Some(payload) => serde_json::from_str::<Cow<'_, str>>(payload.get())
            .ok()
            .and_then(|text| serde_json::from_str::<Records>(&text).ok()),
    };
    let Some(Records { mut records }) = records else {
        return Read::Other("its payload is no Lambda event of a stream");
    };
    // Rows of another table would be skipped as no events, and so be lost to whom they are for.
    if !records.iter().any(|raw| is_audit(raw.get())) {
        return Read::Other("its records are none of an audit table: they are for another function");
    }
    let numbers: Option<Vec<String>> = records.iter().map(|raw| sequence_number(raw.get())).collect();
    if let Some(numbers) = numbers {
        let mut numbered: Vec<_> = numbers.into_iter().zip(records).collect();
        numbered.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        records = numbered.into_iter().map(|(_, raw)| raw).collect();
    }
    Read::Records {
        shard: batch.shard_id.map(Cow::into_owned).unwrap_or_default(),
        records,
    }
}

fn is_audit(raw: &str) -> bool {
    let keys = serde_json::from_str::<Keyed>(raw).ok();
    let keys = keys.and_then(|record| record.dynamodb?.keys);
    keys.is_some_and(|keys| keys.session.is_some() && keys.index.is_some())
}

/// Numbers are compared by length, then bytes: they are decimal and longer than any integer of ours.
fn order(number: &str) -> (usize, &str) {
    let digits = number.trim_start_matches('0');
    (digits.len(), digits)
}

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
        report.error = Some(error);
    }
    report
}

async fn run(
    objects: &Objects,
    hand: Hand<'_>,
    progress: &(dyn Fn(&Report) + Sync),
    report: &mut Report,
) -> Result<(), String> {
    let mut found = look(objects, hand, progress, report).await?;
    found.sort_by(|a, b| {
        let key = |found: &Found| (found.shard.clone(), found.name.clone());
        (&a.shard, order(&a.sequence_number))
            .cmp(&(&b.shard, order(&b.sequence_number)))
            .then_with(|| key(a).cmp(&key(b)))
    });
    report.waiting = found.len();
    report.found = found.iter().take(MOST_NAMED).cloned().collect();
    if report.dry_run {
        return Ok(());
    }
    let handed = Handed {
        origin: Origin::Redrive,
        sink: None,
        range: None,
    };
    // The shard that is stopped: its order is kept.
    let mut stopped: Option<&str> = None;
    for object in &found {
        if stopped == Some(&object.shard) {
            report.stay(
                &object.name,
                "one before it in its shard was not taken".to_owned(),
            );
            continue;
        }
        hand.in_time().map_err(|error| error.to_string())?;
        let Some(body) = objects.get(&object.name).await.map_err(text)? else {
            // Another run was there.
            continue;
        };
        let Read::Records { records, .. } = read(&body.body) else {
            report.stay(&object.name, "it is not what it was".to_owned());
            continue;
        };
        let raws: Vec<&str> = records.iter().map(|raw| raw.get()).collect();
        match hand.over(&handed, &raws, &mut report.tally).await {
            Ok(()) => {
                objects.delete(&object.name).await.map_err(text)?;
                report.objects += 1;
            }
            Err(error @ (HandError::Time | HandError::Silent)) => return Err(error.to_string()),
            Err(error) => {
                report.stay(&object.name, error.to_string());
                stopped = Some(&object.shard);
            }
        }
        progress(report);
    }
    Ok(())
}

/// Reads all objects for what they are.
async fn look(
    objects: &Objects,
    hand: Hand<'_>,
    progress: &(dyn Fn(&Report) + Sync),
    report: &mut Report,
) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    let (mut after, mut looked) = (None::<String>, 0);
    loop {
        let page = objects.list("", after.as_deref(), PAGE).await.map_err(text)?;
        for listed in &page.objects {
            if looked == MOST {
                report.more = true;
                return Ok(found);
            }
            looked += 1;
            hand.in_time().map_err(|error| error.to_string())?;
            let Some(object) = objects.get(&listed.name).await.map_err(text)? else {
                continue;
            };
            match read(&object.body) {
                Read::Records { shard, records } => found.push(Found {
                    sequence_number: records
                        .iter()
                        .find_map(|raw| sequence_number(raw.get()))
                        .unwrap_or_default(),
                    name: listed.name.clone(),
                    shard,
                    records: records.len(),
                    bytes: listed.size,
                }),
                Read::Owed { from, to, records } => {
                    report.stay += 1;
                    if report.owed.len() < MOST_NAMED {
                        report.owed.push(Owed {
                            name: listed.name.clone(),
                            from,
                            to,
                            records,
                        });
                    }
                }
                Read::Other(why) => report.stay(&listed.name, why.to_owned()),
            }
            report.waiting = found.len();
            progress(report);
        }
        after = page.objects.into_iter().next_back().map(|object| object.name);
        if !page.more {
            return Ok(found);
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn text(error: ObjectsError) -> String {
    error.to_string()
}

impl Report {
    fn stay(&mut self, name: &str, why: String) {
        self.stay += 1;
        if self.left.len() < MOST_NAMED {
            self.left.push(Left {
                name: name.to_owned(),
                why,
            });
        }
    }
}
