//! One test a rule.

mod faults;
mod shards;

use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::random::Random;

use super::*;

const START: SystemTime = UNIX_EPOCH;

fn record(number: u64, item: &str) -> Record {
    record_at(number, item, 1000)
}

fn record_at(number: u64, item: &str, created: u64) -> Record {
    Record::new(&json!({"eventID": number.to_string(), "eventName": "INSERT", "awsRegion": "local", "dynamodb": {
        "ApproximateCreationDateTime": created, "SizeBytes": 1, "Keys": {"Part": {"S": "p"}, "Sort": {"S": item}},
        "SequenceNumber": number.to_string()}}))
    .unwrap()
}

/// The numbers of each call, and what to answer to it.
type Calls = Arc<Mutex<Vec<Vec<u64>>>>;

fn numbers(payload: &str) -> Vec<u64> {
    // What we send must be what Lambda's own types read.
    serde_json::from_str::<aws_lambda_events::dynamodb::Event>(payload).unwrap();
    let event: Value = serde_json::from_str(payload).unwrap();
    let records = event["Records"].as_array().unwrap();
    records
        .iter()
        .map(|record| {
            record["dynamodb"]["SequenceNumber"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

/// A handler that notes its calls and answers by `answer(numbers, number of calls before)`.
fn handler(
    calls: &Calls,
    answer: impl Fn(&[u64], usize) -> Result<String, String> + Send + Sync + 'static,
) -> Handler {
    let calls = Arc::clone(calls);
    Arc::new(move |payload, _| {
        let numbers = numbers(&payload);
        let mut calls = calls.lock().unwrap();
        let answer = answer(&numbers, calls.len());
        calls.push(numbers);
        Box::pin(async move { answer })
    })
}

fn fails(number: u64) -> Result<String, String> {
    Ok(json!({"batchItemFailures": [{"itemIdentifier": number.to_string()}]}).to_string())
}

fn done() -> Result<String, String> {
    Ok(r#"{"batchItemFailures":[]}"#.to_owned())
}

/// A closed stream of one shard with records 1..=n, each of an item of its own.
fn stream(n: u64) -> Arc<Stream> {
    let stream = Stream::new("arn");
    stream.open("s", None);
    (1..=n).for_each(|number| stream.append("s", record(number, &number.to_string())).unwrap());
    stream.end();
    Arc::new(stream)
}

fn plain() -> Settings {
    Settings {
        maximum_record_age: None,
        bisect_on_function_error: false,
        ..Settings::default()
    }
}

async fn run(
    settings: Settings,
    stream: &Arc<Stream>,
    answer: impl Fn(&[u64], usize) -> Result<String, String> + Send + Sync + 'static,
) -> (Vec<Vec<u64>>, Counts) {
    let calls = Calls::default();
    let clock = Clock::simulated(START + Duration::from_secs(1000));
    let handler = handler(&calls, answer);
    let mapping = Mapping::new(settings, Arc::clone(stream), handler, clock, Random::seeded(1)).unwrap();
    mapping.run().await;
    let calls = calls.lock().unwrap().clone();
    (calls, mapping.counts())
}

#[tokio::test(start_paused = true)]
async fn batches_hold_at_most_the_batch_size() {
    let (calls, counts) = run(
        Settings {
            batch_size: 2,
            ..plain()
        },
        &stream(5),
        |_, _| done(),
    )
    .await;
    assert_eq!(calls, [vec![1, 2], vec![3, 4], vec![5]]);
    assert_eq!((counts.invocations, counts.records, counts.successes), (3, 5, 3));
}

#[tokio::test(start_paused = true)]
async fn a_payload_holds_at_most_six_megabytes() {
    let stream = Stream::new("arn");
    stream.open("s", None);
    for number in 1..=40_u64 {
        let mut json: Value = serde_json::from_str(&record(number, "x").json).unwrap();
        json["dynamodb"]["NewImage"] = json!({"v": {"S": "x".repeat(390_000)}});
        stream.append("s", Record::new(&json).unwrap()).unwrap();
    }
    stream.end();
    let most = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&most);
    let handler: Handler = Arc::new(move |payload, _| {
        let mut seen = seen.lock().unwrap();
        *seen = payload.len().max(*seen);
        Box::pin(async { done() })
    });
    let mapping = Mapping::new(
        plain(),
        Arc::new(stream),
        handler,
        Clock::simulated(START),
        Random::seeded(1),
    )
    .unwrap();
    mapping.run().await;
    assert!((5_800_000..=6 * 1024 * 1024).contains(&*most.lock().unwrap()));
    assert_eq!((mapping.counts().invocations, mapping.counts().records), (3, 40));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_waits_for_the_window() {
    let stream = Arc::new(Stream::new("arn"));
    stream.open("s", None);
    let feeder = Arc::clone(&stream);
    let clock = Clock::simulated(START);
    let feed = tokio::spawn(async move {
        for number in 1..=6 {
            feeder.append("s", record(number, "x")).unwrap();
            clock.sleep(Duration::from_secs(2)).await;
        }
        feeder.end();
    });
    let settings = Settings {
        batch_window: Duration::from_secs(5),
        ..plain()
    };
    let (calls, _) = run(settings, &stream, |_, _| done()).await;
    feed.await.unwrap();
    assert_eq!(calls, [vec![1, 2, 3], vec![4, 5, 6]]);
}

#[tokio::test(start_paused = true)]
async fn a_partial_answer_brings_all_from_the_lowest_number_again() {
    let (calls, counts) = run(plain(), &stream(5), |_, call| match call {
        0 => Ok(r#"{"batchItemFailures":[{"itemIdentifier":"5"},{"itemIdentifier":"3"}]}"#.to_owned()),
        _ => done(),
    })
    .await;
    assert_eq!(calls, [vec![1, 2, 3, 4, 5], vec![3, 4, 5]]);
    assert_eq!((counts.partial, counts.retries, counts.bisected), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn with_bisect_a_partial_answer_splits_without_using_a_retry() {
    let settings = Settings {
        bisect_on_function_error: true,
        maximum_retry_attempts: Some(0),
        ..plain()
    };
    let (calls, counts) = run(settings, &stream(4), |_, call| {
        if call < 3 { fails(call as u64 + 2) } else { done() }
    })
    .await;
    assert_eq!(calls, [vec![1, 2, 3, 4], vec![2, 3, 4], vec![3, 4], vec![4]]);
    assert_eq!((counts.retries, counts.bisected, counts.exhausted), (0, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_a_bad_identifier_brings_the_whole_batch_again() {
    let (calls, _) = run(
        plain(),
        &stream(2),
        |_, call| if call == 0 { fails(77) } else { done() },
    )
    .await;
    assert_eq!(calls, [vec![1, 2], vec![1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn an_error_bisects_and_the_poison_record_alone_uses_up_the_retries() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        bisect_on_function_error: true,
        maximum_retry_attempts: Some(1),
        on_failure: Some(directory.path().to_owned()),
        ..plain()
    };
    let (calls, counts) = run(settings, &stream(4), |numbers, _| {
        if numbers.contains(&3) {
            Err("boom".to_owned())
        } else {
            done()
        }
    })
    .await;
    assert_eq!(
        calls,
        [
            vec![1, 2, 3, 4],
            vec![1, 2],
            vec![3, 4],
            vec![3],
            vec![3],
            vec![4]
        ]
    );
    assert_eq!((counts.bisected, counts.retries, counts.exhausted), (2, 1, 1));

    let found = files(directory.path());
    let [file] = found.as_slice() else {
        panic!("{found:?}")
    };
    let body: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(body["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(body["DDBStreamBatchInfo"]["shardId"], "s");
    assert_eq!(body["DDBStreamBatchInfo"]["startSequenceNumber"], "3");
    assert_eq!(body["DDBStreamBatchInfo"]["endSequenceNumber"], "3");
    assert_eq!(body["DDBStreamBatchInfo"]["batchSize"], 1);
    assert_eq!(numbers(body["payload"].as_str().unwrap()), [3]);
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn without_bisect_the_whole_batch_is_given_up() {
    let settings = Settings {
        maximum_retry_attempts: Some(2),
        batch_size: 3,
        ..plain()
    };
    let (calls, counts) = run(settings, &stream(4), |numbers, _| {
        if numbers.contains(&2) {
            Err("boom".to_owned())
        } else {
            done()
        }
    })
    .await;
    assert_eq!(calls, [vec![1, 2, 3], vec![1, 2, 3], vec![1, 2, 3], vec![4]]);
    assert_eq!((counts.retries, counts.exhausted), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn without_a_maximum_retries_go_on_until_the_records_are_too_old() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        maximum_retry_attempts: None,
        maximum_record_age: Some(Duration::from_secs(3600)),
        on_failure: Some(directory.path().to_owned()),
        ..plain()
    };
    let (calls, counts) = run(settings, &stream(2), |_, _| Err("down".to_owned())).await;
    assert!(calls.len() > 300, "{}", calls.len());
    assert_eq!((counts.too_old, counts.exhausted), (2, 0));
    let body = std::fs::read_to_string(&files(directory.path())[0]).unwrap();
    assert!(body.contains("RecordAgeExceeded"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn only_the_records_that_are_too_old_are_given_up() {
    let stream = Stream::new("arn");
    stream.open("s", None);
    for (number, created) in [(1, 10), (2, 900), (3, 20)] {
        stream.append("s", record_at(number, "x", created)).unwrap();
    }
    stream.end();
    let settings = Settings {
        maximum_record_age: Some(Duration::from_secs(500)),
        ..plain()
    };
    // A record behind a younger one is given up when it comes to the front.
    let (calls, counts) = run(settings, &Arc::new(stream), |_, call| {
        if call == 0 { fails(3) } else { done() }
    })
    .await;
    assert_eq!(calls, [vec![2, 3]]);
    assert_eq!(counts.too_old, 2);
}

#[tokio::test(start_paused = true)]
async fn an_invocation_is_ended_at_the_time_out() {
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    let clock = Clock::simulated(START);
    let began = clock.instant();
    let handler: Handler = Arc::new(move |_, _| {
        let mut count = count.lock().unwrap();
        *count += 1;
        let hangs = *count == 1;
        Box::pin(async move {
            if hangs {
                std::future::pending().await
            } else {
                done()
            }
        })
    });
    let settings = Settings {
        timeout: Duration::from_secs(30),
        ..plain()
    };
    let mapping = Mapping::new(settings, stream(1), handler, clock.clone(), Random::seeded(1)).unwrap();
    mapping.run().await;
    assert_eq!((*calls.lock().unwrap(), mapping.counts().timeouts), (2, 1));
    assert_eq!((clock.instant() - began).as_secs(), 30);
}

#[test]
fn what_lambda_refuses_is_refused() {
    for settings in [
        Settings {
            batch_size: 0,
            ..plain()
        },
        Settings {
            parallelization_factor: 11,
            ..plain()
        },
        Settings {
            maximum_record_age: Some(Duration::from_secs(59)),
            ..plain()
        },
    ] {
        assert!(settings.check().is_err(), "{settings:?}");
    }
    assert_eq!(Settings::default().check(), Ok(()));
}

#[test]
fn sequence_numbers_order_by_length_first() {
    assert!(SequenceNumber::from("9") < SequenceNumber::from("10"));
    assert!(SequenceNumber::from("100000000000000000000000000000000000000") > SequenceNumber::from("99"));
}
