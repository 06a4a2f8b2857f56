//! What waits in the spool is handed on: [`forward::drain`](crate::forward::drain) as a task.

use super::{Metric, Report, Run};
use crate::forward::drain::{self, Options};

impl Report for drain::Report {
    fn metrics(&self) -> Vec<Metric> {
        let sinks = || self.sinks.values();
        // Of what was not looked at, one is the least that may wait.
        let waiting = sinks().map(|sink| sink.left.as_ref().map_or(1, |left| left.objects));
        let oldest = sinks()
            .filter_map(|sink| sink.left.as_ref()?.oldest_seconds)
            .max();
        // Some months in seconds.
        #[allow(clippy::cast_precision_loss)]
        let oldest = oldest.unwrap_or_default() as f64;
        vec![
            Metric::count("drain_records", sinks().map(|sink| sink.records).sum()),
            Metric::count("drain_waiting_objects", waiting.sum()),
            Metric::seconds("drain_oldest_seconds", oldest),
            Metric::count(
                "drain_sinks_failing",
                sinks().filter(|sink| sink.error.is_some()).count(),
            ),
        ]
    }

    fn is_complete(&self) -> bool {
        let empty = |sink: &drain::SinkReport| sink.left.as_ref().is_some_and(|left| left.objects == 0);
        self.error.is_none() && self.sinks.values().all(empty)
    }
}

/// A run's time, as those who hand records over know it.
pub(super) fn options(run: Run) -> Options {
    Options {
        last_call: run.last_call,
        deadline: run.stop,
        dry_run: run.dry_run,
    }
}
