//! Mistakes that the simulation plants to see that it finds them. Outside tests there are none.

use super::Lake;

/// A mistake in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub(crate) enum Plant {
    /// An output that is there is written anew.
    OutputsOverwritten,
    /// Inputs are read, and sidecars looked at, before the plan is made.
    InputsReadBeforePlan,
    /// The plan is deleted whoever's it is.
    PlanDeletedUnconditionally,
    /// Nobody looks at sidecars.
    RepeatsNotLookedFor,
    /// Inputs are deleted before outputs are written.
    InputsDeletedFirst,
}

impl Lake {
    /// The same lake with a mistake in it.
    #[cfg(test)]
    pub(crate) fn planted(mut self, plant: Option<Plant>) -> Self {
        self.plant = plant;
        self
    }

    #[cfg(test)]
    pub(super) fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    pub(super) const fn has(&self, _: Plant) -> bool {
        false
    }
}
