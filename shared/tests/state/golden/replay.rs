//! The recorded calls once more, of ours: the same answers, the same writes, the same table afterwards, but for what is
//! listed here.

use std::collections::HashMap;
use std::time::SystemTime;

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidewatch::state::{
    Backend, Condition, ConditionalAction, Error, ErrorKind, Item, ItemsParams, Key, Lease, Range, Revision,
};

use super::{RECORDED, at, files, open, store, stored, text};
use crate::engine::Engine;

fn item(input: &Value, revisions: &HashMap<String, Revision>) -> Item {
    let value = input["value_base64"].as_str().unwrap_or_default();
    let revision = input["revision"].as_str().unwrap_or_default();
    Item {
        key: Key::from(input["key"].as_str().unwrap()),
        value: STANDARD.decode(value).unwrap(),
        expires: time(input),
        revision: revisions
            .get(revision)
            .cloned()
            .unwrap_or(Revision::from(revision)),
    }
}

fn time(input: &Value) -> Option<SystemTime> {
    let time = DateTime::from_str(input["expires"].as_str()?, DateTimeFormat::DateTime).unwrap();
    Some(time.try_into().unwrap())
}

fn action(input: &Value, revisions: &HashMap<String, Revision>) -> ConditionalAction {
    let condition = match input["condition"].as_str().unwrap() {
        "whatever" => Condition::Whatever,
        "exists" => Condition::Exists,
        "not_exists" => Condition::NotExists,
        "revision" => {
            let revision = input["revision"].as_str().unwrap();
            Condition::Revision(
                revisions
                    .get(revision)
                    .cloned()
                    .unwrap_or(Revision::from(revision)),
            )
        }
        other => panic!("{other}"),
    };
    let key = input["key"].as_str().unwrap();
    match input["action"].as_str().unwrap() {
        "put" => ConditionalAction {
            key: Key::from(key),
            ..ConditionalAction::put(item(&input["item"], revisions), condition)
        },
        "delete" => ConditionalAction::delete(key, condition),
        "nop" => ConditionalAction::check(key, condition),
        other => panic!("{other}"),
    }
}

/// The call of a step, made of ours. Answers the new revision, if there is one.
async fn call(
    backend: &Backend,
    step: &Value,
    revisions: &HashMap<String, Revision>,
) -> Result<Option<Revision>, Error> {
    let input = &step["in"];
    let lease = |lease: Lease| Some(lease.revision);
    match step["op"].as_str().unwrap() {
        "put" => backend.put(&item(input, revisions)).await.map(lease),
        "create" => backend.create(&item(input, revisions)).await.map(lease),
        "update" => backend.update(&item(input, revisions)).await.map(lease),
        "conditional_update" => backend
            .conditional_update(&item(input, revisions))
            .await
            .map(lease),
        "cas" => {
            let (expected, new) = (
                item(&input["expected"], revisions),
                item(&input["replace_with"], revisions),
            );
            backend.compare_and_swap(&expected, &new).await.map(lease)
        }
        "conditional_delete" => {
            let item = item(input, revisions);
            backend
                .conditional_delete(&item.key, &item.revision)
                .await
                .map(|()| None)
        }
        "delete" => backend.delete(&item(input, revisions).key).await.map(|()| None),
        "keepalive" => {
            let key = input["key"].as_str().filter(|key| *key != "(zero key)");
            let expires = time(input).unwrap_or(at(RECORDED + 60));
            let key = Key::from(key.unwrap_or_default());
            backend.keep_alive_unchecked(&key, expires).await.map(|()| None)
        }
        "atomic_write" => {
            let actions = input["actions"].as_array().unwrap().iter();
            let actions: Vec<_> = actions.map(|one| action(one, revisions)).collect();
            backend.atomic_write(&actions).await
        }
        "delete_range" => {
            let end = |side: &str| Key::from(input[side].as_str().unwrap());
            backend
                .delete_range(&Range::between(end("start"), end("end")))
                .await
                .map(|_| None)
        }
        "get" => {
            let found = backend.get(&Key::from(input["key"].as_str().unwrap())).await?;
            same_read(&found, &step["result"], revisions);
            Ok(None)
        }
        "get_range" => {
            let end = |side: &str| Key::from(input[side].as_str().unwrap());
            let limit = usize::try_from(input["limit"].as_u64().unwrap()).unwrap();
            let range = Range::between(end("start"), end("end"));
            let found = backend.get_range(ItemsParams::from(range).limit(limit)).await?;
            let mut due = step["result"].as_array().unwrap().clone();
            if limit > 0 {
                // The original may answer more than it was asked for, beside expired items.
                due.truncate(limit);
            }
            assert_eq!(found.len(), due.len(), "{input}");
            found
                .iter()
                .zip(&due)
                .for_each(|(found, due)| same_read(found, due, revisions));
            Ok(None)
        }
        other => panic!("{other}"),
    }
}

fn same_read(found: &Item, due: &Value, revisions: &HashMap<String, Revision>) {
    let due = item(due, revisions);
    assert_eq!(found, &due);
    assert_eq!(found.value, due.value, "{due:?}");
}

/// The class of an error, as the recordings name it.
fn class(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::BadParameter => "bad_parameter",
        ErrorKind::CompareFailed => "compare_failed",
        ErrorKind::IncorrectRevision => "compare_failed (incorrect revision)",
        ErrorKind::ConditionFailed => "compare_failed (condition failed)",
        _ => "other",
    }
}

/// Where ours answers otherwise by intent: file, step, and the class that ours has (none for success).
const OTHERWISE: [(&str, usize, Option<&str>); 10] = [
    // No value and an empty value are the same to ours, as expected value too.
    ("compare_and_swap", 6, None),
    ("compare_and_swap", 7, Some("compare_failed")),
    ("compare_and_swap", 8, None),
    // A range that ends before it starts is refused before it is sent.
    ("get_range", 7, Some("bad_parameter")),
    // Expired means gone.
    ("expired_item_blocks", 1, None),
    (
        "expired_item_blocks",
        2,
        Some("compare_failed (incorrect revision)"),
    ),
    ("expired_item_blocks", 3, Some("compare_failed")),
    ("expired_item_blocks", 4, None),
    ("expired_item_blocks", 5, None),
    ("expired_item_blocks", 6, None),
];

/// What a request writes: whole items, and what an UpdateItem sets; without what varies.
fn writes(operation: &str, body: &Value) -> Vec<Value> {
    let items: Vec<Value> = match operation {
        "PutItem" => vec![body["Item"].clone()],
        "UpdateItem" => vec![json!({
            "Key": body["Key"],
            "UpdateExpression": body["UpdateExpression"],
            ":expires": body["ExpressionAttributeValues"][":expires"],
        })],
        "TransactWriteItems" => body["TransactItems"]
            .as_array()
            .unwrap()
            .iter()
            .map(transacted)
            .collect(),
        "DeleteItem" => vec![json!({"Key": body["Key"]})],
        _ => Vec::new(),
    };
    items.into_iter().map(steady).collect()
}

fn transacted(action: &Value) -> Value {
    let (kind, body) = action.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "Put" => body["Item"].clone(),
        kind => json!({kind: {"Key": body["Key"]}}),
    }
}

/// An item with its revision and timestamp as their shapes only, and no value as an empty one.
fn steady(mut item: Value) -> Value {
    if let Some(revision) = text(&item, "Revision", "S") {
        let shape: String = revision
            .chars()
            .map(|c| if c.is_ascii_hexdigit() { 'x' } else { c })
            .collect();
        assert_eq!(revision.to_lowercase(), revision);
        item["Revision"] = json!({"S": shape});
    }
    if let Some(timestamp) = text(&item, "Timestamp", "N") {
        item["Timestamp"] = json!({"N": timestamp.len()});
    }
    if item.get("Value").is_some_and(|value| value["NULL"] == true) {
        item["Value"] = json!({"B": ""});
    }
    item
}

/// Recordings that are no calls of single operations, or of keys that ours refuses.
const NOT_REPLAYED: [&str; 4] = ["limits", "lock", "range_end_edge", "watch"];
/// Whose table ends otherwise: by the above, and since ours deletes expired items with a range, but not by a get.
const ENDS_OTHERWISE: [&str; 4] = ["compare_and_swap", "delete_range", "expired_item_blocks", "get"];

#[tokio::test(start_paused = true)]
async fn the_same_calls_send_and_store_the_same() {
    let (mut calls, mut compared) = (0, 0);
    for (name, golden) in files() {
        if NOT_REPLAYED.contains(&name.as_str()) {
            continue;
        }
        let engine = Engine::new();
        let (backend, _) = open(&engine).await;
        let mut revisions = HashMap::new();
        for (n, step) in golden["operation"]["steps"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let what = format!("{name}, step {n}: {}", step["in"]);
            if step["op"] == "raw_put_item" {
                store(&engine, &step["in"]);
                continue;
            }
            let outcome = call(&backend, step, &revisions).await;
            let sent = engine.sent();
            let intended = OTHERWISE
                .iter()
                .find(|(file, step, _)| (*file, *step) == (name.as_str(), n));
            let due = match intended {
                Some((_, _, due)) => *due,
                None => step["error"].as_str(),
            };
            assert_eq!(outcome.as_ref().err().map(class), due, "{what}: {outcome:?}");
            let theirs = ["lease_revision", "revision"].into_iter();
            let theirs = theirs.filter_map(|name| step["result"][name].as_str()).next();
            if let (Ok(Some(ours)), Some(theirs)) = (&outcome, theirs) {
                revisions.insert(theirs.to_owned(), ours.clone());
            }
            calls += 1;
            if outcome.is_ok() && intended.is_none() {
                let ours: Vec<_> = sent
                    .iter()
                    .flat_map(|sent| writes(&sent.operation, &sent.body))
                    .collect();
                let requests = step["requests"].as_array().into_iter().flatten();
                let theirs: Vec<_> = requests
                    .flat_map(|request| {
                        let operation = request["target"].as_str().unwrap().rsplit('.').next().unwrap();
                        writes(operation, &request["body"])
                    })
                    .collect();
                assert_eq!(ours, theirs, "{what}");
                compared += ours.len();
            }
        }
        if !ENDS_OTHERWISE.contains(&name.as_str()) {
            let ours: Vec<_> = stored(&engine).into_values().map(steady).collect();
            let theirs: Vec<_> = golden["items"]
                .as_array()
                .unwrap()
                .iter()
                .cloned()
                .map(steady)
                .collect();
            assert_eq!(ours, theirs, "{name}");
        }
    }
    println!("{calls} calls, {compared} writes compared");
    assert!(calls > 100 && compared > 60, "{calls} calls, {compared} writes");
}
