//! State: a key-value backend on DynamoDB, byte-compatible with Teleport's.
//!
//! | part | concept |
//! |---|---|
//! | [`Key`], [`Range`], [`Item`], [`Lease`], [`Revision`] | what is stored, and under which names |
//! | [`Layout`] | where in the table: Teleport's one partition, or our own |
//! | [`Config`] | what a backend is opened with |
//! | [`Backend`] | the operations |
//! | [`ConditionalAction`] | several conditions and writes as one |
//! | [`BatchOutcome`] | many writes, each for itself |
//! | [`LockConfiguration`], [`LockGuard`], [`Semaphore`], [`Election`] | locks, and what is made of them |
//! | [`LeaseSet`] | keys that live as long as they are kept alive |
//! | [`Error`], [`ErrorKind`] | what a caller can do |
//!
//! # Expiry
//! An item is live while its `Expires` is not before the current second; past that it is absent, for every read and
//! every condition, judged by the clock as each attempt is sent. DynamoDB deletes it hours later; nothing here waits for
//! that. Writers of Teleport 17 and older beside us judge differently: their Create is blocked by an expired item that
//! nobody has deleted, their Update revives it, and their Get deletes it. Either side reads what the other wrote.
//!
//! # Outcomes
//! A request that is known not applied (throttled, in conflict, never sent) is tried again until the call's deadline. One
//! whose answer was lost is settled by a read where that can tell, and ends as [`ErrorKind::OutcomeUnknown`] where it
//! cannot: never as a refusal, and never repeated where that could undo another's write.
//!
//! # Price
//! The docs of each operation say how many requests it makes and what one costs; retries and the read that settles an
//! unknown outcome come on top. A refused condition costs what a write of the item would. In a partitioned table an item
//! with an expiry stands in an index as well: a write unit more for a write or a delete of it, two for a change of the
//! expiry.
//!
//! # Metrics
//! Through the facade of the crate `metrics`: `tidewatch_state_requests_total` (table, operation, outcome),
//! `tidewatch_state_request_seconds` and `tidewatch_state_capacity_units` (table, operation).

mod atomic;
mod attempts;
#[cfg(feature = "autoscaling")]
mod autoscaling;
mod backend;
mod batch;
mod config;
mod delete;
mod departure;
pub mod dump;
mod error;
mod expression;
pub(crate) mod fault;
pub(crate) mod item;
mod items;
mod key;
mod layout;
mod lease_set;
mod lock;
mod open;
mod put;
mod range;
mod read;
pub(crate) mod record;
pub(crate) mod release;
mod skew;
pub(crate) mod sweep;
mod write;

pub use atomic::{Action, Condition, ConditionalAction, MAX_ATOMIC_WRITE_SIZE};
pub use backend::Backend;
pub use batch::BatchOutcome;
pub(crate) mod teleport;

#[cfg(feature = "autoscaling")]
pub use autoscaling::{AutoScaling, AutoScalingError};
pub use config::{BACKEND_NAME, BillingMode, Config, ConfigError, ConfigFault, Scaling};
pub use error::{Error, ErrorKind};
pub use item::{Entry, Item, Lease, Revision};
pub use key::Key;
pub use layout::{Layout, LayoutError, Partitioned};
pub use lease_set::LeaseSet;
pub use lock::{Election, Leader, Leadership, LockConfiguration, LockGuard, LockScope, RunError, Semaphore};
pub use range::{ItemsParams, Range};
