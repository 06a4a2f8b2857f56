//! Until when tries may go on, and the pauses between them.

use std::time::Duration;

use crate::clock::{Clock, Instant};
use crate::random::Random;

/// Until when tries may go on.
#[derive(Clone, Copy)]
pub(crate) struct Tries<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) random: &'a Random,
    pub(crate) stop: Instant,
}

/// Longest pause between tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(100);

impl Tries<'_> {
    pub(crate) fn left(&self) -> Duration {
        self.stop.saturating_duration_since(self.clock.instant())
    }

    /// The same, but for a time at most; half of what is left is kept for what comes after.
    pub(crate) fn within(self, budget: Duration) -> Self {
        let stop = self.clock.instant() + budget.min(self.left() / 2);
        Self { stop, ..self }
    }

    /// Waits with full jitter, at most until the stop; the next pause is twice as long.
    pub(crate) async fn pause(&self, pause: &mut Duration) {
        // Never nothing at all: a sink that fails at once would be asked without end.
        let wait = self.random.jitter(*pause).max(Duration::from_millis(1));
        self.clock.sleep(wait.min(self.left())).await;
        *pause = (*pause * 2).min(MAX_PAUSE);
    }
}
