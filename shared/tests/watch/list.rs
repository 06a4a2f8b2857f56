//! Listing, then watching, over the stream of the embedded engine, while others write.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Item, ItemsParams, Key, Range, Revision};
use tidewatch::watch::stream::StreamSource;
use tidewatch::watch::{Filter, Notice, Operation, Operations, Prefix, Watches};

use crate::engine::{Engine, Fate, config, partitioned};
use crate::streams;

/// Whoever lists and then applies all events ends with what is stored.
async fn one_seed(seed: u64) {
    let engine = Engine::new();
    // The engine writes the machine's time into its records.
    let clock = Clock::system();
    let layout = partitioned(u8::try_from(1 + seed % 3).unwrap());
    let random = Random::seeded(seed);
    let config = config("list", layout);
    let backend = Backend::with_client(&engine.client(), config, clock.clone(), random.clone())
        .await
        .unwrap();
    let source = StreamSource::open(&backend, &streams(engine.clone()))
        .await
        .unwrap();
    let watches = Watches::over_stream(source, &backend);
    let key = |n: u64| {
        Key::from(format!(
            "{}/{n:02}",
            ["/a", "/ab"][usize::try_from(n % 2).unwrap()]
        ))
    };
    for n in 0..20 {
        backend.put(&Item::new(key(n), "first")).await.unwrap();
    }
    // A list takes seconds, so that some changes are surely before it and some surely behind.
    let delays = random.clone();
    engine.plan(move |operation, _| Fate::Delayed {
        before: delays.jitter(Duration::from_millis(if operation == "Query" {
            5000
        } else {
            20
        })),
        after: delays.jitter(Duration::from_millis(if operation == "Query" {
            1500
        } else {
            20
        })),
    });
    let filter = Filter::new([Prefix::component("/a")], Operations::All);
    let write = async {
        for _ in 0..60 {
            let key = key(random.below(20));
            if random.below(3) == 0 {
                let _ = backend.delete(&key).await;
            } else {
                backend.put(&Item::new(key, "later")).await.unwrap();
            }
            clock.sleep(random.jitter(Duration::from_millis(250))).await;
        }
    };
    let (listed, ()) = tokio::join!(watches.list_and_watch(&backend, filter.into()), write);
    let (items, mut watcher) = listed.unwrap();
    let mut seen: BTreeMap<Key, Revision> = items.into_iter().map(|item| (item.key, item.revision)).collect();
    while let Ok(notice) = clock.timeout(Duration::from_secs(4), watcher.next()).await {
        let Notice::Event { event, .. } = notice.unwrap() else {
            continue;
        };
        match &event.operation {
            Operation::Put(put) => seen.insert(event.key.clone(), put.revision.clone()),
            Operation::Delete(_) => seen.remove(&event.key),
            Operation::Unknown => panic!("{event:?}"),
        };
    }
    let range = ItemsParams::from(Range::prefix("/a/"));
    let stored = backend.get_range(range).await.unwrap();
    let stored: BTreeMap<Key, Revision> = stored.into_iter().map(|item| (item.key, item.revision)).collect();
    assert_eq!(seen, stored, "seed {seed}");
}

#[tokio::test]
async fn whoever_lists_and_watches_ends_with_what_is_stored() {
    join_all((0..12).map(one_seed)).await;
}
