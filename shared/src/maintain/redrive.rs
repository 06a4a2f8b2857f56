//! What Lambda gave up is handed over again: [`redrive::failures`](crate::redrive::failures) as a task. What is in
//! quarantine is replayed by command only: after a fix, and by who made it.

use super::{Metric, Report};
use crate::redrive::failures;

/// Objects that are there after a run, as far as it saw: one that stays after it was tried is among both.
fn left(report: &failures::Report) -> usize {
    let not_taken = report.waiting.objects.saturating_sub(report.objects);
    let cut = report.dry_run || report.error.is_some();
    report.stay.max(if cut { not_taken } else { 0 }) + usize::from(report.more)
}

impl Report for failures::Report {
    fn metrics(&self) -> Vec<Metric> {
        // Some months in seconds.
        #[allow(clippy::cast_precision_loss)]
        let oldest = self.waiting.oldest_seconds.unwrap_or_default() as f64;
        vec![
            Metric::count("redrive_records", self.tally.records),
            Metric::count("redrive_objects_left", left(self)),
            Metric::count("redrive_objects_owed", self.owed.len()),
            Metric::seconds("redrive_oldest_seconds", oldest),
        ]
    }

    fn is_complete(&self) -> bool {
        self.error.is_none() && left(self) == 0
    }
}
