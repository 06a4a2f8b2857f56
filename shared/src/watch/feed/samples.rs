//! Every sample of `events/state` is handed to the appender as stands in `events/state/expected`, which a Python script
//! derived from the rules, not this code.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::changes::Changes;
use super::losses::together;
use super::{Feed, HandleError, Origin, split};
use crate::clock::Clock;
use crate::random::Random;
use crate::state::{Layout, Partitioned};
use crate::watch::log::{Appender, Incoming, Inline, Log};
use crate::watch::record::{Order, members, text};
use crate::watch::{Delete, Operation, Put};

fn feed(name: &str) -> Feed {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        // Nobody listens there: what is sent fails.
        .endpoint_url("http://127.0.0.1:1")
        .build();
    let client = aws_sdk_dynamodb::Client::from_conf(config);
    let clock = Clock::system();
    let log = Log::new(&client, "logs", name, clock.clone(), Random::seeded(1));
    let (table, layout) = if name.starts_with("partitioned") {
        ("own-state", Layout::Partitioned(Partitioned::default()))
    } else {
        ("teleport-state", Layout::Teleport)
    };
    Feed::new(Appender::new(log, Inline::All), table, layout, clock)
}

fn milliseconds(at: Option<SystemTime>) -> Value {
    at.map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64)
        .into()
}

fn put(put: &Put) -> Value {
    let expires = put
        .expires
        .map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
    json!({"expires": expires, "revision": put.revision.as_str(), "value": STANDARD.encode(put.value.bytes().unwrap())})
}

fn told(incoming: &Incoming) -> Value {
    let record = match incoming {
        Incoming::Unreadable { id, created } => {
            return json!({"unreadable": id, "created": milliseconds(*created)});
        }
        Incoming::Record(record) => record,
    };
    let event = &record.event;
    let order = match &record.order {
        Order::Sequence(number) => json!({"sequence": number.as_str()}),
        Order::Created(micros, event_id) => json!({"created": micros, "event_id": event_id}),
    };
    let mut all = json!({"key": event.key.to_string(), "operation": event.operation.name(),
        "created": milliseconds(event.created), "order": order});
    match &event.operation {
        Operation::Put(item) => all["put"] = put(item),
        Operation::Delete(Delete { cause, previous }) => {
            all["cause"] = cause.as_str().into();
            all["previous"] = previous.as_ref().map(put).into();
        }
        Operation::Unknown => {}
    }
    all
}

fn runs(changes: &Changes) -> Value {
    let run = |run: &super::changes::Run| json!({"stream": run.stream, "batch": run.batch.iter().map(told).collect::<Vec<_>>()});
    changes.runs.iter().map(run).collect()
}

fn sample(name: &str) -> (String, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/state");
    let payload = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    let expected = std::fs::read_to_string(folder.join(format!("expected/{name}.json"))).unwrap();
    (payload, serde_json::from_str(&expected).unwrap())
}

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/state");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let samples = paths.filter(|path| path.extension().is_some_and(|found| found == "json"));
    let mut names: Vec<String> = samples
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 35, "{} samples", names.len());
    names
}

/// What is handed to the appender, before anything is sent.
fn outcome(feed: &Feed, payload: &str) -> Result<Value, HandleError> {
    let records = split(payload).ok_or(HandleError::NotAnEvent)?;
    Ok(match feed.origin(&records)? {
        None => json!({"runs": [], "ids": [], "skipped": 0}),
        Some(Origin::Queue) => {
            let messages = records.iter().map(|raw| {
                let message = members(raw);
                (
                    text(message.get("messageId")).unwrap(),
                    text(message.get("body")).unwrap(),
                )
            });
            let (mut losses, mut refused) = (Vec::new(), Vec::new());
            for (id, body) in messages {
                match feed.loss(&id, &body) {
                    Ok(loss) => losses.push(loss),
                    Err(_) => refused.push(id),
                }
            }
            let broken =
                together(&losses).map(|loss| json!({"id": loss.id, "until": milliseconds(loss.until)}));
            json!({"broken": broken, "refused": refused})
        }
        Some(origin) => {
            let changes = feed.read(origin, &records)?;
            json!({"runs": runs(&changes), "ids": changes.ids, "skipped": changes.skipped})
        }
    })
}

#[tokio::test]
async fn every_sample_is_handed_to_the_appender_as_is_expected_of_it() {
    for name in names() {
        let (payload, expected) = sample(&name);
        let feed = feed(&name);
        let found = outcome(&feed, &payload);
        if let Some(message) = expected["answer"]["error"].as_str() {
            let deadline = feed.clock.instant() + Duration::from_secs(300);
            let error = feed.handle(&payload, deadline).await.unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
            continue;
        }
        let found = found.unwrap();
        if expected.get("broken").is_some() {
            let refused: Vec<&Value> = expected["answer"]["batchItemFailures"]
                .as_array()
                .unwrap()
                .iter()
                .map(|failure| &failure["itemIdentifier"])
                .collect();
            assert_eq!(
                found,
                json!({"broken": expected["broken"], "refused": refused}),
                "{name}"
            );
        } else {
            assert_eq!(found["runs"], expected["runs"], "{name}");
            assert_eq!(found["ids"], expected["ids"], "{name}");
            assert_eq!(found["skipped"], expected["metrics"]["skipped"], "{name}");
        }
    }
}

#[test]
fn a_payload_is_the_feed_s_by_its_source_and_table() {
    let foreign = ["not-a-stream-event", "empty-batch", "partitioned", "other-table"];
    for name in names() {
        let (payload, _) = sample(&name);
        // The first record that says so decides; that others are of another table is refused then.
        let wanted = !foreign.contains(&name.as_str()) || name == "other-table";
        assert_eq!(feed("teleport").takes(&payload), wanted, "{name}");
    }
}

#[test]
fn one_loss_of_many_is_the_same_in_any_order() {
    let loss = |id: &str, until| super::losses::Loss {
        id: id.to_owned(),
        until: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(until)),
    };
    let (a, b) = (loss("a", 1), loss("b", 2));
    let both = together(&[a.clone(), b.clone()]).unwrap();
    assert_eq!(together(&[b.clone(), a.clone(), b.clone()]), Some(both.clone()));
    assert_eq!(both.until, b.until);
    assert!(both.id != a.id && both.id != b.id && together(&[]).is_none());
}
