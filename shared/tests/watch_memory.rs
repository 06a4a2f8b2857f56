//! A thousand watchers that let everything lie hold memory bounded, over a log on the embedded engine. The only test of
//! its process: the memory that the process ever had is what is looked at.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[allow(dead_code)] // The state tests use the rest.
#[path = "state/engine.rs"]
mod engine;
#[path = "watch/pump.rs"]
mod pump;

use std::time::Duration;

use engine::Engine;
use futures_util::future::join_all;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Item, Key, Layout};
use tidewatch::table::{Kind, Spec, Tables};
use tidewatch::watch::feed::Feed;
use tidewatch::watch::log::{Appender, Inline, Log, LogSpec, Pace};
use tidewatch::watch::{Filter, Notice, Settings, Watcher, Watches};

const WATCHERS: usize = 1_000;
/// How many of them read a batch by themselves, and to the end: a debug build takes a third of a second for a batch.
const READ_ONE: usize = 60;
const READ_ALL: usize = 2;
const EVENTS: usize = 5_000;
const VALUE: usize = 1024;
/// What may be added as events pass: what all share of the past, and the engine's three copies of each item, 25 MB.
const PASSING: u64 = 160 * 1024 * 1024;
/// What may be added as some read by themselves: what all may keep of it together is 32 MiB, and there are the pages
/// under way of those that read at the same time. Were each batch kept whole it would be more than 100.
const READING: u64 = 64 * 1024 * 1024;

/// A line of this process's state, in bytes; none where there is no such file.
fn memory(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|found| found.starts_with(line))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn key(n: usize) -> Key {
    Key::new(["slow", &n.to_string()])
}

async fn event(watcher: &mut Watcher) -> Key {
    match watcher.next().await.unwrap() {
        Notice::Event { event, .. } => event.key.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_watchers_hold_memory_bounded() {
    let (engine, clock) = (Engine::new(), Clock::system());
    let backend = engine.backend("state", Layout::Teleport, &clock, 1).await;
    let client = engine.client();
    let tables = Tables::new(client.clone(), clock.clone(), Duration::from_secs(60));
    let spec = Spec::new(Kind::WatchLog, "logs").unwrap();
    tables.create(&spec, &|_| {}).await.unwrap();
    let log = Log::new(&client, "logs", "state", clock.clone(), Random::seeded(2));
    let spec = LogSpec {
        // A batch is up to 1 MB then, and there are a thousand readers.
        buckets: 1,
        ..LogSpec::new("state")
    };
    let stop = clock.instant() + Duration::from_secs(60);
    log.create(&spec, stop).await.unwrap();
    let appender = Appender::new(log.clone(), Inline::All);
    let feed = Feed::new(appender, "state", Layout::Teleport, clock.clone());
    let every = Duration::from_millis(10);
    tokio::spawn(pump::pump(engine.clone(), "state", feed, clock.clone(), every));
    // The wire remembers what was sent, for other tests.
    engine.forget();
    let pace = Pace {
        busy: Duration::from_millis(20),
        idle: Duration::from_millis(200),
    };
    let watches = Watches::over_log(&log, pace, &Settings::default());
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(watches.watch(Filter::default().into()).await.unwrap());
    }
    let mut last = watches.watch(Filter::default().into()).await.unwrap();
    let before = memory("VmRSS:");

    for n in (0..EVENTS).step_by(25) {
        let items: Vec<Item> = (n..n + 25).map(|n| Item::new(key(n), [b'v'; VALUE])).collect();
        backend.put_batch(&items).await.all().unwrap();
    }
    // One that keeps up tells when all are there.
    let all = async {
        for _ in 0..EVENTS {
            event(&mut last).await;
        }
    };
    clock.timeout(Duration::from_secs(60), all).await.unwrap();
    let passed = memory("VmHWM:");

    // They take their first event, and have the rest of a batch that they read by themselves before them.
    let firsts = join_all(watchers[..READ_ONE].iter_mut().map(event)).await;
    assert!(
        firsts.iter().all(|first| *first == firsts[0]),
        "all see the same first"
    );
    let taken = memory("VmHWM:");
    for watcher in &mut watchers[..READ_ALL] {
        for _ in 1..EVENTS {
            event(watcher).await;
        }
    }
    let read = memory("VmHWM:");

    let (Some(before), Some(passed), Some(taken), Some(read)) = (before, passed, taken, read) else {
        println!("SKIPPED: this system does not tell what memory a process has");
        return;
    };
    let peak_of_passing = passed.saturating_sub(before);
    let added = |peak: u64| peak.saturating_sub(before) / 1024 / 1024;
    let (passed, taken, all) = (added(passed), added(taken), added(read));
    println!(
        "MiB added at most: {passed} as events passed, {taken} as some took one, {all} as some read all"
    );
    assert!(peak_of_passing < PASSING && read - before < peak_of_passing + READING);
}
