//! The fan-out: one reader of the source for all watchers of a process.
//!
//! ```text
//! source ─▶ reader (one task) ─▶ ring of recent chunks ─▶ watchers: a cursor and a position each
//!    └───────── a reader of its own, for a batch at a time ─────────▶ a watcher that fell behind the ring
//! ```
//! | part | concept |
//! |---|---|
//! | `hub` | the task that reads, who is woken, what ends everybody |
//! | `ring` | the last chunks, bounded in events and bytes; what has been evicted |
//! | `index` | from a key to the watchers that ask for it |
//! | `watcher` | what one watcher does next: deliver, look at the ring, read by itself, wait |
//! | `backlog` | what a watcher took out of a chunk or a batch and has not delivered yet |
//! | `values` | values that the source leaves out, read once for all |
//! | `list` | what a list says of the events that come after it |
//! | `teleport` | the contract of Teleport's watchers |
//!
//! # Costs
//! An event costs a lookup in the index and a wake-up for each watcher that it matches; watchers that it does not match
//! are not touched. While a watcher has nothing to look at, the hub's position is its position. It reads the source by
//! itself only if something *for it* has been evicted before it looked.
//!
//! # Joining the ring
//! `evicted` is the position behind everything that was evicted, at first the position that the hub's reader began at. A
//! watcher may join if its position covers it in every lane: what it has not seen is in the ring then. What it has seen
//! already is told by its own marks, entry by entry.

mod backlog;
mod hub;
mod index;
mod list;
mod listed;
mod ring;
mod settings;
mod strict;
mod teleport;
mod values;
mod watcher;
mod watches;

pub use settings::Settings;
pub use teleport::{TeleportEvent, TeleportWatch, TeleportWatcher, TeleportWatches};
pub use values::Values;
pub use watcher::{Notice, Watcher};
pub use watches::{Start, WatchParams, Watches};

#[cfg(test)]
mod tests;
