//! Time, injected: the wall clock, the monotonic clock and waiting.
//!
//! Everything that reads the time or waits takes a [`Clock`]. [`Clock::system`] is the machine's;
//! [`Clock::simulated`] derives the wall clock from tokio's, so a test under `tokio::time::pause` decides both.

#![allow(clippy::disallowed_methods)] // The one place that may read the machine's clocks.

use std::future::Future;
use std::time::{Duration, SystemTime};

pub use tokio::time::Instant;

/// A source of time. Cheap to clone; clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Simulated { start: SystemTime, since: Instant },
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

    /// The wall clock.
    pub fn now(&self) -> SystemTime {
        match self.0 {
            Source::System => SystemTime::now(),
            Source::Simulated { start, since } => start + since.elapsed(),
        }
    }

    /// The monotonic clock, for measuring and for deadlines.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// The instant at which the wall clock will read `at`, or now if that is past.
    pub fn instant_at(&self, at: SystemTime) -> Instant {
        self.instant() + at.duration_since(self.now()).unwrap_or_default()
    }

    /// Waits. Cancel-safe.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Runs `future` for at most `limit`; after that it is dropped, so it must be safe to cancel.
    ///
    /// # Errors
    /// [`TimedOut`] if the limit passed first.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, TimedOut> {
        tokio::time::timeout(limit, future).await.map_err(|_| TimedOut)
    }
}
