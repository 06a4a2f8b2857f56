//! Mistakes that the simulation plants to see that it finds them. Outside tests there are none.

use super::Log;

/// A mistake in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Plant {
    /// What stands in the log is appended again.
    RepeatsNotLookedFor,
    /// Only the newest segment is looked at.
    WalkCutShort,
    /// What a later change of its key has overtaken is appended all the same.
    OvertakenAppended,
    /// A head that was remembered for too long is used.
    RememberedForEver,
    /// Nobody looks which stream a record is of.
    StreamNotCompared,
    /// The newest segment of a bucket is removed like the others.
    NewestCompacted,
    /// The number of buckets changes, the old ones are left open, and no appender looks again by itself.
    NotSealed,
}

impl Log {
    /// The same log with a mistake in it.
    #[cfg(test)]
    pub(crate) fn planted(mut self, plant: Option<Plant>) -> Self {
        if let Some(inner) = std::sync::Arc::get_mut(&mut self.inner) {
            inner.plant = plant;
        }
        self
    }

    #[cfg(test)]
    pub(super) fn has(&self, plant: Plant) -> bool {
        self.inner.plant == Some(plant)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    pub(super) const fn has(&self, _: Plant) -> bool {
        false
    }
}
