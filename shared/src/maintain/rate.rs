//! Keeping to a number of capacity units a second.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Instant};

/// What may be taken of a table: so many units a second, a second's worth at once.
///
/// What a request takes is known when it is answered. So it is taken then, into debt if need be, and the next request waits
/// until the debt is paid: over the time that a task runs the rate holds, but for its last requests.
#[derive(Debug)]
pub(crate) struct Rate {
    clock: Clock,
    per_second: Option<f64>,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    /// Units that may be taken; below zero is debt.
    left: f64,
    at: Instant,
}

impl Rate {
    /// So many units a second; none for as many as there are.
    pub(crate) fn new(clock: &Clock, per_second: Option<NonZeroU32>) -> Self {
        let per_second = per_second.map(|units| f64::from(units.get()));
        Self {
            clock: clock.clone(),
            per_second,
            level: Mutex::new(Level {
                left: per_second.unwrap_or_default(),
                at: clock.instant(),
            }),
        }
    }

    /// Takes what a request took.
    pub(crate) fn take(&self, units: f64) {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).left -= units;
    }

    /// Waits until a request may be sent; false, without waiting, if that is not before `until`.
    pub(crate) async fn ready(&self, until: Instant) -> bool {
        loop {
            let now = self.clock.instant();
            if now >= until {
                return false;
            }
            let wait = self.wait(now);
            if wait.is_zero() {
                return true;
            }
            if now.checked_add(wait).is_none_or(|at| at >= until) {
                return false;
            }
            self.clock.sleep(wait).await;
        }
    }

    fn wait(&self, now: Instant) -> Duration {
        let Some(per_second) = self.per_second else {
            return Duration::ZERO;
        };
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(level.at).as_secs_f64();
        level.left = (level.left + passed * per_second).min(per_second);
        level.at = now;
        if level.left > 0.0 {
            return Duration::ZERO;
        }
        // Tokio's clock counts milliseconds.
        Duration::try_from_secs_f64(-level.left / per_second)
            .unwrap_or(Duration::MAX)
            .saturating_add(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[tokio::test(start_paused = true)]
    async fn debt_is_waited_for() {
        let clock = Clock::simulated(SystemTime::UNIX_EPOCH);
        let (begun, end) = (clock.instant(), clock.instant() + Duration::from_secs(100));
        let rate = Rate::new(&clock, NonZeroU32::new(10));
        for _ in 0..20 {
            assert!(rate.ready(end).await);
            rate.take(25.0);
        }
        let took = clock.instant() - begun;
        // 500 units at 10 a second, less the first second's and the last debt, which nobody waited for.
        assert!((46.0..48.0).contains(&took.as_secs_f64()), "{took:?}");
        assert!(!rate.ready(clock.instant() + Duration::from_secs(1)).await);
        assert_eq!(clock.instant() - begun, took, "it is told at once");
        let none = Rate::new(&clock, None);
        none.take(1e12);
        assert!(none.ready(end).await);
    }
}
