//! From stream records to sinks: parse all, quarantine poison, deliver, answer one cut.
//!
//! ```text
//! Lambda's event ─▶ records ─▶ dispositions ─┬─▶ quarantine (before the first sink call)
//! or a task's      (record)    (disposition) └─▶ routes ─▶ each sink by itself ─▶ one cut
//! (handed)                                       (route)   (serve, park, spill)
//! ```
//! - Each record ends as delivered, waiting in a spool, filtered, skipped, to be retried, or quarantined with its raw form
//!   and a reason.
//! - For each sink nothing is sent after its first record that must be retried; the answer names the lowest such record
//!   over all sinks, and Lambda sends everything from it on again. What a sink took beyond the cut comes again; as far as
//!   this environment remembers it, the sink is spared (`repeats`).
//! - A sink with a spool has a budget of its own; what it has not taken by then waits in the spool, and so does what
//!   follows, until the task [`drain`] has handed it over. Such a sink neither delays the answer further nor stands in it.
//! - Other failures are waited out inside the invocation, with growing pauses, until 30 s (a quarter of the time-out, if
//!   that is less) before the deadline. A try that could not end by then is not begun.
//! - If the quarantine cannot be written, only what precedes the poison is delivered.
//!
//! A record goes by the version of the configuration that was in force when it was made: that says which sinks it goes to,
//! through which filters and in which format. How a sink is served, and where spool, spill and quarantine are, the newest
//! version says. Over versions a sink's records stay in order as long as its URI leads to the same place.

mod destinations;
mod disposition;
pub mod drain;
mod envelope;
pub(crate) mod filter;
#[cfg(feature = "lambda")]
mod function;
mod hand;
pub mod handed;
mod invoke;
mod open;
mod park;
mod plant;
mod quarantine;
pub(crate) mod record;
mod remembered;
mod report;
mod route;
mod serve;
#[cfg(all(test, feature = "dynamodb", feature = "s3"))]
mod simulation;
mod sink;
pub mod sinks;
mod spill;
mod spool;
mod start;
mod tries;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

pub use self::disposition::Skip;
use self::disposition::{Disposition, Judged, Rules, judge_all};
#[cfg(feature = "lambda")]
pub use self::function::LambdaFunction;
pub use self::hand::{Hand, HandError, Options, Tally};
pub use self::invoke::{InProcess, Invoke, InvokeError, first_failed};
use self::open::{Opener, Plan};
pub use self::report::{Report, SinkReport};
use self::route::{Deliverables, Route};
use self::serve::{Context, NamedSink, Served};
pub use self::sink::{Outgoing, Sink, SinkError};
pub use self::spool::Spool;
pub use self::start::StartError;
use self::tries::Tries;
use crate::audit::canonical::Canonical;
use crate::clock::{Clock, Instant};
use crate::config::Versions;
use crate::random::Random;

/// Takes batches to sinks. One is made at start and serves every batch of the process.
#[derive(Debug)]
pub struct Forwarder {
    /// Where the configuration is kept; none if it is fixed.
    versions: Option<Versions>,
    /// What the last batch went by.
    plan: Mutex<Arc<Plan>>,
    opener: tokio::sync::Mutex<Opener>,
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
    /// No version of the configuration can be read and opened; nothing was delivered.
    #[error("no configuration: {0}")]
    NoConfiguration(String),
    /// Records are handed for a sink that is not configured; nothing was delivered.
    #[error("records are handed for the sink {0}, which is not configured")]
    UnknownSink(String),
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

/// Longest time for one try of the quarantine or a spool: a connection that died while the environment slept must not use
/// up all.
const OBJECT_TRY: Duration = Duration::from_secs(10);

/// How records ended that were to be delivered, by their position in the batch.
struct Ends {
    /// Some sink's filter let it through.
    routed: Vec<bool>,
    refused: Vec<bool>,
    parked: Vec<bool>,
}

impl Ends {
    fn new(records: usize, routes: &[Route<'_>], served: &[Served]) -> Self {
        let mut ends = Self {
            routed: vec![false; records],
            refused: vec![false; records],
            parked: vec![false; records],
        };
        let mark = |marks: &mut Vec<bool>, at: usize| {
            if let Some(mark) = marks.get_mut(at) {
                *mark = true;
            }
        };
        for record in routes.iter().flat_map(|route| &route.records) {
            mark(&mut ends.routed, record.outgoing.position);
        }
        for served in served {
            served.refused.iter().for_each(|at| mark(&mut ends.refused, *at));
            served.parked.iter().for_each(|at| mark(&mut ends.parked, *at));
        }
        ends
    }
}

impl Forwarder {
    /// Handles a batch: Lambda's event JSON or records that a task hands over ([`handed`]), to be answered before
    /// `deadline`.
    ///
    /// Cost: where the configuration has versions one GET, and what a new one asks for; one PUT to the quarantine if there is
    /// poison, one LIST for each sink with a spool, and what the sinks cost.
    /// Not cancel-safe for the report alone: a dropped call may have delivered, and its batch comes again.
    ///
    /// # Errors
    /// [`HandleError`] if no answer could be true; nothing was delivered then.
    pub async fn handle(&self, payload: &str, deadline: Instant) -> Result<Handled, HandleError> {
        let begun = self.clock.instant();
        let total = deadline.saturating_duration_since(begun);
        let arrived = self.clock.now();
        let stop = deadline - MARGIN.min(total / 4).min(total);
        let tries = Tries {
            clock: &self.clock,
            random: &self.random,
            stop,
        };
        let plan = self.plan(tries, total + SLACK).await?;
        let in_force = plan.chain.in_force(arrived);
        let serves = |sink: &&NamedSink| sink.is_of(0) || sink.is_of(in_force);
        if let Some(sink) = plan.too_long(total + SLACK).find(serves) {
            return Err(HandleError::TimeoutTooLong {
                sink: sink.name.clone(),
                timeout: sink.longest_try(),
                total,
            });
        }
        let mut out = Canonical::with_capacity(payload.len() / 2);
        let rules = Rules::new(&plan.chain, arrived);
        let (handed, judged) = judge_all(payload, rules, &mut out).ok_or(HandleError::NotAnEvent)?;
        let context = Context {
            payload,
            handed: handed.as_ref(),
            quarantine: &plan.quarantine,
        };
        // Nothing may be acknowledged that no sink has seen, and nothing quarantined for one that there is not.
        let only = context.handed.and_then(|handed| handed.sink.as_deref());
        if let Some(only) = only
            && !plan.sinks.iter().any(|sink| sink.name == only)
        {
            return Err(HandleError::UnknownSink(only.to_owned()));
        }
        let limit = self.quarantine(&judged, context, tries, begun).await?;

        let end = limit.unwrap_or(judged.len());
        let deliverables = Deliverables::new(&judged, end, &out, context.handed, &plan, arrived);
        let routes = deliverables.routes(&plan.sinks, context.handed, in_force);
        let serve = routes
            .iter()
            .map(|route| route.sink.serve(&route.records, context, tries));
        let served = Box::pin(join_all(serve)).await;

        let cut = served
            .iter()
            .filter_map(|served| served.first_left)
            .min()
            .or(limit);
        let name = plan
            .chain
            .versions()
            .get(in_force)
            .map(|version| version.name.clone());
        let mut report = Report {
            config: name.filter(|name| !name.is_empty()),
            config_faults: usize::from(plan.chain.passed_over().is_some()),
            origin: context.handed.map(|handed| handed.origin),
            records_in: judged.len(),
            ..Report::default()
        };
        self.count(
            &judged,
            cut,
            &Ends::new(judged.len(), &routes, &served),
            &mut report,
        );
        for (route, mut served) in routes.iter().zip(served) {
            served.report.filtered = route.filtered;
            report.repeats += served.report.repeats;
            report.spilled += served.report.spilled;
            let of_sink = report.sinks.entry(route.sink.name.clone()).or_default();
            of_sink.add(served.report);
        }
        report.took = self.clock.instant().saturating_duration_since(begun);
        let first_failed = cut.and_then(|at| judged.get(at)?.sequence_number.as_deref().map(str::to_owned));
        Ok(Handled { first_failed, report })
    }

    /// Quarantines the batch's poison; answers the position from which on nothing may be delivered.
    async fn quarantine(
        &self,
        judged: &[Judged<'_>],
        context: Context<'_>,
        tries: Tries<'_>,
        begun: Instant,
    ) -> Result<Option<usize>, HandleError> {
        let poison = |judged: &Judged<'_>| matches!(judged.disposition, Disposition::Quarantine(_));
        if context.keeps_poison() {
            return match judged.iter().position(poison) {
                Some(at)
                    if judged
                        .get(at)
                        .is_some_and(|judged| judged.sequence_number.is_none()) =>
                {
                    let stays = "it comes from the quarantine and stays there".to_owned();
                    Err(HandleError::Unreportable(stays))
                }
                at => Ok(at),
            };
        }
        // Half of the time, if something precedes the poison that must have its chance too.
        let first = judged
            .iter()
            .find(|judged| !matches!(judged.disposition, Disposition::Skip(_)));
        let stop = if first.is_some_and(poison) {
            tries.stop
        } else {
            begun + (tries.stop - begun) / 2
        };
        quarantine::keep(context.quarantine, judged, Tries { stop, ..tries }).await
    }

    /// Counts what became of the records before the cut; those behind it come again.
    fn count(&self, judged: &[Judged<'_>], cut: Option<usize>, ends: &Ends, report: &mut Report) {
        let end = cut.unwrap_or(judged.len());
        report.retried = judged.len() - end;
        let is = |marks: &[bool], at: usize| marks.get(at).copied().unwrap_or_default();
        let mut oldest: Option<SystemTime> = None;
        for (at, judged) in judged.iter().enumerate().take(end) {
            match &judged.disposition {
                // Delivered to other sinks perhaps, but not to all.
                Disposition::Deliver(..) if is(&ends.refused, at) => report.quarantined += 1,
                Disposition::Deliver(..) if is(&ends.parked, at) => report.spooled += 1,
                Disposition::Deliver(..) if !is(&ends.routed, at) => report.filtered += 1,
                Disposition::Deliver(..) => {
                    report.delivered += 1;
                    oldest = oldest.into_iter().chain(judged.created).min();
                }
                Disposition::Skip(skip) => *report.skipped.entry(*skip).or_default() += 1,
                Disposition::Quarantine(_) => report.quarantined += 1,
            }
        }
        // What a task hands over is late for reasons of its own.
        let oldest = oldest.filter(|_| report.origin.is_none());
        report.lag = oldest.map(|created| self.clock.now().duration_since(created).unwrap_or_default());
    }
}
