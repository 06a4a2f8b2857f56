//! The audit log on the embedded engine: what is stored, what is found, what is never lost.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp
)]

#[path = "../state/engine.rs"]
#[allow(dead_code)] // The state tests use the rest.
mod engine;

mod ahead;
mod backends;
mod config;
mod cursors;
mod emit;
mod export;
mod faults;
mod golden;
mod large;
mod search;
mod tail;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::Engine;
use serde_json::{Value, json};
use tidewatch::audit::log::{Answer, Dynamo, Found, Log, Search};
use tidewatch::clock::Clock;
use tidewatch::random::Random;

const TABLE: &str = "teleport.audit";
/// 2026-11-20T00:00:00Z.
const DAY: u64 = 1_795_132_800;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A new table, and a clock that stands at noon of the day after [`DAY`].
async fn table(engine: &Engine) -> Dynamo {
    let clock = Clock::manual(at(DAY + 36 * 3600));
    let client = engine.client();
    let table = Dynamo::open(&client, TABLE, Dynamo::RETENTION, clock, Random::seeded(1));
    let table = table.await.unwrap();
    engine.sent();
    table
}

/// The same by a simulated clock that stands at the begin of [`DAY`].
async fn simulated(engine: &Engine) -> Dynamo {
    let (client, clock) = (engine.client(), Clock::simulated(at(DAY)));
    let table = Dynamo::open(&client, TABLE, Dynamo::RETENTION, clock, Random::seeded(1));
    let table = table.await.unwrap();
    engine.sent();
    table
}

fn log(table: &Dynamo) -> Log {
    Log::new([table.clone().into()], table.clock().clone(), Random::seeded(2))
}

/// An event at so many seconds of [`DAY`].
fn event(second: u64, event_type: &str, more: Value) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(i64::try_from(DAY + second).unwrap()).unwrap();
    let mut event = json!({
        "event": event_type, "code": "T0000I", "ei": 0, "cluster_name": "example.com",
        "time": time.format(&time::format_description::well_known::Rfc3339).unwrap(),
    });
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event.to_string()
}

fn uid(n: u64) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// Rows as Teleport writes them, loaded without a request each: `n` events, one every `step` seconds of the day.
fn load(engine: &Engine, n: u64, step: u64, more: impl Fn(u64) -> Value) {
    let rows = (0..n).map(|n| row(n, n * step, more(n))).collect();
    let done = engine
        .database
        .import_items(TABLE, rows, dynoxide::ImportOptions::default())
        .unwrap();
    assert_eq!(done.items_imported, usize::try_from(n).unwrap());
}

fn row(n: u64, second: u64, more: Value) -> dynoxide::Item {
    let at = DAY + second;
    let date = time::OffsetDateTime::from_unix_timestamp(i64::try_from(at).unwrap())
        .unwrap()
        .date();
    let mut fields = json!({
        "event": {"S": "user.login"}, "code": {"S": "T1000I"}, "uid": {"S": uid(n)}, "ei": {"N": "0"},
        "n": {"N": n.to_string()},
    });
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    let row = json!({
        "SessionID": {"S": uid(n)}, "EventIndex": {"N": "0"}, "EventType": fields["event"], "EventNamespace": {"S": "default"},
        "CreatedAt": {"N": at.to_string()}, "CreatedAtDate": {"S": date.to_string()}, "FieldsMap": {"M": fields},
    });
    serde_json::from_value(row).unwrap()
}

/// Every row that is stored, as DynamoDB's JSON.
fn stored(engine: &Engine) -> Vec<Value> {
    let (mut all, mut start) = (Vec::new(), Value::Null);
    loop {
        let mut request = json!({"TableName": TABLE});
        if !start.is_null() {
            request["ExclusiveStartKey"] = start;
        }
        let page = engine.database.scan(serde_json::from_value(request).unwrap());
        let page = serde_json::to_value(page.unwrap()).unwrap();
        all.extend(page["Items"].as_array().unwrap().clone());
        match page.get("LastEvaluatedKey") {
            Some(key) => start = key.clone(),
            None => return all,
        }
    }
}

/// The whole range of the tests.
fn all() -> Search {
    Search::new(at(DAY), at(DAY + 3 * 86_400))
}

/// Follows the cursors to the end, through their texts; tells each answer.
async fn follow(table: &Dynamo, mut search: Search, mut each: impl FnMut(&Answer)) -> Vec<Found> {
    let mut found = Vec::new();
    for _ in 0..10_000 {
        let answer = table.search(&search).await.unwrap();
        each(&answer);
        found.extend(answer.events);
        match answer.cursor {
            Some(cursor) => search.cursor = Some(cursor.to_string().parse().unwrap()),
            None => return found,
        }
    }
    panic!("the search has no end");
}

/// The member `n` of each event.
fn numbers(found: &[Found]) -> Vec<u64> {
    let number = |found: &Found| {
        serde_json::from_str::<Value>(&found.json).unwrap()["n"]
            .as_u64()
            .unwrap()
    };
    found.iter().map(number).collect()
}
