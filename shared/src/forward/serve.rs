//! One sink and one batch: tries until all is delivered or time runs out.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::value::RawValue;

use super::quarantine::{self, Quarantined};
use super::remembered::Remembered;
use super::report::SinkReport;
use super::sink::{Outgoing, Sink};
use super::{Tries, record};
use crate::config::Format;
use crate::objects::Objects;

/// Ids that an environment remembers a sink to have taken: a few batches, so that what Lambda sends again because of
/// another sink is not sent again to this one. About 4 MB when full.
const REMEMBERED: usize = 65_536;

/// A sink by its name, with what this environment remembers of it.
#[derive(Debug)]
pub(crate) struct NamedSink {
    pub(crate) name: String,
    pub(crate) format: Format,
    /// Longest time for one try.
    pub(crate) timeout: Duration,
    pub(crate) sink: Arc<dyn Sink>,
    remembered: Mutex<Remembered>,
}

/// What a sink did, and the position of the first record that it must be given again.
pub(crate) struct Served {
    pub(crate) report: SinkReport,
    pub(crate) first_left: Option<usize>,
    /// Positions in the batch of records that were quarantined for this sink.
    pub(crate) refused: Vec<usize>,
}

/// Longest pause between tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl NamedSink {
    pub(crate) fn new(name: &str, format: Format, timeout: Duration, sink: Arc<dyn Sink>) -> Self {
        let remembered = Mutex::new(Remembered::new(REMEMBERED));
        Self {
            name: name.to_owned(),
            format,
            timeout,
            sink,
            remembered,
        }
    }

    /// Delivers `records` of the batch `payload` in order. After a failure nothing but that try is repeated, with growing pauses, until it
    /// succeeds or the next try could not end in time.
    pub(crate) async fn serve(
        &self,
        records: &[Outgoing<'_>],
        payload: &str,
        quarantine: &Objects,
        tries: &Tries<'_>,
    ) -> Served {
        let mut report = SinkReport::default();
        let mut refused = Vec::new();
        let mut pending = self.pending(records);
        report.repeats = records.len() - pending.len();
        let mut pause = FIRST_PAUSE;
        // After a panic records are given one by one, so that the one that causes it is found.
        let mut single = false;
        while !pending.is_empty() {
            if tries.left() < self.timeout {
                report
                    .error
                    .get_or_insert_with(|| "no time was left for a try".to_owned());
                break;
            }
            let width = if single { 1 } else { pending.len() };
            let batch: Vec<Outgoing<'_>> = pending
                .iter()
                .take(width)
                .filter_map(|at| records.get(*at).copied())
                .collect();
            let call = AssertUnwindSafe(async { self.sink.deliver(&batch).await }).catch_unwind();
            let error = match tries.clock.timeout(self.timeout, call).await {
                Ok(Ok(Ok(count))) => match batch.get(..count).filter(|taken| !taken.is_empty()) {
                    Some(taken) => {
                        self.remember(taken, &mut report);
                        pending.drain(..count);
                        pause = FIRST_PAUSE;
                        continue;
                    }
                    None => "the sink told no count of records that it can have taken".to_owned(),
                },
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(_)) if !single => {
                    single = true;
                    "the sink panicked".to_owned()
                }
                Ok(Err(_)) => {
                    let Some(record) = batch.first() else { break };
                    match self.refuse(record, payload, quarantine, tries).await {
                        Ok(()) => {
                            pending.remove(0);
                            refused.push(record.position);
                            report.quarantined += 1;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Err(_) => format!("no answer within {:?}", self.timeout),
            };
            tracing::warn!(sink = self.name, %error, records = pending.len(), "a try failed");
            report.failures += 1;
            report.error = Some(error);
            tries.pause(&mut pause, MAX_PAUSE).await;
        }
        Served {
            first_left: pending.first().copied(),
            refused,
            report,
        }
    }

    /// Positions of the records that the sink is not known to have; of equal ones the first.
    fn pending(&self, records: &[Outgoing<'_>]) -> Vec<usize> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = HashSet::with_capacity(records.len());
        let new = |record: &Outgoing<'_>| !remembered.contains(record.key);
        records
            .iter()
            .enumerate()
            .filter(|(_, record)| new(record) && seen.insert(record.key))
            .map(|(at, _)| at)
            .collect()
    }

    /// Remembers what the sink has taken.
    fn remember(&self, taken: &[Outgoing<'_>], report: &mut SinkReport) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        for record in taken {
            remembered.insert(record.key);
            report.delivered += 1;
            report.bytes += record.line.len();
        }
    }

    /// Quarantines, for this sink, a record that made it panic.
    async fn refuse(
        &self,
        record: &Outgoing<'_>,
        payload: &str,
        quarantine: &Objects,
        tries: &Tries<'_>,
    ) -> Result<(), String> {
        let raws = record::split(payload).unwrap_or_default();
        let raw = raws
            .get(record.position)
            .and_then(|raw| serde_json::from_str::<&RawValue>(raw).ok());
        let entry = Quarantined {
            kind: "panic",
            reason: "the sink panicked on this event alone",
            sink: Some(&self.name),
            event_id: record.event_id,
            sequence_number: Some(record.sequence_number),
            record: raw,
        };
        let object = quarantine::object(&[entry]);
        let put = tries
            .clock
            .timeout(
                tries.left().min(super::QUARANTINE_TRY),
                quarantine::put(quarantine, &object),
            )
            .await;
        match put {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the quarantine failed: {error}")),
            Err(_) => Err("the quarantine did not answer in time".to_owned()),
        }
    }
}
