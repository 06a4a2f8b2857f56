//! Everything that the forwarder keeps in S3, on the S3 that `TIDEWATCH_S3_ENDPOINT` names: events, large ones, those of
//! a sink that is down, poison, and what Lambda gave up. Without the variable nothing is tested here; the engine in this
//! process is what the other tests use.

#![cfg(all(feature = "s3", feature = "dynamodb"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/endpoint.rs"]
mod endpoint;
mod support;

use std::sync::Arc;
use std::time::Duration;

use endpoint::Bucket;
use serde_json::{Value, json};
use support::{event_line, insert, payload};
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::{Forwarder, InProcess, Spool, drain};
use tidewatch::objects::{Objects, PAGE};
use tidewatch::random::Random;
use tidewatch::redrive::{Hand, failures, quarantine};

const METADATA: &str = include_str!("golden/redrive/on-failure-metadata.json");

async fn names(objects: &Objects) -> Vec<String> {
    let page = objects.list("", None, PAGE).await.unwrap();
    page.objects.into_iter().map(|object| object.name).collect()
}

/// Lines of all objects, objects by name.
async fn lines(objects: &Objects) -> Vec<String> {
    let mut lines = Vec::new();
    for name in names(objects).await {
        let body = objects.get(&name).await.unwrap().unwrap().body;
        lines.extend(String::from_utf8(body).unwrap().lines().map(str::to_owned));
    }
    lines
}

#[tokio::test]
async fn every_record_ends_where_it_must() {
    let Some(bucket) = Bucket::new().await else { return };
    bucket.versioned().await;
    let (Bucket { endpoint, name, .. }, clock) = (&bucket, Clock::system());
    let down = format!("{name}-down");
    let document = format!(
        "quarantine: s3://{name}/quarantine\nspool: s3://{name}/spool\nspill: s3://{name}/spill\nsinks:\n  \
         archive: {{ uri: 's3://{name}/events?compression=none', format: event, max_event_bytes: 4096 }}\n  \
         down: {{ uri: 's3://{down}/?compression=none', format: event, timeout: 1s, budget: 2s }}\n\
         aws: {{ region: us-east-1, endpoint_url: '{endpoint}', access_key: test, secret_key: test }}\n"
    );
    let config = Config::parse(&document, "test", []).unwrap();
    let forwarder = Forwarder::start(&config, clock.clone(), Random::system());
    let forwarder = Arc::new(forwarder.await.unwrap());
    let large = insert("s", 2, 2).replace("session.command", &"x".repeat(4500));
    let poison = r#"{"eventID":"bad","eventName":"INSERT","dynamodb":{"SequenceNumber":"3"}}"#.to_owned();
    let batch = payload(&[insert("s", 1, 1), large, poison]);
    let deadline = clock.instant() + Duration::from_secs(100);
    let handled = forwarder.handle(&batch, deadline).await.unwrap();
    let report = &handled.report;
    assert_eq!(handled.first_failed, None, "{report:?}");
    assert_eq!(
        (
            report.sinks["archive"].delivered,
            report.spooled,
            report.quarantined
        ),
        (2, 2, 1),
        "{report:?}"
    );

    // The small one as it is; the large one by a pointer, to a version that stays.
    let events = bucket.objects("events");
    let archived = lines(&events).await;
    assert_eq!((archived.len(), &archived[0]), (2, &event_line("s", 1)));
    let pointer: Value = serde_json::from_str(&archived[1]).unwrap();
    let prefix = format!("s3://{name}/");
    let key = pointer["location"]
        .as_str()
        .unwrap()
        .strip_prefix(&prefix)
        .unwrap();
    bucket.overwrite(key).await;
    let kept = bucket.read(key, pointer["version_id"].as_str().unwrap()).await;
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["event"], "x".repeat(4500));

    // The sink is there again; first what waited is drained.
    let down = bucket.beside(&down).await;
    let spool = Spool::new(bucket.objects("spool"));
    let invoke = InProcess::new(Arc::clone(&forwarder), clock.clone(), Duration::from_secs(60));
    let options = drain::Options {
        last_call: clock.instant() + Duration::from_secs(30),
        deadline: clock.instant() + Duration::from_secs(60),
        dry_run: false,
    };
    let drained = drain::drain(&spool, &invoke, &clock, options).await;
    assert_eq!(drained.sinks["down"].records, 2, "{drained:?}");
    assert_eq!(names(&bucket.objects("spool/down")).await, [""; 0]);

    // Poison stays poison; what Lambda gave up is brought back, and its object is gone.
    let hand = Hand {
        forward: &invoke,
        clock: &clock,
        options,
    };
    let stayed = quarantine::redrive(&bucket.objects("quarantine"), hand, &|_| {}).await;
    assert_eq!((stayed.stay, stayed.tally.records), (1, 0), "{stayed:?}");
    let mut object: Value = serde_json::from_str(METADATA).unwrap();
    object["payload"] = json!(payload(&[insert("s", 4, 4)]));
    let given_up = bucket.objects("failed");
    let object = object.to_string().into_bytes();
    given_up.put("aws/lambda/id/a/1", object).await.unwrap();
    let replayed = failures::redrive(&given_up, hand, &|_| {}).await;
    assert_eq!(
        (replayed.tally.records, &replayed.error),
        (1, &None),
        "{replayed:?}"
    );
    assert_eq!(names(&given_up).await, [""; 0]);
    let mut archived = lines(&events).await;
    archived.sort();
    assert!(archived.contains(&event_line("s", 4)), "{archived:?}");
    assert_eq!(lines(&down).await.len(), 3);
}
