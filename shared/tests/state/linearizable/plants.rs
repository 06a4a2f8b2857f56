//! Faults that the model test must catch, planted between the backend and the engine.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::random::Random;

use crate::engine::{Engine, Fate};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// Each further attempt has the `:now` of the first.
    StaleClock,
    /// A delete has no condition.
    UnconditionalDelete,
    /// An atomic write checks all its conditions at once, but then writes item by item.
    OneByOne,
    /// Put and delete are sent again after an unknown outcome: [`tidewatch::state::Backend::at_least_once`].
    Repeat,
    /// Each further attempt of a put stores another revision than the caller is told.
    NewRevision,
    /// keep_alive extends the item in whatever revision.
    KeepAliveUnchecked,
}

impl Plant {
    /// Changes a request; `first` is the first of the call if this is a further one.
    pub(crate) fn rewrite(self, operation: &str, body: &mut Value, first: Option<&Value>, random: &Random) {
        match (self, operation, first) {
            (Self::StaleClock, _, Some(first)) => {
                if let Some(now) = now_of(first).cloned() {
                    set_now(body, &now);
                }
            }
            (Self::UnconditionalDelete, "DeleteItem", _) => {
                for part in [
                    "ConditionExpression",
                    "ExpressionAttributeNames",
                    "ExpressionAttributeValues",
                ] {
                    body.as_object_mut().unwrap().remove(part);
                }
            }
            (Self::NewRevision, "PutItem", Some(_)) => {
                body["Item"]["Revision"] = json!({ "S": random.uuid().to_string() });
            }
            (Self::KeepAliveUnchecked, "UpdateItem", _) => {
                let condition = body["ConditionExpression"].as_str().unwrap();
                let without = condition.replace(" AND Revision = :rev", "");
                assert_ne!(
                    condition, without,
                    "the condition names the revision otherwise now"
                );
                body["ConditionExpression"] = without.into();
                body["ExpressionAttributeValues"]
                    .as_object_mut()
                    .unwrap()
                    .remove(":rev");
            }
            _ => {}
        }
    }
}

/// The actions of a request: itself, or those of a transaction.
fn parts(body: &Value) -> Vec<&Value> {
    match body["TransactItems"].as_array() {
        Some(actions) => actions
            .iter()
            .filter_map(|action| action.as_object()?.values().next())
            .collect(),
        None => vec![body],
    }
}

fn now_of(body: &Value) -> Option<&Value> {
    parts(body)
        .into_iter()
        .find_map(|part| part["ExpressionAttributeValues"].get(":now"))
}

fn set_now(body: &mut Value, now: &Value) {
    if let Some(actions) = body.get_mut("TransactItems").and_then(Value::as_array_mut) {
        for part in actions
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .flat_map(|action| action.values_mut())
        {
            set_now(part, now);
        }
    } else if let Some(old) = body.pointer_mut("/ExpressionAttributeValues/:now") {
        *old = now.clone();
    }
}

/// A transaction that checks at once and writes one by one.
pub(crate) async fn one_by_one(engine: &Engine, mut request: Value) -> HttpResponse {
    const CONDITION: [&str; 3] = [
        "ConditionExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
    ];
    let actions = request["TransactItems"].as_array().unwrap().clone();
    let partition = |item: &Value| {
        let keys = ["HashKey", "FullPath", "Part", "Key"];
        let all = item.as_object().unwrap().iter();
        Value::Object(
            all.filter(|(name, _)| keys.contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        )
    };
    let mut checks = Vec::new();
    let mut writes = Vec::new();
    for action in &actions {
        let (name, part) = action.as_object().unwrap().iter().next().unwrap();
        let key = partition(if name == "Put" {
            &part["Item"]
        } else {
            &part["Key"]
        });
        if part.get("ConditionExpression").is_some() {
            let mut check = json!({ "TableName": part["TableName"], "Key": key });
            for field in CONDITION {
                check[field] = part[field].clone();
            }
            checks.push(json!({ "ConditionCheck": check }));
        }
        if name != "ConditionCheck" {
            let mut write = part.clone();
            for field in CONDITION {
                write.as_object_mut().unwrap().remove(field);
            }
            writes.push((format!("{name}Item"), write));
        }
    }
    let send = |operation: &str, body: &Value| {
        engine
            .clone()
            .fated(Fate::Served, operation.to_owned(), body.to_string().into_bytes())
    };
    if !checks.is_empty() {
        request["TransactItems"] = checks.into();
        let checked = send("TransactWriteItems", &request).await.unwrap();
        if checked.status().as_u16() != 200 {
            return checked;
        }
    }
    let mut last = None;
    for (operation, write) in writes {
        if last.is_some() {
            Clock::system().sleep(Duration::from_millis(20)).await;
        }
        last = Some(send(&operation, &write).await.unwrap());
    }
    last.unwrap()
}
