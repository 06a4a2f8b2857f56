//! When something was so, on both clocks.

use std::time::{Duration, SystemTime};

use crate::clock::{Clock, Instant};

/// A time on both clocks: while a machine sleeps, the monotonic one may stand still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    instant: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self {
            instant: clock.instant(),
            wall: clock.now(),
        }
    }

    /// Whether less than `limit` has passed since, on either clock. A wall clock that was set back has passed it.
    pub(super) fn is_within(&self, limit: Duration, clock: &Clock) -> bool {
        let passed = clock.now().duration_since(self.wall);
        clock.instant() < self.instant + limit && passed.is_ok_and(|passed| passed < limit)
    }

    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.instant <= other.instant
    }
}
