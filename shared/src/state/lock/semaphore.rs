//! Semaphores: so many locks under one name.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;

use super::{LockConfiguration, LockGuard};
use crate::state::{Backend, Error, ErrorKind, Key, Range};

const OPERATION: &str = "acquire_slot";

/// At most so many holders at a time: the locks `.locks/<name>/0`, `.locks/<name>/1`, ….
///
/// Each slot is a lock, with its deadline, its loss and, if the configuration is fenced, a number of its own: numbers of
/// two slots cannot be compared. All who share the semaphore must give it the same number of slots. It is not fair: who
/// waits longest is not served first.
#[derive(Debug, Clone)]
pub struct Semaphore {
    backend: Backend,
    configuration: LockConfiguration,
    slots: u32,
}

impl Backend {
    /// A semaphore under the name of `configuration`. No request.
    pub fn semaphore(&self, configuration: LockConfiguration, slots: u32) -> Semaphore {
        Semaphore {
            backend: self.clone(),
            configuration,
            slots,
        }
    }
}

impl Semaphore {
    /// The most slots.
    pub const MAX_SLOTS: u32 = 1000;

    /// Takes a slot, waiting while there is none, until the deadline of the backend's calls.
    ///
    /// Requests: a query (half a read unit for each 4 KB of slots in use, doubled for consistency; one a partition of a
    /// partitioned layout) and those of [`try_acquire_lock`](Backend::try_acquire_lock) for a slot that looks free. A
    /// waiter's look is a query. Cancellation: as [`acquire_lock`](Backend::acquire_lock).
    ///
    /// # Errors
    /// As [`acquire_lock`](Backend::acquire_lock); [`BadParameter`](ErrorKind::BadParameter) also for no slots or more
    /// than [`MAX_SLOTS`](Self::MAX_SLOTS).
    pub async fn acquire(&self) -> Result<LockGuard, Error> {
        let backend = self.backend.with_deadline(self.backend.deadline());
        let (clock, interval) = (backend.clock(), self.configuration.retry_interval());
        let mut pause = interval;
        loop {
            let next = match self.take(&backend).await? {
                Taken::Slot(guard) => return Ok(guard),
                Taken::None(next) => next,
            };
            let left = backend.deadline().saturating_duration_since(clock.instant());
            if left <= interval {
                let what = "all slots were in use until the deadline; none is held: try again";
                return Err(self.error(ErrorKind::Contended, what));
            }
            let rest = pause / 2 + backend.random().jitter(pause);
            pause = pause.saturating_mul(2).min(interval.saturating_mul(8));
            // The first slot to expire is free a second after its expiry.
            let free = next.and_then(|at| at.checked_add(Duration::from_secs(1)));
            let free = free.map(|at| at.duration_since(clock.now()).unwrap_or_default());
            let free = free.map_or(rest, |free| free + backend.random().jitter(interval / 2));
            clock.sleep(rest.min(free).min(left - interval)).await;
        }
    }

    /// Takes a slot if there is one. Requests and errors as [`acquire`](Self::acquire), without the waiting.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(&self) -> Result<Option<LockGuard>, Error> {
        let backend = self.backend.with_deadline(self.backend.deadline());
        Ok(match self.take(&backend).await? {
            Taken::Slot(guard) => Some(guard),
            Taken::None(_) => None,
        })
    }

    async fn take(&self, backend: &Backend) -> Result<Taken, Error> {
        if !(1..=Self::MAX_SLOTS).contains(&self.slots) {
            let what = format!("{} slots: 1 to {} are due", self.slots, Self::MAX_SLOTS);
            return Err(self.error(ErrorKind::BadParameter, what));
        }
        if let Some(fault) = self.configuration.fault(backend.config().lock_skew) {
            return Err(self.error(ErrorKind::BadParameter, fault));
        }
        let prefix = self.configuration.key().join("");
        let mut first: Option<SystemTime> = None;
        let mut used = HashSet::new();
        let mut entries = std::pin::pin!(backend.entries(Range::Prefix(prefix.clone()).into()));
        while let Some(entry) = entries.try_next().await? {
            // Locks of other names may live below this one.
            let slot = self.slot_of(&entry.key.trim_prefix(&prefix));
            if slot.is_some_and(|slot| used.insert(slot)) {
                first = first.into_iter().chain(entry.expires).min();
            }
        }
        let mut free: Vec<u32> = (0..self.slots).filter(|slot| !used.contains(slot)).collect();
        while !free.is_empty() {
            // Not the first: others look at the same list.
            let draw = backend
                .random()
                .below(u64::try_from(free.len()).unwrap_or_default());
            let slot = free.swap_remove(usize::try_from(draw).unwrap_or_default());
            let slot = self.configuration.below(slot.to_string());
            if let Some(guard) = backend.try_acquire_lock(&slot).await? {
                return Ok(Taken::Slot(guard));
            }
        }
        Ok(Taken::None(first))
    }

    /// The slot of what follows the name; none if it is not one of ours.
    fn slot_of(&self, rest: &Key) -> Option<u32> {
        let text = rest.as_str()?;
        let slot: u32 = text.parse().ok()?;
        (slot < self.slots && slot.to_string() == text).then_some(slot)
    }

    fn error(&self, kind: ErrorKind, what: impl Into<String>) -> Error {
        let key = self.configuration.key();
        Error::new(kind, OPERATION, self.backend.table(), Some(&key), what)
    }
}

enum Taken {
    Slot(LockGuard),
    /// None, and when the first one in use expires.
    None(Option<SystemTime>),
}
