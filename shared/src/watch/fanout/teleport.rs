//! The contract of Teleport's watchers.
//!
//! A watcher's first event is [`Init`](TeleportEvent::Init); whoever has it reads everything, and is told of what changes
//! from there on. There is no position and no error: a watcher whose changes cannot all be told is closed, and its user
//! starts over. All watchers are closed together when changes were missed or one cannot be read, as Teleport's are when
//! its stream breaks.
//!
//! Teleport gives each watcher a queue and closes those whose queue has been full for long. Here nobody has a queue: what
//! a watcher has not taken yet is counted instead, and lies in the memory that all share, or in the source. So the grace
//! periods are kept, and a slow watcher costs nothing until they are over.

use std::fmt;
use std::future::Future;

use tokio::sync::watch;

use super::strict::Strict;
use super::values::Values;
use super::watcher::{Notice, Watcher};
use super::watches::{Start, WatchParams, Watches};
use crate::state::{Item, Key};
use crate::watch::error::WatchError;
use crate::watch::event::{Operation, Value};
use crate::watch::filter::{Filter, Operations, Prefix};

/// What a watcher asks for: Teleport's `Watch`.
#[derive(Debug, Clone, Default)]
pub struct TeleportWatch {
    /// For the log.
    pub name: String,
    /// What keys begin with, separators or not; none for all keys.
    pub prefixes: Vec<Key>,
    /// How many events it may be behind before the grace periods count; 0 for `buffer_size`.
    pub queue_size: usize,
}

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeleportEvent {
    /// The first: what changes from here on is told.
    Init,
    /// An item was written or kept alive: key, value, expiry and revision.
    Put(Item),
    /// A key was deleted, or had expired.
    Delete(Key),
}

/// Watchers with Teleport's contract. Cheap to clone.
///
/// What ends all of them ends all that were made of the same [`Watches`]; its other watchers go on.
#[derive(Debug, Clone)]
pub struct TeleportWatches {
    watches: Watches,
    values: Values,
}

/// A watcher with Teleport's contract. Dropping it closes it.
pub struct TeleportWatcher {
    watcher: Watcher,
    init: bool,
    done: watch::Receiver<()>,
}

impl TeleportWatches {
    /// Over these watches. A source that leaves out values needs [`Values::Fetch`]: there is no event without a value, so
    /// that one which stays away would close all watchers.
    pub fn new(watches: Watches, values: Values) -> Self {
        Self { watches, values }
    }

    /// A new watcher, which has [`Init`](TeleportEvent::Init) for its first event. Everything that changes after the call
    /// comes behind that. Costs as [`Watches::watch`].
    ///
    /// # Errors
    /// Those of [`Watches::watch`]: the source is not ready, or the watches were closed.
    pub async fn new_watcher(&self, watch: TeleportWatch) -> Result<TeleportWatcher, WatchError> {
        let prefixes = watch.prefixes.into_iter();
        // A prefix without bytes takes everything, as none does.
        let filter = Filter::new(prefixes.map(Prefix::Plain), Operations::All);
        let shared = self.watches.shared();
        let queue = match watch.queue_size {
            0 => shared.buffer_size,
            size => size,
        };
        let (strict, done) = Strict::new(watch.name, queue, shared.clock.instant());
        let params = WatchParams {
            filter,
            start: Start::Now,
            progress: None,
            values: self.values.clone(),
        };
        Ok(TeleportWatcher {
            watcher: self.watches.start(params, Some(strict)).await?,
            init: false,
            done,
        })
    }

    /// Closes all watchers; new ones may follow.
    pub fn close_watchers(&self) {
        self.watches.shared().reset(&WatchError::Closed);
    }
}

impl TeleportWatcher {
    /// The next event: waits until there is one. None once the watcher is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<TeleportEvent> {
        if self.is_done() {
            return None;
        }
        if !self.init {
            self.init = true;
            return Some(TeleportEvent::Init);
        }
        loop {
            let event = match self.watcher.next().await {
                Ok(Notice::Event { event, .. }) => event,
                Ok(Notice::Progress(_)) => continue,
                Err(error) => {
                    if error.is_compacted() {
                        self.lost(&error.to_string());
                    } else if !matches!(error, WatchError::Closed) {
                        tracing::warn!(%error, "closing watcher");
                    }
                    return None;
                }
            };
            self.watcher.shared().delivered(self.watcher.id());
            match &event.operation {
                Operation::Put(put) => match &put.value {
                    Value::Inline(value) => {
                        return Some(TeleportEvent::Put(Item {
                            key: event.key.clone(),
                            value: value.clone(),
                            expires: put.expires,
                            revision: put.revision.clone(),
                        }));
                    }
                    // It was read, and is another's by now: that comes later.
                    Value::Omitted if self.watcher.fetches() => {}
                    Value::Omitted => self.lost("a value was left out, and is not to be read"),
                },
                Operation::Delete(_) => return Some(TeleportEvent::Delete(event.key.clone())),
                Operation::Unknown => self.lost("a change could not be read"),
            }
            if self.is_done() {
                return None;
            }
        }
    }

    /// Waits until the watcher is closed.
    pub fn done(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut done = self.done.clone();
        async move {
            // Nothing is ever sent: the sender is dropped.
            while done.changed().await.is_ok() {}
        }
    }

    /// Whether the watcher is closed.
    pub fn is_done(&self) -> bool {
        self.done.has_changed().is_err()
    }

    /// Closes it.
    pub fn close(&self) {
        self.watcher.shared().leave(self.watcher.id());
    }

    fn lost(&self, why: &str) {
        tracing::warn!(why, "closing watchers: changes cannot be told any more");
        self.watcher.shared().reset(&WatchError::Compacted {
            floor: Box::new(self.watcher.position()),
            why: why.to_owned(),
        });
    }
}

impl fmt::Debug for TeleportWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeleportWatcher")
            .field("watcher", &self.watcher)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}
