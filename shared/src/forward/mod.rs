//! From stream records to sinks: parse all, quarantine poison, deliver, answer one cut.
//!
//! ```text
//! Lambda's event ─▶ records ─▶ dispositions ─┬─▶ quarantine (before the first sink call)
//!                  (record)    (disposition) └─▶ each sink by itself (serve) ─▶ one cut
//! ```
//! - Each record ends as delivered, skipped, to be retried, or quarantined with its raw form and a reason.
//! - For each sink nothing is sent after its first record that must be retried; the answer names the lowest such record
//!   over all sinks, and Lambda sends everything from it on again. What a sink took beyond the cut comes again; as far as
//!   this environment remembers it, the sink is spared (`repeats`).
//! - Failures are waited out inside the invocation, with growing pauses, until 30 s (a quarter of the time-out, if
//!   that is less) before the deadline. A try that could not end by then is not begun.
//! - If the quarantine cannot be written, only what precedes the poison is delivered.

mod disposition;
mod envelope;
mod quarantine;
mod record;
mod remembered;
mod report;
mod serve;
mod sink;
pub mod sinks;
mod start;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::value::RawValue;

pub use self::disposition::Skip;
use self::disposition::{Disposition, Judged, Rules, judge_all};
use self::quarantine::Quarantined;
pub use self::report::{Report, SinkReport};
use self::serve::{NamedSink, Served};
pub use self::sink::{Outgoing, Sink, SinkError};
pub use self::start::StartError;
use crate::audit::canonical::Canonical;
use crate::clock::{Clock, Instant};
use crate::config::{Format, ModifyUnproven};
use crate::objects::Objects;
use crate::random::Random;

/// Takes batches to sinks. One is made at start and serves every batch of the process.
#[derive(Debug)]
pub struct Forwarder {
    sinks: Vec<NamedSink>,
    quarantine: Objects,
    modify_unproven: ModifyUnproven,
    clock: Clock,
    random: Random,
}

/// What a batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// `SequenceNumber` of the first record that must be sent again, with everything after it; none if all is done.
    pub first_failed: Option<String>,
    /// What became of the records.
    pub report: Report,
}

/// Why a batch has no answer; the invocation fails and Lambda sends all of it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// The payload is not what a stream's mapping sends.
    #[error("the payload is no Lambda event of a DynamoDB stream: an object with a list `Records` is due")]
    NotAnEvent,
    /// A record that cannot be named in an answer could not be quarantined; nothing was delivered.
    #[error("a record without SequenceNumber could not be quarantined, and cannot be reported: {0}")]
    Unreportable(String),
    /// A sink's try may take longer than half the function's time-out.
    #[error(
        "sink {sink}: its timeout of {timeout:?} is more than half of the {total:?} that the function has; raise the function's time-out or lower sinks.{sink}.timeout"
    )]
    TimeoutTooLong {
        /// The sink.
        sink: String,
        /// Its longest try.
        timeout: Duration,
        /// What the invocation has.
        total: Duration,
    },
}

/// Longest time kept back before the deadline.
const MARGIN: Duration = Duration::from_secs(30);

/// What of the function's time-out may be gone when the batch is handed over.
const SLACK: Duration = Duration::from_secs(1);

/// Longest time for one try of the quarantine: a connection that died while the environment slept must not use up all.
const QUARANTINE_TRY: Duration = Duration::from_secs(10);

/// Until when tries may go on.
pub(crate) struct Tries<'a> {
    clock: &'a Clock,
    random: &'a Random,
    stop: Instant,
}

impl Tries<'_> {
    fn left(&self) -> Duration {
        self.stop.saturating_duration_since(self.clock.instant())
    }

    /// Waits with full jitter, at most until the stop; the next pause is twice as long.
    async fn pause(&self, pause: &mut Duration, longest: Duration) {
        // Never nothing at all: a sink that fails at once would be asked without end.
        let wait = self.random.jitter(*pause).max(Duration::from_millis(1));
        self.clock.sleep(wait.min(self.left())).await;
        *pause = (*pause * 2).min(longest);
    }
}

/// A record to deliver.
struct Deliverable<'a> {
    /// Its position in the batch.
    at: usize,
    judged: &'a Judged<'a>,
}

impl Forwarder {
    /// Handles a batch: Lambda's event JSON, to be answered before `deadline`.
    ///
    /// Cost: one PUT to the quarantine if there is poison, and what the sinks cost. Not cancel-safe for the report
    /// alone: a dropped call may have delivered, and its batch comes again.
    ///
    /// # Errors
    /// [`HandleError`] if no answer could be true; nothing was delivered then.
    pub async fn handle(&self, payload: &str, deadline: Instant) -> Result<Handled, HandleError> {
        let begun = self.clock.instant();
        let total = deadline.saturating_duration_since(begun);
        if let Some(sink) = self.sinks.iter().find(|sink| sink.timeout * 2 > total + SLACK) {
            return Err(HandleError::TimeoutTooLong {
                sink: sink.name.clone(),
                timeout: sink.timeout,
                total,
            });
        }
        let stop = deadline - MARGIN.min(total / 4).min(total);
        let mut out = Canonical::with_capacity(payload.len() / 2);
        let rules = Rules {
            modify_unproven: self.modify_unproven,
            arrived: self.clock.now(),
        };
        let judged = judge_all(payload, rules, &mut out).ok_or(HandleError::NotAnEvent)?;
        let mut report = Report {
            records_in: judged.len(),
            ..Report::default()
        };

        // Half of the time, if something precedes the poison that must have its chance too.
        let first = judged
            .iter()
            .find(|judged| !matches!(judged.disposition, Disposition::Skip(_)));
        let alone = first.is_some_and(|first| matches!(first.disposition, Disposition::Quarantine(_)));
        let tries = Tries {
            clock: &self.clock,
            random: &self.random,
            stop: if alone { stop } else { begun + (stop - begun) / 2 },
        };
        let limit = self.quarantine(&judged, &tries).await?;

        let deliverables: Vec<Deliverable<'_>> = judged
            .iter()
            .enumerate()
            .take(limit.unwrap_or(judged.len()))
            .filter(|(_, judged)| matches!(judged.disposition, Disposition::Deliver(..)))
            .map(|(at, judged)| Deliverable { at, judged })
            .collect();
        let tries = Tries {
            clock: &self.clock,
            random: &self.random,
            stop,
        };
        let served = Box::pin(self.deliver(payload, &deliverables, &out, &tries)).await;

        let first_left = served.iter().filter_map(|served| served.first_left).min();
        let cut = first_left
            .and_then(|at| deliverables.get(at))
            .map(|deliverable| deliverable.at)
            .or(limit);
        let refused: HashSet<usize> = served
            .iter()
            .flat_map(|served| &served.refused)
            .copied()
            .collect();
        self.count(&judged, cut, &refused, &mut report);
        for (sink, served) in self.sinks.iter().zip(served) {
            report.repeats += served.report.repeats;
            report.sinks.insert(sink.name.clone(), served.report);
        }
        report.took = self.clock.instant().saturating_duration_since(begun);
        let first_failed = cut.and_then(|at| judged.get(at)?.sequence_number.as_deref().map(str::to_owned));
        Ok(Handled { first_failed, report })
    }

    /// Quarantines the batch's poison in one object. Answers the position of the first poison if that failed: nothing
    /// from there on may be delivered.
    async fn quarantine(
        &self,
        judged: &[Judged<'_>],
        tries: &Tries<'_>,
    ) -> Result<Option<usize>, HandleError> {
        let mut entries = Vec::new();
        let mut first = None;
        for (at, judged) in judged.iter().enumerate() {
            let Disposition::Quarantine(poison) = &judged.disposition else {
                continue;
            };
            first.get_or_insert(at);
            let event_id = judged.event_id.as_deref();
            let sequence_number = judged.sequence_number.as_deref();
            entries.push(Quarantined {
                kind: poison.kind.name(),
                reason: &poison.reason,
                sink: None,
                event_id,
                sequence_number,
                record: serde_json::from_str::<&RawValue>(poison.raw).ok(),
            });
        }
        let Some(first) = first else { return Ok(None) };
        let object = quarantine::object(&entries);
        let mut pause = Duration::from_millis(100);
        loop {
            let put = quarantine::put(&self.quarantine, &object);
            let error = match self.clock.timeout(tries.left().min(QUARANTINE_TRY), put).await {
                Ok(Ok(())) => {
                    for Quarantined {
                        kind,
                        reason,
                        event_id,
                        sequence_number,
                        ..
                    } in &entries
                    {
                        tracing::warn!(event_id, sequence_number, kind, reason, "quarantined");
                    }
                    return Ok(None);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::error!(%error, records = entries.len(), "the quarantine cannot be written");
            if tries.left().is_zero() {
                let named = judged
                    .get(first)
                    .is_some_and(|judged| judged.sequence_number.is_some());
                return if named {
                    Ok(Some(first))
                } else {
                    Err(HandleError::Unreportable(error))
                };
            }
            tries.pause(&mut pause, Duration::from_secs(5)).await;
        }
    }

    /// Serves every sink, concurrently.
    async fn deliver(
        &self,
        payload: &str,
        deliverables: &[Deliverable<'_>],
        out: &Canonical,
        tries: &Tries<'_>,
    ) -> Vec<Served> {
        let enveloped = self.sinks.iter().any(|sink| sink.format == Format::Envelope);
        let (mut envelopes, mut ends) = (Vec::new(), Vec::new());
        if enveloped {
            for Deliverable { judged, .. } in deliverables {
                if let Disposition::Deliver(event, payload) = &judged.disposition {
                    let text = std::str::from_utf8(out.get(payload.clone())).unwrap_or_default();
                    let number = judged.sequence_number.as_deref().unwrap_or_default();
                    envelope::write(
                        event,
                        judged.event_id.as_deref(),
                        number,
                        judged.created,
                        text,
                        &mut envelopes,
                    );
                }
                ends.push(envelopes.len());
            }
        }
        let outgoing = |format: Format| -> Vec<Outgoing<'_>> {
            let mut start = 0;
            let lines = deliverables
                .iter()
                .enumerate()
                .filter_map(|(index, Deliverable { at, judged })| {
                    let Disposition::Deliver(event, payload) = &judged.disposition else {
                        return None;
                    };
                    let line = match format {
                        Format::Event => out.get(payload.clone()),
                        Format::Envelope => {
                            let end = ends.get(index).copied()?;
                            let line = envelopes.get(start..end)?;
                            start = end;
                            line
                        }
                    };
                    Some(Outgoing {
                        position: *at,
                        event_id: judged.event_id.as_deref(),
                        id: &event.id,
                        key: event.key,
                        session_id: &event.session_id,
                        day: event.day,
                        sequence_number: judged.sequence_number.as_deref().unwrap_or_default(),
                        line,
                    })
                });
            lines.collect()
        };
        let serve = self.sinks.iter().map(|sink| {
            let records = outgoing(sink.format);
            async move { sink.serve(&records, payload, &self.quarantine, tries).await }
        });
        join_all(serve).await
    }

    /// Counts what became of the records before the cut; those behind it come again.
    fn count(
        &self,
        judged: &[Judged<'_>],
        cut: Option<usize>,
        refused: &HashSet<usize>,
        report: &mut Report,
    ) {
        let end = cut.unwrap_or(judged.len());
        report.retried = judged.len() - end;
        let mut oldest: Option<SystemTime> = None;
        for (at, judged) in judged.iter().enumerate().take(end) {
            match &judged.disposition {
                // Delivered to other sinks perhaps, but not to all.
                Disposition::Deliver(..) if refused.contains(&at) => report.quarantined += 1,
                Disposition::Deliver(..) => {
                    report.delivered += 1;
                    oldest = oldest.into_iter().chain(judged.created).min();
                }
                Disposition::Skip(skip) => *report.skipped.entry(*skip).or_default() += 1,
                Disposition::Quarantine(_) => report.quarantined += 1,
            }
        }
        report.lag = oldest.map(|created| self.clock.now().duration_since(created).unwrap_or_default());
    }

    /// Replaces each sink by what `replace` makes of it: to watch or to sabotage deliveries.
    pub fn map_sinks(mut self, mut replace: impl FnMut(&str, Arc<dyn Sink>) -> Arc<dyn Sink>) -> Self {
        for sink in &mut self.sinks {
            sink.sink = replace(&sink.name, Arc::clone(&sink.sink));
        }
        self
    }
}
