//! The whole path on the embedded engine: what a backend writes, a watcher is told. And what Teleport's own watcher was
//! told of the same records (`tests/golden/state/README.md`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::primitives::DateTime;
use aws_sdk_dynamodbstreams::types::{AttributeValue, Identity, OperationType, Record, StreamRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::{clock, streams};
use crate::clock::Clock;
use crate::engine::{Engine, partitioned};
use crate::state::{Item, Key, Layout, Revision};
use crate::watch::position::{Number, Position};
use crate::watch::source::{Entry, Reader, Source};
use crate::watch::stream::{StreamSource, record};
use crate::watch::{Cause, Event, Operation};

/// What a reader tells until it has been silent for some seconds, and where that leads.
async fn told(reader: &mut dyn Reader, position: &mut Position) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while let Ok(chunks) = clock().timeout(Duration::from_secs(3), reader.next()).await {
        for chunk in chunks.unwrap() {
            for (mark, entry) in &chunk.entries {
                position.advance(&chunk.lane, mark.clone());
                match entry {
                    Entry::Event(event) => events.push(Arc::clone(event)),
                    Entry::Gap(why) => panic!("{why}"),
                }
            }
            position.advance(&chunk.lane, chunk.end.clone());
        }
    }
    events
}

fn summary(events: &[Arc<Event>]) -> Vec<String> {
    let line = |event: &Arc<Event>| format!("{} {}", event.operation.name(), event.key);
    events.iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_told() {
    for layout in [Layout::Teleport, partitioned(4)] {
        let (engine, clock) = (Engine::new(), clock());
        let backend = engine.backend("state", layout.clone(), &clock, 1).await;
        backend.put(&Item::new("/before", "1")).await.unwrap();
        let source = StreamSource::open(&backend, &streams(engine.clone()))
            .await
            .unwrap();
        let now = source.now().await.unwrap();
        let expires = clock.now() + Duration::from_secs(3600);
        let lease = backend
            .put(&Item::new("/a", "secret").expiring(expires))
            .await
            .unwrap();
        backend.put(&Item::new("/b", "2")).await.unwrap();
        // Nobody's: told to nobody, and passed.
        let (hash, sort) = (layout.partition_name(), layout.sort_name());
        let foreign = json!({"TableName": "state", "Item": {hash: {"S": "foreign"}, sort: {"S": "x"}}});
        engine
            .database
            .put_item(serde_json::from_value(foreign).unwrap())
            .unwrap();
        backend.delete(&Key::from("/b")).await.unwrap();
        let mut position = now.clone();
        let mut reader = source.reader(now.clone());
        let events = told(reader.as_mut(), &mut position).await;
        assert_eq!(summary(&events), ["put /a", "put /b", "delete /b"]);
        let Operation::Put(put) = &events[0].operation else {
            panic!()
        };
        assert_eq!(
            (put.revision.clone(), put.value.bytes()),
            (lease.revision, Some(&b"secret"[..]))
        );
        assert_eq!(
            put.expires
                .map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()),
            Some(expires.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
        );
        let Operation::Delete(delete) = &events[2].operation else {
            panic!()
        };
        assert_eq!(delete.cause, Cause::Deleted);
        assert_eq!(
            delete.previous.as_ref().and_then(|put| put.value.bytes()),
            Some(&b"2"[..])
        );
        assert!(!format!("{events:?}").contains("secret"));

        // Further, by a token, in another source.
        backend.put(&Item::new("/c", "3")).await.unwrap();
        let other = StreamSource::open(&backend, &streams(engine.clone()))
            .await
            .unwrap();
        let mut from: Position = position.to_string().parse().unwrap();
        let mut reader = other.reader(from.clone());
        assert_eq!(summary(&told(reader.as_mut(), &mut from).await), ["put /c"]);
        // And from the beginning: also what marks a partitioned namespace is nobody's key.
        let mut from = other.beginning().await.unwrap();
        let mut reader = other.reader(from.clone());
        let events = summary(&told(reader.as_mut(), &mut from).await);
        assert_eq!(
            events[events.len() - 5..],
            ["put /before", "put /a", "put /b", "delete /b", "put /c"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_without_a_stream_is_refused() {
    let (engine, clock) = (Engine::new(), clock());
    let backend = engine.backend("state", Layout::Teleport, &clock, 1).await;
    let off = json!({"TableName": "state", "StreamSpecification": {"StreamEnabled": false}});
    let source = StreamSource::open(&backend, &streams(engine.clone()))
        .await
        .unwrap();
    let mut reader = source.reader(source.now().await.unwrap());
    engine
        .database
        .update_table(serde_json::from_value(off).unwrap())
        .unwrap();
    let refused = StreamSource::open(&backend, &streams(engine.clone()))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, crate::watch::WatchError::WrongSource(_)),
        "{refused}"
    );
    assert!(reader.next().await.unwrap_err().is_compacted());
}

/// A recorded record, as the SDK reads it.
fn streamed(json: &Json) -> Record {
    let change = &json["dynamodb"];
    let image = |name: &str| {
        let image = change[name].as_object()?;
        Some(
            image
                .iter()
                .map(|(name, value)| (name.clone(), attribute(value)))
                .collect(),
        )
    };
    let text = |name: &str| change[name].as_str().map(str::to_owned);
    let change = StreamRecord::builder()
        .set_keys(image("Keys"))
        .set_new_image(image("NewImage"))
        .set_old_image(image("OldImage"))
        .set_sequence_number(text("SequenceNumber"))
        .approximate_creation_date_time(DateTime::from_secs_f64(
            change["ApproximateCreationDateTime"].as_f64().unwrap(),
        ))
        .build();
    Record::builder()
        .event_name(OperationType::from(json["eventName"].as_str().unwrap()))
        .dynamodb(change)
        .build()
}

fn attribute(json: &Json) -> AttributeValue {
    let (kind, value) = json.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => AttributeValue::S(value.as_str().unwrap().to_owned()),
        "N" => AttributeValue::N(value.as_str().unwrap().to_owned()),
        "B" => AttributeValue::B(STANDARD.decode(value.as_str().unwrap()).unwrap().into()),
        "NULL" => AttributeValue::Null(true),
        other => panic!("{other}"),
    }
}

fn told_of(record: Record) -> Option<Entry> {
    record::entry(record, Number::from(1), &Layout::Teleport)
}

#[test]
fn what_teleports_watcher_was_told_is_what_ours_is_told() {
    let golden = include_str!("../../../../tests/golden/state/watch.json");
    let golden: Json = serde_json::from_str(golden).unwrap();
    let prefixes = ["/w", "/w/deeper", ".locks"];
    let mut ours = Vec::new();
    for json in golden["stream"].as_array().unwrap() {
        let record = streamed(json);
        let number = json["dynamodb"]["SequenceNumber"].as_str().unwrap();
        assert_eq!(record::number(&record), Some(Number::from(number)));
        let Some(Entry::Event(event)) = told_of(record) else {
            panic!("{number}")
        };
        assert!(event.created.is_some());
        let key = event.key.as_str().unwrap();
        if !prefixes.iter().any(|prefix| key.starts_with(prefix)) {
            continue;
        }
        ours.push(match &event.operation {
            Operation::Put(put) => {
                let expires = put.expires.map(|at| humantime::format_rfc3339(at).to_string());
                let blank = put.revision.as_str() == Revision::BLANK;
                let revision = if blank { "" } else { put.revision.as_str() };
                // Go tells no bytes from none; we do not.
                let value = STANDARD.encode(put.value.bytes().unwrap());
                json!(["Put", key, revision, expires, value])
            }
            Operation::Delete(delete) => {
                // The view has no old images: why, nobody can say.
                assert_eq!((delete.cause, &delete.previous), (Cause::Unknown, &None));
                json!(["Delete", key, "", null, ""])
            }
            Operation::Unknown => panic!("{key}"),
        });
    }
    let theirs: Vec<Json> = golden["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] != "Init")
        .map(|event| {
            let item = &event["item"];
            let value = item["value_base64"].as_str().unwrap_or_default();
            json!([
                event["type"],
                item["key"],
                item["revision"],
                item["expires"],
                value
            ])
        })
        .collect();
    assert_eq!(theirs.len(), 12);
    assert_eq!(ours, theirs);
}

fn removed(identity: Option<Identity>) -> Record {
    let keys = [
        ("HashKey".to_owned(), AttributeValue::S("teleport".to_owned())),
        ("FullPath".to_owned(), AttributeValue::S("teleport/a".to_owned())),
    ];
    Record::builder()
        .event_name(OperationType::Remove)
        .set_user_identity(identity)
        .dynamodb(StreamRecord::builder().set_keys(Some(keys.into())).build())
        .build()
}

#[test]
fn ttl_and_what_cannot_be_read_are_told_apart() {
    let cause = |record| match told_of(record) {
        Some(Entry::Event(event)) => match &event.operation {
            Operation::Delete(delete) => delete.cause,
            other => panic!("{}", other.name()),
        },
        _ => panic!(),
    };
    let ttl = Identity::builder()
        .r#type("Service")
        .principal_id("dynamodb.amazonaws.com")
        .build();
    assert_eq!(cause(removed(Some(ttl))), Cause::Expired);
    assert_eq!(cause(removed(None)), Cause::Unknown);
    assert!(matches!(told_of(Record::builder().build()), Some(Entry::Gap(_))));
    let unknown = Record::builder()
        .dynamodb(removed(None).dynamodb.unwrap())
        .build();
    let Some(Entry::Event(event)) = told_of(unknown) else {
        panic!()
    };
    assert_eq!(event.operation, Operation::Unknown);
    let clock = Clock::system();
    assert!(event.created.is_none_or(|at| at < clock.now()));
}
