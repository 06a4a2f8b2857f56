//! The task `locks`: what nobody holds is released, fencing items are mended, all else is left alone.

use std::time::Duration;

use serde_json::{Value, json};
use tidewatch::clock::{Clock, Instant};
use tidewatch::maintain::{LocksReport, Report, Run, locks};
use tidewatch::state::{Backend, Item, LockConfiguration};

use crate::engine::{Engine, Fate, partitioned};
use crate::locks::{TABLE, lock, one, secs, start, stored};

pub(crate) fn run(at: Instant) -> Run {
    Run {
        last_call: at + secs(60),
        stop: at + secs(70),
        dry_run: false,
    }
}

pub(crate) async fn released(backend: &Backend) -> LocksReport {
    locks(backend, run(backend.clock().instant())).await.unwrap()
}

/// An item of Teleport's layout as anybody may have written it; `more` replaces and adds attributes, null removes.
pub(crate) fn put(engine: &Engine, key: &str, more: &Value) {
    let mut item = json!({
        "HashKey": {"S": "teleport"}, "FullPath": {"S": format!("teleport{key}")}, "Value": {"B": "MDEyMzQ1Njc4OWFiY2RlZg=="},
        "Timestamp": {"N": at(-100)}, "Revision": {"S": "7f8b16a5-6b32-4b6e-8a36-0b4b3bd4a1c3"},
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => item.as_object_mut().unwrap().remove(name),
            value => item.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    let request = json!({"TableName": TABLE, "Item": item});
    engine
        .database
        .put_item(serde_json::from_value(request).unwrap())
        .unwrap();
}

/// A second beside the beginning, which is half-way through one.
pub(crate) fn at(second: i64) -> String {
    (1_800_000_000 + second).to_string()
}

pub(crate) fn expires(second: i64) -> Value {
    json!({"Expires": {"N": at(second)}})
}

/// All items, in the order of their keys.
pub(crate) fn all(engine: &Engine) -> Vec<Value> {
    let request = serde_json::from_value(json!({"TableName": TABLE})).unwrap();
    let answer = serde_json::to_value(engine.database.scan(request).unwrap()).unwrap();
    let mut items = answer["Items"].as_array().unwrap().clone();
    items.sort_by_key(|item| (item["FullPath"].to_string(), item["Key"].to_string()));
    items
}

pub(crate) fn keys(engine: &Engine) -> Vec<String> {
    let key = |item: &Value| {
        item["FullPath"]["S"]
            .as_str()
            .unwrap()
            .trim_start_matches("teleport")
            .to_owned()
    };
    let mut keys: Vec<String> = all(engine).iter().map(key).collect();
    keys.sort();
    keys
}

/// A table with one of each.
pub(crate) fn mixed(engine: &Engine) {
    let plain = json!({"Expires": {"N": at(-50)}, "Revision": null, "Timestamp": null});
    for (key, more) in [
        // Five seconds and a half past; and six.
        (".locks/margin", expires(-5)),
        (".locks/past", expires(-6)),
        (".locks/pool/0", expires(-3600)),
        (".locks/pool/1", expires(20)),
        (".locks/pool/10", expires(20)),
        (".locks/pool/11/x", expires(20)),
        (".locks/pool/01", expires(20)),
        // As Teleport wrote them before there were revisions.
        (".locks/old", plain),
        (".locks/now", expires(0)),
        (".locks/lapsed", expires(-1)),
        (".locks/within", expires(-4)),
        (".locks/never", json!({})),
        (".locks/null", json!({"Expires": {"NULL": true}})),
        (".locks/text", json!({"Expires": {"S": at(-60)}})),
        // Not ours to look at.
        (".locks", expires(-60)),
        (".locksmith/a", expires(-60)),
        ("/locks/a", expires(-60)),
        (".flags/a", expires(-60)),
        (
            ".fences/past",
            json!({"Value": {"B": "Nw=="}, "Expires": {"N": at(600)}}),
        ),
        (".fences/pool/1", json!({"Value": {"B": "MTI="}})),
        (".fences/none", json!({"Value": {"B": "eA=="}})),
        (".fences/null", json!({"Value": {"NULL": true}})),
        (
            ".fences/both",
            json!({"Value": {"B": ""}, "Expires": {"NULL": true}}),
        ),
        (
            ".fences/full",
            json!({"Value": {"B": "MTg0NDY3NDQwNzM3MDk1NTE2MTU="}}),
        ),
    ] {
        put(engine, key, &more);
    }
}

#[tokio::test(start_paused = true)]
async fn orphans_are_released_and_only_those() {
    let (engine, _, backend) = one().await;
    mixed(&engine);
    let before = all(&engine);
    let report = released(&backend).await;
    let sent = engine.sent();
    let operations: Vec<&str> = sent.iter().map(|sent| sent.operation.as_str()).collect();
    let mut due = vec!["Query"];
    due.extend(["DeleteItem"; 4]);
    due.push("Query");
    due.extend(["UpdateItem"; 2]);
    assert_eq!(operations, due);
    for (sent, prefix) in sent
        .iter()
        .filter(|sent| sent.operation == "Query")
        .zip(["teleport.locks/", "teleport.fences/"])
    {
        assert_eq!(sent.body["ConsistentRead"], true);
        assert_eq!(
            sent.body["ExpressionAttributeValues"][":from"],
            json!({"S": prefix})
        );
    }
    let gone = [".locks/margin", ".locks/past", ".locks/pool/0", ".locks/old"];
    let left = keys(&engine);
    assert!(gone.iter().all(|gone| !left.contains(&(*gone).to_owned())));
    assert_eq!(left.len(), before.len() - 4);
    assert_eq!(
        (report.orphaned, report.released, report.spared),
        (4, 4, 0),
        "{report:?}"
    );
    assert_eq!(
        (report.held, report.lapsed, report.endless),
        (5, 2, 3),
        "{report:?}"
    );
    assert_eq!(report.endless_locks, ["never", "null", "text"]);
    assert_eq!(report.slots, [("pool".to_owned(), 2)].into());
    assert_eq!(report.oldest_seconds, Some(100));
    let holder = report.holders.iter().find(|holder| holder.name == "pool/1");
    let holder = holder.unwrap();
    assert_eq!(
        (holder.age_seconds, holder.left_seconds, holder.fence),
        (Some(100), 19, Some(12))
    );
    let past: Vec<(&str, u64)> = report
        .orphans
        .iter()
        .map(|orphan| (orphan.name.as_str(), orphan.past_seconds))
        .collect();
    assert_eq!(past, [("margin", 5), ("old", 50), ("past", 6), ("pool/0", 3600)]);
    // No number is written, by anybody.
    let fences = |items: &[Value]| -> Vec<(String, Value)> {
        let fence = |item: &&Value| item["FullPath"]["S"].as_str().unwrap().contains(".fences/");
        let both = |item: &Value| (item["FullPath"]["S"].to_string(), item["Value"].clone());
        items.iter().filter(fence).map(both).collect()
    };
    let mut now = fences(&all(&engine));
    let mut then = fences(&before);
    now.sort_by(|a, b| a.0.cmp(&b.0));
    then.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(now, then);
    assert!(
        !stored(&engine, ".fences/past")
            .await
            .unwrap()
            .contains_key("Expires")
    );
    assert!(
        !stored(&engine, ".fences/both")
            .await
            .unwrap()
            .contains_key("Expires")
    );
    assert_eq!(
        (
            report.fences,
            report.fences_expiring,
            report.fences_mended,
            report.fences_without_number
        ),
        (6, 2, 2, 4)
    );
    assert_eq!(report.faulty_fences["past"], "it expires");
    assert_eq!(report.faulty_fences["both"], "it expires and has no number");
    assert_eq!(report.faulty_fences["full"], "it has no number");
    assert!(report.is_complete());
    let metrics: Vec<(&str, f64)> = report
        .metrics()
        .iter()
        .map(|metric| (metric.name, metric.value))
        .collect();
    assert_eq!(
        metrics,
        [
            ("locks_held", 5.0),
            ("locks_released", 4.0),
            ("locks_oldest_seconds", 100.0),
            ("fences_mended", 2.0),
            ("fences_without_number", 4.0),
        ]
    );
    // Nothing is left to do.
    let again = released(&backend).await;
    assert_eq!((again.orphaned, again.fences_expiring), (0, 0));
    assert_eq!(engine.operations(), ["Query", "Query"]);
}

#[tokio::test(start_paused = true)]
async fn a_partitioned_table_is_looked_at_whole() {
    let (engine, clock) = (Engine::new(), Clock::simulated(start()));
    let backend = engine.backend(TABLE, partitioned(3), &clock, 1).await;
    let pool = backend.semaphore(LockConfiguration::new(["pool"], secs(10)).fenced(), 8);
    for _ in 0..8 {
        pool.acquire().await.unwrap();
    }
    clock.sleep(secs(12)).await;
    let held = backend.acquire_lock(&lock(100)).await.unwrap();
    // Somebody gave a number an expiry, and it has passed.
    let number = Item::new(".fences/pool/3", "41").expiring(start());
    backend.put(&number).await.unwrap();
    engine.sent();
    let early = released(&backend).await;
    assert_eq!((early.orphaned, early.lapsed, early.held), (0, 8, 1));
    clock.sleep(secs(4)).await;
    engine.sent();
    let report = released(&backend).await;
    assert_eq!((report.released, report.held), (8, 1), "{report:?}");
    assert_eq!(engine.operations().len(), 3 + 8 + 3);
    assert_eq!((early.fences_mended, report.fences_mended), (1, 0));
    let item = all(&engine)
        .into_iter()
        .find(|item| item["Key"]["S"] == ".fences/pool/3")
        .unwrap();
    assert!(item.get("Expires").is_none() && item.get("ExpiryShard").is_none());
    // Had the expiry stood, numbers would begin again at 1.
    let slot = LockConfiguration::new(["pool", "3"], secs(10)).fenced();
    assert_eq!(backend.acquire_lock(&slot).await.unwrap().fence(), Some(42));
    held.refresh().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn all_pages_are_read() {
    let (engine, _, backend) = one().await;
    for n in 0..1_100 {
        put(&engine, &format!(".locks/many/{n:04}"), &expires(-100));
        put(
            &engine,
            &format!(".fences/many/{n:04}"),
            &json!({"Value": {"B": "MQ=="}}),
        );
    }
    put(&engine, ".locks/zzz", &expires(100));
    let report = released(&backend).await;
    assert_eq!((report.orphaned, report.released, report.held), (1_100, 1_100, 1));
    assert_eq!((report.orphans.len(), report.fences), (100, 1_100));
    let operations = engine.operations();
    let queries = operations.iter().filter(|operation| *operation == "Query");
    assert_eq!((queries.count(), operations.len()), (4, 1_104));
    let held = |n: usize| put(&engine, &format!(".locks/held/{n}"), &expires(100));
    (0..450).for_each(held);
    put(
        &engine,
        ".locks/held/449",
        &json!({"Expires": {"N": at(100)}, "Timestamp": {"N": at(-200)}}),
    );
    let report = released(&backend).await;
    assert_eq!((report.held, report.holders.len()), (451, 100));
    assert_eq!(report.holders[0].name, "held/449");
    assert_eq!((report.slots["held"], report.oldest_seconds), (450, Some(200)));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_writes_nothing() {
    let (engine, clock, backend) = one().await;
    mixed(&engine);
    let before = all(&engine);
    let dry = Run {
        dry_run: true,
        ..run(clock.instant())
    };
    let report = locks(&backend, dry).await.unwrap();
    assert_eq!(engine.operations(), ["Query", "Query"]);
    assert_eq!(all(&engine), before);
    assert_eq!((report.dry_run, report.orphaned, report.released), (true, 4, 0));
    assert_eq!((report.fences_expiring, report.fences_mended), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_past_the_last_call() {
    let (engine, clock, backend) = one().await;
    mixed(&engine);
    let now = clock.instant();
    let late = Run {
        last_call: now,
        stop: now + secs(1),
        dry_run: false,
    };
    let report = locks(&backend, late).await.unwrap();
    assert!(engine.sent().is_empty());
    assert!(report.more && !report.is_complete());
    // The reading took the time that the deleting would have needed.
    engine.fates(
        "Query",
        [Fate::Delayed {
            before: secs(2),
            after: Duration::ZERO,
        }],
    );
    let short = Run {
        last_call: clock.instant() + secs(1),
        stop: clock.instant() + secs(10),
        dry_run: false,
    };
    let report = locks(&backend, short).await.unwrap();
    assert_eq!(engine.operations(), ["Query"]);
    assert!(report.more && report.released == 0, "{report:?}");
}
