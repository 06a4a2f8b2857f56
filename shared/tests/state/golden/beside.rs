//! Expiry on a table that Teleport 17 or older writes too: what expired and was not deleted, and what each side sees of
//! what the other does.

use std::time::Duration;

use serde_json::{Value, json};
use tidewatch::state::{Condition, ConditionalAction, ErrorKind, Item, Key, Lease, Range, Revision};

use super::{RECORDED, TABLE, at, described, files, open, store, stored, text};
use crate::engine::Engine;

/// An item that expired in 2020, as Teleport stored it, and its revision.
fn expired() -> (Value, Revision) {
    let golden = files().remove("expired_item_blocks").unwrap();
    let item = golden["stream"][0]["dynamodb"]["NewImage"].clone();
    let revision = Revision::from(text(&item, "Revision", "S").unwrap());
    (item, revision)
}

#[tokio::test(start_paused = true)]
async fn what_expired_and_was_not_deleted_is_absent() {
    let (expired, revision) = expired();
    let engine = Engine::new();
    let (backend, _) = open(&engine).await;
    let key = described(&expired).key;
    let new = Item::new(&key, "new");
    let lease = Lease {
        key: key.clone(),
        revision: revision.clone(),
    };
    let soon = at(RECORDED + 60);
    let put = |condition| [ConditionalAction::put(new.clone(), condition)];

    store(&engine, &expired);
    let refusals = [
        (backend.get(&key).await.map(|_| ()), ErrorKind::NotFound),
        (backend.update(&new).await.map(|_| ()), ErrorKind::NotFound),
        (backend.delete(&key).await, ErrorKind::NotFound),
        (backend.keep_alive(&lease, soon).await, ErrorKind::NotFound),
        (
            backend.keep_alive_unchecked(&key, soon).await,
            ErrorKind::NotFound,
        ),
        (
            backend
                .compare_and_swap(&described(&expired), &new)
                .await
                .map(|_| ()),
            ErrorKind::CompareFailed,
        ),
        (
            backend
                .conditional_update(&new.clone().at(&revision))
                .await
                .map(|_| ()),
            ErrorKind::IncorrectRevision,
        ),
        (
            backend.conditional_delete(&key, &revision).await,
            ErrorKind::IncorrectRevision,
        ),
        (
            backend.atomic_write(&put(Condition::Exists)).await.map(|_| ()),
            ErrorKind::ConditionFailed,
        ),
        (
            backend
                .atomic_write(&put(Condition::Revision(revision)))
                .await
                .map(|_| ()),
            ErrorKind::ConditionFailed,
        ),
    ];
    for (n, (outcome, due)) in refusals.into_iter().enumerate() {
        assert_eq!(outcome.unwrap_err().kind(), due, "refusal {n}");
    }
    assert_eq!(
        stored(&engine).into_values().collect::<Vec<_>>(),
        std::slice::from_ref(&expired)
    );

    backend.create(&new).await.unwrap();
    store(&engine, &expired);
    backend.atomic_write(&put(Condition::NotExists)).await.unwrap();
    store(&engine, &expired);
    backend.put(&new).await.unwrap();
    store(&engine, &expired);
    assert_eq!(backend.delete_range(&Range::prefix(&key)).await.unwrap(), 1);
    assert!(stored(&engine).is_empty());
}

/// A request of the original about another key, at another time; whether the table took it.
fn old_request(engine: &Engine, file: &str, step: usize, operation: &str, key: &str, now: u64) -> bool {
    let golden = files().remove(file).unwrap();
    let requests = golden["operation"]["steps"][step]["requests"].as_array().unwrap();
    let named = |request: &&Value| request["target"].as_str().unwrap().ends_with(operation);
    let mut body = requests.iter().find(named).unwrap()["body"].clone();
    body["TableName"] = json!(TABLE);
    let place = if operation == "PutItem" { "Item" } else { "Key" };
    body[place]["FullPath"] = json!({"S": format!("teleport{key}")});
    if body["ExpressionAttributeValues"].get(":timestamp").is_some() {
        body["ExpressionAttributeValues"][":timestamp"] = json!({"N": now.to_string()});
    }
    match operation {
        "PutItem" => engine
            .database
            .put_item(serde_json::from_value(body).unwrap())
            .is_ok(),
        "UpdateItem" => engine
            .database
            .update_item(serde_json::from_value(body).unwrap())
            .is_ok(),
        "DeleteItem" => engine
            .database
            .delete_item(serde_json::from_value(body).unwrap())
            .is_ok(),
        other => panic!("{other}"),
    }
}

/// Teleport 17 and older on the same table: what each side sees of what the other does at an expiry.
#[tokio::test(start_paused = true)]
async fn old_writers_and_ours_share_a_table() {
    let engine = Engine::new();
    let (backend, clock) = open(&engine).await;
    let (key, now) = (Key::from("/both"), RECORDED);
    let short = |value: &str| Item::new(&key, value).expiring(at(now + 5));

    // Their Get deletes what has expired, and only that: a renewed item stays.
    let lease = backend.put(&short("ours")).await.unwrap();
    assert!(
        !old_request(&engine, "get", 4, "DeleteItem", "/both", now + 2),
        "deleted a live item"
    );
    backend.keep_alive(&lease, at(now + 10)).await.unwrap();
    assert!(
        !old_request(&engine, "get", 4, "DeleteItem", "/both", now + 7),
        "deleted a renewed item"
    );
    clock.sleep(Duration::from_secs(11)).await;
    assert_eq!(backend.get(&key).await.unwrap_err().kind(), ErrorKind::NotFound);

    // Their Create is blocked by our expired item, and ours is not; their Get makes way for it.
    assert!(
        !old_request(&engine, "create_no_expiry", 0, "PutItem", "/both", now + 11),
        "created over it"
    );
    assert!(old_request(&engine, "get", 4, "DeleteItem", "/both", now + 11));
    assert!(old_request(
        &engine,
        "create_no_expiry",
        0,
        "PutItem",
        "/both",
        now + 11
    ));
    let theirs = backend.get(&key).await.unwrap();
    assert_eq!(theirs.expires, None);
    let refused = backend.create(&Item::new(&key, "ours")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "theirs is live");

    // Their KeepAlive gives any item an expiry and keeps our revision: our lease goes on.
    let lease = backend
        .put(&Item::new(&key, "ours").expiring(at(now + 60)))
        .await
        .unwrap();
    assert!(old_request(
        &engine,
        "keepalive",
        1,
        "UpdateItem",
        "/both",
        now + 12
    ));
    let kept = backend.get(&key).await.unwrap();
    assert_eq!(
        (kept.revision, kept.value),
        (lease.revision.clone(), b"ours".to_vec())
    );
    let later = kept.expires.unwrap() + Duration::from_secs(60);
    backend.keep_alive(&lease, later).await.unwrap();

    // Their Update revives what expired; ours sees a live item of theirs, and our lease is over.
    let lease = backend
        .put(&Item::new(&key, "ours").expiring(at(now + 13)))
        .await
        .unwrap();
    clock.sleep(Duration::from_secs(5)).await;
    assert_eq!(backend.get(&key).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(old_request(&engine, "update", 2, "PutItem", "/both", now + 17));
    assert!(backend.get(&key).await.is_ok());
    let over = backend.keep_alive(&lease, at(now + 90)).await.unwrap_err();
    assert_eq!(over.kind(), ErrorKind::IncorrectRevision);
}
