//! What the hub keeps of a watcher with Teleport's contract: how long it is behind by more than its queue.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Instant;

/// How long a watcher may have more to take than its queue holds.
const BACKLOG: Duration = Duration::from_secs(59);
/// How long a new watcher may take for it: its user reads everything first.
const CREATION: Duration = Duration::from_secs(177);

/// What the hub keeps of a watcher with this contract.
#[derive(Debug)]
pub(super) struct Strict {
    name: String,
    queue: i64,
    created: Instant,
    /// What was read for it, less what it has taken. Below zero while it is ahead of the hub.
    waiting: i64,
    /// Since when more is waiting than the queue holds.
    since: Option<Instant>,
    /// Whoever waits for the end is told when it is dropped.
    _done: watch::Sender<()>,
}

impl Strict {
    pub(super) fn new(name: String, queue: usize, created: Instant) -> (Self, watch::Receiver<()>) {
        let (sender, done) = watch::channel(());
        let strict = Self {
            name,
            queue: i64::try_from(queue).unwrap_or(i64::MAX),
            created,
            waiting: 0,
            since: None,
            _done: sender,
        };
        (strict, done)
    }

    /// Its events are those from here on.
    pub(super) fn begin(&mut self) {
        self.waiting = 0;
        self.since = None;
    }

    /// An event for it was read. Whether the grace is over.
    pub(super) fn read(&mut self, now: Instant) -> bool {
        self.waiting += 1;
        self.over(now)
    }

    /// It has taken an event. Whether the grace is over.
    pub(super) fn delivered(&mut self, now: Instant) -> bool {
        self.waiting -= 1;
        self.over(now)
    }

    fn over(&mut self, now: Instant) -> bool {
        if self.waiting <= self.queue {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) > BACKLOG
            && now.saturating_duration_since(self.created) > CREATION
    }

    pub(super) fn warn(&self) {
        tracing::warn!(
            watcher = self.name,
            waiting = self.waiting,
            "closing watcher, buffer overflow"
        );
    }
}
