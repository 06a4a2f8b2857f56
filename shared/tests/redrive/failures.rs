//! On-failure objects.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::redrive::failures::{Report, redrive, repay};

use crate::backfill::{DAY, load, table};
use crate::store::Store;
use crate::support::{Setup, event_line, insert, payload};
use crate::{Forward, cut, hand, names, options};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tidewatch::forward::{InProcess, Invoke, InvokeError};
use tidewatch::objects::Objects;
use tidewatch::redrive::Hand;

const DOCUMENTED: &str = include_str!("../golden/redrive/on-failure.json");
const METADATA: &str = include_str!("../golden/redrive/on-failure-metadata.json");

/// An object of a shard with records of these numbers.
fn object(shard: &str, numbers: &[u32]) -> Vec<u8> {
    let records: Vec<String> = numbers
        .iter()
        .map(|number| insert("s", *number, *number))
        .collect();
    object_of(shard, &records)
}

/// An object of a shard with these records.
fn object_of(shard: &str, records: &[String]) -> Vec<u8> {
    let mut object: Value = serde_json::from_str(METADATA).unwrap();
    object["DDBStreamBatchInfo"]["shardId"] = json!(shard);
    object["payload"] = json!(payload(records));
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
        Duration::from_secs(100),
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

/// Of an object some of whose records are taken nothing is deleted, and nothing more of its shard is handed over.
#[tokio::test]
async fn an_object_that_is_taken_in_part_stays() {
    let (_store, objects) = waiting().await;
    let three = [insert("s", 11, 11), insert("bad", 12, 12), insert("s", 13, 13)];
    put(&objects, &[("aws/lambda/id/a/0", object_of("a", &three))]).await;
    let forward = Forward::refusing(&["bad"]);
    let report = run(&objects, &forward).await;
    assert_eq!(
        (report.objects, report.stay, report.tally.records),
        (2, 2, 4),
        "{report:?}"
    );
    assert_eq!(forward.numbers(), ["9", "10", "11", "7"]);
    assert_eq!(names(&objects).await, ["aws/lambda/id/a/0", "aws/lambda/id/a/1"]);
    run(&objects, &Forward::default()).await;
    assert!(names(&objects).await.is_empty());
}

/// A payload's worth is handed over at a time, and all of it.
#[tokio::test]
async fn an_object_larger_than_a_payload_is_handed_over_in_parts() {
    let objects = Store::new().objects("");
    let large = |n| insert("s", n, n).replace("session.command", &"x".repeat(250_000));
    let records: Vec<String> = (1..=12).map(large).collect();
    put(&objects, &[("aws/lambda/id/a/0", object_of("a", &records))]).await;
    let forward = Forward::default();
    let report = run(&objects, &forward).await;
    assert_eq!((report.objects, report.tally.records), (1, 12), "{report:?}");
    assert_eq!(
        forward.numbers(),
        (1..=12).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    assert!(*forward.invocations.lock().unwrap() >= 2);
}

/// So many that a run cannot look at all of them: it comes further all the same. Names may begin with the mapping.
#[tokio::test(start_paused = true)]
async fn a_run_that_has_no_time_for_all_comes_further_shard_by_shard() {
    for place in ["", "aws/lambda"] {
        let store = Store::new();
        let objects = store.objects("");
        for shard in ["a", "b", "c", "d"] {
            let name = format!("aws/lambda/00000000-0000-4000-8000-000000000001/{shard}/1");
            put(&objects, &[(&name, object(shard, &[1]))]).await;
        }
        let objects = store.objects(place);
        store.plan(|_, _| crate::Fate::Delayed {
            before: Duration::from_secs(4),
            after: Duration::from_secs(4),
        });
        let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800));
        for left in [2, 0] {
            let report = redrive(&objects, hand(&Forward::default(), &clock), &|_| {}).await;
            assert_eq!(report.more, left > 0, "{place}: {report:?}");
            assert_eq!(names(&objects).await.len(), left, "{place}: {report:?}");
        }
    }
}

/// Names without folders, as of objects that were copied: those that follow one another are ordered by what is in them, and
/// a shard that is stopped is so among all.
#[tokio::test]
async fn names_without_folders_have_their_shards_order() {
    let objects = Store::new().objects("");
    let named = [
        ("1", object("a", &[100, 101])),
        ("2", object("a", &[9, 10])),
        ("b/x", object("a", &[200])),
        ("c", object("a", &[300])),
    ];
    put(&objects, &named).await;
    let forward = Forward {
        cut: Some((0, false)),
        ..Forward::default()
    };
    let report = run(&objects, &forward).await;
    assert_eq!((report.objects, report.stay), (0, 4), "{report:?}");
    let report = run(&objects, &forward).await;
    assert_eq!((report.objects, report.stay), (4, 0), "{report:?}");
    assert_eq!(forward.numbers(), ["9", "10", "100", "101", "200", "300"]);
}

/// An object may take its time.
#[tokio::test(start_paused = true)]
async fn a_slow_line_is_waited_for() {
    let (store, objects) = waiting().await;
    store.plan(|method, _| crate::Fate::Delayed {
        before: Duration::ZERO,
        after: Duration::from_secs(if method == "GET" { 30 } else { 0 }),
    });
    let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800));
    let forward = Forward::default();
    let report = redrive(&objects, patient(&forward, &clock), &|_| {}).await;
    assert_eq!((report.objects, report.error), (3, None));
}

/// With a month for all.
fn patient<'a>(forward: &'a dyn Invoke, clock: &'a Clock) -> Hand<'a> {
    let mut hand = hand(forward, clock);
    hand.options.last_call += Duration::from_hours(24 * 30);
    hand.options.deadline += Duration::from_hours(24 * 30);
    hand
}

#[derive(Debug)]
struct Silent;

impl Invoke for Silent {
    fn invoke(&self, _: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        std::future::pending().boxed()
    }
}

/// No invocation is waited for longer than one may take.
#[tokio::test(start_paused = true)]
async fn a_function_that_does_not_answer_is_given_up() {
    let (_store, objects) = waiting().await;
    let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800));
    let begun = clock.instant();
    let report = redrive(&objects, patient(&Silent, &clock), &|_| {}).await;
    assert_eq!(report.error.as_deref(), Some("no answer in time"));
    let took = clock.instant() - begun;
    assert!(
        took > Duration::from_mins(15) && took < Duration::from_mins(17),
        "{took:?}"
    );
    assert_eq!(names(&objects).await.len(), 3);
}

/// A place that does not answer ends a run by its deadline.
#[tokio::test(start_paused = true)]
async fn a_place_that_does_not_answer_holds_up_nobody() {
    let (store, objects) = waiting().await;
    let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800));
    for silent in ["LIST", "GET", "DELETE"] {
        store.plan(move |method, _| match method == silent {
            true => crate::Fate::Delayed {
                before: Duration::from_secs(100_000),
                after: Duration::ZERO,
            },
            false => crate::Fate::Served,
        });
        let begun = clock.instant();
        let report = redrive(&objects, hand(&Forward::default(), &clock), &|_| {}).await;
        assert!(
            report.error.is_some_and(|error| error.contains("did not answer")),
            "{silent}"
        );
        assert!(clock.instant() - begun <= Duration::from_secs(120), "{silent}");
    }
}

/// More names than a page holds.
#[tokio::test]
async fn pages_of_names_are_all_read() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::dir(dir.path().to_owned(), tidewatch::random::Random::seeded(1));
    for n in 0..1_005_u32 {
        let name = format!("aws/{:05}", 99_999 - n);
        put(&objects, &[(&name, object("a", &[n + 1]))]).await;
    }
    let forward = Forward::default();
    let report = run(&objects, &forward).await;
    assert_eq!(
        (report.objects, report.waiting.objects, report.found.len()),
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
            let (mut others, mut a) = (forward.numbers(), forward.numbers());
            others.retain(|number| number == "7");
            a.retain(|number| number != "7");
            assert_eq!(
                (&a[..], others.len()),
                (&ORDER.map(str::to_owned)[..4], 1),
                "{invocation}, {after}"
            );
            assert!(names(&objects).await.is_empty());
        }
    }
}

/// An object without records, of the times of `DAY` and the hour after, and of this table.
fn owed(table: &str) -> Vec<u8> {
    let mut object: Value = serde_json::from_str(METADATA).unwrap();
    let batch = &mut object["DDBStreamBatchInfo"];
    batch["approximateArrivalOfFirstRecord"] = json!("2026-11-20T00:00:00Z");
    batch["approximateArrivalOfLastRecord"] = json!("2026-11-20T01:00:00.5Z");
    let of = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{table}/stream/2019-11-14T00:04:06.388");
    batch["streamArn"] = json!(of);
    object.to_string().into_bytes()
}

#[tokio::test]
async fn one_without_records_goes_after_the_backfill_of_its_time_and_no_other() {
    let engine = crate::engine::Engine::new();
    let log = table(&engine).await;
    load(&engine, 20);
    let objects = Store::new().objects("");
    let undated = METADATA
        .replace("approximateArrivalOfFirstRecord", "elsewhere")
        .replace("mytable", "teleport.audit");
    let ours = owed("teleport.audit");
    put(&objects, &[("a", undated.into_bytes()), ("b", ours.clone())]).await;
    let clock = Clock::system();
    // The backfill fails, before and after its records are taken.
    for after in [false, true] {
        let forward = Forward {
            cut: Some((0, after)),
            ..Forward::default()
        };
        let mut report = run(&objects, &forward).await;
        repay(&objects, &log, None, hand(&forward, &clock), &mut report, &|_| {}).await;
        assert!(report.error.is_some());
        assert_eq!((report.repaid, report.stay, report.owed.len()), (0, 2, 2));
        assert_eq!(names(&objects).await, ["a", "b"]);
    }
    let forward = Forward::default();
    let mut report = run(&objects, &forward).await;
    repay(&objects, &log, None, hand(&forward, &clock), &mut report, &|_| {}).await;
    assert_eq!(report.error, None);
    assert_eq!((report.repaid, report.stay, report.owed.len()), (1, 1, 1));
    assert_eq!(names(&objects).await, ["a"]);
    // Rows are 1,000 seconds apart; two hours more on both sides.
    assert_eq!(forward.numbers().len(), 11);

    let mut broken = json!({"SessionID": {"S": "x"}, "EventIndex": {"N": "0"}, "EventType": {"S": "x"}});
    broken["CreatedAt"] = json!({"N": DAY.to_string()});
    broken["CreatedAtDate"] = json!({"S": "2026-11-20"});
    crate::backfill::put(&engine, &broken);
    put(&objects, &[("b", ours)]).await;
    let forward = Forward::default();
    let mut report = run(&objects, &forward).await;
    repay(&objects, &log, None, hand(&forward, &clock), &mut report, &|_| {}).await;
    // Which is for the quarantine.
    assert_eq!((report.repaid, report.stay, report.error), (1, 1, None));
    assert_eq!(forward.numbers().len(), 12);
    assert_eq!(names(&objects).await, ["a"]);
}

/// The mapping of the state table may put its own there, and a command may name another table.
#[tokio::test]
async fn one_without_records_of_another_table_stays() {
    let engine = crate::engine::Engine::new();
    let log = table(&engine).await;
    load(&engine, 20);
    let objects = Store::new().objects("");
    let tableless = METADATA.replace("streamArn", "elsewhere").into_bytes();
    let named = [
        ("a", owed("teleport.state")),
        ("b", tableless),
        ("c", owed("teleport.audit")),
    ];
    put(&objects, &named).await;
    let (forward, clock) = (Forward::default(), Clock::system());
    let mut report = run(&objects, &forward).await;
    assert_eq!(report.owed[0].table.as_deref(), Some("teleport.state"));
    repay(&objects, &log, None, hand(&forward, &clock), &mut report, &|_| {}).await;
    assert_eq!(names(&objects).await, ["a", "b"]);
    assert_eq!((report.repaid, report.stay, report.error), (1, 2, None));
    let why: Vec<&str> = report.left.iter().map(|left| left.why.as_str()).collect();
    let due = [
        "its records are of table teleport.state",
        "it does not say of which table its records are",
    ];
    assert_eq!((report.owed.len(), why), (0, due.to_vec()));
}
