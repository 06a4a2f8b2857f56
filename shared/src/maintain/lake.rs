//! What is staged for lakes is filed: [`lake`](crate::lake) as a task.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Metric, Report, Run};
use crate::clock::{Clock, Instant};
use crate::lake::{self, Lake};

/// What was done for each lake, by the names of their sinks.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct LakeReport(BTreeMap<String, Filed>);

/// What was done for a lake.
#[derive(Debug, Serialize)]
struct Filed {
    #[serde(flatten)]
    report: lake::Report,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl LakeReport {
    /// Why not all was done.
    pub(super) fn error(&self) -> Option<String> {
        let errors = self.0.iter().filter_map(|(name, filed)| {
            let error = filed.error.as_ref()?;
            Some(format!("{name}: {error}"))
        });
        let errors: Vec<String> = errors.collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

impl Report for LakeReport {
    fn metrics(&self) -> Vec<Metric> {
        let sum = |of: &dyn Fn(&lake::Report) -> u64| {
            let sum: u64 = self.0.values().map(|filed| of(&filed.report)).sum();
            usize::try_from(sum).unwrap_or(usize::MAX)
        };
        let failing = self.0.values().filter(|filed| filed.error.is_some()).count();
        vec![
            Metric::count("lake_rows", self.0.values().map(|filed| filed.report.rows).sum()),
            Metric::count(
                "lake_quarantined",
                sum(&|report| report.quarantined.values().sum()),
            ),
            Metric::count("lake_too_large", sum(&|report| report.inputs_too_large)),
            Metric::count("lake_unfinished", sum(&|report| u64::from(!report.complete))),
            Metric::count("lake_failing", failing),
        ]
    }

    fn is_complete(&self) -> bool {
        // What a plan would come to is not done by looking at it.
        let complete = |filed: &Filed| {
            let report = &filed.report;
            let dry = report.dry_run && (report.rows > 0 || report.plans_found > 0);
            report.complete && report.inputs_too_large == 0 && !dry
        };
        self.0.values().all(complete)
    }
}

/// Files what is staged for each, one after the other. One that fails, or has more than its share of the time takes, is in
/// nobody's way.
pub(super) async fn file(lakes: &BTreeMap<String, Lake>, clock: &Clock, run: Run) -> LakeReport {
    let mut report = LakeReport::default();
    for (at, (name, lake)) in lakes.iter().enumerate() {
        let stop = share(clock.instant(), run.stop, lakes.len() - at);
        let ran = match run.dry_run {
            true => Box::pin(lake.dry_run(stop)).await,
            false => Box::pin(lake.run(stop)).await,
        };
        let filed = match ran {
            Ok(report) => Filed { report, error: None },
            Err(failed) => {
                let error = Some(failed.to_string());
                Filed {
                    report: *failed.report,
                    error,
                }
            }
        };
        report.0.insert(name.clone(), filed);
    }
    report
}

/// When the next of so many must stop: what one leaves of its share, the others have.
pub(super) fn share(now: Instant, stop: Instant, lakes: usize) -> Instant {
    let left = stop.saturating_duration_since(now);
    let lakes = u32::try_from(lakes).unwrap_or(u32::MAX);
    now + left.checked_div(lakes).unwrap_or(left)
}
