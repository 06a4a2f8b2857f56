//! One sink and one batch: tries until all is delivered, put aside in the spool, or time runs out.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::value::RawValue;

use super::destinations::{Destination, Takes};
use super::handed::{Handed, Origin};
use super::quarantine;
use super::record;
use super::remembered::Remembered;
use super::report::SinkReport;
use super::route::Routed;
use super::sink::{Outgoing, Sink, SinkError};
use super::spill::spill;
use super::spool::Spool;
use super::tries::{FIRST_PAUSE, Tries};
use crate::config::{Format, OnFailure, SinkConfig};
use crate::objects::Objects;

/// Ids that an environment remembers a sink to have taken: a few batches, so that what Lambda sends again because of
/// another sink is not sent again to this one. About 4 MB when full, and as much for those that wait in its spool.
const REMEMBERED: usize = 65_536;

/// A sink by its name, as the newest version that has it says, with what this environment remembers of it.
#[derive(Debug)]
pub(crate) struct NamedSink {
    pub(crate) name: String,
    pub(crate) config: SinkConfig,
    /// What it takes, by the version that a record was made under.
    takes: Vec<Takes>,
    pub(crate) sink: Arc<dyn Sink>,
    places: Places,
    pub(super) memory: Arc<Memory>,
}

/// What this environment remembers of a sink, whatever version says how to serve it.
#[derive(Debug)]
pub(crate) struct Memory {
    remembered: Mutex<Remembered>,
    /// What went to the spool: it is on its way, though not delivered.
    pub(super) parked: Mutex<Remembered>,
}

impl Default for Memory {
    fn default() -> Self {
        let remembered = || Mutex::new(Remembered::new(REMEMBERED));
        Self {
            remembered: remembered(),
            parked: remembered(),
        }
    }
}

/// Where what a sink does not take may go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    pub(crate) spool: Option<Arc<Spool>>,
    pub(crate) spill: Option<Arc<Objects>>,
}

/// What is common to all sinks of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) payload: &'a str,
    pub(crate) handed: Option<&'a Handed<'a>>,
    pub(crate) quarantine: &'a Objects,
}

impl Context<'_> {
    /// Whether somebody wants delivered what was delivered before: a sink has lost it, perhaps.
    fn delivers_again(&self) -> bool {
        self.handed
            .is_some_and(|handed| matches!(handed.origin, Origin::Backfill | Origin::Quarantine))
    }

    /// Whether what cannot be delivered stays where it is: in quarantine.
    pub(crate) fn keeps_poison(&self) -> bool {
        self.handed
            .is_some_and(|handed| handed.origin == Origin::Quarantine)
    }
}

/// What a sink did.
#[derive(Default)]
pub(crate) struct Served {
    pub(crate) report: SinkReport,
    /// Position in the batch of the first record that it must be given again.
    pub(crate) first_left: Option<usize>,
    /// Positions of records that were quarantined for this sink.
    pub(crate) refused: Vec<usize>,
    /// Positions of records that wait in its spool.
    pub(crate) parked: Vec<usize>,
}

/// So many records in a row that make a sink panic, and none that it takes: then it is the sink.
const REFUSALS: usize = 3;

/// Less than this of a budget is too short for a try.
const SHORTEST_TRY: Duration = Duration::from_secs(1);

pub(super) fn lock(remembered: &Mutex<Remembered>) -> MutexGuard<'_, Remembered> {
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NamedSink {
    pub(crate) fn of(
        destination: Destination,
        sink: Arc<dyn Sink>,
        memory: Arc<Memory>,
        places: Places,
    ) -> Self {
        Self {
            name: destination.name,
            config: destination.config,
            takes: destination.takes,
            sink,
            places,
            memory,
        }
    }

    /// What it takes of records that were made under a version of the chain.
    pub(crate) fn takes(&self, version: usize) -> &Takes {
        self.takes.get(version).unwrap_or(&Takes::Nothing)
    }

    /// Whether a version of the chain has it.
    pub(crate) fn is_of(&self, version: usize) -> bool {
        matches!(self.takes(version), Takes::Passing(..))
    }

    /// Whether any version sends it envelopes.
    pub(crate) fn wants_envelopes(&self) -> bool {
        let wants = |takes: &Takes| matches!(takes, Takes::Passing(_, Format::Envelope));
        self.config.format == Format::Envelope || self.takes.iter().any(wants)
    }

    /// Longest time for one try.
    pub(crate) fn longest_try(&self) -> Duration {
        match self.spool() {
            Some(_) => self.config.timeout.min(self.config.budget),
            None => self.config.timeout,
        }
    }

    fn spool(&self) -> Option<&Spool> {
        let spools = self.config.on_failure == OnFailure::Spool;
        self.places.spool.as_deref().filter(|_| spools)
    }

    /// Delivers `records` in order, or appends what is left to the sink's spool; of handed records and those of a sink
    /// without a spool what is left is told.
    pub(crate) async fn serve(
        &self,
        records: &[Routed<'_>],
        context: Context<'_>,
        tries: Tries<'_>,
    ) -> Served {
        let mut served = Served::default();
        let mut pending = self.pending(records, context, &mut served);
        match self.spool() {
            Some(spool) if context.handed.is_none() => {
                self.deliver_or_park(spool, records, &mut pending, context, tries, &mut served)
                    .await;
            }
            Some(_) => {
                let tries = tries.within(self.config.budget);
                self.deliver(records, &mut pending, context, tries, &mut served)
                    .await;
            }
            None => {
                self.deliver(records, &mut pending, context, tries, &mut served)
                    .await;
            }
        }
        let left = pending.first().and_then(|at| records.get(*at));
        served.first_left = left.map(|record| record.outgoing.position);
        served
    }

    pub(super) fn failed(&self, error: String, records: usize, report: &mut SinkReport) {
        tracing::warn!(sink = self.name, %error, records, "a try failed");
        report.failures += 1;
        report.error = Some(error);
    }

    /// How long a try may take that begins now; none if it could not end in time.
    fn limit(&self, tries: &Tries<'_>) -> Option<Duration> {
        let (timeout, left) = (self.config.timeout, tries.left());
        let least = if self.spool().is_some() {
            // A budget as short as that is to be used all the same.
            timeout.min(SHORTEST_TRY).min(self.config.budget / 2)
        } else {
            timeout
        };
        (left >= least).then(|| timeout.min(left))
    }

    /// Gives the pending records to the sink. After a failure nothing but that try is repeated, with growing pauses,
    /// until it succeeds or the next try could not end in time.
    pub(super) async fn deliver(
        &self,
        records: &[Routed<'_>],
        pending: &mut Vec<usize>,
        context: Context<'_>,
        tries: Tries<'_>,
        served: &mut Served,
    ) {
        let mut pause = FIRST_PAUSE;
        let mut pointers = HashMap::new();
        // After a panic records are given one by one, so that the one that causes it is found.
        let mut single = false;
        let mut raws = None;
        while !pending.is_empty() {
            let Some(limit) = self.limit(&tries) else {
                let error = || "no time was left for a try".to_owned();
                served.report.error.get_or_insert_with(error);
                break;
            };
            let width = if single { 1 } else { pending.len() };
            let batch: Vec<&Routed<'_>> = pending
                .iter()
                .take(width)
                .filter_map(|at| records.get(*at))
                .collect();
            let call = AssertUnwindSafe(self.give(&batch, &mut pointers)).catch_unwind();
            let error = match tries.clock.timeout(limit, call).await {
                Ok(Ok(Ok(count))) => match batch.get(..count).filter(|taken| !taken.is_empty()) {
                    Some(taken) => {
                        self.remember(taken, &pointers, &mut served.report);
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
                Ok(Err(_)) if context.keeps_poison() => {
                    self.failed("the sink panicked".to_owned(), pending.len(), &mut served.report);
                    break;
                }
                Ok(Err(_)) if served.report.delivered == 0 && served.report.quarantined >= REFUSALS => {
                    "the sink panicked on each of several records".to_owned()
                }
                Ok(Err(_)) => {
                    let Some(record) = batch.first() else { break };
                    match self.refuse(&record.outgoing, &mut raws, context, &tries).await {
                        Ok(()) => {
                            pending.remove(0);
                            let key = record.outgoing.key;
                            let same = records.iter().filter(|other| other.outgoing.key == key);
                            served.refused.extend(same.map(|other| other.outgoing.position));
                            served.report.quarantined += 1;
                            single = false;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Err(_) => format!("no answer within {limit:?}"),
            };
            self.failed(error, pending.len(), &mut served.report);
            tries.pause(&mut pause).await;
        }
    }

    /// One try: what is too large is spilled first, once, and its pointer given instead.
    async fn give(
        &self,
        batch: &[&Routed<'_>],
        pointers: &mut HashMap<usize, Vec<u8>>,
    ) -> Result<usize, SinkError> {
        if let (Some(most), Some(place)) = (self.config.max_event_bytes, &self.places.spill) {
            for record in batch.iter().filter(|record| record.outgoing.line.len() > most) {
                if let Entry::Vacant(entry) = pointers.entry(record.outgoing.position) {
                    let pointer = spill(place, record).await;
                    entry.insert(pointer.map_err(|error| SinkError(format!("the spill failed: {error}")))?);
                }
            }
        }
        let outgoing: Vec<Outgoing<'_>> = batch
            .iter()
            .map(|record| Outgoing {
                line: pointers
                    .get(&record.outgoing.position)
                    .map_or(record.outgoing.line, Vec::as_slice),
                ..record.outgoing
            })
            .collect();
        self.sink.deliver(&outgoing).await
    }

    /// Indexes of the records that the sink is not known to have; of equal ones the first. What waits in its spool is not
    /// sent there again, but it is given to the sink when the drain hands it over. Behind a record that does not wait
    /// it is: an object that begins with that one, and so comes first, must not leave out what follows it. What somebody
    /// wants delivered again is.
    fn pending(&self, records: &[Routed<'_>], context: Context<'_>, served: &mut Served) -> Vec<usize> {
        let (remembered, parked) = (lock(&self.memory.remembered), lock(&self.memory.parked));
        let mut seen = HashSet::with_capacity(records.len());
        let mut pending = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            let key = record.outgoing.key;
            if remembered.contains(key) && !context.delivers_again() {
            } else if context.handed.is_none() && pending.is_empty() && parked.contains(key) {
                served.parked.push(record.outgoing.position);
            } else if seen.insert(key) {
                pending.push(at);
            }
        }
        served.report.repeats = records.len() - pending.len();
        pending
    }

    /// Remembers what the sink has taken.
    fn remember(&self, taken: &[&Routed<'_>], pointers: &HashMap<usize, Vec<u8>>, report: &mut SinkReport) {
        let mut remembered = lock(&self.memory.remembered);
        for Routed { outgoing, .. } in taken {
            remembered.insert(outgoing.key);
            report.delivered += 1;
            let pointer = pointers.get(&outgoing.position);
            report.spilled += usize::from(pointer.is_some());
            report.bytes += pointer.map_or(outgoing.line.len(), Vec::len);
        }
    }

    /// Quarantines, for this sink, a record that made it panic.
    async fn refuse<'p>(
        &self,
        record: &Outgoing<'_>,
        raws: &mut Option<Vec<&'p str>>,
        context: Context<'p>,
        tries: &Tries<'_>,
    ) -> Result<(), String> {
        let split = || {
            record::split(context.payload)
                .map(|(_, raws)| raws)
                .unwrap_or_default()
        };
        let raw = raws.get_or_insert_with(split).get(record.position);
        let raw: Option<&RawValue> = raw.and_then(|raw| serde_json::from_str(raw).ok());
        let raw = raw.ok_or("a record is not where it was")?;
        let entry = quarantine::Quarantined {
            kind: "panic",
            reason: "the sink panicked on this event alone",
            sink: Some(&self.name),
            event_id: record.event_id,
            sequence_number: Some(record.sequence_number),
            record: Some(raw),
        };
        let object = quarantine::object(&[entry]);
        let put = quarantine::put(context.quarantine, &object);
        match tries
            .clock
            .timeout(tries.left().min(super::OBJECT_TRY), put)
            .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the quarantine failed: {error}")),
            Err(_) => Err("the quarantine did not answer in time".to_owned()),
        }
    }
}
