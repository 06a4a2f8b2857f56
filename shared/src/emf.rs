//! CloudWatch's embedded metric format: metrics as a line of the log, without a request.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

/// Namespace of all metrics.
const NAMESPACE: &str = "Tidewatch";

/// A line of metrics, each a name, CloudWatch's unit and a number, with the one dimension `function`. The caller may put
/// more members beside them, for whoever reads the log.
pub fn line(
    function: &str,
    metrics: &[(&'static str, &'static str, Value)],
    now: SystemTime,
) -> Map<String, Value> {
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
        line.insert((*name).to_owned(), value.clone());
    }
    line
}
