//! Tasks by their configuration: what they did, what stood in their way, and what is told of it.

use serde_json::{Value, json};

use super::*;
use crate::maintain::{Ended, StartError, Turn, leased};

const DOCUMENT: &str = "
spool: DIR/spool
sinks: { lake: { uri: 'DIR/lake?format=parquet' } }
maintain: { state: { table: state, layout: teleport }, failures: DIR/failures }
";

fn record(number: u32) -> String {
    json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": number.to_string()}}).to_string()
}

impl World {
    /// Two objects in the spool.
    fn park(&self) {
        for number in [7, 9] {
            let name = format!("spool/a/{number:0>40}-0123456789abcdef0123456789abcdef.ndjson");
            self.write(&name, &format!("{}\n{}\n", record(number), record(number + 1)));
        }
    }

    fn stage(&self) {
        let line = json!({
            "id": "0123456789abcdef", "origin": "stream", "created": "2027-01-15T08:00:00.000Z",
            "event": {"event": "user.login", "time": "2027-01-15T07:59:59.000Z", "uid": "21bdb751-0f3c-4f4e-8f0a-5b7a1f6f2c11"},
        });
        self.write("lake/_staging/1.ndjson", &format!("{line}\nno line\n"));
    }
}

/// An object of Lambda's on-failure destination, with one record.
fn given_up() -> String {
    let metadata = include_str!("../../../tests/golden/redrive/on-failure-metadata.json");
    let mut object: Value = serde_json::from_str(metadata).unwrap();
    let keys = json!({"SessionID": {"S": "s"}, "EventIndex": {"N": "1"}});
    let record = json!({
        "eventID": "1", "eventName": "INSERT", "eventSource": "aws:dynamodb",
        "dynamodb": {"ApproximateCreationDateTime": 1_800_000_000, "SequenceNumber": "5", "Keys": keys, "NewImage": keys},
    });
    object["payload"] = json!(json!({"Records": [record]}).to_string());
    object.to_string()
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_handed_on_under_the_lease() {
    let (world, takes) = (World::new().await, Takes::default());
    world.park();
    let maintain = world.maintain(DOCUMENT).handing_to(Arc::new(takes.clone()));
    let outcome = world.run(&maintain, Order::of(Task::Drain)).await;
    assert_eq!(
        (outcome.state, outcome.complete, &outcome.error),
        (Ended::Ran, true, &None),
        "{outcome:?}"
    );
    assert_eq!(outcome.report["sinks"]["a"]["records"], 4);
    assert_eq!(metric(&outcome, "drain_records"), 4.0);
    assert_eq!(metric(&outcome, "drain_waiting_objects"), 0.0);
    assert_eq!(takes.count(), 2);
    assert!(world.files("spool").is_empty(), "{:?}", world.files("spool"));
    // The lease was taken, and released.
    let sent = world.engine.operations();
    let writes: Vec<&String> = sent.iter().filter(|sent| !sent.starts_with("Describe")).collect();
    assert_eq!(
        writes.iter().filter(|sent| **sent == "DeleteItem").count(),
        1,
        "{sent:?}"
    );
    // Again, and nothing is there; the table is not opened anew.
    let outcome = world.run(&maintain, Order::of(Task::Drain)).await;
    assert!(outcome.complete && outcome.error.is_none(), "{outcome:?}");
    let sent = world.engine.operations();
    assert!(!sent.iter().any(|sent| sent.starts_with("Describe")), "{sent:?}");
    assert_eq!(metric(&outcome, "drain_oldest_seconds"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn what_is_staged_is_filed_and_what_lambda_gave_up_is_handed_over() {
    let (world, takes) = (World::new().await, Takes::default());
    world.stage();
    world.write("failures/aws/lambda/x", &given_up());
    let maintain = world.maintain(DOCUMENT).handing_to(Arc::new(takes.clone()));
    let filed = world.run(&maintain, Order::of(Task::Lake)).await;
    assert!(filed.complete && filed.error.is_none(), "{filed:?}");
    assert_eq!(metric(&filed, "lake_rows"), 1.0, "{filed:?}");
    assert_eq!(metric(&filed, "lake_quarantined"), 1.0);
    assert_eq!(world.files("lake/_staging"), [""; 0]);
    let redriven = world.run(&maintain, Order::of(Task::Redrive)).await;
    assert!(redriven.complete && redriven.error.is_none(), "{redriven:?}");
    assert_eq!(metric(&redriven, "redrive_records"), 1.0, "{redriven:?}");
    assert_eq!(metric(&redriven, "redrive_objects_left"), 0.0);
    assert_eq!((takes.count(), world.files("failures").len()), (1, 0));
}

/// What only looks takes no lease, and hands over and writes nothing.
#[tokio::test(start_paused = true)]
async fn a_dry_run_needs_nobody_and_changes_nothing() {
    let world = World::new().await;
    world.park();
    world.stage();
    world.write("failures/aws/lambda/x", &given_up());
    let maintain = world.maintain(DOCUMENT);
    let before = world.files("");
    for (task, figure) in [
        (Task::Drain, "drain_waiting_objects"),
        (Task::Lake, "lake_rows"),
        (Task::Redrive, "redrive_objects_left"),
    ] {
        let outcome = world.run(&maintain, dry(task)).await;
        assert!(outcome.dry_run && outcome.error.is_none(), "{outcome:?}");
        assert!(
            !outcome.complete && metric(&outcome, figure) >= 1.0,
            "{outcome:?}"
        );
    }
    assert_eq!(world.files(""), before);
    assert_eq!(world.engine.operations(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_another_runs_is_left_to_it() {
    let (world, takes) = (World::new().await, Takes::default());
    world.park();
    let maintain = world.maintain(DOCUMENT).handing_to(Arc::new(takes.clone()));
    let other = leased(&world.backend, "drain", async {
        let held = world.run(&maintain, Order::of(Task::Drain)).await;
        // Another task is another lease.
        let filed = world.run(&maintain, Order::of(Task::Lake)).await;
        (held, filed)
    });
    let Turn::Ran((held, filed)) = Box::pin(other).await.unwrap() else {
        panic!("the lease was not got")
    };
    assert_eq!(
        (held.state, held.complete, &held.error),
        (Ended::Held, false, &None)
    );
    assert_eq!(
        (held.report, held.metrics.len(), takes.count()),
        (Value::Null, 0, 0)
    );
    assert_eq!((filed.state, filed.complete), (Ended::Ran, true));
    assert!(world.run(&maintain, Order::of(Task::Drain)).await.complete);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_lost_ends_the_task() {
    let world = World::new().await;
    world.park();
    let takes = Takes {
        after: 80 * SECOND,
        ..Takes::default()
    };
    let maintain = world.maintain(DOCUMENT).handing_to(Arc::new(takes.clone()));
    let steal = async {
        world.clock.sleep(5 * SECOND).await;
        world
            .backend
            .delete(&super::super::lease::lock("drain").key())
            .await
            .unwrap();
    };
    let (outcome, ()) = tokio::join!(world.run(&maintain, Order::of(Task::Drain)), steal);
    assert_eq!(outcome.state, Ended::Lost, "{outcome:?}");
    assert!(outcome.error.is_some() && !outcome.complete, "{outcome:?}");
    assert_eq!((takes.count(), world.files("spool").len()), (0, 2));
}

/// A task has ended in its time, whatever it waits for.
#[tokio::test(start_paused = true)]
async fn what_does_not_come_to_an_end_is_stopped() {
    let world = World::new().await;
    world.park();
    let takes = Takes {
        after: 1000 * SECOND,
        ..Takes::default()
    };
    let maintain = world.maintain(DOCUMENT).handing_to(Arc::new(takes));
    let begun = world.clock.instant();
    let outcome = world.run(&maintain, Order::of(Task::Drain)).await;
    assert!(world.clock.instant() - begun < 95 * SECOND);
    assert!(
        !outcome.complete && metric(&outcome, "drain_waiting_objects") >= 1.0,
        "{outcome:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_configured_is_named() {
    let world = World::new().await;
    let maintain = world.maintain("maintain: { state: { table: state, layout: teleport } }");
    for (task, setting) in [
        (Task::Drain, "`spool`"),
        (Task::Lake, "format=parquet"),
        (Task::Redrive, "`maintain.failures`"),
        (Task::WatchLog, "`watch`"),
    ] {
        let outcome = world.run(&maintain, Order::of(task)).await;
        let error = outcome.error.unwrap();
        assert!(error.contains(setting) && !outcome.complete, "{error}");
    }
    let none = Config::parse(
        "quarantine: file:///q\nsinks: { a: { uri: 'stdout://' } }",
        "t",
        [],
    )
    .unwrap();
    let refused = Maintain::new(
        &none,
        &BTreeMap::new(),
        &sdk(&world.engine),
        world.clock.clone(),
        Random::seeded(1),
    );
    assert_eq!(refused.unwrap_err(), StartError::NotConfigured);
}

#[tokio::test(start_paused = true)]
async fn without_its_table_no_task_is_begun() {
    let (world, takes) = (World::new().await, Takes::default());
    world.park();
    let document = DOCUMENT.replace("table: state", "table: other");
    let maintain = world.maintain(&document).handing_to(Arc::new(takes.clone()));
    let outcome = world.run(&maintain, Order::of(Task::Drain)).await;
    let error = outcome.error.unwrap();
    assert!(error.contains("not begun") && error.contains("other"), "{error}");
    assert_eq!(takes.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_json() {
    let world = World::new().await;
    let maintain = world.maintain(DOCUMENT);
    let outcome = world.run(&maintain, dry(Task::Drain)).await;
    let json = serde_json::to_value(&outcome).unwrap();
    assert_eq!(
        (
            &json["task"],
            &json["state"],
            &json["dry_run"],
            &json["complete"],
            &json["report"]["sinks"]
        ),
        (
            &json!("drain"),
            &json!("ran"),
            &json!(true),
            &json!(true),
            &json!({})
        )
    );
    assert_eq!(json["metrics"][0]["unit"], "Count");
}
