//! From a state table's Lambda events to its watch log.
//!
//! | payload | told by | identifier in the answer |
//! |---|---|---|
//! | records of the table's stream | `eventSource` = `aws:dynamodb` | `SequenceNumber` |
//! | Kinesis Data Streams for DynamoDB | `aws:kinesis` | `kinesis.sequenceNumber` |
//! | what Lambda gave up, from the mapping's failure queue | `aws:sqs` | `messageId` |
//!
//! - No record is failed for its contents: one without a readable key is a gap in its place, one whose rest cannot be
//!   read is an unknown change of its key, and what is no key of the layout is skipped and counted.
//! - A record of another table fails the invocation, and so do items of another layout: both would be lost in silence.
//! - Failing requests are waited out inside the invocation, until 30 s (a quarter of the time-out, if that is less)
//!   before the deadline. The answer then names the lowest record that is not in the log.
//! - A message of the failure queue breaks the log: a gap in every bucket, one for all messages of a batch.

mod changes;
mod losses;
mod report;
#[cfg(test)]
mod samples;
mod start;

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::report::Report;
pub use self::start::StartError;
use super::log::{Appender, LogError};
use super::record::{members, text};
use crate::clock::{Clock, Instant};
use crate::state::Layout;

/// Takes batches to the log. One is made at start and serves every batch of the process.
#[derive(Debug)]
pub struct Feed {
    appender: Appender,
    table: String,
    layout: Layout,
    clock: Clock,
}

/// What a batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// Identifiers of what must be sent again: of a stream the first such record, everything after it included; of a
    /// queue each such message. None if all is done.
    pub failed: Vec<String>,
    /// What became of the records.
    pub report: Report,
}

/// Why a batch has no answer; the invocation fails and Lambda sends all of it again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HandleError {
    /// The payload is nothing that a mapping of a state table sends.
    #[error(
        "the payload is no Lambda event of a state table: an object with a list `Records` is due, all of aws:dynamodb, aws:kinesis or aws:sqs"
    )]
    NotAnEvent,
    /// A record is of another table than the feed's.
    #[error(
        "a record of table {found} came to the watch log of {due}: correct the mapping or watch.table; nothing was appended"
    )]
    OtherTable {
        /// The table that it is of; empty if no record says.
        found: String,
        /// The feed's.
        due: String,
    },
    /// An item has not the keys of the layout.
    #[error(
        "the items of table {table} have not the keys of layout {layout}: correct watch.layout; nothing was appended"
    )]
    OtherLayout {
        /// The table.
        table: String,
        /// The feed's layout.
        layout: &'static str,
    },
    /// Kinesis: creation times are not in microseconds.
    #[error(
        "table {table} sends creation times in {found} to its Kinesis stream: set ApproximateCreationDateTimePrecision to MICROSECOND (UpdateKinesisStreamingDestination); nothing was appended"
    )]
    Precision {
        /// The table.
        table: String,
        /// What it sends.
        found: String,
    },
    /// Records that Lambda gave up, whole.
    #[error(
        "this holds records that Lambda gave up; the log has gone on since, and they are not put behind what is newer: break the log instead, so that watchers list again (`tidewatch watch-log break`)"
    )]
    HoldsRecords,
    /// The first record that is not in the log has no identifier, and none before it has.
    #[error("records are not in the log and cannot be named in an answer: {0}")]
    Unreportable(LogError),
}

/// Longest time kept back before the deadline.
const MARGIN: Duration = Duration::from_secs(30);

/// Where a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Stream,
    Kinesis,
    Queue,
}

impl Origin {
    fn of(source: &str) -> Option<Self> {
        match source {
            "aws:dynamodb" => Some(Self::Stream),
            "aws:kinesis" => Some(Self::Kinesis),
            "aws:sqs" => Some(Self::Queue),
            _ => None,
        }
    }
}

/// The raw records of a payload; none if it is no Lambda event.
fn split(payload: &str) -> Option<Vec<&str>> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow, rename = "Records")]
        records: Vec<&'a RawValue>,
    }
    let batch: Batch<'_> = serde_json::from_str(payload).ok()?;
    Some(batch.records.into_iter().map(RawValue::get).collect())
}

/// The name in the ARN of a table's stream.
fn table_of(arn: &str) -> Option<&str> {
    let resource = arn.splitn(6, ':').nth(5)?;
    resource.strip_prefix("table/")?.split('/').next()
}

impl Feed {
    /// A feed of `table`, whose items are of `layout`, over `appender`. No request.
    pub fn new(appender: Appender, table: impl Into<String>, layout: Layout, clock: Clock) -> Self {
        Self {
            appender,
            table: table.into(),
            layout,
            clock,
        }
    }

    /// Whether a payload is the feed's, by its first record that says where it comes from: all of Kinesis and SQS is,
    /// and the stream of the feed's table.
    pub fn takes(&self, payload: &str) -> bool {
        let records = split(payload).unwrap_or_default();
        let told = records.into_iter().find_map(|raw| {
            let record = members(raw);
            let origin = Origin::of(&text(record.get("eventSource"))?)?;
            let arn = text(record.get("eventSourceARN"));
            Some(origin != Origin::Stream || arn.as_deref().and_then(table_of) == Some(&self.table))
        });
        told.unwrap_or_else(|| losses::holds_records(payload))
    }

    /// Handles a batch: Lambda's event JSON, to be answered before `deadline`.
    ///
    /// Cost: what [`Appender`] takes, one PutItem a bucket that has changes, and a Query where the
    /// newest segment is not remembered. Not cancel-safe for
    /// the report alone: a dropped call may have appended, and its batch comes again.
    ///
    /// # Errors
    /// [`HandleError`] if no answer could be true.
    pub async fn handle(&self, payload: &str, deadline: Instant) -> Result<Handled, HandleError> {
        let begun = self.clock.instant();
        let total = deadline.saturating_duration_since(begun);
        let stop = deadline - MARGIN.min(total / 4).min(total);
        let Some(records) = split(payload) else {
            return Err(if losses::holds_records(payload) {
                HandleError::HoldsRecords
            } else {
                HandleError::NotAnEvent
            });
        };
        let mut handled = match self.origin(&records)? {
            Some(Origin::Queue) => self.break_log(&records, stop).await,
            Some(origin) => self.append(self.read(origin, &records)?, stop).await?,
            None => Handled {
                failed: Vec::new(),
                report: Report::default(),
            },
        };
        handled.report.breaks = self.appender.log().take_breaks();
        handled.report.took = self.clock.instant().saturating_duration_since(begun);
        Ok(handled)
    }

    /// Where the records come from; none if there are none. Records that cannot be read say nothing.
    fn origin(&self, records: &[&str]) -> Result<Option<Origin>, HandleError> {
        let mut found = None;
        for raw in records {
            let Some(source) = text(members(raw).get("eventSource")) else {
                continue;
            };
            let origin = Origin::of(&source).ok_or(HandleError::NotAnEvent)?;
            if *found.get_or_insert(origin) != origin {
                return Err(HandleError::NotAnEvent);
            }
        }
        if found.is_none() && !records.is_empty() {
            return Err(HandleError::NotAnEvent);
        }
        Ok(found)
    }
}
