//! Every sample of `events/` gives exactly the answer, the lines, the quarantined records and the counts that stand in
//! `events/expected`, which a Python script derived from the rules, not this code.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::Forwarder;
use tidewatch::random::Random;
use tidewatch_forward::{Function, Report};

#[derive(Deserialize)]
struct Expected {
    answer: Value,
    delivered: BTreeMap<String, Vec<String>>,
    quarantined: Vec<Value>,
    metrics: Option<BTreeMap<String, u64>>,
}

fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut samples: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|found| found == "json"))
        .collect();
    samples.sort();
    assert!(samples.len() >= 25, "{} samples", samples.len());
    samples
}

fn files(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return BTreeMap::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|found| found == "ndjson"));
    files
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                text.ends_with('\n') || text.is_empty(),
                "torn: {}",
                path.display()
            );
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                text.lines().map(str::to_owned).collect(),
            )
        })
        .collect()
}

#[tokio::test]
async fn every_sample_gives_exactly_what_is_expected_of_it() {
    for sample in samples() {
        let name = sample.file_stem().unwrap().to_str().unwrap().to_owned();
        let expected = sample
            .parent()
            .unwrap()
            .join("expected")
            .join(sample.file_name().unwrap());
        let expected: Expected = serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let document = format!(
            "quarantine: file://{path}/quarantine\nsinks: {{ archive: {{ uri: 'file://{path}/out' }} }}"
        );
        let config = Config::parse(&document, "test", []).unwrap();
        let clock = Clock::system();
        let forwarder = Forwarder::start(&config, clock.clone(), Random::seeded(1))
            .await
            .unwrap();
        let function = Function::new(forwarder, clock.clone());
        let deadline: SystemTime = clock.now() + Duration::from_secs(300);
        let answer = function
            .invoke_reported(&std::fs::read_to_string(&sample).unwrap(), deadline)
            .await;

        match (&answer, expected.answer.get("error").and_then(Value::as_str)) {
            (Ok((answer, report)), None) => {
                assert_eq!(
                    serde_json::from_str::<Value>(answer).unwrap(),
                    expected.answer,
                    "{name}"
                );
                let counts = expected.metrics.as_ref().unwrap();
                let metrics: Value = serde_json::from_str(&function.metrics(report)).unwrap();
                #[allow(clippy::infallible_destructuring_match, irrefutable_let_patterns)]
                let Report::Forward(report) = report else {
                    panic!("{name}: {report:?}")
                };
                let mut found = BTreeMap::from([
                    ("records_in".to_owned(), report.records_in as u64),
                    ("delivered".to_owned(), report.delivered as u64),
                    ("skipped".to_owned(), report.skipped() as u64),
                    ("quarantined".to_owned(), report.quarantined as u64),
                    ("retried".to_owned(), report.retried as u64),
                    ("repeats".to_owned(), report.repeats as u64),
                ]);
                // The others stand in the metrics alone, and are 0 where nothing is said.
                for metric in counts.keys() {
                    found
                        .entry(metric.clone())
                        .or_insert_with(|| metrics[metric].as_u64().unwrap());
                }
                assert_eq!(&found, counts, "{name}");
                for (metric, count) in counts {
                    assert_eq!(metrics[metric], *count, "{name}: {metric}");
                }
            }
            (Err(error), Some(message)) => assert!(error.to_string().contains(message), "{name}: {error}"),
            (answer, _) => panic!("{name}: {answer:?}"),
        }
        let mut delivered = files(&dir.path().join("out"));
        delivered.retain(|_, lines| !lines.is_empty());
        assert_eq!(delivered, expected.delivered, "{name}");
        let lines: Vec<Value> = files(&dir.path().join("quarantine"))
            .into_values()
            .flatten()
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect();
        let told: Vec<Value> = lines
            .iter()
            .map(|line| {
                serde_json::json!({"kind": line["kind"], "event_id": line["event_id"], "sequence_number": line["sequence_number"]})
            })
            .collect();
        assert_eq!(told, expected.quarantined, "{name}");
        for line in &lines {
            assert!(
                !line["reason"].as_str().unwrap().is_empty() && line["record"] != Value::Null,
                "{name}: {line}"
            );
        }
    }
}

/// What waits in a spool, is filtered or spilled is counted, in all and for each sink.
#[tokio::test]
async fn the_ends_that_sinks_decide_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    let document = format!(
        "quarantine: file://{path}/quarantine\nspool: file://{path}/spool\nspill: file://{path}/spill\nsinks:\n\
         \x20 slow: {{ uri: 'file://{path}/slow', spool: always, filter: {{ allow: [{{ users: alice }}] }} }}\n\
         \x20 small: {{ uri: 'file://{path}/small', max_event_bytes: 4096, filter: {{ deny: [{{ types: session.* }}] }} }}"
    );
    let config = Config::parse(&document, "test", []).unwrap();
    let clock = Clock::system();
    let forwarder = Forwarder::start(&config, clock.clone(), Random::seeded(1))
        .await
        .unwrap();
    let function = Function::new(forwarder, clock.clone());
    let row = |n: u32, kind: &str, user: &str, text: &str| {
        format!(
            r#"{{"eventName":"INSERT","dynamodb":{{"SequenceNumber":"{n}","NewImage":{{"SessionID":{{"S":"s"}},"EventIndex":{{"N":"{n}"}},"EventType":{{"S":"{kind}"}},"FieldsMap":{{"M":{{"user":{{"S":"{user}"}},"text":{{"S":"{text}"}}}}}}}}}}}}"#
        )
    };
    let records = [
        row(1, "user.login", "alice", ""),
        row(2, "user.login", "bob", &"x".repeat(5000)),
        row(3, "session.start", "bob", ""),
        row(4, "session.start", "alice", ""),
        row(5, "user.login", "bob", ""),
    ];
    let payload = format!(
        r#"{{"tidewatch":{{"origin":"redrive"}},"Records":[{}]}}"#,
        records.join(",")
    );
    let counts = async |payload: &str| -> Value {
        let deadline = clock.now() + Duration::from_secs(300);
        let (_, report) = function.invoke_reported(payload, deadline).await.unwrap();
        serde_json::from_str(&function.metrics(&report)).unwrap()
    };
    let metrics = counts(&payload.replace(r#""tidewatch":{"origin":"redrive"},"#, "")).await;
    for (name, count) in [("delivered", 2), ("spooled", 2), ("filtered", 1), ("spilled", 1)] {
        assert_eq!(metrics[name], count, "{name}: {metrics}");
    }
    assert_eq!(metrics["sinks"]["slow"]["filtered"], 3, "{metrics}");
    assert_eq!(metrics["sinks"]["small"]["spilled"], 1, "{metrics}");
    assert!(metrics.get("origin").is_none());
    // From a task the slow sink gets its own directly.
    let metrics = counts(&payload).await;
    assert_eq!(
        (&metrics["origin"], &metrics["delivered"]),
        (&"redrive".into(), &4.into())
    );
    assert_eq!(metrics["sinks"]["slow"]["delivered"], 2, "{metrics}");
}
