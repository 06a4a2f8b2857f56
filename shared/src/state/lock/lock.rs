//! Acquiring a lock.

use std::time::{Duration, SystemTime};

use super::LockConfiguration;
use super::configuration::ROUNDING;
use super::deadline::{Deadline, Moment};
use super::fence;
use super::guard::LockGuard;
use crate::clock::Instant;
use crate::state::attempts::Attempts;
use crate::state::{Backend, Error, ErrorKind, Item, Key, Lease};

/// A waiter's pause grows to so many intervals.
const LONGEST_PAUSE: u32 = 8;
/// How long a call that failed tries to take back what it may have written.
const CLEAN_UP: Duration = Duration::from_secs(1);

const OPERATION: &str = "acquire_lock";

impl Backend {
    /// Acquires a lock, waiting while another holds it, until the deadline of the call
    /// ([`with_deadline`](Self::with_deadline)).
    ///
    /// Requests: one for a lock that is free, three if it is [fenced](LockConfiguration::fenced); a read more if it is the
    /// backend's first request of all, so that a wrong clock is found before it takes a live lock for an expired one. While another holds it:
    /// one that is refused, then a consistent read (half a read unit) a look. The pauses between looks grow from the retry
    /// interval, and end with the other's expiry.
    ///
    /// Cancellation: a future that is dropped may leave the lock in the table, where it stands in the way of everybody
    /// until it expires. Bound the wait by the deadline instead.
    ///
    /// # Errors
    /// [`Contended`](ErrorKind::Contended) if another held it until the deadline; [`BadParameter`](ErrorKind::BadParameter)
    /// for a configuration without name or with too short a ttl; [`Unavailable`](ErrorKind::Unavailable) also if this
    /// machine's clock is proven to differ from DynamoDB's by more than the allowed skew;
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) if it may be ours without our knowing: we tried to release it;
    /// [`WrongTable`](ErrorKind::WrongTable) on an eventually consistent global table; and what any request may end with.
    pub async fn acquire_lock(&self, configuration: &LockConfiguration) -> Result<LockGuard, Error> {
        self.acquire_with(configuration, &[]).await
    }

    /// Acquires a lock if nobody holds it; none if another does. Requests, cancellation and errors as
    /// [`acquire_lock`](Self::acquire_lock), without the waiting: one request if it is free, and one if it is not.
    ///
    /// # Errors
    /// As [`acquire_lock`](Self::acquire_lock).
    pub async fn try_acquire_lock(
        &self,
        configuration: &LockConfiguration,
    ) -> Result<Option<LockGuard>, Error> {
        self.obtain(configuration, &[], false).await
    }

    /// As [`acquire_lock`](Self::acquire_lock), with something that is stored behind the token.
    pub(super) async fn acquire_with(
        &self,
        configuration: &LockConfiguration,
        published: &[u8],
    ) -> Result<LockGuard, Error> {
        let held = self.obtain(configuration, published, true).await?;
        held.ok_or_else(|| {
            let (key, what) = (configuration.key(), "another holds the lock");
            Error::new(ErrorKind::Contended, OPERATION, self.table(), Some(&key), what)
        })
    }

    async fn obtain(
        &self,
        configuration: &LockConfiguration,
        published: &[u8],
        waits: bool,
    ) -> Result<Option<LockGuard>, Error> {
        let key = configuration.key();
        let backend = self.with_deadline(self.deadline());
        let attempts = Attempts::new(&backend, OPERATION, Some(&key));
        backend.conditions_hold(&attempts)?;
        if let Some(fault) = configuration.fault(backend.config().lock_skew) {
            return Err(attempts.error(ErrorKind::BadParameter, fault));
        }
        loop {
            let mut acquisition = Acquisition {
                backend: &backend,
                configuration,
                key: &key,
                // New for each acquisition, and the same for all of its attempts: by it they are known.
                value: [backend.random().uuid().as_bytes().as_slice(), published].concat(),
                deadline: backend.deadline(),
                waits,
                pause: configuration.retry_interval,
                unknown: false,
            };
            match Box::pin(acquisition.run()).await {
                Ok(Step::Held(guard)) => return Ok(Some(guard)),
                Ok(Step::HeldByAnother) => return Ok(None),
                Ok(Step::Over(guard, why)) => {
                    let key = guard.key().clone();
                    // Still in the way, it would be taken for another's.
                    guard.release_within(CLEAN_UP).await.or_else(|error| {
                        if error.kind() == ErrorKind::CompareFailed {
                            return Ok(());
                        }
                        let what = format!("{why}, and it could not be released: {error}");
                        Err(acquisition.error(ErrorKind::OutcomeUnknown, what).about(&key))
                    })?;
                    acquisition.rest(acquisition.jitter(), why).await?;
                }
                Err(error) => return Err(acquisition.give_up(error).await),
            }
        }
    }

    /// Whether this machine's clock is, as far as anybody knows, near enough to the others'.
    pub(in crate::state) fn clock_fault(&self) -> Option<String> {
        let (proven, allowed) = (self.skew().proven(), self.config().lock_skew);
        (proven > allowed).then(|| {
            format!(
                "this machine's clock differs from DynamoDB's by {proven:?} at least, and {allowed:?} is allowed: set it \
                 right"
            )
        })
    }
}

/// How an acquisition ended.
enum Step {
    Held(LockGuard),
    HeldByAnother,
    /// It was ours, and is of no use: why.
    Over(LockGuard, &'static str),
}

/// One acquisition: one token.
struct Acquisition<'a> {
    backend: &'a Backend,
    configuration: &'a LockConfiguration,
    key: &'a Key,
    value: Vec<u8>,
    deadline: Instant,
    waits: bool,
    pause: Duration,
    /// A create of ours may have been, or may yet be, applied.
    unknown: bool,
}

impl Acquisition<'_> {
    async fn run(&mut self) -> Result<Step, Error> {
        if self.backend.clock().is_system() && !self.backend.skew().has_seen_an_answer() {
            // A clock that is wrong would take a live lock for an expired one: whether it is, the first answer tells.
            let _ = self.backend.get(self.key).await;
        }
        loop {
            // Read before the lock is created: whoever numbers in between is noticed when we do.
            let fence = match self.configuration.fenced {
                true => Some(fence::read(self.backend, &self.configuration.fence_key()).await?),
                false => None,
            };
            self.clock_holds()?;
            let begun = Moment::of(self.backend.clock());
            let deadline = self.deadline_of(begun.expiry(self.configuration.ttl), begun);
            // A lock that took longer to get would be half over: rather try again with another expiry.
            let until = begun.monotonic + deadline.left(self.backend.clock()) / 2;
            let item = Item::new(self.key, self.value.as_slice()).expiring(deadline.expires);
            let created = self
                .backend
                .with_deadline(until.min(self.deadline))
                .create(&item)
                .await;
            let held = match created {
                Ok(lease) => Some((lease, deadline)),
                Err(error) => match error.kind() {
                    ErrorKind::AlreadyExists if !self.waits && !self.unknown => {
                        return Ok(Step::HeldByAnother);
                    }
                    ErrorKind::AlreadyExists => self.look().await?,
                    ErrorKind::OutcomeUnknown => {
                        self.unknown = true;
                        self.look().await?
                    }
                    ErrorKind::Throttled | ErrorKind::Contended | ErrorKind::Unavailable => {
                        if self.left() <= self.configuration.retry_interval {
                            return Err(error);
                        }
                        self.rest(self.jitter(), "it could not be created").await?;
                        continue;
                    }
                    _ => return Err(error),
                },
            };
            match held {
                Some((lease, deadline)) => return self.held(lease, deadline, fence).await,
                // Seen free by now.
                None if self.waits || self.unknown => {}
                None => return Ok(Step::HeldByAnother),
            }
        }
    }

    /// Looks until the lock is ours (by an earlier attempt), or free, or another's if nobody waits.
    async fn look(&mut self) -> Result<Option<(Lease, Deadline)>, Error> {
        loop {
            let begun = Moment::of(self.backend.clock());
            let item = match self.backend.get(self.key).await {
                Ok(item) => item,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if self.unknown {
                        self.rest(self.jitter(), "it could not be created").await?;
                    }
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            let expires = item.expires;
            if item.value == self.value {
                let deadline = self.deadline_of(expires.unwrap_or(begun.wall), begun);
                let lease = Lease {
                    key: item.key,
                    revision: item.revision,
                };
                return Ok(Some((lease, deadline)));
            }
            if !self.waits {
                self.unknown = false;
                return Ok(None);
            }
            let pause = self.next_pause(expires);
            self.rest(pause, "another holds it").await?;
        }
    }

    /// What is still to be done with a lock that is ours.
    async fn held(
        &self,
        lease: Lease,
        deadline: Deadline,
        fence: Option<fence::Fence>,
    ) -> Result<Step, Error> {
        let value = self.value.clone();
        let mut guard = LockGuard::new(self.backend, self.configuration, lease, value, deadline);
        if let Err(error) = self.clock_holds() {
            let _ = guard.release_within(CLEAN_UP).await;
            return Err(error);
        }
        if let Some(fence) = fence {
            let numbered = fence::take(self.backend, self.configuration, &guard, fence).await;
            match numbered {
                Ok(Some(number)) => guard.number(number),
                Ok(None) => return Ok(Step::Over(guard, "its fencing number could not be had")),
                Err(error) => {
                    let _ = guard.release_within(CLEAN_UP).await;
                    return Err(error);
                }
            }
        }
        if guard.is_held() {
            Ok(Step::Held(guard))
        } else {
            Ok(Step::Over(guard, "it took longer to get than it lasts"))
        }
    }

    /// The error of a call whose creates may have been applied: what they left is taken away, as far as can be.
    async fn give_up(&self, error: Error) -> Error {
        if !self.unknown {
            return error;
        }
        let backend = self
            .backend
            .with_deadline(self.backend.clock().instant() + CLEAN_UP);
        // Whatever this says, an attempt may yet arrive.
        let _ = backend.delete_token(self.key, &self.value).await;
        let what = format!(
            "nobody knows whether it was or will be created for this call; if so, it stands for nobody until it expires, \
             within {:?}: {error}",
            self.configuration.ttl
        );
        self.error(ErrorKind::OutcomeUnknown, what)
    }

    fn deadline_of(&self, expires: SystemTime, begun: Moment) -> Deadline {
        Deadline::of(expires, self.backend.config().lock_skew, begun)
    }

    fn clock_holds(&self) -> Result<(), Error> {
        let fault = self.backend.clock_fault();
        fault.map_or(Ok(()), |fault| Err(self.error(ErrorKind::Unavailable, fault)))
    }

    /// The pause after a look: longer each time, and not past the moment at which the lock is free.
    fn next_pause(&mut self, expires: Option<SystemTime>) -> Duration {
        let interval = self.configuration.retry_interval;
        let pause = self.pause;
        self.pause = (pause * 2).min(interval * LONGEST_PAUSE);
        // Waiters that began together do not go on together.
        let pause = pause / 2 + self.backend.random().jitter(pause);
        let free = expires.and_then(|at| at.checked_add(ROUNDING));
        let free = free.map(|at| at.duration_since(self.backend.clock().now()).unwrap_or_default());
        match free {
            Some(free) if free < pause => free + self.backend.random().jitter(interval / 2),
            _ => pause,
        }
    }

    fn jitter(&self) -> Duration {
        let interval = self.configuration.retry_interval;
        interval / 2 + self.backend.random().jitter(interval / 2)
    }

    fn left(&self) -> Duration {
        let now = self.backend.clock().instant();
        self.deadline.saturating_duration_since(now)
    }

    /// Waits, and leaves time for one more look.
    async fn rest(&self, pause: Duration, why: &str) -> Result<(), Error> {
        let interval = self.configuration.retry_interval;
        let left = self.left();
        if left <= interval {
            let what = format!("{why}, until the deadline; nothing is held: try again");
            return Err(self.error(ErrorKind::Contended, what));
        }
        self.backend.clock().sleep(pause.min(left - interval)).await;
        Ok(())
    }

    fn error(&self, kind: ErrorKind, what: impl Into<String>) -> Error {
        Error::new(kind, OPERATION, self.backend.table(), Some(self.key), what)
    }
}
