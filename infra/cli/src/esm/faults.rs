//! Faults, drawn from a seed and counted, and the counters of everything else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidewatch::random::Random;

/// What can be made to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The answer of a completed invocation is thrown away and the batch comes again.
    Redelivery,
    /// An invocation stalls, is given up as timed out, its batch comes again, and then it goes on running.
    Zombie,
    /// A batch is formed, or formed again, with another size.
    Recut,
    /// An invocation dies in the middle of its work.
    Crash,
    /// An invocation begins late.
    Slow,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Redelivery,
        Self::Zombie,
        Self::Recut,
        Self::Crash,
        Self::Slow,
    ];

    /// Its name in summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redelivery => "redelivery",
            Self::Zombie => "zombie",
            Self::Recut => "recut",
            Self::Crash => "crash",
            Self::Slow => "slow",
        }
    }
}

/// How often a mapping did what; faults are counted when they happened, not when they were planned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Invocations begun.
    pub invocations: u64,
    /// Records handed to the function, repeats included.
    pub records: u64,
    /// Batches answered with complete success.
    pub successes: u64,
    /// Partial answers.
    pub partial: u64,
    /// Function errors, malformed answers and time-outs.
    pub errors: u64,
    /// Time-outs among them.
    pub timeouts: u64,
    /// Batches split after an error.
    pub bisected: u64,
    /// Retries.
    pub retries: u64,
    /// Records given up after the last retry.
    pub exhausted: u64,
    /// Records given up for their age.
    pub too_old: u64,
    /// On-failure payloads that could not be written.
    pub destination_failures: u64,
    /// Injected: [`Fault::Redelivery`].
    pub redeliveries: u64,
    /// Injected: [`Fault::Zombie`].
    pub zombies: u64,
    /// Injected: [`Fault::Recut`].
    pub recut: u64,
    /// Injected: [`Fault::Crash`].
    pub crashes: u64,
    /// Injected: [`Fault::Slow`].
    pub slow: u64,
}

impl Counts {
    /// How often this fault happened.
    pub fn of(&self, fault: Fault) -> u64 {
        match fault {
            Fault::Redelivery => self.redeliveries,
            Fault::Zombie => self.zombies,
            Fault::Recut => self.recut,
            Fault::Crash => self.crashes,
            Fault::Slow => self.slow,
        }
    }

    pub(super) fn fired(&mut self, fault: Fault) {
        *match fault {
            Fault::Redelivery => &mut self.redeliveries,
            Fault::Zombie => &mut self.zombies,
            Fault::Recut => &mut self.recut,
            Fault::Crash => &mut self.crashes,
            Fault::Slow => &mut self.slow,
        } += 1;
    }
}

/// Which faults to inject. Each planned one is tried until it has happened once; after that it happens at its rate.
#[derive(Debug)]
pub struct Faults {
    planned: Mutex<Vec<Fault>>,
    kinds: Vec<Fault>,
    /// Of a thousand invocations, how many get one fault of each kind.
    per_mille: u64,
    /// The longest stall of a zombie and delay of a slow invocation.
    pub(super) delay: Duration,
    random: Random,
}

impl Faults {
    /// No faults.
    pub fn none() -> Self {
        Self::new(&[], 0, Duration::ZERO, Random::seeded(0))
    }

    /// These kinds, each at `per_mille` of the invocations, stalling for at most `delay`.
    pub fn new(kinds: &[Fault], per_mille: u64, delay: Duration, random: Random) -> Self {
        Self {
            planned: Mutex::new(kinds.to_vec()),
            kinds: kinds.to_vec(),
            per_mille,
            delay,
            random,
        }
    }

    /// The fault of the next invocation.
    pub(super) fn draw(&self) -> Option<Fault> {
        let planned: Vec<Fault> = self
            .planned()
            .iter()
            .copied()
            .filter(|&fault| fault != Fault::Recut)
            .collect();
        let place = usize::try_from(self.random.below(planned.len() as u64)).unwrap_or_default();
        planned.get(place).copied().or_else(|| {
            self.kinds
                .iter()
                .copied()
                .find(|&fault| fault != Fault::Recut && self.random.below(1000) < self.per_mille)
        })
    }

    /// Whether the next batch is to be cut anew.
    pub(super) fn draw_recut(&self) -> bool {
        self.planned().contains(&Fault::Recut)
            || (self.kinds.contains(&Fault::Recut) && self.random.below(1000) < self.per_mille)
    }

    /// The fault has happened.
    pub(super) fn fired(&self, fault: Fault) {
        self.planned().retain(|&planned| planned != fault);
    }

    fn planned(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
