//! A lock that is held.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::select;
use tokio::sync::watch;

use super::LockConfiguration;
use super::deadline::{Deadline, Moment};
use crate::clock::Instant;
use crate::state::attempts::Attempts;
use crate::state::expression::Expression;
use crate::state::fault::Fault;
use crate::state::{Backend, Error, ErrorKind, Key, Lease};

/// The wall clock may jump while one sleeps by the monotonic one: it is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// A lock that is held: to be refreshed before its [`deadline`](LockScope::deadline), and released.
///
/// Dropping it does not release the lock: it stands until it expires. What can be asked of it is that of [`LockScope`].
#[derive(Debug)]
pub struct LockGuard {
    scope: LockScope,
}

/// What work under a lock can ask of it. Cheap to clone; it outlives the guard, and tells then that the lock is not held.
#[derive(Debug, Clone)]
pub struct LockScope(Arc<Held>);

struct Held {
    backend: Backend,
    lease: Lease,
    value: Vec<u8>,
    ttl: Duration,
    retry_interval: Duration,
    fence: Option<u64>,
    term: watch::Sender<Term>,
}

/// Without the token, and what a leader published behind it.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("lease", &self.lease)
            .field("fence", &self.fence)
            .field("term", &*self.term.borrow())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct Term {
    deadline: Deadline,
    /// Lost or released. What has ended once does not begin again, whatever the clocks say.
    ended: bool,
}

/// What became of a lock by its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It was there, or was deleted by an attempt whose answer was lost.
    Deleted,
    /// There was none.
    Absent,
    /// It is another's.
    Taken,
}

impl LockScope {
    /// The key of its item.
    pub fn key(&self) -> &Key {
        &self.0.lease.key
    }

    /// Key and revision of its item. The revision stays until the lock is another's, so that an atomic write with
    /// [`Condition::Revision`](crate::state::Condition::Revision) of it happens under the lock or not at all: the fence
    /// inside the table.
    pub fn lease(&self) -> &Lease {
        &self.0.lease
    }

    /// The number of this acquisition, greater than that of every earlier one; none unless the lock is
    /// [fenced](LockConfiguration::fenced). A resource that remembers the greatest number it has seen, and refuses lower
    /// ones, is safe from holders that do not know that they lost the lock. One that does not check is not.
    pub fn fence(&self) -> Option<u64> {
        self.0.fence
    }

    /// Until when the lock may be relied on: the stored expiry less the allowed skew, on the clock that gets there first.
    /// Moves with each refresh; now, if the lock is no longer held. For [`Backend::with_deadline`], so that what is done under the lock ends with it.
    pub fn deadline(&self) -> Instant {
        let clock = self.0.backend.clock();
        let term = *self.0.term.borrow();
        let left = if term.ended {
            Duration::ZERO
        } else {
            term.deadline.left(clock)
        };
        clock.instant() + left
    }

    /// The stored expiry, as far as it is known: it may be later if a refresh's answer was lost.
    pub fn expires(&self) -> SystemTime {
        self.0.term.borrow().deadline.expires
    }

    /// Whether the lock is held by all that is known here: it was not seen lost, not released, and its deadline is not
    /// past. No request. True is a matter of clocks: between this answer and what is done on it any time may pass.
    pub fn is_held(&self) -> bool {
        let clock = self.0.backend.clock();
        self.0.term.send_if_modified(|term| {
            let passed = !term.ended && term.deadline.has_passed(clock);
            term.ended |= passed;
            passed
        });
        !self.0.term.borrow().ended
    }

    /// Waits until the lock is no longer held: lost, past its deadline, or released. Cancel-safe. A jump of the wall clock
    /// is noticed within a second.
    pub async fn lost(&self) {
        let mut changes = self.0.term.subscribe();
        while self.is_held() {
            let clock = self.0.backend.clock();
            let left = self.0.term.borrow().deadline.left(clock).min(LOOK);
            let sleep = std::pin::pin!(clock.sleep(left));
            select(sleep, std::pin::pin!(changes.changed())).await;
        }
    }

    fn end(&self) {
        self.0.term.send_modify(|term| term.ended = true);
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, what: impl Into<String>) -> Error {
        Error::new(kind, operation, self.0.backend.table(), Some(self.key()), what)
    }

    fn lost_error(&self, what: &str) -> Error {
        let what = format!("the lock is lost: {what}; stop what it guards");
        self.error(ErrorKind::Lost, "refresh_lock", what)
    }
}

impl Deref for LockGuard {
    type Target = LockScope;

    fn deref(&self) -> &LockScope {
        &self.scope
    }
}

impl LockGuard {
    pub(super) fn new(
        backend: &Backend,
        configuration: &LockConfiguration,
        lease: Lease,
        value: Vec<u8>,
        deadline: Deadline,
    ) -> Self {
        let term = Term {
            deadline,
            ended: false,
        };
        Self {
            scope: LockScope(Arc::new(Held {
                backend: backend.clone(),
                lease,
                value,
                ttl: configuration.ttl(),
                retry_interval: configuration.retry_interval(),
                fence: None,
                term: watch::Sender::new(term),
            })),
        }
    }

    pub(super) fn number(&mut self, fence: u64) {
        // Nobody else has it yet.
        if let Some(held) = Arc::get_mut(&mut self.scope.0) {
            held.fence = Some(fence);
        }
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.scope.0.value
    }

    /// What work under the lock is given.
    pub fn scope(&self) -> &LockScope {
        &self.scope
    }

    /// Moves the expiry to a ttl from now, and the deadline with it. The revision stays. One request.
    ///
    /// Cancel-safe: the expiry may have moved, the deadline has not.
    ///
    /// # Errors
    /// [`Lost`](ErrorKind::Lost) if the lock is no longer ours, its deadline has passed, or this machine's clock is proven
    /// to differ from DynamoDB's by more than the allowed skew: it is never held again. After any other error,
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) too, it is held until the deadline it had: try again.
    pub async fn refresh(&self) -> Result<(), Error> {
        let held = &self.scope.0;
        if !self.is_held() {
            return Err(self.lost_error("it was released, or its deadline has passed"));
        }
        self.clock_holds()?;
        let begun = Moment::of(held.backend.clock());
        let expires = begun.expiry(held.ttl);
        // Later than the deadline it is of no use.
        let until = (begun.monotonic + held.backend.config().operation_timeout).min(self.deadline());
        let refreshed = held
            .backend
            .with_deadline(until)
            .keep_alive(&held.lease, expires)
            .await;
        match refreshed {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IncorrectRevision) => {
                self.end();
                return Err(self.lost_error("it has expired, or is another's"));
            }
            Err(_) if !self.is_held() => {
                return Err(self.lost_error("its deadline passed before it was refreshed"));
            }
            Err(error) if error.kind() == ErrorKind::BadParameter => {
                let what = format!("this machine's clock went back, or somebody changed the item: {error}");
                return Err(self.error(ErrorKind::Unavailable, "refresh_lock", what));
            }
            Err(error) => return Err(error),
        }
        self.clock_holds()?;
        let deadline = Deadline::of(expires, held.backend.config().lock_skew, begun);
        if !self.is_held() {
            return Err(self.lost_error("its deadline passed before it was refreshed"));
        }
        held.term.send_modify(|term| {
            if deadline.expires >= term.deadline.expires {
                term.deadline = deadline;
            }
        });
        Ok(())
    }

    /// Refreshes the lock every half of its ttl, sooner if little is left of it, until it is lost; answers why. A refresh
    /// that fails without proving that is tried again. Cancel-safe; to be run beside the work, as
    /// [`run_while_locked`](Backend::run_while_locked) does.
    pub async fn keep(&self) -> Error {
        let held = &self.scope.0;
        let clock = held.backend.clock();
        let mut soon = false;
        loop {
            let left = self.deadline().saturating_duration_since(clock.instant());
            let pause = match soon {
                false => (held.ttl / 2).min(left / 3 * 2),
                true => held.retry_interval.min(left / 3),
            };
            select(
                std::pin::pin!(clock.sleep(pause)),
                std::pin::pin!(self.scope.lost()),
            )
            .await;
            match Box::pin(self.refresh()).await {
                Ok(()) => soon = false,
                Err(error) if error.kind() == ErrorKind::Lost => return error,
                Err(error) if error.kind() == ErrorKind::Closed => {
                    self.end();
                    return error;
                }
                Err(error) => {
                    soon = true;
                    tracing::warn!(key = %self.key(), table = held.backend.table(), "lock not refreshed: {error}");
                }
            }
        }
    }

    /// Deletes the lock if it is still ours, expired or not. One request; repeated until it is known, for as long as a
    /// call may take.
    ///
    /// # Errors
    /// [`CompareFailed`](ErrorKind::CompareFailed) if it has expired and is gone, or its ownership has changed: it was lost
    /// before. [`OutcomeUnknown`](ErrorKind::OutcomeUnknown), and what any request may end with: it may stand until it
    /// expires.
    pub async fn release(self) -> Result<(), Error> {
        let limit = self.scope.0.backend.config().operation_timeout;
        self.release_within(limit).await
    }

    pub(super) async fn release_within(self, limit: Duration) -> Result<(), Error> {
        self.end();
        let held = &self.scope.0;
        let backend = held.backend.with_deadline(held.backend.clock().instant() + limit);
        let what = match backend.delete_token(self.key(), &held.value).await? {
            Gone::Deleted => return Ok(()),
            Gone::Absent => "it has expired",
            Gone::Taken => "its ownership has changed",
        };
        let what = format!("cannot release the lock: {what}, it was lost before");
        Err(self.error(ErrorKind::CompareFailed, "release_lock", what))
    }

    /// A clock that is proven wrong proves nothing about the deadline.
    fn clock_holds(&self) -> Result<(), Error> {
        match self.scope.0.backend.clock_fault() {
            None => Ok(()),
            Some(fault) => {
                self.end();
                Err(self.lost_error(&fault))
            }
        }
    }
}

impl Backend {
    /// Deletes a lock by its token. May be repeated: nobody else ever has the token.
    pub(super) async fn delete_token(&self, key: &Key, value: &[u8]) -> Result<Gone, Error> {
        let mut attempts = Attempts::new(self, "release_lock", Some(key));
        let primary = self.primary(&attempts, key)?;
        let mut ours = Expression::empty()
            .name("#v", "Value")
            .value(":token", AttributeValue::B(Blob::new(value)));
        ours.text = "#v = :token".to_owned();
        let mut unknown: Option<Fault> = None;
        loop {
            let request = self.delete_request("release_lock", primary.clone(), ours.clone());
            let again = match attempts.send(request).await {
                Ok(_) => return Ok(Gone::Deleted),
                // Whether the earlier attempt or its expiry ended it: it was not lost while we held it.
                Err(Fault::Refused(_)) if unknown.is_some() => return Ok(Gone::Deleted),
                Err(Fault::Refused(None)) => return Ok(Gone::Absent),
                Err(Fault::Refused(Some(_))) => return Ok(Gone::Taken),
                Err(Fault::Unknown(said)) => {
                    unknown = Some(Fault::Unknown(said.clone()));
                    attempts.again(&Fault::NotSent(said)).await
                }
                Err(fault) => attempts.again_known(&fault).await,
            };
            if let Err(error) = again {
                return Err(unknown.map_or(error, |unknown| attempts.gave_up(&unknown)));
            }
        }
    }
}
