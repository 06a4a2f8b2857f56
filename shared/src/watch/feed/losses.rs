//! What Lambda gave up: messages of the mapping's failure queue, and the gap that they are owed.
//!
//! Lambda's messages name no keys, so the gap goes to every bucket. A message that cannot be read, or that is of no form
//! known here, tells of a loss too: a gap in vain costs watchers one listing, a loss in silence their trust.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Feed, HandleError, Handled, Report, table_of};
use crate::clock::Instant;
use crate::watch::record::{members, text};

/// What Lambda writes to a mapping's destination, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(rename = "requestContext")]
    request: Option<Request>,
    #[serde(rename = "DDBStreamBatchInfo", alias = "KinesisBatchInfo")]
    lost: Option<Lost>,
}

#[derive(Debug, Deserialize)]
struct Request {
    #[serde(rename = "requestId")]
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lost {
    shard_id: Option<String>,
    start_sequence_number: Option<String>,
    approximate_arrival_of_last_record: Option<String>,
    stream_arn: Option<String>,
}

/// A loss that a message tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// The same each time the message comes.
    pub(super) id: String,
    /// When the last of the lost records was made, if the message says.
    pub(super) until: Option<SystemTime>,
}

/// Whether a payload is what Lambda writes to S3 about a batch that it gave up, records and all.
pub(super) fn holds_records(payload: &str) -> bool {
    let members = members(payload);
    let batch = members.contains_key("DDBStreamBatchInfo") || members.contains_key("KinesisBatchInfo");
    batch && members.contains_key("payload")
}

impl Feed {
    /// The loss that a message tells of.
    pub(super) fn loss(&self, message_id: &str, body: &str) -> Result<Loss, HandleError> {
        if holds_records(body) {
            return Err(HandleError::HoldsRecords);
        }
        let metadata: Option<Metadata> = serde_json::from_str(body).ok();
        let Some((request, lost)) = metadata.and_then(|metadata| Some((metadata.request, metadata.lost?)))
        else {
            return Ok(Loss {
                id: message_id.to_owned(),
                until: None,
            });
        };
        let table = lost.stream_arn.as_deref().and_then(table_of);
        if let Some(found) = table.filter(|found| *found != self.table) {
            return Err(HandleError::OtherTable {
                found: found.to_owned(),
                due: self.table.clone(),
            });
        }
        let until = lost.approximate_arrival_of_last_record.as_deref().and_then(time);
        let request = request.and_then(|request| request.id);
        let id = match (request, lost.shard_id, lost.start_sequence_number) {
            (Some(request), Some(shard), Some(start)) => format!("{request}/{shard}/{start}"),
            _ => message_id.to_owned(),
        };
        Ok(Loss { id, until })
    }

    /// Breaks the log, once for all messages.
    pub(super) async fn break_log(&self, records: &[&str], stop: Instant) -> Handled {
        let mut report = Report {
            records_in: records.len(),
            ..Report::default()
        };
        let (mut taken, mut failed, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        for raw in records {
            let message = members(raw);
            let id = text(message.get("messageId")).unwrap_or_default();
            let body = text(message.get("body")).unwrap_or_default();
            match self.loss(&id, &body) {
                Ok(loss) => {
                    losses.push(loss);
                    taken.push(id);
                }
                Err(error) => {
                    tracing::error!(message = id, %error, "a message of the failure queue is refused");
                    report.error = Some(error.to_string());
                    failed.push(id);
                }
            }
        }
        if let Some(loss) = together(&losses) {
            let why = "Lambda gave up changes of the table's stream";
            match Box::pin(self.appender.break_all(why, &loss.id, loss.until, stop)).await {
                Ok(()) => {
                    tracing::warn!(id = loss.id, messages = losses.len(), "the log is broken: {why}");
                    report.gaps = taken.len();
                }
                Err(error) => {
                    tracing::error!(%error, "a gap is due and not in the log: its message comes again");
                    report.error = Some(error.to_string());
                    failed.append(&mut taken);
                }
            }
        }
        report.retried = failed.len();
        Handled { failed, report }
    }
}

/// One loss for all: of the same messages, in whatever order, the same.
pub(super) fn together(losses: &[Loss]) -> Option<Loss> {
    let (first, rest) = losses.split_first()?;
    if rest.is_empty() {
        return Some(first.clone());
    }
    let mut ids: Vec<&str> = losses.iter().map(|loss| loss.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let digest = Sha256::digest(ids.join("\n"));
    let id = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Unknown for one, unknown for all.
    let all: Option<Vec<SystemTime>> = losses.iter().map(|loss| loss.until).collect();
    Some(Loss {
        id,
        until: all.and_then(|all| all.into_iter().max()),
    })
}

/// A time as Lambda writes it, which is cut to seconds: the end of that second.
fn time(text: &str) -> Option<SystemTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(SystemTime::from(at) + Duration::from_secs(1))
}
