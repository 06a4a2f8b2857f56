//! On-failure objects.

use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::redrive::failures::{Report, redrive};

use crate::store::Store;
use crate::support::{Setup, event_line, insert};
use crate::{Forward, cut, hand, names, options};
use tidewatch::forward::InProcess;
use tidewatch::objects::Objects;
use tidewatch::redrive::Hand;

const DOCUMENTED: &str = include_str!("../golden/redrive/on-failure.json");
const METADATA: &str = include_str!("../golden/redrive/on-failure-metadata.json");

/// An object of a shard with records of these numbers.
fn object(shard: &str, numbers: &[u32]) -> Vec<u8> {
    let records: Vec<Value> = numbers
        .iter()
        .map(|number| serde_json::from_str(&insert("s", *number, *number)).unwrap())
        .collect();
    let mut object: Value = serde_json::from_str(METADATA).unwrap();
    object["DDBStreamBatchInfo"]["shardId"] = json!(shard);
    object["payload"] = json!(json!({ "Records": records }).to_string());
    object.to_string().into_bytes()
}

async fn put(objects: &Objects, named: &[(&str, Vec<u8>)]) {
    for (name, body) in named {
        objects.put(name, body.clone()).await.unwrap();
    }
}

/// Names say nothing of the order: numbers in the body do, by length first.
async fn waiting() -> (Store, Objects) {
    let store = Store::new();
    let objects = store.objects("failed");
    put(
        &objects,
        &[
            ("aws/lambda/id/a/1", object("a", &[100, 101])),
            ("aws/lambda/id/a/2", object("a", &[9, 10])),
            ("aws/lambda/id/b/0", object("b", &[7])),
        ],
    )
    .await;
    store.sent();
    (store, objects)
}

const ORDER: [&str; 5] = ["9", "10", "100", "101", "7"];

async fn run(objects: &Objects, forward: &Forward) -> Report {
    let clock = Clock::system();
    redrive(objects, hand(forward, &clock), &|_| {}).await
}

#[tokio::test]
async fn what_lambda_gave_up_is_replayed_in_the_order_of_its_shards_and_deleted() {
    let (_store, objects) = waiting().await;
    let forward = Forward::default();
    let report = run(&objects, &forward).await;
    assert_eq!((report.objects, report.tally.records, report.error), (3, 5, None));
    assert_eq!(forward.numbers(), ORDER);
    assert_eq!(forward.taken.lock().unwrap()[0].0, json!({"origin": "redrive"}));
    assert!(names(&objects).await.is_empty());
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (store, objects) = waiting().await;
    let (forward, clock) = (Forward::default(), Clock::system());
    let hand = Hand {
        options: options(&clock, true),
        ..hand(&forward, &clock)
    };
    let report = redrive(&objects, hand, &|_| {}).await;
    let found: Vec<_> = report
        .found
        .iter()
        .map(|found| found.sequence_number.as_str())
        .collect();
    assert_eq!(found, ["9", "100", "7"]);
    assert!(
        store
            .sent()
            .iter()
            .all(|(method, _)| method != "DELETE" && method != "PUT")
    );
    assert_eq!((names(&objects).await.len(), forward.numbers().len()), (3, 0));
}

#[tokio::test]
async fn the_documented_object_is_delivered_by_the_forwarder() {
    let objects = Store::new().objects("");
    put(&objects, &[("aws/lambda/x", DOCUMENTED.as_bytes().to_vec())]).await;
    let setup = Setup::new().await;
    let clock = Clock::system();
    let forward = InProcess::new(
        std::sync::Arc::clone(&setup.forwarder),
        clock.clone(),
        std::time::Duration::from_secs(100),
    );
    let report = redrive(&objects, hand(&forward, &clock), &|_| {}).await;
    assert_eq!((report.objects, report.tally.records), (1, 2), "{report:?}");
    assert_eq!(setup.lines("a"), [event_line("s", 1), event_line("s", 2)]);
}

#[tokio::test]
async fn what_holds_no_records_of_the_audit_table_stays() {
    let objects = Store::new().objects("");
    let state = include_str!("../../../events/state/given-up-object.json");
    let kept = [
        ("metadata", METADATA.as_bytes().to_vec()),
        ("none", b"no json".to_vec()),
        ("other", b"{}".to_vec()),
        (
            "payload",
            METADATA.replacen('{', "{\"payload\":\"x\",", 1).into_bytes(),
        ),
        ("state", state.as_bytes().to_vec()),
    ];
    put(&objects, &kept).await;
    let forward = Forward::default();
    let report = run(&objects, &forward).await;
    assert_eq!(
        (report.stay, report.left.len(), report.owed.len()),
        (5, 4, 1),
        "{report:?}"
    );
    let owed = &report.owed[0];
    assert_eq!(owed.from.as_deref(), Some("2019-11-14T00:13:19Z"));
    assert_eq!(
        (owed.to.as_deref(), owed.records),
        (Some("2019-11-14T00:13:20Z"), Some(2))
    );
    assert_eq!((names(&objects).await.len(), forward.numbers().len()), (5, 0));
}

#[tokio::test]
async fn after_one_that_is_not_taken_its_shard_waits_and_others_do_not() {
    let (_store, objects) = waiting().await;
    let forward = Forward {
        cut: Some((0, false)),
        ..Forward::default()
    };
    let report = run(&objects, &forward).await;
    assert_eq!((report.objects, report.stay), (1, 2), "{report:?}");
    assert_eq!(forward.numbers(), ["7"]);
    assert_eq!(names(&objects).await, ["aws/lambda/id/a/1", "aws/lambda/id/a/2"]);
}

/// More than Lambda takes at once, and more names than a page holds.
#[tokio::test]
async fn pages_of_names_are_all_read() {
    let objects = Store::new().objects("");
    for n in 0..1_005_u32 {
        let name = format!("aws/{:05}", 99_999 - n);
        put(&objects, &[(&name, object("a", &[n + 1]))]).await;
    }
    let forward = Forward::default();
    let report = run(&objects, &forward).await;
    assert_eq!(
        (report.objects, report.waiting, report.found.len()),
        (1_005, 1_005, 100)
    );
    let due: Vec<String> = (1..=1_005).map(|n| n.to_string()).collect();
    assert_eq!(forward.numbers(), due);
}

#[tokio::test]
async fn cut_anywhere_and_run_again_nothing_is_lost() {
    let (store, objects) = waiting().await;
    run(&objects, &Forward::default()).await;
    let requests = store.sent().len();
    assert_eq!(requests, 1 + 3 + 3 + 3);
    for request in 0..requests {
        for after in [false, true] {
            let (store, objects) = waiting().await;
            let forward = Forward::default();
            cut(&store, request, after);
            run(&objects, &forward).await;
            store.plan(|_, _| crate::Fate::Served);
            let report = run(&objects, &forward).await;
            assert_eq!(report.error, None);
            assert_eq!(forward.numbers(), ORDER, "request {request}, {after}");
            assert!(names(&objects).await.is_empty());
        }
    }
    for invocation in 0..3 {
        for after in [false, true] {
            let (_store, objects) = waiting().await;
            let forward = Forward {
                cut: Some((invocation, after)),
                ..Forward::default()
            };
            run(&objects, &forward).await;
            run(&objects, &forward).await;
            let mut numbers = forward.numbers();
            numbers.sort_by_key(|number| ORDER.iter().position(|due| due == number));
            assert_eq!(numbers, ORDER, "invocation {invocation}, {after}");
            assert!(names(&objects).await.is_empty());
        }
    }
}
