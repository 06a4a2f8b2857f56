//! Watch: every change, in order, for any number of watchers.
//!
//! ```text
//! state table ─▶ its stream ─▶ forward ─▶ watch log ─┐
//!                     │                              ├─▶ fan-out (one reader a process) ─▶ watchers
//!                     └───────── stream reader ──────┘
//! ```
//! | part | concept |
//! |---|---|
//! | [`Event`], [`Operation`] | what a watcher is told |
//! | [`Filter`], [`Prefix`] | which changes it asks for |
//! | [`Position`] | where it is; a token to go on from |
//! | [`Watches`] | watchers of a source: [`watch`](Watches::watch), [`list_and_watch`](Watches::list_and_watch) |
//! | [`Watcher`], [`Notice`] | one of them, and what it is told |
//! | [`TeleportWatches`] | the contract of Teleport's watchers |
//! | [`log`] | the watch log: a table of numbered segments |
//! | [`feed`] | a state table's Lambda events into its log |
//! | `stream` (feature `streams`) | the table's stream, for one process without Lambda |
//!
//! # Guarantees
//! Order and uniqueness are those of a key: its changes come in the order of the writes, each once. Nothing is missing
//! between two events of a watcher, or it ends with [`WatchError::Compacted`]. Changes of different keys, those of one
//! transaction too, may come in any order: etcd's atomicity of a revision is not given.
//!
//! A gap follows the loss that it tells of, it cannot precede it: changes made after what was lost may be seen first.

mod error;
mod event;
mod fanout;
pub mod feed;
mod filter;
pub mod log;
mod position;
mod record;
#[cfg(test)]
mod simulation;
mod source;
#[cfg(feature = "streams")]
pub mod stream;

pub use error::WatchError;
pub use event::{Cause, Delete, Event, Operation, Put, Value};
pub use fanout::{
    Notice, Settings, Start, TeleportEvent, TeleportWatch, TeleportWatcher, TeleportWatches, Values,
    WatchParams, Watcher, Watches,
};
pub use filter::{Filter, Operations, Prefix};
pub use position::{InvalidPosition, Position};
