//! Locks, semaphores and elections: items under `.locks/` that expire, byte-compatible with Teleport's locks.
//!
//! | part | concept |
//! |---|---|
//! | [`LockConfiguration`] | which lock, and for how long |
//! | [`LockGuard`], [`LockScope`] | a lock that is held; what work under it can ask |
//! | [`Backend::run_while_locked`] | work under a lock, refreshed meanwhile, released after |
//! | [`Semaphore`] | at most so many holders |
//! | [`Election`] | a holder that publishes a value |
//!
//! # The item
//! Key `.locks/<name>`; `Value` the token, sixteen random bytes drawn for each acquisition (behind them what a leader
//! publishes); `Expires` the clock plus the ttl, in whole seconds, rounded down. A refresh moves `Expires` and nothing
//! else. A Teleport beside us honours our locks and we honour its.
//!
//! # What a lock promises
//! - Two guards of one lock are never both before their deadlines, as long as the clocks of the holders are no further
//!   apart than the allowed skew ([`Config::lock_skew`](super::Config::lock_skew), 1 s by default). The deadline is the
//!   stored expiry less that skew, on the wall and the monotonic clock, whichever gets there first.
//! - A machine whose clock is proven wrong by more than that, by the dates of DynamoDB's answers, acquires and refreshes
//!   nothing. What is proven is a lower bound, rounded by up to a second. It is not watched where the clock is injected.
//! - Loss is signalled by the deadline at the latest: [`LockScope::lost`].
//! - With [`LockConfiguration::fenced`], each holder's number is greater than every earlier holder's.
//! - A request whose answer was lost is settled by reading, is never taken for another's lock, and is taken back by its
//!   token where it cannot be settled.
//!
//! # What it does not
//! - No lock stops a process: one that was paused goes on as its deadline passes. Only what is checked where it takes
//!   effect is safe: [`Backend::atomic_write`] in the same table under the lock's
//!   [`lease`](LockScope::lease), or a resource that checks the [`fence`](LockScope::fence).
//! - It is not fair, and not reentrant: a second acquisition in the same process waits like any other's.
//! - A future of [`Backend::acquire_lock`] that is dropped, a guard that is dropped, or a process that crashes leaves the
//!   lock standing until it expires. Nothing is sent by a drop.
//! - A request that arrives after its call has ended can leave a lock that nobody holds; it expires in its time.
//! - Teleport's holders take no fencing number. Its release reads and then deletes without condition, so that one of its
//!   holders that is late can delete our live lock: the next refresh tells. Its versions to 17 take an expired lock over
//!   up to a second sooner than we do, still after our deadline.
//! - On an eventually consistent global table there are no locks; they are refused.
//!
//! No transaction is ever made here, so that no writer beside us is made to fail.

mod configuration;
mod deadline;
mod election;
mod fence;
mod guard;
#[allow(clippy::module_inception)]
mod lock;
mod run;
mod semaphore;

#[cfg(doc)]
use super::Backend;

pub use configuration::LockConfiguration;
pub(super) use configuration::ttl_fault;
pub(super) use deadline::{Deadline, Moment};
pub use election::{Election, Leader, Leadership};
pub(super) use fence::number;
pub use guard::{LockGuard, LockScope};
pub use run::RunError;
pub use semaphore::Semaphore;
