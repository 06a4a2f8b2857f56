//! Rows that Teleport's SDK wrote (`golden/audit`, where its README says how they were made): read back as they are, and
//! written by us the same.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tidewatch::audit::log::{Dynamo, Log, Outcome, Search};
use tidewatch::clock::Clock;
use tidewatch::random::Random;

use crate::engine::Engine;
use crate::{TABLE, all, at, stored, table};

#[derive(Deserialize)]
struct Golden {
    event: Option<Box<RawValue>>,
    item: Option<Value>,
}

fn cases() -> Vec<(String, Golden, Option<String>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let line = std::fs::read_to_string(path.with_extension("line")).ok();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            cases.push((name, golden, line.map(|line| line.trim_end().to_owned())));
        }
    }
    assert_eq!(cases.len(), 17);
    cases
}

#[tokio::test]
async fn rows_of_teleport_are_found_exactly() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let (mut lines, mut seconds) = (Vec::new(), BTreeSet::<u64>::new());
    for (_, golden, line) in cases() {
        let Some(item) = golden.item else { continue };
        seconds.insert(item["CreatedAt"]["N"].as_str().unwrap().parse().unwrap());
        let request = serde_json::json!({"TableName": TABLE, "Item": item});
        engine
            .database
            .put_item(serde_json::from_value(request).unwrap())
            .unwrap();
        lines.extend(line);
    }
    let (mut found, mut unreadable) = (Vec::new(), 0);
    for second in seconds {
        let answer = table.search(&Search::new(at(second), at(second))).await.unwrap();
        found.extend(answer.events.into_iter().map(|event| event.json));
        unreadable += answer.unreadable;
    }
    found.sort();
    lines.sort();
    assert_eq!((found, unreadable), (lines, 0));
}

#[tokio::test]
async fn the_same_event_makes_the_same_row() {
    let mut same = 0;
    for (name, golden, _) in cases() {
        let (Some(event), Some(mut item)) = (golden.event, golden.item) else {
            continue;
        };
        let engine = Engine::new();
        // The clock that the row was emitted at, if it says one.
        let (now, retention) = match item["Expires"]["N"].as_str() {
            Some(expires) => (
                at(expires.parse::<u64>().unwrap()) - Dynamo::RETENTION,
                Dynamo::RETENTION,
            ),
            None => (at(1_795_276_983), std::time::Duration::ZERO),
        };
        let clock = Clock::manual(now);
        let client = engine.client();
        let opened = Dynamo::open(&client, TABLE, retention, clock.clone(), Random::seeded(1));
        let log = Log::new([opened.await.unwrap().into()], clock, Random::seeded(2));
        log.emit(event.get()).await.unwrap();
        let [ours] = &mut stored(&engine)[..] else {
            panic!("{name}")
        };
        let parsed: Value = serde_json::from_str(event.get()).unwrap();
        match name.as_str() {
            // Numbers went through a float there, and do not here.
            "numbers" => {
                for (member, exact) in [
                    ("n_2p53p1", "9007199254740993"),
                    ("n_maxint64", "9223372036854775807"),
                    ("n_maxuint64", "18446744073709551615"),
                ] {
                    let ours = ours["FieldsMap"]["M"][member].take();
                    assert_eq!(ours["N"], exact);
                    item["FieldsMap"]["M"][member].take();
                }
            }
            "session_command_reindexed" => {
                assert_eq!(ours["FieldsMap"]["M"]["ei"].take()["N"], "1795170931001234567");
                item["FieldsMap"]["M"]["ei"].take();
            }
            // The row of an old SDK, and the one that was written twice.
            "old_sdk_row" | "legacy_fields_then_fieldsmap" => continue,
            _ => {}
        }
        // An empty uid is filled in.
        if parsed["uid"] == "" {
            let uid = ours["FieldsMap"]["M"]["uid"].take();
            assert_eq!(uid["S"].as_str().unwrap().len(), 36);
            item["FieldsMap"]["M"]["uid"].take();
        }
        // Without a session the key is random there, and the uid here.
        if parsed["sid"].as_str().unwrap_or_default().is_empty() {
            assert_eq!(ours["SessionID"].take()["S"], parsed["uid"]);
            item["SessionID"].take();
        }
        assert_eq!(*ours, item, "{name}");
        same += 1;
    }
    assert_eq!(same, 14);
}

#[tokio::test]
async fn an_event_that_teleport_stored_is_known() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let (_, golden, _) = cases()
        .into_iter()
        .find(|case| case.0 == "session_start")
        .unwrap();
    let request = serde_json::json!({"TableName": TABLE, "Item": golden.item.unwrap()});
    engine
        .database
        .put_item(serde_json::from_value(request).unwrap())
        .unwrap();
    let event = golden.event.unwrap();
    let emitted = crate::log(&table).emit(event.get()).await.unwrap();
    assert_eq!(emitted.outcomes, [Outcome::Repeated]);
    assert_eq!(table.search(&all()).await.unwrap().events.len(), 1);
}
