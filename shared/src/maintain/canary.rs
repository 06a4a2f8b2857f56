//! The dead-man's switch for "silently nothing": whether what is written to the audit table comes out of the sinks.
//!
//! | table | what is looked for | what is written |
//! |---|---|---|
//! | attached | the newest row of its index that is older than the limit: written since its stream began, it must be in each sink, filtered, or somewhere on its way | nothing: a marked event would be a forged one |
//! | owned, or where it is asked for | marked events of earlier runs, type `tidewatch.canary`: they must be in each sink | the next one |
//!
//! Marked events are rows of one session, `tidewatch.canary`, with their second as index and a day of retention. So the
//! table remembers what was emitted, one query of the newest rows finds it, and a run that is cut anywhere is just run again.
//!
//! Only sinks whose contents can be read are judged. A table without such a row, a sink whose filter keeps the row away and
//! one that cannot be read are reported as what they are, and not as success: `canary_looked` counts the sinks that were
//! judged, and an alarm belongs on it as on `canary_missing`. `canary_failed` counts those that could not be looked at: one that
//! failed makes the run a failed one.

mod emit;
mod judge;
mod report;

use std::future::Future;
use std::time::{Duration, SystemTime};

use self::judge::Judge;
pub use self::report::{CanaryReport, LookedFor, SinkReport, Verdict};
use super::task::Run;
use crate::audit::log::{Dynamo, Found, LogError, Order, Search};
use crate::clock::{Clock, TimedOut};
use crate::redrive::gaps::{GapsError, Look, State};

/// How far back the newest row of an attached table is looked for.
const LOOK_BACK: Duration = Duration::from_hours(7 * 24);
/// Read units after which that ends, should rows be there that nobody can read.
const MAX_UNITS: f64 = 100.0;
/// Marked events that are looked at, the newest.
const MARKED: usize = 16;
/// They are emitted so many to the limit at most, so that the oldest of those is past it.
const A_LIMIT: u32 = 10;

/// What looks whether events come out.
#[derive(Debug)]
pub struct Canary<'a> {
    /// The audit table.
    pub log: &'a Dynamo,
    /// Its sinks, and where their events wait.
    pub looks: &'a [Look<'a>],
    /// Whether marked events are emitted and looked for: for owned tables. On an attached one they are forged audit events
    /// in its owner's log.
    pub marked: bool,
    /// When the table's stream began, if that is known: what was written before it comes out of none.
    pub since: Option<SystemTime>,
    /// How long an event may take: [`Canary::LIMIT`] is due.
    pub limit: Duration,
}

/// How a look at a sink ended.
enum Looked {
    States(Vec<Option<State>>),
    Failed(GapsError),
    /// There was no time.
    Not,
}

impl Canary<'_> {
    /// The type of marked events, and their session.
    pub const EVENT: &'static str = "tidewatch.canary";
    /// How long an event may take, if nothing else is said.
    pub const LIMIT: Duration = Duration::from_mins(10);
    /// How long marked events are kept.
    pub const RETENTION: Duration = Duration::from_hours(24);

    /// Looks for what must have come out, and emits the next marked event if the newest is older than a tenth of the limit.
    ///
    /// Requests: a query, half a read unit for each 4 KB of at most 16 small rows; on attached tables one for each day
    /// without rows, seven at most, and half a unit each. A put if an event is emitted, a write unit and one of the index.
    /// For each sink those of [`Look::states`]: all that it was given in the last hours is read. Cancel-safe: an event
    /// that was emitted is found by the next run. Nothing is begun after `run.last_call`; what is under way ends at
    /// `run.stop`.
    ///
    /// # Errors
    /// [`LogError`] if the table could not be asked. That a sink cannot be looked at, or the event not be emitted, is in the
    /// report.
    pub async fn run(&self, run: Run) -> Result<CanaryReport, LogError> {
        let mut report = CanaryReport {
            dry_run: run.dry_run,
            marked: self.marked,
            table: self.log.table().to_owned(),
            ..CanaryReport::default()
        };
        if !self.has_time(&run) {
            report.more = true;
            return Ok(report);
        }
        let now = self.clock().now();
        let Ok(found) = self.within(&run, Box::pin(self.newest(now))).await else {
            report.more = true;
            return Ok(report);
        };
        let judge = Judge::new(self, found?, now);
        report.looked_for = judge.looked_for();
        if self.marked && !run.dry_run && judge.is_due(self.limit / A_LIMIT) {
            // Before the sinks are looked at: however long that takes, the next run has something to look for.
            match self.has_time(&run) {
                true => match self.within(&run, Box::pin(self.emit(now))).await {
                    Ok(Ok(uid)) => report.emitted = Some(uid),
                    Ok(Err(error)) => report.error = Some(error.to_string()),
                    Err(_) => report.more = true,
                },
                false => report.more = true,
            }
        }
        for look in self.looks {
            let looked = match judge.has_events() && look.is_readable() {
                false => Looked::States(Vec::new()),
                true if !self.has_time(&run) => Looked::Not,
                true => {
                    let states = look.states(self.log.table(), judge.events());
                    match self.within(&run, Box::pin(states)).await {
                        Ok(Ok(states)) => Looked::States(states),
                        Ok(Err(error)) => Looked::Failed(error),
                        Err(_) => Looked::Not,
                    }
                }
            };
            report.more |= matches!(looked, Looked::Not);
            report.sinks.push(judge.sink(look, looked));
        }
        Ok(report)
    }

    /// What is looked for, the newest first; the ages are those at `now`.
    async fn newest(&self, now: SystemTime) -> Result<Vec<Found>, LogError> {
        let before = |by| now.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH);
        let search = match self.marked {
            // Clocks of those who emit may be ahead.
            true => Search {
                from: before(Self::RETENTION),
                order: Order::Descending,
                limit: MARKED,
                max_units: Some(MAX_UNITS),
                ..Search::session(Self::EVENT, now + self.limit)
            },
            false => {
                let from = self
                    .since
                    .map_or(before(LOOK_BACK), |since| since.max(before(LOOK_BACK)));
                if from >= before(self.limit) {
                    return Ok(Vec::new());
                }
                Search {
                    order: Order::Descending,
                    limit: 1,
                    max_units: Some(MAX_UNITS),
                    ..Search::new(from, before(self.limit))
                }
            }
        };
        let mut events = self.log.search(&search).await?.events;
        events.retain(|event| !self.marked || event.event_type.as_deref() == Some(Self::EVENT));
        Ok(events)
    }

    fn clock(&self) -> &Clock {
        self.log.clock()
    }

    fn has_time(&self, run: &Run) -> bool {
        self.clock().instant() < run.last_call
    }

    /// For as long as the run may take.
    async fn within<T>(&self, run: &Run, work: impl Future<Output = T>) -> Result<T, TimedOut> {
        let left = run.stop.saturating_duration_since(self.clock().instant());
        self.clock().timeout(left, work).await
    }
}
