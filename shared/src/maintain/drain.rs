//! What waits in the spool is handed on: [`forward::drain`](crate::forward::drain) as a task.

use super::{Metric, Report, Run};
use crate::forward::drain::{self, Options};

impl Report for drain::Report {
    fn metrics(&self) -> Vec<Metric> {
        let sinks = || self.sinks.values();
        // Of what was not looked at, one is the least that may wait.
        let waiting = sinks().map(|sink| sink.left.as_ref().map_or(1, |left| left.objects));
        let mut metrics = vec![
            Metric::count("drain_records", sinks().map(|sink| sink.records).sum()),
            Metric::count("drain_waiting_objects", waiting.sum()),
            Metric::count(
                "drain_sinks_failing",
                sinks().filter(|sink| sink.error.is_some()).count(),
            ),
        ];
        metrics.extend(oldest(self).map(|age| Metric::seconds("drain_oldest_seconds", age)));
        metrics
    }

    fn is_complete(&self) -> bool {
        let empty = |sink: &drain::SinkReport| sink.left.as_ref().is_some_and(|left| left.objects == 0);
        self.error.is_none() && self.sinks.values().all(empty)
    }
}

/// For how long the oldest has waited, of all sinks; none if that is not known of one: a zero would tell an alarm that all
/// is well where nobody looked.
fn oldest(report: &drain::Report) -> Option<f64> {
    if report.error.is_some() {
        return None;
    }
    let ages = report.sinks.values().map(|sink| match sink.left.as_ref()? {
        left if left.objects == 0 => Some(0),
        left => left.oldest_seconds,
    });
    let ages: Vec<u64> = ages.collect::<Option<_>>()?;
    // Some months in seconds.
    #[allow(clippy::cast_precision_loss)]
    let oldest = ages.into_iter().max().unwrap_or_default() as f64;
    Some(oldest)
}

/// A run's time, as those who hand records over know it.
pub(super) fn options(run: Run) -> Options {
    Options {
        last_call: run.last_call,
        deadline: run.stop,
        dry_run: run.dry_run,
    }
}
