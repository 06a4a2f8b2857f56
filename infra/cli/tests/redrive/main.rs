//! What brings events back, as an operator types it: the real binary, engines on sockets, places in directories and S3.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod backfill;
mod gaps;
mod lambda;
#[path = "../table/machine.rs"]
#[allow(dead_code)] // The table commands' tests use the rest.
mod machine;
mod maintain;
mod objects;

use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use machine::Machine;
use serde_json::{Value, json};
use tidewatch::audit::log::Dynamo;
use tidewatch::clock::Clock;
use tidewatch::random::Random;

const TABLE: &str = "teleport.audit";
/// 2026-11-20T10:00:00Z.
const BASE: u64 = 1_795_168_800;

/// The time of event `n`, an hour after that of the one before.
fn at(n: u64) -> u64 {
    BASE + n * 3_600
}

fn stamp(seconds: u64) -> String {
    let at = time::OffsetDateTime::from_unix_timestamp(seconds.cast_signed()).unwrap();
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// The row of event `n`.
fn row(n: u64) -> Value {
    let time = stamp(at(n));
    json!({
        "SessionID": {"S": format!("s{n}")}, "EventIndex": {"N": "0"}, "EventType": {"S": "x"},
        "CreatedAt": {"N": at(n).to_string()}, "CreatedAtDate": {"S": time[..10]},
        "FieldsMap": {"M": {
            "event": {"S": "x"}, "uid": {"S": format!("00000000-0000-4000-8000-{n:012}")}, "n": {"N": n.to_string()},
            "time": {"S": time},
        }},
    })
}

/// Its stream record.
fn record(n: u64, number: u64) -> Value {
    let row = row(n);
    let keys = json!({"SessionID": row["SessionID"], "EventIndex": row["EventIndex"]});
    json!({
        "eventID": format!("e{n}"), "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "dynamodb": {"ApproximateCreationDateTime": at(n), "Keys": keys, "NewImage": row, "SequenceNumber": number.to_string()},
    })
}

/// An attribute of a row.
fn attribute(json: &Value) -> AttributeValue {
    let (kind, value) = json.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => AttributeValue::S(value.as_str().unwrap().to_owned()),
        "N" => AttributeValue::N(value.as_str().unwrap().to_owned()),
        _ => AttributeValue::M(
            value
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, json)| (name.clone(), attribute(json)))
                .collect(),
        ),
    }
}

/// A machine with an audit table that has these events.
async fn machine(events: impl IntoIterator<Item = u64>) -> Machine {
    let machine = Machine::start().await;
    let client = machine.client();
    Dynamo::open(
        &client,
        TABLE,
        Dynamo::RETENTION,
        Clock::system(),
        Random::system(),
    )
    .await
    .unwrap();
    for n in events {
        let mut request = client.put_item().table_name(TABLE);
        for (name, json) in row(n).as_object().unwrap() {
            request = request.item(name, attribute(json));
        }
        request.send().await.unwrap();
    }
    machine
}

/// Files below a directory by name, in order.
fn files(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => names.push(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    names.sort();
    names
}
