//! Reading 100,000 items holds a page a partition, never more: what was fetched and not yet handed on is counted at each
//! item.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use dynoxide::types::AttributeValue;
use futures_util::TryStreamExt;
use tidewatch::clock::Clock;
use tidewatch::state::{Backend, ItemsParams, Layout, Partitioned, Range};

use crate::engine::{Engine, partitioned};

const PAGE: usize = 1_000;
/// Every so many items one has expired.
const EXPIRED: usize = 10;

/// A backend with all items in its table, imported into the engine.
async fn loaded(partitions: u8, items: usize) -> (Engine, Backend) {
    let layout = partitioned(partitions);
    let engine = Engine::new();
    let clock = Clock::simulated(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let backend = engine.backend("memory", layout.clone(), &clock, 1).await;
    let Layout::Partitioned(spread) = layout else {
        unreachable!()
    };
    let text = |text: String| AttributeValue::S(text);
    let items = (0..items).map(|n| {
        let key = key(n);
        let mut item = HashMap::from([
            ("Part".to_owned(), text(part(&spread, &key))),
            ("Key".to_owned(), text(key)),
            ("Value".to_owned(), AttributeValue::B(vec![b'v'; 100])),
            (
                "Revision".to_owned(),
                text("55555555-5555-4555-8555-555555555555".to_owned()),
            ),
        ]);
        if n % EXPIRED == 3 {
            item.insert("Expires".to_owned(), AttributeValue::N("1700000000".to_owned()));
        }
        item
    });
    let (items, options) = (items.collect(), dynoxide::ImportOptions::default());
    engine.database.import_items("memory", items, options).unwrap();
    (engine, backend)
}

fn key(n: usize) -> String {
    format!("/k/{n:06}")
}

fn part(spread: &Partitioned, key: &str) -> String {
    let partition = spread.partition(key.as_bytes());
    format!("{}#{partition}", spread.namespace())
}

/// Reads a range to its end; the keys, and how many requests and items that took.
struct Read {
    keys: Vec<String>,
    requests: usize,
    most_held: usize,
    /// Fetched in vain.
    dropped: usize,
}

async fn read(engine: &Engine, backend: &Backend, params: ItemsParams) -> Read {
    let mut items = std::pin::pin!(backend.items(params));
    let (mut fetched, mut requests, mut most_held) = (0, 0, 0);
    let mut keys = Vec::new();
    loop {
        let next = items.try_next().await.unwrap();
        // Taken at each item, so that the log of the wire does not grow either.
        for sent in engine.sent() {
            requests += 1;
            fetched += sent.answer["Count"].as_u64().unwrap() as usize;
        }
        most_held = most_held.max(fetched - keys.len());
        match next {
            Some(item) => keys.push(item.key.to_string()),
            None => break,
        }
    }
    Read {
        dropped: fetched - keys.len(),
        keys,
        requests,
        most_held,
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_a_partition_is_held() {
    for (partitions, items) in [(1, 100_000), (8, 16_000)] {
        let live: Vec<String> = (0..items).filter(|n| n % EXPIRED != 3).map(key).collect();
        let (engine, backend) = loaded(partitions, items).await;
        let all = ItemsParams::from(Range::prefix("/k/"));
        let p = usize::from(partitions);

        let seen = read(&engine, &backend, all.clone()).await;
        assert!(seen.keys == live, "{partitions}: other keys, or another order");
        assert!(
            seen.most_held <= PAGE * p,
            "{partitions}: {} held",
            seen.most_held
        );
        assert_eq!(seen.dropped, 0);
        // Full pages, and at most one more a partition to learn that it is at its end.
        let least = items / PAGE;
        assert!(
            (least..=least + p).contains(&seen.requests),
            "{partitions}: {} requests",
            seen.requests
        );

        // Backwards, to a limit: pages are no larger than what is left.
        let limit = 2_500;
        let seen = read(&engine, &backend, all.clone().descending().limit(limit)).await;
        let last: Vec<String> = live.iter().rev().take(limit).cloned().collect();
        assert!(seen.keys == last, "{partitions}: other keys, or another order");
        assert!(
            seen.most_held <= PAGE * p,
            "{partitions}: {} held",
            seen.most_held
        );
        assert_eq!(seen.requests, if p == 1 { 3 } else { p }, "{partitions}");
    }
}
