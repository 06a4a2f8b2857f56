//! Randomness, injected: jitter and unique names come from a [`Random`], seeded in tests.

#![allow(clippy::disallowed_methods)] // The one place that may make a generator.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

/// A source of random numbers, not for secrets. Clones share one sequence.
#[derive(Debug, Clone)]
pub struct Random {
    numbers: Arc<Mutex<fastrand::Rng>>,
    seeded: bool,
}

impl Random {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self::from(fastrand::Rng::new(), false)
    }

    /// The same sequence for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self::from(fastrand::Rng::with_seed(seed), true)
    }

    fn from(rng: fastrand::Rng, seeded: bool) -> Self {
        Self {
            numbers: Arc::new(Mutex::new(rng)),
            seeded,
        }
    }

    /// An id that nobody else draws: a UUIDv4 of the operating system's randomness, which a process that was frozen
    /// and copied does not repeat; of the sequence if that is seeded.
    pub fn uuid(&self) -> Uuid {
        if self.seeded {
            let (high, low) = (self.u64(), self.u64());
            uuid::Builder::from_random_bytes((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
                .into_uuid()
        } else {
            Uuid::new_v4()
        }
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
        draw(&mut self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
