//! What became of a batch.

use std::collections::BTreeMap;
use std::time::Duration;

use super::disposition::Skip;
use super::handed::Origin;

/// What became of a batch. Every record in is counted once under delivered, spooled, filtered, skipped, quarantined or
/// retried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The version of the configuration in force when the batch arrived; none where it has no versions.
    pub config: Option<String>,
    /// Newer versions that are of no use: the batch went by the one before them.
    pub config_faults: usize,
    /// Where the records come from; none for the stream.
    pub origin: Option<Origin>,
    /// Records of the batch.
    pub records_in: usize,
    /// Delivered to every sink whose filter lets them through, by this batch or, as repeats, before.
    pub delivered: usize,
    /// Waiting in the spool of a sink at least, by this batch or before, and delivered to the others.
    pub spooled: usize,
    /// Kept by filters from every sink.
    pub filtered: usize,
    /// Skipped, by reason.
    pub skipped: BTreeMap<Skip, usize>,
    /// Quarantined.
    pub quarantined: usize,
    /// Reported to Lambda, which sends them again.
    pub retried: usize,
    /// Events too large for a sink, delivered to it as pointers; a sink that gets one counts one.
    pub spilled: usize,
    /// Deliveries that a sink, or its spool, was spared because this environment remembers them.
    pub repeats: usize,
    /// Age of the oldest delivered record of the stream, where creation times are known.
    pub lag: Option<Duration>,
    /// Time the batch took.
    pub took: Duration,
    /// What each sink did, by name.
    pub sinks: BTreeMap<String, SinkReport>,
}

/// What a sink did with a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Records it took.
    pub delivered: usize,
    /// Records it was spared.
    pub repeats: usize,
    /// Records that its filter kept from it.
    pub filtered: usize,
    /// Records that went to its spool.
    pub spooled: usize,
    /// Of those it took, events that were too large for it.
    pub spilled: usize,
    /// Records that made it panic, quarantined for it.
    pub quarantined: usize,
    /// Bytes of lines it took, newlines not counted.
    pub bytes: usize,
    /// Tries that failed.
    pub failures: usize,
    /// Its last failure.
    pub error: Option<String>,
}

impl SinkReport {
    /// With what another place of the same name did.
    pub(crate) fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.repeats += other.repeats;
        self.filtered += other.filtered;
        self.spooled += other.spooled;
        self.spilled += other.spilled;
        self.quarantined += other.quarantined;
        self.bytes += other.bytes;
        self.failures += other.failures;
        self.error = other.error.or(self.error.take());
    }
}

impl Report {
    /// All skipped records.
    pub fn skipped(&self) -> usize {
        self.skipped.values().sum()
    }
}
