//! Locks and slots that nobody holds any more, and fencing numbers that would be lost.
//!
//! | found | what is done |
//! |---|---|
//! | a lock or slot past its expiry by more than 5 s (or the allowed skew, if that is more) | deleted, if its revision and expiry are still those that were read |
//! | one that is less past it | nothing: a holder whose clock is behind may still renew it |
//! | one without an expiry, or with one that is no time | told: nobody renews or loses it; whoever wrote it must delete it |
//! | a fencing item with an expiry | the expiry is removed, if item and expiry are still those that were read: once it passed, numbers would begin again at 1 |
//! | a fencing item without a number | told: its lock cannot be acquired until somebody puts a number there that is greater than all handed out |
//!
//! No number is ever written, and nothing outside `.locks/` and `.fences/` is read. Waiters leave no trace in the table: what
//! it shows of contention is how many slots of a semaphore are in use, and by its number how often a fenced lock was acquired.
//!
//! Locks past their expiry are in nobody's way but that of Teleport up to version 17, and of whoever pays for reading them.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use futures_util::future::join_all;
use futures_util::stream::TryStreamExt;
use serde::Serialize;

use super::task::{Metric, Report, Run};
use crate::redrive::MOST_NAMED;
use crate::state::release::{Expiry, Settled, Stored};
use crate::state::{Backend, Error, Key, Range, Semaphore};

/// Deletes that are under way at a time.
const AT_ONCE: usize = 8;
/// Orphans that are collected before they are released.
const BATCH: usize = 64;

/// What a run found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LocksReport {
    /// Nothing was written.
    pub dry_run: bool,
    /// Locks and slots that are held.
    pub held: usize,
    /// Those of them that have been held for longest; the first 100.
    pub holders: Vec<Holder>,
    /// For how long the oldest has been held, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<u64>,
    /// How many slots are in use, by semaphore: the 100 with the most. A lock whose last name is a small number counts as a
    /// slot.
    pub slots: BTreeMap<String, usize>,
    /// Locks past their expiry, not for long enough to be released.
    pub lapsed: usize,
    /// Locks long enough past their expiry.
    pub orphaned: usize,
    /// Those of them that were deleted.
    pub released: usize,
    /// Those of them that were renewed, acquired anew or gone as they were to be deleted.
    pub spared: usize,
    /// The first 100 of those that are orphaned.
    pub orphans: Vec<Orphan>,
    /// Locks without an expiry, or with one that is no time.
    pub endless: usize,
    /// The first 100 of them.
    pub endless_locks: Vec<String>,
    /// Fencing items.
    pub fences: usize,
    /// Those of them with an expiry.
    pub fences_expiring: usize,
    /// Those whose expiry was removed.
    pub fences_mended: usize,
    /// Those without a number that can be raised.
    pub fences_without_number: usize,
    /// The first 100 of those with an expiry or without a number, and which it is.
    pub faulty_fences: BTreeMap<String, &'static str>,
    /// There was no time for the rest.
    pub more: bool,
    /// Why the run ended before all was looked at or released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its name: its key without `.locks/`.
    pub name: String,
    /// For how long it has been held, by the clock of its holder; of one that Teleport holds, since its last renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// When it expires, if it is not renewed.
    pub left_seconds: u64,
    /// How often it was acquired, if it is fenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
}

/// A lock that nobody holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// Its name: its key without `.locks/`.
    pub name: String,
    /// How long ago it expired.
    pub past_seconds: u64,
}

impl Report for LocksReport {
    fn metrics(&self) -> Vec<Metric> {
        // Seconds of a lock's life are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let oldest = self.oldest_seconds.unwrap_or_default() as f64;
        vec![
            Metric::count("locks_held", self.held),
            Metric::count("locks_released", self.released),
            Metric::seconds("locks_oldest_seconds", oldest),
            Metric::count("fences_mended", self.fences_mended),
            Metric::count("fences_without_number", self.fences_without_number),
        ]
    }

    fn is_complete(&self) -> bool {
        !self.more && self.error.is_none()
    }
}

/// Releases what nobody holds, mends fencing items, and reports. Needs no lease: each write is conditional on what was read.
///
/// Requests: for `.locks/` and for `.fences/` one a page (1,000 items or 1 MB) and partition, each a read unit for each 4 KB,
/// one at least; one for each lock that is released or fencing item that is mended, a write unit for each KB of it, two in a
/// partitioned table. A dry run makes the reads only. A run that has no time for the rest says so, and the next begins with
/// what is left: what was released is not read again.
///
/// Cancellation: what was written stays, and each write is right by itself.
///
/// # Errors
/// What reading may end with, if nothing could be read. Later errors are in the report: nothing more is written then, on an
/// eventually consistent global table and where this machine's clock is proven wrong not at all.
pub async fn locks(backend: &Backend, run: Run) -> Result<LocksReport, Error> {
    let mut looked = Looked::new(backend.with_deadline(run.stop), run);
    let ended = async {
        Box::pin(looked.locks()).await?;
        Box::pin(looked.fences()).await
    };
    match ended.await {
        Err(error) if !looked.has_read => Err(error),
        Err(error) => {
            looked.report.error.get_or_insert(error.to_string());
            Ok(looked.end())
        }
        Ok(()) => Ok(looked.end()),
    }
}

struct Looked {
    backend: Backend,
    run: Run,
    report: LocksReport,
    /// By their names.
    slots: HashMap<String, usize>,
    orphans: Vec<Stored>,
    /// Something was answered.
    has_read: bool,
}

impl Looked {
    fn new(backend: Backend, run: Run) -> Self {
        let report = LocksReport {
            dry_run: run.dry_run,
            ..LocksReport::default()
        };
        Self {
            backend,
            run,
            report,
            slots: HashMap::new(),
            orphans: Vec::new(),
            has_read: false,
        }
    }

    async fn locks(&mut self) -> Result<(), Error> {
        let prefix = Key::from(Key::LOCKS).join("");
        let mut stored = std::pin::pin!(self.backend.stored(&Range::Prefix(prefix.clone())));
        while self.has_time() {
            let one = stored.try_next().await?;
            self.has_read = true;
            let Some(one) = one else {
                self.release().await;
                return Ok(());
            };
            self.lock(one, &prefix);
            if self.orphans.len() >= BATCH {
                self.release().await;
            }
        }
        Ok(())
    }

    fn lock(&mut self, one: Stored, prefix: &Key) {
        let name = one.key().trim_prefix(prefix).to_string();
        let now = self.backend.clock().now();
        let report = &mut self.report;
        let Expiry::At(expires) = one.expiry() else {
            report.endless += 1;
            keep(&mut report.endless_locks, || name);
            return;
        };
        match now.duration_since(expires) {
            Ok(past) if past > self.backend.orphan_margin() => {
                report.orphaned += 1;
                keep(&mut report.orphans, || Orphan {
                    name,
                    past_seconds: past.as_secs(),
                });
                self.orphans.push(one);
            }
            // Held to the end of the second.
            Ok(past) if past.as_secs() > 0 => report.lapsed += 1,
            left => {
                let left = left.err().map(|left| left.duration()).unwrap_or_default();
                self.held(name, &one, now, left.as_secs());
            }
        }
    }

    fn held(&mut self, name: String, one: &Stored, now: SystemTime, left_seconds: u64) {
        let report = &mut self.report;
        let age = one.written().map(|at| now.duration_since(at).unwrap_or_default());
        let age_seconds = age.map(|age| age.as_secs());
        report.held += 1;
        report.oldest_seconds = report.oldest_seconds.max(age_seconds);
        if let Some((semaphore, slot)) = name.rsplit_once('/')
            && slot
                .parse::<u32>()
                .is_ok_and(|number| number < Semaphore::MAX_SLOTS && number.to_string() == slot)
        {
            *self.slots.entry(semaphore.to_owned()).or_default() += 1;
        }
        report.holders.push(Holder {
            name,
            age_seconds,
            left_seconds,
            fence: None,
        });
        if report.holders.len() >= 2 * MOST_NAMED {
            oldest(&mut report.holders);
        }
    }

    /// Deletes what was collected. After an error nothing more is tried.
    async fn release(&mut self) {
        let orphans = std::mem::take(&mut self.orphans);
        if self.run.dry_run {
            return;
        }
        for few in orphans.chunks(AT_ONCE) {
            if self.report.error.is_some() || !self.has_time() {
                return;
            }
            let releases = few
                .iter()
                .map(|orphan| Box::pin(self.backend.release_orphan(orphan)));
            for released in join_all(releases).await {
                match released {
                    Ok(Settled::Done) => self.report.released += 1,
                    Ok(Settled::Gone | Settled::Changed) => self.report.spared += 1,
                    Err(error) => {
                        self.report.error.get_or_insert(error.to_string());
                    }
                }
            }
        }
    }

    async fn fences(&mut self) -> Result<(), Error> {
        oldest(&mut self.report.holders);
        let prefix = Key::from(Key::FENCES).join("");
        let mut stored = std::pin::pin!(self.backend.stored(&Range::Prefix(prefix.clone())));
        while self.has_time() {
            let Some(one) = stored.try_next().await? else {
                return Ok(());
            };
            self.fence(&one, one.key().trim_prefix(&prefix).to_string()).await;
        }
        Ok(())
    }

    async fn fence(&mut self, one: &Stored, name: String) {
        let (number, expires) = (one.number(), one.expiry() != Expiry::Never);
        let report = &mut self.report;
        report.fences += 1;
        let holder = report.holders.iter_mut().find(|holder| holder.name == name);
        if let Some(holder) = holder {
            holder.fence = number;
        }
        report.fences_without_number += usize::from(number.is_none());
        report.fences_expiring += usize::from(expires);
        let fault = match (number, expires) {
            (Some(_), false) => return,
            (Some(_), true) => "it expires",
            (None, false) => "it has no number",
            (None, true) => "it expires and has no number",
        };
        if report.faulty_fences.len() < MOST_NAMED {
            report.faulty_fences.insert(name, fault);
        }
        if !expires || self.run.dry_run || report.error.is_some() {
            return;
        }
        match Box::pin(self.backend.remove_expiry(one)).await {
            Ok(Settled::Done) => report.fences_mended += 1,
            Ok(Settled::Gone | Settled::Changed) => {}
            Err(error) => report.error = Some(error.to_string()),
        }
    }

    /// Whether more may be begun.
    fn has_time(&mut self) -> bool {
        let has_time = self.backend.clock().instant() < self.run.last_call;
        self.report.more |= !has_time;
        has_time
    }

    fn end(mut self) -> LocksReport {
        oldest(&mut self.report.holders);
        let mut slots: Vec<(String, usize)> = self.slots.into_iter().collect();
        slots.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        slots.truncate(MOST_NAMED);
        self.report.slots = slots.into_iter().collect();
        self.report
    }
}

/// Leaves those that have been held for longest.
fn oldest(holders: &mut Vec<Holder>) {
    holders.sort_by(|a, b| {
        b.age_seconds
            .cmp(&a.age_seconds)
            .then_with(|| a.name.cmp(&b.name))
    });
    holders.truncate(MOST_NAMED);
}

fn keep<T>(named: &mut Vec<T>, one: impl FnOnce() -> T) {
    if named.len() < MOST_NAMED {
        named.push(one());
    }
}
