//! Time, injected: the wall clock, the monotonic clock and waiting.
//!
//! Everything that reads the time or waits takes a [`Clock`]. [`Clock::system`] is the machine's;
//! [`Clock::simulated`] derives the wall clock from tokio's, so a test under `tokio::time::pause` decides both;
//! [`Clock::manual`] stands still until a test moves it, for tests with sockets, which a paused runtime cannot wait for.

#![allow(clippy::disallowed_methods)] // The one place that may read the machine's clocks.

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
pub use tokio::time::Instant;

/// A source of time. Cheap to clone; clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Simulated {
        start: SystemTime,
        since: Instant,
    },
    Manual {
        start: SystemTime,
        since: Instant,
        passed: watch::Sender<Duration>,
    },
}

/// What [`Clock::timeout`] answers when the time ran out; the future has been dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct TimedOut;

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A wall clock that reads `start` now and goes on with tokio's clock, which a test can pause and advance.
    /// Must be called inside a tokio runtime.
    pub fn simulated(start: SystemTime) -> Self {
        Self(Source::Simulated {
            start,
            since: Instant::now(),
        })
    }

    /// Clocks that stand still until [`advance`](Self::advance) moves them. A timeout runs on the machine's time all the
    /// same, so that what hangs is found.
    pub fn manual(start: SystemTime) -> Self {
        Self(Source::Manual {
            start,
            since: Instant::now(),
            passed: watch::Sender::new(Duration::ZERO),
        })
    }

    /// Moves a [`manual`](Self::manual) clock and all its clones; nothing else is moved by it.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual { passed, .. } = &self.0 {
            passed.send_modify(|passed| *passed += by);
        }
    }

    /// Whether it is the machine's, and so can be compared with other machines'.
    pub fn is_system(&self) -> bool {
        matches!(self.0, Source::System)
    }

    /// The wall clock.
    pub fn now(&self) -> SystemTime {
        match self.0 {
            Source::System => SystemTime::now(),
            Source::Simulated { start, since } => start + since.elapsed(),
            Source::Manual {
                start, ref passed, ..
            } => start + *passed.borrow(),
        }
    }

    /// The monotonic clock, for measuring and for deadlines.
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::Manual { since, passed, .. } => *since + *passed.borrow(),
            _ => Instant::now(),
        }
    }

    /// The instant at which the wall clock will read `at`, or now if that is past.
    pub fn instant_at(&self, at: SystemTime) -> Instant {
        self.instant() + at.duration_since(self.now()).unwrap_or_default()
    }

    /// When an invocation of Lambda ends, by the milliseconds in its context: since 1970, or what is left, which is what
    /// `cargo lambda watch` (1.9) sends.
    pub fn end_of_invocation(&self, milliseconds: u64) -> SystemTime {
        const DAY: Duration = Duration::from_secs(86_400);
        let sent = Duration::from_millis(milliseconds);
        if sent < DAY {
            self.now() + sent
        } else {
            SystemTime::UNIX_EPOCH + sent
        }
    }

    /// Waits. Cancel-safe.
    pub async fn sleep(&self, duration: Duration) {
        if let Source::Manual { passed, .. } = &self.0 {
            let until = *passed.borrow() + duration;
            // The sender is here, so it cannot be closed.
            let _ = passed.subscribe().wait_for(|passed| *passed >= until).await;
        } else {
            tokio::time::sleep(duration).await;
        }
    }

    /// Runs `future` for at most `limit`; after that it is dropped, so it must be safe to cancel.
    ///
    /// # Errors
    /// [`TimedOut`] if the limit passed first.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, TimedOut> {
        tokio::time::timeout(limit, future).await.map_err(|_| TimedOut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_invocation_ends_when_lambda_says_or_as_much_later() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Clock::simulated(now);
        let later = now + Duration::from_secs(300);
        for sent in [1_800_000_300_000, 300_000] {
            assert_eq!(clock.end_of_invocation(sent), later);
        }
    }
}
