//! What a look for canaries tells.

use serde::Serialize;

use crate::maintain::task::{Metric, Report};
use crate::redrive::gaps::State;

/// What a run found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CanaryReport {
    /// Nothing was emitted.
    pub dry_run: bool,
    /// Whether marked events are looked for, and not the table's newest row.
    pub marked: bool,
    /// The audit table.
    pub table: String,
    /// The event that must have come out; none if there is none that old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_for: Option<LookedFor>,
    /// The uid of the marked event that was emitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emitted: Option<String>,
    /// The sinks.
    pub sinks: Vec<SinkReport>,
    /// There was no time for the rest.
    pub more: bool,
    /// Why no event was emitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An event that must have come out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LookedFor {
    /// Its id.
    pub id: String,
    /// The row's partition key.
    pub session_id: String,
    /// The row's sort key.
    pub event_index: String,
    /// How old it was.
    pub age_seconds: u64,
}

/// What is known of a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkReport {
    /// Its name.
    pub sink: String,
    /// What the look says.
    pub verdict: Verdict,
    /// What became of the event that must have come out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// How old the newest marked event is that the sink holds, or the oldest that it should hold if it holds none; of an
    /// attached table how old the row is. What comes out has taken no longer than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<u64>,
    /// What follows from it, if anything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consequence: Option<String>,
}

/// What a look at a sink says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It came out. A lake has it once it is staged: whether the task `lake` files it, that task tells.
    Seen,
    /// It did not come out in time, and is somewhere on its way.
    Late,
    /// It is nowhere.
    Missing,
    /// There are marked events, and none is so old that it must have come out.
    Pending,
    /// There is nothing to look for.
    Nothing,
    /// The sink's filter keeps it away: this says nothing about other events.
    Filtered,
    /// The sink cannot be read.
    Unreadable,
    /// It could not be looked at; the consequence says why.
    Failed,
    /// There was no time.
    NotLooked,
}

impl Verdict {
    /// Whether something was looked for where it can be found.
    pub fn is_judged(self) -> bool {
        matches!(self, Self::Seen | Self::Late | Self::Missing)
    }
}

impl Report for CanaryReport {
    fn metrics(&self) -> Vec<Metric> {
        let missing = self.sinks.iter().any(|sink| sink.verdict == Verdict::Missing);
        let looked = self.sinks.iter().filter(|sink| sink.verdict.is_judged());
        let delay = self.sinks.iter().filter_map(|sink| sink.delay_seconds).max();
        // Seconds of a delay are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let delay = delay.unwrap_or_default() as f64;
        vec![
            Metric::count("canary_missing", usize::from(missing)),
            Metric::count("canary_looked", looked.count()),
            Metric::seconds("canary_delay_seconds", delay),
        ]
    }

    fn is_complete(&self) -> bool {
        let failed = self.sinks.iter().any(|sink| sink.verdict == Verdict::Failed);
        !self.more && !failed && self.error.is_none()
    }
}
