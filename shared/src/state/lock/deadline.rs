//! Until when something that expires may be relied on.

use std::time::{Duration, SystemTime};

use crate::clock::{Clock, Instant};
use crate::state::item::{seconds, time_of};

/// Both clocks, read together.
#[derive(Debug, Clone, Copy)]
pub(in crate::state) struct Moment {
    pub(in crate::state) wall: SystemTime,
    pub(in crate::state) monotonic: Instant,
}

impl Moment {
    pub(in crate::state) fn of(clock: &Clock) -> Self {
        Self {
            wall: clock.now(),
            monotonic: clock.instant(),
        }
    }

    /// The expiry that is stored for `ttl` from here: in whole seconds, rounded down.
    pub(in crate::state) fn expiry(self, ttl: Duration) -> SystemTime {
        let at = self.wall + ttl;
        time_of(seconds(at)).unwrap_or(at)
    }
}

/// A stored expiry less the allowed skew, on both clocks. Whichever passes first ends it: the monotonic one does not see
/// a machine that was frozen, the wall clock can be set back.
#[derive(Debug, Clone, Copy)]
pub(in crate::state) struct Deadline {
    pub(in crate::state) expires: SystemTime,
    wall: SystemTime,
    monotonic: Instant,
}

impl Deadline {
    /// Of an expiry that was decided at `begun`, before it was sent.
    pub(in crate::state) fn of(expires: SystemTime, skew: Duration, begun: Moment) -> Self {
        let wall = expires.checked_sub(skew).unwrap_or(SystemTime::UNIX_EPOCH);
        let left = wall.duration_since(begun.wall).unwrap_or_default();
        Self {
            expires,
            wall,
            monotonic: begun.monotonic + left,
        }
    }

    /// What is left of it, by the clock that leaves less.
    pub(in crate::state) fn left(&self, clock: &Clock) -> Duration {
        let wall = self.wall.duration_since(clock.now()).unwrap_or_default();
        wall.min(self.monotonic.saturating_duration_since(clock.instant()))
    }

    pub(in crate::state) fn has_passed(&self, clock: &Clock) -> bool {
        self.left(clock).is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_clock_gets_there_first_ends_it() {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_500));
        let begun = Moment::of(&clock);
        let ttl = Duration::from_secs(30);
        let left = |begun: Moment| {
            let deadline = Deadline::of(begun.expiry(ttl), Duration::from_secs(2), begun);
            deadline.left(&clock).as_millis()
        };
        assert_eq!(left(begun), 27_500);
        let hour = Duration::from_secs(3600);
        let (back, ahead) = (begun.wall + hour, begun.wall - Duration::from_secs(10));
        assert_eq!(
            left(Moment { wall: back, ..begun }),
            27_500,
            "the wall clock was set back since"
        );
        assert_eq!(
            left(Moment { wall: ahead, ..begun }),
            17_500,
            "it went on while the machine slept"
        );
        let deadline = Deadline::of(begun.expiry(ttl), Duration::from_secs(2), begun);
        clock.advance(Duration::from_millis(27_499));
        assert!(!deadline.has_passed(&clock));
        clock.advance(Duration::from_millis(1));
        assert!(deadline.has_passed(&clock));
    }
}
