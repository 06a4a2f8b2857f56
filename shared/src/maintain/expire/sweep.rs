//! A run: its passes, and the deletes of each.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};

use super::progress::Progress;
use super::report::{FoundBy, Report};
use super::{Error, Expire};
use crate::clock::{Clock, Instant};
use crate::maintain::Run;
use crate::maintain::rate::Rate;
use crate::state::sweep::{Expiring, Removal};
use crate::state::{Backend, Key, Layout};
use crate::watch::log::{Sweeps, Swept};

/// How long an item must have been expired: clocks may be so far apart.
const MARGIN: Duration = Duration::from_secs(1);
/// Below `.locks/`.
const LOCKS: Duration = Duration::from_secs(5);
/// A note that took longer than this to be put is too old by then: it is believed for seconds.
const FRESH: Duration = Duration::from_secs(3);
/// Deletes under way at once.
const AT_ONCE: usize = 16;
/// How many items are taken up at once: a run that must end does so between.
pub(super) const BATCH: usize = 100;

/// A run that is under way.
pub(super) struct Sweep<'a> {
    pub(super) expire: &'a Expire,
    pub(super) run: Run,
    pub(super) rate: Rate,
    pub(super) report: Report,
    /// What was settled of chunks of the list that still stand, and when it was looked at.
    pub(super) settled: HashMap<Key, SystemTime>,
    /// The time was over before something could be sent.
    pub(super) late: bool,
    /// Where a scan that fills the list is.
    pub(super) filling: Option<Progress>,
    /// A fill counts if it began later.
    pub(super) since: Option<SystemTime>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(expire: &'a Expire, run: Run) -> Self {
        Self {
            expire,
            run,
            rate: Rate::new(expire.backend.clock(), expire.settings.units_per_second),
            report: Report::new(expire.found_by(), run.dry_run),
            settled: HashMap::new(),
            late: false,
            filling: None,
            since: None,
        }
    }

    pub(super) fn report(self) -> Report {
        self.report
    }

    pub(super) async fn run(&mut self) -> Result<(), Error> {
        match (self.report.found_by, &self.expire.log) {
            (FoundBy::Index, _) => self.repeat_index().await,
            (FoundBy::List, Some(log)) => self.repeat_list(log).await,
            _ => self.repeat_scan().await,
        }
    }

    async fn repeat_index(&mut self) -> Result<(), Error> {
        loop {
            let (next, failures) = (self.next_pass(Duration::ZERO), self.failures());
            let done = self.index_pass().await;
            self.passed(done, failures)?;
            if !self.waits(next).await {
                return Ok(());
            }
        }
    }

    /// Notes how a pass ended: whether it came to its end, and how many failures there were before it.
    pub(super) fn passed(&mut self, done: Result<bool, Error>, failures: u64) -> Result<(), Error> {
        self.report.passes += 1;
        self.report.complete = match done {
            Ok(complete) => complete && self.failures() == failures,
            Err(error) => {
                self.failed(error)?;
                false
            }
        };
        Ok(())
    }

    /// Counts a failure that does not last.
    pub(super) fn failed(&mut self, error: Error) -> Result<(), Error> {
        if error.is_lasting() {
            return Err(error);
        }
        self.report.failed(&error);
        Ok(())
    }

    pub(super) fn failures(&self) -> u64 {
        self.report.errors.values().sum()
    }

    /// When the pass after the one that begins now is due; none if this is the last.
    pub(super) fn next_pass(&self, apart: Duration) -> Option<Instant> {
        let every = self.expire.settings.every.filter(|_| !self.run.dry_run)?;
        let next = self.clock().instant().checked_add(every.max(apart))?;
        Some(next).filter(|next| *next < self.run.last_call && !self.expire.line.waits())
    }

    /// Waits for the next pass; false if there is none, or if a successor is to do it.
    pub(super) async fn waits(&self, next: Option<Instant>) -> bool {
        let Some(next) = next else { return false };
        let clock = self.clock();
        let pause = next.saturating_duration_since(clock.instant());
        !self.expire.line.pause(clock, pause).await
    }

    /// Whether anything more may be begun.
    pub(super) fn goes_on(&self) -> bool {
        !self.late && self.clock().instant() < self.run.last_call
    }

    pub(super) fn clock(&self) -> &'a Clock {
        self.expire.backend.clock()
    }

    pub(super) fn layout(&self) -> &'a Layout {
        self.expire.backend.layout()
    }

    /// The table, each call of which ends in time.
    pub(super) fn table(&self) -> Backend {
        let backend = &self.expire.backend;
        let longest = backend.config().operation_timeout;
        let end = self.clock().instant().checked_add(longest);
        backend.with_deadline(end.map_or(self.run.stop, |end| end.min(self.run.stop)))
    }

    /// Whether a key is among those that are swept at all.
    pub(super) fn takes(&self, key: &Key) -> bool {
        !is_below(key, Key::FENCES) && self.expire.filter.takes_key(key)
    }

    /// How long an item of this key must have been expired.
    fn margin(&self, key: &Key) -> Duration {
        if is_below(key, Key::LOCKS) {
            LOCKS.max(self.expire.backend.config().lock_skew)
        } else {
            MARGIN
        }
    }

    /// The last second whose expiries are due, for a key or for most.
    pub(super) fn latest(&self, key: Option<&Key>) -> i64 {
        let margin = key.map_or(MARGIN, |key| self.margin(key));
        self.expire.backend.last_past(margin)
    }

    /// Takes the units of a read.
    pub(super) fn read(&mut self, units: f64) {
        self.rate.take(units);
        self.report.units.read += units;
    }

    pub(super) fn wrote(&mut self, units: f64) {
        self.rate.take(units);
        self.report.units.write += units;
    }

    /// Deletes items, a batch after the other. False if the time was over before the last.
    pub(super) async fn delete_all(&mut self, found: &[Expiring]) -> Result<bool, Error> {
        for batch in found.chunks(BATCH) {
            if !self.goes_on() {
                return Ok(false);
            }
            self.delete(batch, None).await?;
        }
        Ok(!self.late)
    }

    /// Deletes items that are due, oldest first, each behind its note where the log's appenders go by one, and answers
    /// what became of each; none where that is not known. A dry run takes them for deleted.
    ///
    /// # Errors
    /// The first that lasts, after all have been tried.
    pub(super) async fn delete(
        &mut self,
        found: &[Expiring],
        sweeps: Option<&Sweeps>,
    ) -> Result<Vec<Option<Removal>>, Error> {
        let now = self.clock().now();
        found.iter().for_each(|seen| self.report.found(seen.expires, now));
        if self.run.dry_run {
            self.report.deleted += u64::try_from(found.len()).unwrap_or_default();
            return Ok(vec![Some(Removal::Deleted); found.len()]);
        }
        let this = &*self;
        // One begins after the other: in order, but for those that are under way at once.
        let ready =
            stream::iter(found).then(|seen| async move { (seen, this.rate.ready(this.run.stop).await) });
        let work = ready.map(|(seen, is_ready)| async move {
            if !is_ready {
                return None;
            }
            Some(match sweeps {
                Some(sweeps) => this.remove_noted(sweeps, seen).await,
                None => this.remove(seen).await,
            })
        });
        let ended: Vec<_> = work.buffered(AT_ONCE).collect().await;
        let mut lasting = None;
        let mut removals = Vec::with_capacity(ended.len());
        for removed in ended {
            let removed = match removed {
                Some(Ok((removal, units))) => {
                    self.report.units.write += units;
                    match removal {
                        Removal::Deleted => self.report.deleted += 1,
                        Removal::Gone => self.report.gone += 1,
                        Removal::Renewed | Removal::Replaced => self.report.refused += 1,
                    }
                    Some(removal)
                }
                Some(Err(error)) => {
                    self.report.failed(&error);
                    lasting = lasting.or(Some(error).filter(Error::is_lasting));
                    None
                }
                None => {
                    self.late = true;
                    None
                }
            };
            removals.push(removed);
        }
        lasting.map_or(Ok(removals), Err)
    }

    async fn remove(&self, seen: &Expiring) -> Result<(Removal, f64), Error> {
        let removed = self.table().remove_expired(seen, self.margin(&seen.key)).await;
        // What fails took something too, and nobody says how much.
        self.rate.take(removed.as_ref().map_or(1.0, |(_, units)| *units));
        Ok(removed?)
    }

    /// With a note put just before: one that has stood for seconds is not taken for the delete's.
    async fn remove_noted(&self, sweeps: &Sweeps, seen: &Expiring) -> Result<(Removal, f64), Error> {
        let note = [Swept {
            key: seen.key.clone(),
            revision: seen.revision.clone(),
            expires: seen.expires,
        }];
        loop {
            let noted = self.clock().instant();
            sweeps.intend(&note, self.run.stop).await?;
            // What took long is said anew.
            if self.clock().instant().saturating_duration_since(noted) < FRESH {
                break;
            }
        }
        let removed = self.remove(seen).await?;
        // Who deleted what is gone or replaced may have been another sweep: this very note tells.
        if removed.0 == Removal::Renewed {
            sweeps.void(&note, self.run.stop).await?;
        }
        Ok(removed)
    }
}

/// Whether a key is below a name that begins without a separator.
fn is_below(key: &Key, root: &str) -> bool {
    let rest = key.as_bytes().strip_prefix(root.as_bytes());
    rest.is_some_and(|rest| rest.first() == Some(&b'/'))
}
