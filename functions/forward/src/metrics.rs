//! CloudWatch's embedded metric format: metrics as a log line, without a request.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidewatch::emf::line;
use tidewatch::forward::{self, Skip};
#[cfg(feature = "watch")]
use tidewatch::watch::feed;

use crate::Report;

type Metrics = Vec<(&'static str, &'static str, Value)>;

/// A batch's metrics, by `function`; what each sink did stands beside them for whoever reads the log.
pub(crate) fn embedded(function: &str, report: &Report, now: SystemTime) -> String {
    match report {
        Report::Forward(report) => forwarded(function, report, now),
        #[cfg(feature = "watch")]
        Report::Watch(report) => fed(function, report, now),
    }
}

fn forwarded(function: &str, report: &forward::Report, now: SystemTime) -> String {
    let skipped = |skip| report.skipped.get(&skip).copied().unwrap_or_default();
    let mut metrics: Metrics = vec![
        ("records_in", "Count", report.records_in.into()),
        ("delivered", "Count", report.delivered.into()),
        ("spooled", "Count", report.spooled.into()),
        ("filtered", "Count", report.filtered.into()),
        ("spilled", "Count", report.spilled.into()),
        ("skipped", "Count", report.skipped().into()),
        ("modify_unproven", "Count", skipped(Skip::ModifyUnproven).into()),
        ("quarantined", "Count", report.quarantined.into()),
        ("retried", "Count", report.retried.into()),
        ("repeats", "Count", report.repeats.into()),
        ("config_faults", "Count", report.config_faults.into()),
    ];
    metrics.extend(times(report.took, report.lag));
    let mut line = line(function, &metrics, now);
    let sinks = report.sinks.iter().map(|(name, sink)| {
        let counts = json!({"delivered": sink.delivered, "repeats": sink.repeats, "quarantined": sink.quarantined,
            "spooled": sink.spooled, "filtered": sink.filtered, "spilled": sink.spilled, "failures": sink.failures, "bytes": sink.bytes});
        (name.clone(), counts)
    });
    if let Some(config) = &report.config {
        line.insert("config".to_owned(), config.as_str().into());
    }
    if let Some(origin) = report.origin {
        line.insert("origin".to_owned(), origin.name().into());
    }
    line.insert("sinks".to_owned(), Value::Object(sinks.collect()));
    Value::Object(line).to_string()
}

#[cfg(feature = "watch")]
fn fed(function: &str, report: &feed::Report, now: SystemTime) -> String {
    let mut metrics: Metrics = vec![
        ("records_in", "Count", report.records_in.into()),
        ("appended", "Count", report.appended.into()),
        ("repeats", "Count", report.repeats.into()),
        ("gaps", "Count", report.gaps.into()),
        ("breaks", "Count", report.breaks.into()),
        ("segments", "Count", report.segments.into()),
        ("skipped", "Count", report.skipped.into()),
        ("retried", "Count", report.retried.into()),
    ];
    metrics.extend(times(report.took, report.lag));
    Value::Object(line(function, &metrics, now)).to_string()
}

fn times(took: Duration, lag: Option<Duration>) -> Metrics {
    let took = json!(took.as_secs_f64() * 1000.0);
    let mut metrics = vec![("batch_ms", "Milliseconds", took)];
    if let Some(lag) = lag {
        let lag = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        metrics.push(("lag_ms", "Milliseconds", json!(lag)));
    }
    metrics
}
