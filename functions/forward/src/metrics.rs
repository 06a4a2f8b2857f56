//! CloudWatch's embedded metric format: metrics as a log line, without a request.

use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tidewatch::forward::{Report, Skip};

/// Namespace of all metrics.
const NAMESPACE: &str = "Tidewatch";

/// A batch's metrics, by `function`; what each sink did stands beside them for whoever reads the log.
pub(crate) fn embedded(function: &str, report: &Report, now: SystemTime) -> String {
    let skipped = |skip| report.skipped.get(&skip).copied().unwrap_or_default();
    let mut metrics: Vec<(&str, &str, Value)> = vec![
        ("records_in", "Count", report.records_in.into()),
        ("delivered", "Count", report.delivered.into()),
        ("skipped", "Count", report.skipped().into()),
        ("modify_unproven", "Count", skipped(Skip::ModifyUnproven).into()),
        ("quarantined", "Count", report.quarantined.into()),
        ("retried", "Count", report.retried.into()),
        ("repeats", "Count", report.repeats.into()),
        (
            "batch_ms",
            "Milliseconds",
            json!(report.took.as_secs_f64() * 1000.0),
        ),
    ];
    if let Some(lag) = report.lag {
        metrics.push((
            "lag_ms",
            "Milliseconds",
            json!(u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
        ));
    }
    let mut line = Map::new();
    let definitions: Vec<Value> = metrics
        .iter()
        .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
        .collect();
    let timestamp = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": u64::try_from(timestamp).unwrap_or(u64::MAX),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": definitions}],
        }),
    );
    line.insert("function".to_owned(), function.into());
    for (name, _, value) in metrics {
        line.insert(name.to_owned(), value);
    }
    let sinks = report.sinks.iter().map(|(name, sink)| {
        let counts = json!({"delivered": sink.delivered, "repeats": sink.repeats, "quarantined": sink.quarantined,
            "failures": sink.failures, "bytes": sink.bytes});
        (name.clone(), counts)
    });
    line.insert("sinks".to_owned(), Value::Object(sinks.collect()));
    Value::Object(line).to_string()
}
