//! What is due in a table that others write, by the due list of its watch log: each key that falls due is looked at once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use super::Error;
use super::progress::{Progress, Purpose};
use super::report::List;
use super::sweep::{BATCH, Sweep};
use crate::clock::Instant;
use crate::state::item::seconds;
use crate::state::sweep::Removal;
use crate::state::{Entry, Key};
use crate::watch::log::{DueChunk, DueKey, Log, Sweeps, Unchecked};

/// How far the clocks of those who append, and of this machine, may be apart.
const APART: Duration = Duration::from_secs(60);
/// A fill files so many keys at once: each ten seconds that one of them falls due in are a request.
const FILE: usize = 2000;
/// A run that makes one pass makes another after so much of a fill.
const WHILE_FILLING: Duration = Duration::from_secs(30);
/// The time that a fill has after each pass.
const LEAST: Duration = Duration::from_millis(200);

/// What a check of some keys came to.
#[derive(Default)]
struct Checked {
    /// Renewed: to be filed again.
    renewed: Vec<DueKey>,
    /// Settled, and nothing to file: notes of them go.
    forgotten: Vec<Key>,
    /// All that were settled.
    settled: Vec<Key>,
}

impl Sweep<'_> {
    pub(super) async fn repeat_list(&mut self, log: &Log) -> Result<(), Error> {
        let begun = self.begin_list(log).await;
        let sweeps = match begun {
            Ok(sweeps) => sweeps,
            Err(error) => return self.passed(Err(error), 0),
        };
        loop {
            let (repeated, failures) = (self.next_pass(Duration::ZERO), self.failures());
            let next = repeated.or_else(|| self.pass_while_filling());
            let done = self.list_pass(&sweeps).await;
            self.passed(done, failures)?;
            let was_filling = self.filling.is_some();
            // However long a pass takes, the fill gets on.
            let least = self.clock().instant() + LEAST;
            let filled = self
                .fill(&sweeps, next.unwrap_or(self.run.last_call).max(least))
                .await;
            filled.or_else(|error| self.failed(error))?;
            let is_ready = self.report.list == Some(List::Ready);
            self.report.complete &= is_ready;
            // What was just filed may be due.
            let once_more = was_filling && is_ready && repeated.is_none() && self.goes_on();
            let next = repeated.or(next.filter(|_| self.filling.is_some()));
            if !once_more && !self.waits(next).await {
                return Ok(());
            }
        }
    }

    /// A fill may take many runs: what falls due meanwhile must not wait for the end of each.
    fn pass_while_filling(&self) -> Option<Instant> {
        let next = self.clock().instant() + WHILE_FILLING;
        Some(next)
            .filter(|next| self.filling.is_some() && *next < self.run.last_call && !self.expire.line.waits())
    }

    /// Tells the appenders of the sweep, and looks how full the list is.
    async fn begin_list(&mut self, log: &Log) -> Result<Sweeps, Error> {
        let stop = self.run.stop;
        let sweeps = if self.run.dry_run {
            log.sweeps(stop).await?
        } else {
            log.announce_sweeps(stop).await?
        };
        let since = self.filled_since(&sweeps).await?;
        self.find_fill(since).await?;
        Ok(sweeps)
    }

    /// A fill must have begun after this: what changed before it may not be in the list. None if nothing is filed at all.
    async fn filled_since(&self, sweeps: &Sweeps) -> Result<Option<SystemTime>, Error> {
        let gap = sweeps.newest_gap(self.run.stop).await?;
        let since = sweeps.since().map(|since| since + Sweeps::FILED);
        Ok(since.map(|since| gap.map_or(since, |gap| gap.max(since)) + APART))
    }

    /// Looks whether the list is full, or how far its fill is.
    async fn find_fill(&mut self, since: Option<SystemTime>) -> Result<(), Error> {
        self.since = since;
        let kept = self.kept().await?;
        let (is_kept, fill) = (
            kept.is_some(),
            kept.filter(|kept| self.is_ours(kept, Purpose::Fill)),
        );
        let may_begin = since.is_some_and(|since| self.clock().now() >= since);
        self.report.list = Some(List::Filling);
        self.filling = match fill {
            _ if self.run.dry_run => None,
            // One that began before the last gap goes on to its end too: under gap after gap nothing would get there else.
            Some(fill) if !fill.place.done => Some(fill),
            Some(fill) if self.counts(&fill) => {
                self.report.list = Some(List::Ready);
                None
            }
            None if is_kept => {
                // Of other prefixes: what they take this run passes over, and they must not count on what they filed.
                let kept = self.kept().await?;
                let mut begun = self.begin(Purpose::Fill, kept);
                self.keep(&mut begun).await?;
                Some(begun)
            }
            earlier if may_begin => Some(self.begin(Purpose::Fill, earlier)),
            // The appenders do not all know yet.
            _ => None,
        };
        Ok(())
    }

    /// Whether all that a fill has filed is all there was to file.
    fn counts(&self, fill: &Progress) -> bool {
        self.since.is_some_and(|since| fill.begun() >= since)
    }

    /// Files what expires in the table, as far as it comes until then.
    async fn fill(&mut self, sweeps: &Sweeps, until: Instant) -> Result<(), Error> {
        let Some(mut progress) = self.filling.take() else {
            return Ok(());
        };
        let (mut found, mut unkept) = (Vec::new(), false);
        // A successor is to sweep meanwhile, and goes on with this.
        while !progress.place.done
            && !self.expire.line.waits()
            && self.rate.ready(until.min(self.run.last_call)).await
        {
            let seen = self.clock().now();
            // After a failure the run fills no more, and the next one goes on from what was kept.
            let page = self.page(&progress).await?;
            let taken = page.items.iter().filter(|item| self.takes(&item.key));
            found.extend(taken.map(|item| DueKey {
                key: item.key.clone(),
                expires: item.expires,
                seen,
            }));
            progress.go_on(self.layout(), &page);
            unkept = true;
            if found.len() >= FILE || progress.is_old(self.clock().instant()) {
                self.file(sweeps, &mut found).await?;
                self.keep(&mut progress).await?;
                unkept = false;
            }
        }
        if unkept {
            self.file(sweeps, &mut found).await?;
            self.keep(&mut progress).await?;
        }
        if progress.place.done {
            if self.counts(&progress) {
                self.report.list = Some(List::Ready);
            }
        } else {
            self.filling = Some(progress);
        }
        Ok(())
    }

    async fn file(&mut self, sweeps: &Sweeps, found: &mut Vec<DueKey>) -> Result<(), Error> {
        sweeps.file(found, self.run.stop).await?;
        self.report.filled += u64::try_from(found.len()).unwrap_or_default();
        found.clear();
        Ok(())
    }

    /// One pass over what has begun to fall due. True if it came to the end.
    async fn list_pass(&mut self, sweeps: &Sweeps) -> Result<bool, Error> {
        let until = self.clock().now();
        let mut after: Option<DueChunk> = None;
        let mut standing = HashSet::new();
        loop {
            if !self.goes_on() {
                return Ok(false);
            }
            let mut chunks = sweeps.due(until, after.as_ref(), self.run.stop).await?;
            if chunks.is_empty() {
                // What was settled of chunks that are gone need not be known any more.
                self.settled.retain(|key, _| standing.contains(key));
                return Ok(true);
            }
            let open = self.check_all(sweeps, &chunks).await?;
            let is_open = |chunk: &DueChunk| chunk.keys.iter().any(|due| open.contains(&due.key));
            let (left, done): (Vec<_>, Vec<_>) = chunks.iter().cloned().partition(is_open);
            if !self.run.dry_run {
                sweeps.remove(&done, self.run.stop).await?;
            }
            standing.extend(left.into_iter().flat_map(|chunk| chunk.keys).map(|due| due.key));
            after = chunks.pop();
        }
    }

    /// Settles what is due of some chunks, oldest first. Answers keys that are not settled.
    async fn check_all(&mut self, sweeps: &Sweeps, chunks: &[DueChunk]) -> Result<HashSet<Key>, Error> {
        // Whose entries fall due within seconds, and who is not settled.
        let (mut later, mut open) = (HashSet::new(), HashSet::new());
        let mut due = Vec::new();
        for entry in chunks.iter().flat_map(|chunk| &chunk.keys) {
            let checked = self.settled.get(&entry.key);
            // A check before it fell due may have found another item than there is now.
            let is_settled = |checked: &SystemTime| *checked > entry.seen && *checked >= entry.expires;
            if !self.takes(&entry.key) || checked.is_some_and(is_settled) {
                continue;
            }
            if seconds(entry.expires) <= self.latest(Some(&entry.key)) {
                due.push(entry.clone());
            } else {
                later.insert(entry.key.clone());
            }
        }
        let mut due = sweeps.unchecked(due, self.run.stop).await?;
        open.extend(due.iter().map(|due| due.key.key.clone()));
        due.sort_unstable_by(|a, b| (a.key.expires, &a.key.key).cmp(&(b.key.expires, &b.key.key)));
        for some in due.chunks(BATCH) {
            if !self.rate.ready(self.run.last_call).await {
                self.late = true;
                break;
            }
            for key in self.check(sweeps, some).await? {
                open.remove(&key);
            }
        }
        open.extend(later);
        Ok(open)
    }

    /// Looks at keys that fell due, and deletes what has expired. Answers those that are settled.
    async fn check(&mut self, sweeps: &Sweeps, due: &[Unchecked]) -> Result<Vec<Key>, Error> {
        let stop = self.run.stop;
        let asked = self.clock().now();
        let keys: Vec<Key> = due.iter().map(|due| due.key.key.clone()).collect();
        let (entries, units) = self.table().read_entries(&keys).await?;
        self.read(units);
        self.report.checks += u64::try_from(keys.len()).unwrap_or_default();
        let entries: HashMap<Key, Entry> = entries
            .into_iter()
            .map(|entry| (entry.key.clone(), entry))
            .collect();
        let mut checked = Checked::default();
        let (mut deleted, mut expired) = (Vec::new(), Vec::new());
        for due in due {
            match entries.get(&due.key.key).cloned().map(Entry::expiring) {
                Some(Some(item)) if item.is_past(self.latest(Some(&item.key))) => {
                    deleted.push(due);
                    expired.push(item);
                }
                Some(Some(item)) => {
                    self.report.renewed += 1;
                    checked.settled.push(item.key.clone());
                    checked.renewed.push(DueKey {
                        key: item.key,
                        expires: item.expires,
                        seen: asked,
                    });
                }
                none => {
                    self.report.gone += u64::from(none.is_none());
                    checked.settle(due);
                }
            }
        }
        if self.run.dry_run {
            self.delete(&expired, None).await?;
            return Ok(checked.settled);
        }
        sweeps.refile(&checked.renewed, stop).await?;
        let removals = self.delete(&expired, Some(sweeps)).await?;
        for (due, removal) in deleted.into_iter().zip(removals) {
            // Of what was renewed or replaced the next pass looks again.
            if matches!(removal, Some(Removal::Deleted | Removal::Gone)) {
                checked.settle(due);
            }
        }
        sweeps.forget(&checked.forgotten, stop).await?;
        let settled = checked.settled.iter().map(|key| (key.clone(), asked));
        self.settled.extend(settled);
        Ok(checked.settled)
    }
}

impl Checked {
    /// Nothing of this key falls due.
    fn settle(&mut self, due: &Unchecked) {
        self.settled.push(due.key.key.clone());
        if due.noted {
            self.forgotten.push(due.key.key.clone());
        }
    }
}
