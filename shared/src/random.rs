//! Randomness, injected: jitter and unique names come from a [`Random`], seeded in tests.

#![allow(clippy::disallowed_methods)] // The one place that may make a generator.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A source of random numbers, not for secrets. Clones share one sequence.
#[derive(Debug, Clone)]
pub struct Random(Arc<Mutex<fastrand::Rng>>);

impl Random {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::new())))
    }

    /// The same sequence for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A number in `0..bound` (0 for a bound of 0).
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.with(|rng| rng.u64(..bound))
        }
    }

    /// Any number: for unique names.
    pub fn u64(&self) -> u64 {
        self.with(|rng| rng.u64(..))
    }

    /// Full jitter: a duration between zero and `limit`.
    pub fn jitter(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.with(fastrand::Rng::f64))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
