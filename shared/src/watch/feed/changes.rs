//! Records of a stream, of DynamoDB or Kinesis, and their way into the log.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Feed, HandleError, Handled, Origin, Report, table_of};
use crate::clock::Instant;
use crate::watch::log::{Appended, Failed, Incoming};
use crate::watch::position::Number;
use crate::watch::record::{Json, Order, Read, members, text};

/// What the table must say of its creation times, and how many there are a second then.
const PRECISION: &str = "MICROSECOND";
const MICROSECONDS: f64 = 1e6;

/// A batch as it is handed to the appender.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The identifier of each record of the batch, where it can be named.
    pub(super) ids: Vec<Option<String>>,
    pub(super) runs: Vec<Run>,
    pub(super) skipped: usize,
}

/// Successive records of one stream.
#[derive(Debug)]
pub(super) struct Run {
    /// The stream's ARN, or for Kinesis the name of the table.
    pub(super) stream: String,
    pub(super) batch: Vec<Incoming>,
    /// Where each stands in the batch of Lambda.
    pub(super) at: Vec<usize>,
}

/// A record that was read, if not skipped.
struct Record {
    id: Option<String>,
    /// Its stream, or its table, if it says so.
    stream: Option<String>,
    incoming: Option<Incoming>,
}

impl Feed {
    /// Reads every record by itself.
    pub(super) fn read(&self, origin: Origin, records: &[&str]) -> Result<Changes, HandleError> {
        let mut read = Vec::with_capacity(records.len());
        for raw in records {
            read.push(match origin {
                Origin::Kinesis => self.of_kinesis(raw)?,
                Origin::Stream | Origin::Queue => self.of_stream(raw)?,
            });
        }
        // A record that does not say where it comes from came with its neighbours. What Kinesis carries says so in the
        // part that cannot be read, and its stream is the table's.
        let told = read.iter().find_map(|record| record.stream.clone());
        let kinesis = (origin == Origin::Kinesis).then(|| self.table.clone());
        let Some(mut stream) = told.or(kinesis) else {
            return Err(self.other_table(""));
        };
        let mut changes = Changes::default();
        for (at, record) in read.into_iter().enumerate() {
            changes.ids.push(record.id);
            stream = record.stream.unwrap_or(stream);
            let Some(incoming) = record.incoming else {
                changes.skipped += 1;
                continue;
            };
            match changes.runs.last_mut() {
                Some(run) if run.stream == stream => {
                    run.batch.push(incoming);
                    run.at.push(at);
                }
                _ => changes.runs.push(Run {
                    stream: stream.clone(),
                    batch: vec![incoming],
                    at: vec![at],
                }),
            }
        }
        Ok(changes)
    }

    fn of_stream(&self, raw: &str) -> Result<Record, HandleError> {
        let json = Json::read(raw);
        let stream = json.source_arn.as_deref();
        if let Some(arn) = stream
            && table_of(arn) != Some(&self.table)
        {
            return Err(self.other_table(table_of(arn).unwrap_or(arn)));
        }
        let number = json
            .dynamodb
            .as_ref()
            .and_then(|change| change.sequence_number.as_deref())
            .filter(|number| is_number(number));
        Ok(Record {
            id: number.map(str::to_owned),
            stream: stream.map(str::to_owned),
            incoming: self.incoming(
                &json,
                number,
                1.0,
                number.map(|number| Order::Sequence(number.into())),
            )?,
        })
    }

    fn of_kinesis(&self, raw: &str) -> Result<Record, HandleError> {
        let outer = members(raw);
        let kinesis = outer
            .get("kinesis")
            .map(|raw| members(raw.get()))
            .unwrap_or_default();
        let data = text(kinesis.get("data"))
            .and_then(|data| STANDARD.decode(data).ok())
            .and_then(|data| String::from_utf8(data).ok())
            .unwrap_or_default();
        let json = Json::read(&data);
        if let Some(table) = json.table_name.as_deref()
            && table != self.table
        {
            return Err(self.other_table(table));
        }
        let created = json.dynamodb.as_ref().and_then(|change| {
            let precision = change.precision.as_deref().unwrap_or("MILLISECOND");
            change.created.map(|at| (at, precision))
        });
        if let Some((_, precision)) = created
            && precision != PRECISION
        {
            return Err(HandleError::Precision {
                table: self.table.clone(),
                found: precision.to_lowercase(),
            });
        }
        // Whole numbers far below 2^53.
        let order = created
            .map(|(at, _)| at as u64)
            .filter(|micros| *micros > 0)
            .zip(json.event_id.as_deref().filter(|id| !id.is_empty()))
            .map(|(micros, id)| Order::Created(micros, id.to_owned()));
        let number = text(kinesis.get("sequenceNumber"));
        let incoming = self.incoming(&json, number.as_deref(), MICROSECONDS, order)?;
        Ok(Record {
            id: number,
            stream: json.table_name.as_deref().map(str::to_owned),
            incoming,
        })
    }

    /// What the appender is given of a record; none if it is skipped.
    fn incoming(
        &self,
        json: &Json<'_>,
        id: Option<&str>,
        per_second: f64,
        order: Option<Order>,
    ) -> Result<Option<Incoming>, HandleError> {
        let event_id = json.event_id.as_deref().filter(|id| !id.is_empty());
        let id = id.or(event_id).map(str::to_owned);
        let parts = json.parts(per_second);
        let created = parts.created;
        if !parts.keys.is_empty() && !parts.keys.contains_key(self.layout.partition_name()) {
            return Err(HandleError::OtherLayout {
                table: self.table.clone(),
                layout: self.layout.name(),
            });
        }
        // Without its place it can neither be put in order nor be told from a repeat.
        let known = order.is_some();
        let order = order.unwrap_or_else(|| Order::Sequence(Number::from(0)));
        Ok(match parts.read(&self.layout, order) {
            Read::Foreign => None,
            Read::Change(record) if known => Some(Incoming::Record(record)),
            Read::Change(_) | Read::Unreadable => Some(Incoming::Unreadable { id, created }),
        })
    }

    fn other_table(&self, found: &str) -> HandleError {
        HandleError::OtherTable {
            found: found.to_owned(),
            due: self.table.clone(),
        }
    }

    /// Appends run by run; nothing of a run is appended before all of the one before it.
    pub(super) async fn append(&self, changes: Changes, stop: Instant) -> Result<Handled, HandleError> {
        let Changes { ids, runs, skipped } = changes;
        let mut report = Report {
            records_in: ids.len(),
            skipped,
            ..Report::default()
        };
        let mut oldest: Option<SystemTime> = None;
        let mut failed = None;
        for run in &runs {
            let appended = Box::pin(self.appender.append(&run.stream, &run.batch, stop)).await;
            let done = match &appended {
                Ok(_) => run.batch.len(),
                Err(Failed { first, .. }) => (*first).min(run.batch.len()),
            };
            oldest = run
                .batch
                .iter()
                .take(done)
                .filter_map(created)
                .chain(oldest)
                .min();
            match appended {
                Ok(Appended {
                    appended,
                    repeats,
                    gaps,
                    uncovered,
                    segments,
                }) => {
                    report.skipped += uncovered;
                    report.appended += appended;
                    report.repeats += repeats;
                    report.gaps += gaps;
                    report.segments += segments;
                }
                Err(Failed { error, .. }) => {
                    report.appended += done;
                    failed = Some((run.at.get(done).copied().unwrap_or_default(), error));
                    break;
                }
            }
        }
        report.lag = oldest.map(|created| self.clock.now().duration_since(created).unwrap_or_default());
        let Some((first, error)) = failed else {
            return Ok(Handled {
                failed: Vec::new(),
                report,
            });
        };
        tracing::error!(%error, records = ids.len() - first, "changes are not in the log: Lambda sends them again");
        // What cannot be named comes again with what precedes it and can: in the log that is a repeat.
        let named = ids.iter().take(first + 1).flatten().next_back();
        let Some(id) = named else {
            return Err(HandleError::Unreportable(error));
        };
        report.error = Some(error.to_string());
        let done = report.appended + report.repeats + report.gaps + report.skipped;
        report.retried = ids.len().saturating_sub(done);
        Ok(Handled {
            failed: vec![id.clone()],
            report,
        })
    }
}

fn created(incoming: &Incoming) -> Option<SystemTime> {
    match incoming {
        Incoming::Record(record) => record.event.created,
        Incoming::Unreadable { created, .. } => *created,
    }
}

/// A SequenceNumber that Lambda accepts in an answer: up to 40 digits.
fn is_number(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
