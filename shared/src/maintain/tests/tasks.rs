//! The tasks of a state table, of an audit table and of what must be, by their configuration.

use super::*;
use crate::audit::log::Dynamo;
use crate::maintain::Ended;
use crate::maintain::lake::share;
use crate::state::{Item, Partitioned};

const DOCUMENT: &str = "
quarantine: DIR/quarantine
sinks: { a: { uri: 'DIR/a' } }
maintain:
  state: { table: owned, layout: partitioned, namespace: ours }
  expire: { every: 5s, units_per_second: 1000 }
  audit: { table: teleport.audit }
";

impl World {
    /// A table of our own.
    async fn owned(&self) -> Backend {
        let layout = Layout::Partitioned(Partitioned::new("ours").unwrap());
        self.engine.backend("owned", layout, &self.clock, 5).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_is_deleted_by_one_run_after_the_other() {
    let world = World::new().await;
    let owned = world.owned().await;
    let maintain = world.maintain(DOCUMENT);
    let begun = world.clock.now();
    for n in 1..=30u32 {
        let item = Item::new(format!("/{n}"), "x").expiring(begun + n * 10 * SECOND);
        owned.put(&item).await.unwrap();
    }
    let invocation = async |after: u32| {
        world.clock.sleep(after * SECOND).await;
        let now = world.clock.instant();
        maintain
            .run(Order::of(Task::Expire), now + 260 * SECOND, now + 290 * SECOND)
            .await
    };
    let (first, second, third) = tokio::join!(invocation(0), invocation(90), invocation(91));
    assert_eq!(
        (first.state, second.state, third.state),
        (Ended::Ran, Ended::Ran, Ended::Held)
    );
    assert!(
        first.error.is_none() && second.error.is_none(),
        "{first:?} {second:?}"
    );
    let deleted = metric(&first, "expire_deleted") + metric(&second, "expire_deleted");
    assert_eq!(deleted, 30.0, "{first:?} {second:?}");
    // Gave way soon after the second came, which had the rest.
    assert!(metric(&first, "expire_deleted") <= 10.0, "{first:?}");
    for outcome in [&first, &second] {
        assert!(
            outcome.complete && metric(outcome, "expire_overdue_seconds") <= 8.0,
            "{outcome:?}"
        );
    }
}

/// An event may say otherwise than the configuration; a dry run looks once.
#[tokio::test(start_paused = true)]
async fn a_dry_run_of_expire_looks_once() {
    let world = World::new().await;
    let owned = world.owned().await;
    let maintain = world.maintain(DOCUMENT);
    owned
        .put(&Item::new("/a", "x").expiring(world.clock.now() + SECOND))
        .await
        .unwrap();
    world.clock.sleep(60 * SECOND).await;
    world.engine.sent();
    let begun = world.clock.instant();
    let outcome = world.run(&maintain, dry(Task::Expire)).await;
    assert_eq!(
        (outcome.report["due"].as_u64(), outcome.report["passes"].as_u64()),
        (Some(1), Some(1)),
        "{outcome:?}"
    );
    assert!(world.clock.instant() - begun < SECOND);
    let sent = world.engine.operations();
    let reads = ["GetItem", "BatchGetItem", "Query"];
    assert!(
        sent.iter()
            .all(|sent| reads.contains(&sent.as_str()) || sent.starts_with("Describe")),
        "{sent:?}"
    );
}

/// The index of who insisted is a must in the table that is swept by it.
#[tokio::test(start_paused = true)]
async fn each_state_table_is_compared_with_what_it_must_be() {
    let world = World::new().await;
    let section = "maintain: { state: { table: swept, layout: teleport }, expire: { index: true } }\n";
    let watch =
        |table: &str| format!("watch: {{ table: {table}, layout: teleport, log: {{ table: logs }} }}\n");
    for (watch, tables, index) in [
        (String::new(), ["swept"].as_slice(), Some("swept")),
        (watch("other"), &["other", "swept", "logs"], Some("swept")),
        // The log's list is used then.
        (watch("swept"), &["swept", "logs"], None),
    ] {
        let settings = world.maintain(&format!("{section}{watch}")).of_state();
        let names: Vec<&str> = settings.tables.iter().map(|spec| spec.name()).collect();
        assert_eq!(
            (names.as_slice(), settings.expiry_index.as_deref()),
            (tables, index)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn locks_are_released_and_the_task_keeps_its_own() {
    let world = World::new().await;
    let owned = world.owned().await;
    let maintain = world.maintain(DOCUMENT);
    let lock = crate::state::LockConfiguration::new(["job"], 30 * SECOND);
    std::mem::forget(owned.acquire_lock(&lock).await.unwrap());
    world.clock.sleep(120 * SECOND).await;
    let outcome = world.run(&maintain, Order::of(Task::Locks)).await;
    assert!(outcome.complete && !outcome.found, "{outcome:?}");
    assert_eq!(
        (metric(&outcome, "locks_released"), metric(&outcome, "locks_held")),
        (1.0, 1.0),
        "{outcome:?}"
    );
    assert!(world.engine.operations().iter().any(|sent| sent == "DeleteItem"));
}

/// The first of them must not have it all.
#[test]
fn lakes_share_the_time() {
    let now = clock().instant();
    let stop = now + 90 * SECOND;
    let first = share(now, stop, 3);
    assert_eq!(first, now + 30 * SECOND);
    // The first left some of its own.
    assert_eq!(share(now + 10 * SECOND, stop, 2), now + 50 * SECOND);
    assert_eq!(share(first, stop, 1), stop);
    assert_eq!(share(stop + SECOND, stop, 2), stop + SECOND);
}

/// What was not looked at is no success, and nothing is written: neither a lease.
#[tokio::test(start_paused = true)]
async fn what_must_be_is_compared_without_a_lease() {
    let world = World::new().await;
    world.owned().await;
    let maintain = world.maintain(DOCUMENT);
    world.engine.sent();
    let outcome = world.run(&maintain, Order::of(Task::Verify)).await;
    assert_eq!(
        (outcome.state, &outcome.error),
        (Ended::Ran, &None),
        "{outcome:?}"
    );
    // There is no audit table.
    assert!(
        outcome.found && metric(&outcome, "verify_drifts") >= 1.0,
        "{outcome:?}"
    );
    let sent = world.engine.operations();
    assert!(sent.iter().all(|sent| sent.starts_with("Describe")), "{sent:?}");
}

/// To have looked at nothing is no success.
#[tokio::test(start_paused = true)]
async fn what_no_setting_names_is_not_taken_for_looked_at() {
    let world = World::new().await;
    let audit = DOCUMENT.replace("  audit: { table: teleport.audit }\n", "");
    let watch = "
watch: { table: state, layout: teleport, log: { table: log } }
maintain: {}
";
    let audited = ["maintain.audit.table", "maintain.function"];
    for (document, settings) in [(audit.as_str(), &audited[..]), (watch, &["maintain.feed"])] {
        let maintain = world.maintain(document);
        let outcome = world.run(&maintain, Order::of(Task::Verify)).await;
        assert!(!outcome.complete && outcome.error.is_none(), "{outcome:?}");
        let unset = outcome.report["not_checked"].as_array().unwrap().iter();
        let unset: Vec<&str> = unset
            .filter(|one| one["because"] == "unable")
            .map(|one| one["reason"].as_str().unwrap())
            .collect();
        assert_eq!(unset.len(), settings.len(), "{outcome:?}");
        for (reason, setting) in unset.iter().zip(settings) {
            assert!(reason.contains(setting), "{reason}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_canary_looks_where_the_document_says() {
    let world = World::new().await;
    world.owned().await;
    let maintain = world.maintain(DOCUMENT);
    let failed = world.run(&maintain, Order::of(Task::Canary)).await;
    assert!(failed.error.is_some(), "{failed:?}");
    let client = world.engine.client();
    Dynamo::open(
        &client,
        "teleport.audit",
        Dynamo::RETENTION,
        world.clock.clone(),
        Random::seeded(7),
    )
    .await
    .unwrap();
    let nothing = world.run(&maintain, Order::of(Task::Canary)).await;
    assert!(nothing.error.is_none() && !nothing.found, "{nothing:?}");
    assert_eq!(nothing.report["marked"], false);
    assert_eq!(metric(&nothing, "canary_looked"), 0.0);
    let owned = world.maintain(&DOCUMENT.replace("audit }", "audit, owned: true }"));
    assert!(world.run(&owned, Order::of(Task::Canary)).await.report["emitted"].is_string());
    world.clock.sleep(900 * SECOND).await;
    let missing = world.run(&owned, Order::of(Task::Canary)).await;
    assert!(
        missing.found && metric(&missing, "canary_missing") == 1.0,
        "{missing:?}"
    );
    assert!(missing.error.is_none(), "{missing:?}");
    // Where it cannot look, nothing is missing, and that is no success.
    std::fs::remove_dir_all(world.dir.path().join("a")).ok();
    world.write("a", "no folder");
    let blind = world.run(&owned, Order::of(Task::Canary)).await;
    let figures = ["canary_missing", "canary_looked", "canary_failed"].map(|name| metric(&blind, name));
    assert_eq!(figures, [0.0, 0.0, 1.0], "{blind:?}");
    assert!(blind.error.is_some_and(|error| error.starts_with("sink a: ")) && !blind.complete,);
}
