//! The feed of a watch log behind the function: which payloads are its own, what is answered, what is counted.

#![cfg(feature = "watch")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::random::Random;
use tidewatch::state::Layout;
use tidewatch::watch::feed::Feed;
use tidewatch::watch::log::{Appender, Inline, Log};
use tidewatch_forward::{Function, Report, StartError};

fn sample(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap()
}

/// A feed whose log cannot be reached: nobody listens there.
fn feed(clock: &Clock) -> Feed {
    let sdk = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-west-1"))
        .endpoint_url("http://127.0.0.1:1")
        .build();
    let client = aws_sdk_dynamodb::Client::new(&sdk);
    let log = Log::new(&client, "logs", "state", clock.clone(), Random::seeded(1));
    let appender = Appender::new(log, Inline::None);
    Feed::new(appender, "teleport-state", Layout::Teleport, clock.clone())
}

async fn invoke(payload: &str) -> (Result<(Value, Report), String>, Function) {
    let clock = Clock::system();
    let function = Function::feeding(feed(&clock), clock.clone());
    let deadline = clock.now() + Duration::from_millis(400);
    let answer = function.invoke_reported(payload, deadline).await;
    let answer = answer
        .map(|(answer, report)| (serde_json::from_str(&answer).unwrap(), report))
        .map_err(|error| error.to_string());
    (answer, function)
}

fn failures(identifiers: &[&str]) -> Value {
    let all = identifiers.iter().map(|id| json!({"itemIdentifier": id}));
    json!({"batchItemFailures": all.collect::<Vec<_>>()})
}

/// Waited out until the margin, then told by the first record that is not in the log.
#[tokio::test]
async fn what_is_not_in_the_log_is_answered_and_counted() {
    let payload = sample("state/two-streams");
    let first = serde_json::from_str::<Value>(&payload).unwrap()["Records"][0]["dynamodb"]["SequenceNumber"]
        .as_str()
        .unwrap()
        .to_owned();
    let (answer, function) = invoke(&payload).await;
    let (answer, report) = answer.unwrap();
    assert_eq!(answer, failures(&[&first]));
    let metrics: Value = serde_json::from_str(&function.metrics(&report)).unwrap();
    assert_eq!(
        (&metrics["records_in"], &metrics["retried"]),
        (&json!(4), &json!(4))
    );
    assert_eq!((&metrics["appended"], &metrics["gaps"]), (&json!(0), &json!(0)));
    assert!(metrics["batch_ms"].as_f64().unwrap() >= 50.0, "{metrics}");
    let named: Vec<&str> = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| metric["Name"].as_str().unwrap())
        .collect();
    for name in [
        "records_in",
        "appended",
        "repeats",
        "gaps",
        "breaks",
        "segments",
        "retried",
        "batch_ms",
    ] {
        assert!(named.contains(&name), "{name}");
    }
}

/// Each message for itself: the one that is refused, and the one whose gap is not in the log.
#[tokio::test]
async fn a_queue_is_answered_message_by_message() {
    let (answer, _) = invoke(&sample("state/given-up-other-table")).await;
    let (answer, report) = answer.unwrap();
    let id = |number| format!("059f36b4-87a3-44ab-83d2-66197597000{number}");
    assert_eq!(answer, failures(&[&id(1), &id(2)]));
    let Report::Watch(report) = report else {
        panic!("{report:?}")
    };
    assert_eq!((report.retried, report.gaps), (2, 0));
}

/// Nothing before it has a name either: an answer would tell that all is done.
#[tokio::test]
async fn what_cannot_be_named_fails_the_invocation() {
    let mut payload: Value = serde_json::from_str(&sample("state/missing-sequence-number")).unwrap();
    payload["Records"].as_array_mut().unwrap().remove(0);
    let (answer, _) = invoke(&payload.to_string()).await;
    assert!(answer.unwrap_err().contains("cannot be named"));
    // What can be named comes before it: that comes again, and is a repeat then.
    let payload = sample("state/missing-sequence-number");
    let (answer, _) = invoke(&payload).await;
    assert_eq!(
        answer.unwrap().0["batchItemFailures"].as_array().unwrap().len(),
        1
    );
}

/// An audit table's records are nobody's here, and never skipped.
#[tokio::test]
async fn a_feed_alone_refuses_what_is_not_its_own() {
    for (name, message) in [("insert", "teleport-state"), ("not-a-stream-event", "`Records`")] {
        let (answer, _) = invoke(&sample(name)).await;
        let error = answer.unwrap_err();
        assert!(error.contains(message), "{name}: {error}");
    }
}

/// A log that cannot be reached is told when the function starts, not with the first record.
#[tokio::test]
async fn a_log_out_of_reach_is_a_start_up_error() {
    let document =
        "watch: { table: teleport-state, layout: teleport, log: { table: logs }, region: eu-west-1,
        endpoint: 'http://127.0.0.1:1' }\naws: { access_key: AKIAEXAMPLE, secret_key: hunter2hunter2 }";
    let config = Config::parse(document, "t", []).unwrap();
    let error = Function::start(&config, Clock::system(), Random::seeded(1))
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Watch(_)), "{error}");
    assert!(error.to_string().contains("logs"), "{error}");
}
