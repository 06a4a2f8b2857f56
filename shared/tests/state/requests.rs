//! What each operation sends and what that costs: the least that DynamoDB allows for it.
//!
//! The engine's capacity is what DynamoDB's documentation says, in all that is compared here but one: that a transaction
//! doubles the price of the item and not that of the index is the engine's word alone. Refusals carry no capacity: there
//! requests are counted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::TryStreamExt;
use serde_json::Value;
use tidewatch::clock::Clock;
use tidewatch::state::{
    Backend, Condition, ConditionalAction, ErrorKind, Item, ItemsParams, Key, Layout, Lease, Range, Revision,
};

use crate::engine::{Engine, Sent, partitioned};

const START: SystemTime = UNIX_EPOCH;

/// The capacity units that an answer says.
fn units(sent: &Sent) -> f64 {
    match &sent.answer["ConsumedCapacity"] {
        Value::Array(all) => all.iter().filter_map(|one| one["CapacityUnits"].as_f64()).sum(),
        one => one["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}

async fn open(layout: Layout) -> (Engine, Backend) {
    let engine = Engine::new();
    let clock = Clock::simulated(START);
    let backend = engine.backend("requests", layout, &clock, 1).await;
    (engine, backend)
}

fn at(seconds: u64) -> SystemTime {
    START + Duration::from_secs(seconds)
}

/// What was sent since the last call is exactly this, at these prices.
#[track_caller]
fn took(engine: &Engine, what: &str, expected: &[(&str, f64)]) {
    let sent = engine.sent();
    let seen: Vec<(&str, f64)> = sent.iter().map(|sent| (&*sent.operation, units(sent))).collect();
    assert_eq!(seen, expected, "{what}");
}

#[tokio::test(start_paused = true)]
async fn each_success_takes_one_request_at_its_least_price() {
    for layout in [Layout::Teleport, partitioned(1)] {
        for expires in [None, Some(at(100))] {
            // Bytes of the value, write units (a KB each) and read units (4 KB each) of the item with its attributes.
            for (bytes, writes, reads) in [(1, 1.0, 1.0), (1_100, 2.0, 1.0), (4_200, 5.0, 2.0)] {
                // What has an expiry stands in the index too, of our own layout.
                let index = match (&layout, expires) {
                    (Layout::Partitioned(_), Some(_)) => 1.0,
                    _ => 0.0,
                };
                let (engine, backend) = open(layout.clone()).await;
                let key = Key::from("/k");
                let (small, mut item) = (Item::new(&key, "s"), Item::new(&key, vec![b'v'; bytes]));
                item.expires = expires;
                let is = |what: &str, expected: &[(&str, f64)]| {
                    let what = format!("{what} of {bytes} bytes, {layout:?}, index {index}");
                    took(&engine, &what, expected);
                };
                let put: &[(&str, f64)] = &[("PutItem", writes + index)];

                backend.create(&item).await.unwrap();
                is("create", put);
                let mut lease = backend.put(&item).await.unwrap();
                is("put", put);
                if expires.is_some() {
                    backend.keep_alive(&lease, at(200)).await.unwrap();
                    // Another place in the index: taken out of one, put into the other.
                    is("keep_alive", &[("UpdateItem", writes + 2.0 * index)]);
                    backend.keep_alive_unchecked(&key, at(100)).await.unwrap();
                    is("keep_alive_unchecked", &[("UpdateItem", writes + 2.0 * index)]);
                }
                lease = backend.update(&item).await.unwrap();
                is("update", put);
                let pinned = item.clone().at(&lease.revision);
                backend.conditional_update(&pinned).await.unwrap();
                is("conditional_update", put);
                backend.compare_and_swap(&item, &item).await.unwrap();
                is("compare_and_swap", put);
                // The larger of old and new counts.
                lease = backend.put(&small).await.unwrap();
                is("put of less", put);
                backend.put(&item).await.unwrap();
                is("put of more", put);

                let read: &[(&str, f64)] = &[("Query", reads)];
                backend.get(&key).await.unwrap();
                is("get", &[("GetItem", reads)]);
                let range = Range::prefix("/");
                backend.get_range(range.clone().into()).await.unwrap();
                is("items", read);
                let all = ItemsParams::from(range.clone());
                backend.entries(all).try_collect::<Vec<_>>().await.unwrap();
                is("entries", read);
                backend.count(&range).await.unwrap();
                is("count", read);

                let (other, none) = (Item::new("/l", "s"), Key::from("/none"));
                let actions = [
                    ConditionalAction::put(item.clone(), Condition::Exists),
                    ConditionalAction::put(other.clone(), Condition::NotExists),
                    ConditionalAction::check(&none, Condition::NotExists),
                ];
                let revision = backend.atomic_write(&actions).await.unwrap().unwrap();
                is(
                    "atomic_write",
                    &[("TransactWriteItems", 2.0 * (writes + 1.0 + 1.0) + index)],
                );
                assert_ne!(revision, lease.revision);
                backend.put_batch(&[item.clone(), other]).await.all().unwrap();
                is("put_batch", &[("BatchWriteItem", writes + index + 1.0)]);
                backend
                    .delete_batch(&[Key::from("/l"), none])
                    .await
                    .all()
                    .unwrap();
                is("delete_batch", &[("BatchWriteItem", 1.0 + 1.0)]);
                let delete: &[(&str, f64)] = &[("DeleteItem", writes + index)];
                backend.delete(&key).await.unwrap();
                is("delete", delete);
                let lease = backend.put(&item).await.unwrap();
                is("put", put);
                backend.conditional_delete(&key, &lease.revision).await.unwrap();
                is("conditional_delete", delete);
                backend.put(&item).await.unwrap();
                is("put", put);
                backend.delete_range(&range).await.unwrap();
                is(
                    "delete_range",
                    &[("Query", reads), ("BatchWriteItem", writes + index)],
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_refusal_takes_one_request_or_none() {
    for layout in [Layout::Teleport, partitioned(3)] {
        let (engine, backend) = open(layout).await;
        let (key, none) = (Key::from("/k"), Key::from("/none"));
        let item = Item::new(&key, "v").expiring(at(100));
        let lease = backend.create(&item).await.unwrap();
        engine.sent();
        let other = "44444444-4444-4444-8444-444444444444";
        let lost = |key: &Key| Lease {
            key: key.clone(),
            revision: Revision::from(other),
        };
        macro_rules! refused {
            ($call:expr, $kind:ident, $($request:literal)?) => {
                let error = $call.await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::$kind, "{error}");
                let expected: &[&str] = &[$($request)?];
                assert_eq!(engine.operations(), expected, "{error}");
            };
        }
        refused!(backend.get(&none), NotFound, "GetItem");
        refused!(backend.create(&item), AlreadyExists, "PutItem");
        refused!(backend.update(&Item::new(&none, "v")), NotFound, "PutItem");
        refused!(
            backend.compare_and_swap(&Item::new(&key, "w"), &item),
            CompareFailed,
            "PutItem"
        );
        refused!(
            backend.compare_and_swap(&Item::new(&none, "w"), &item),
            BadParameter,
        );
        refused!(
            backend.conditional_update(&item.clone().at(other)),
            IncorrectRevision,
            "PutItem"
        );
        refused!(backend.conditional_update(&item), IncorrectRevision,);
        refused!(
            backend.conditional_delete(&key, &other.into()),
            IncorrectRevision,
            "DeleteItem"
        );
        refused!(backend.conditional_delete(&key, &"".into()), IncorrectRevision,);
        refused!(backend.delete(&none), NotFound, "DeleteItem");
        refused!(backend.keep_alive(&lost(&none), at(200)), NotFound, "UpdateItem");
        refused!(
            backend.keep_alive(&lost(&key), at(200)),
            IncorrectRevision,
            "UpdateItem"
        );
        refused!(backend.keep_alive(&lease, at(50)), BadParameter, "UpdateItem");
        refused!(
            backend.keep_alive_unchecked(&none, at(200)),
            NotFound,
            "UpdateItem"
        );
        let exists = [ConditionalAction::put(item.clone(), Condition::NotExists)];
        refused!(
            backend.atomic_write(&exists),
            ConditionFailed,
            "TransactWriteItems"
        );
        let empty = [ConditionalAction::put(
            item.clone(),
            Condition::Revision("".into()),
        )];
        refused!(backend.atomic_write(&empty), ConditionFailed,);
        refused!(backend.atomic_write(&[]), BadParameter,);
        // What is surely too large is not sent.
        let large = Item::new(&key, vec![0; 400 * 1024]);
        refused!(backend.put(&large), TooLarge,);
        let large = [ConditionalAction::put(large, Condition::Whatever)];
        refused!(backend.atomic_write(&large), TooLarge,);
        let between = Range::between("/b", "/a");
        refused!(backend.get_range(between.clone().into()), BadParameter,);
        refused!(backend.count(&between), BadParameter,);
        refused!(backend.delete_range(&between), BadParameter,);
        refused!(backend.get(&Key::default()), BadParameter,);
        // Expired items are refused as absent ones are.
        backend.clock().sleep(Duration::from_secs(101)).await;
        refused!(backend.get(&key), NotFound, "GetItem");
        refused!(backend.update(&item), NotFound, "PutItem");
        refused!(backend.delete(&key), NotFound, "DeleteItem");
    }
}

#[tokio::test(start_paused = true)]
async fn many_items_take_full_pages_and_full_batches() {
    for partitions in [1, 8] {
        let (engine, backend) = open(partitioned(partitions)).await;
        let items: Vec<Item> = (0..60)
            .map(|n| Item::new(format!("/{n:02}").as_str(), "v"))
            .collect();
        let (queries, batches) = (usize::from(partitions), items.len().div_ceil(25));
        let count = |what: &str, queries: usize, batches: usize| {
            let mut sent = engine.operations();
            sent.sort();
            let mut expected = vec!["BatchWriteItem"; batches];
            expected.extend(vec!["Query"; queries]);
            assert_eq!(sent, expected, "{what}, {partitions} partitions");
        };
        backend.put_batch(&items).await.all().unwrap();
        count("put_batch", 0, batches);
        let range = Range::prefix("/");
        let all = ItemsParams::from(range.clone());
        assert_eq!(backend.get_range(all.clone()).await.unwrap().len(), 60);
        count("items", queries, 0);
        assert_eq!(
            backend
                .get_range(all.clone().descending().limit(7))
                .await
                .unwrap()
                .len(),
            7
        );
        count("items to a limit", queries, 0);
        assert_eq!(backend.count(&range).await.unwrap(), 60);
        count("count", queries, 0);
        // Nothing is asked for that nobody takes.
        drop(backend.items(all));
        count("items not polled", 0, 0);
        assert_eq!(backend.delete_range(&range).await.unwrap(), 60);
        count("delete_range", queries, batches);
        let keys: Vec<Key> = items.iter().map(|item| item.key.clone()).collect();
        backend.delete_batch(&keys).await.all().unwrap();
        count("delete_batch", 0, batches);

        let actions: Vec<ConditionalAction> = items
            .into_iter()
            .map(|item| ConditionalAction::put(item, Condition::NotExists))
            .collect();
        backend.atomic_write(&actions).await.unwrap();
        took(&engine, "atomic_write", &[("TransactWriteItems", 120.0)]);
    }
}

#[tokio::test(start_paused = true)]
async fn reads_send_what_limits_the_answer() {
    let (engine, backend) = open(Layout::Teleport).await;
    let items: Vec<Item> = (0..10)
        .map(|n| Item::new(format!("/{n}").as_str(), "secret"))
        .collect();
    backend.put_batch(&items).await.all().unwrap();
    engine.sent();
    let all = ItemsParams::from(Range::prefix("/"));
    backend.get_range(all.clone().limit(3)).await.unwrap();
    backend.entries(all).try_collect::<Vec<_>>().await.unwrap();
    backend.count(&Range::prefix("/")).await.unwrap();
    let sent = engine.sent();
    assert_eq!(sent[0].body["Limit"], 3);
    // Without limit a page is bounded all the same; values that nobody wants are not sent back.
    assert_eq!(sent[1].body["Limit"], 1000);
    assert!(!sent[1].answer.to_string().contains("Value"));
    assert_eq!(sent[2].body["Select"], "COUNT");
    assert!(sent[2].answer.get("Items").is_none_or(Value::is_null));
    assert!(sent.iter().all(|sent| sent.body["ConsistentRead"] == true));
}

#[tokio::test(start_paused = true)]
async fn expired_items_in_the_way_of_a_limit_do_not_take_a_request_each() {
    let (engine, backend) = open(Layout::Teleport).await;
    let mut items: Vec<Item> = (0..500)
        .map(|n| Item::new(format!("/{n:03}").as_str(), "v"))
        .collect();
    for item in &mut items[..450] {
        item.expires = Some(at(1));
    }
    backend.put_batch(&items).await.all().unwrap();
    backend.clock().sleep(Duration::from_secs(2)).await;
    engine.sent();
    let all = ItemsParams::from(Range::prefix("/"));
    let first = backend.get_range(all.clone().limit(1)).await.unwrap();
    assert_eq!(first[0].key, Key::from("/450"));
    let limits = |engine: &Engine| -> Vec<u64> {
        let sent = engine.sent();
        sent.iter()
            .filter_map(|sent| sent.body["Limit"].as_u64())
            .collect()
    };
    assert_eq!(limits(&engine), [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    // None in the way: what is asked for is what is left.
    let last = backend.get_range(all.descending().limit(30)).await.unwrap();
    assert_eq!(last.len(), 30);
    assert_eq!(limits(&engine), [30]);
}
