//! What an earlier attempt leaves open, and what is said of it.

use std::time::{Duration, UNIX_EPOCH};

use tidewatch::clock::Clock;
use tidewatch::state::{
    Backend, Condition, ConditionalAction, ErrorKind, Item, Key, Layout, Lease, Range, Revision,
};

use crate::engine::{Engine, Fate};

async fn backend() -> (Engine, Clock, Backend) {
    let clock = Clock::simulated(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let engine = Engine::new();
    let backend = engine.backend("settled", Layout::Teleport, &clock, 1).await;
    (engine, clock, backend)
}

/// An item from before there were revisions: all of those have the same.
fn old(engine: &Engine, key: &str) {
    let item = serde_json::json!({
        "TableName": "settled",
        "Item": {"HashKey": {"S": "teleport"}, "FullPath": {"S": format!("teleport{key}")}, "Value": {"B": "AA=="},
                 "Expires": {"N": "1800000060"}},
    });
    engine
        .database
        .put_item(serde_json::from_value(item).unwrap())
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_revision_that_all_old_items_have_proves_nothing() {
    let (engine, clock, backend) = backend().await;
    let key = Key::from("/old");
    let blank = Revision::from(Revision::BLANK);
    old(&engine, "/old");
    engine.fates("DeleteItem", [Fate::Dropped]);
    let deleted = backend.conditional_delete(&key, &blank).await.unwrap_err();
    assert_eq!(deleted.kind(), ErrorKind::OutcomeUnknown, "{deleted}");
    engine.fates("PutItem", [Fate::Dropped]);
    let updated = backend
        .conditional_update(&Item::new(&key, "new").at(&blank))
        .await;
    assert_eq!(updated.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    engine.fates("UpdateItem", [Fate::Dropped]);
    let lease = Lease {
        key: key.clone(),
        revision: blank.clone(),
    };
    let kept = backend
        .keep_alive(&lease, clock.now() + Duration::from_secs(90))
        .await;
    assert_eq!(kept.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(backend.get(&key).await.unwrap().revision, blank);
}

#[tokio::test(start_paused = true)]
async fn a_range_that_may_have_been_deleted_is_not_said_to_be_unchanged() {
    let (engine, clock, backend) = backend().await;
    backend.put(&Item::new("/r/1", "x")).await.unwrap();
    engine.plan(|operation, _| match operation {
        "BatchWriteItem" => Fate::AnswerLost,
        _ => Fate::Served,
    });
    let bounded = backend.with_deadline(clock.instant() + Duration::from_secs(2));
    let error = bounded.delete_range(&Range::prefix("/r/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_goes_on_to_its_end_when_the_backend_is_closed() {
    let (engine, _, backend) = backend().await;
    let closing = backend.clone();
    engine.plan(move |operation, _| {
        if operation == "PutItem" {
            closing.close();
            return Fate::AnswerLost;
        }
        Fate::Served
    });
    backend.put(&Item::new("/a", "1")).await.unwrap();
    assert_eq!(
        backend.get(&Key::from("/a")).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[tokio::test(start_paused = true)]
async fn an_atomic_write_is_not_sent_again_with_a_clock_that_is_ten_seconds_old() {
    let (engine, _, backend) = backend().await;
    engine.plan(|operation, _| match operation {
        "TransactWriteItems" => Fate::Delayed {
            before: Duration::from_secs(60),
            after: Duration::ZERO,
        },
        _ => Fate::Served,
    });
    let actions = [ConditionalAction::put(Item::new("/a", "1"), Condition::Whatever)];
    let error = backend.atomic_write(&actions).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    // Each attempt takes its five seconds and is given up: the third would be sent ten seconds after the first.
    // And the read that settles it.
    assert_eq!(error.attempts(), 2 + 1, "{error}");
}
