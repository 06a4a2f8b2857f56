//! The watch log under everything that can happen to it, from a seed, under a paused clock.
//!
//! Writers change keys of a state table on the embedded engine; its stream is delivered in shards that split, by a mapping
//! that sends batches again, cuts them anew, kills invocations or lets them go on after it has given them up, and gives
//! records up for good. Every requests of the appenders may be slow, lost, or arrive late. Streams are replaced, mappings are
//! off for a day, days pass and segments are compacted, the number of buckets changes. Watchers with prefixes of their
//! own read all along, or stall.
//!
//! Each of them must see every change of its prefixes, in each key's order and once, or be told to list again after it
//! was made. That later changes are seen before the gap that tells of an earlier one is all that is tolerated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod lambda;
mod watcher;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lambda::{Mapping, deliver};
use watcher::Watcher;
use world::World;

use crate::watch::log::{Appender, Facts, Inline, MIN_RETENTION, MappingFacts, Transport};

/// A mistake that the run must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    Nothing,
    /// What Lambda gives up is not marked.
    GapNotMarked,
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    changes: usize,
    relists: usize,
    segments: u64,
    verdict: Result<(), String>,
}

const DAY: Duration = Duration::from_secs(86_400);

async fn run(seed: u64, plant: Plant) -> Outcome {
    let world = World::new(seed).await;
    let environments = (0..3)
        .map(|_| {
            let log = world.log(&world.wire(), world.clock.clone());
            Arc::new(Appender::new(log, Inline::None))
        })
        .collect();
    let mapping = Arc::new(Mapping {
        environments,
        gives_up: seed % 2 == 1,
        off: AtomicBool::new(false),
        silent: plant == Plant::GapNotMarked,
        given_up: AtomicU64::new(0),
    });
    let watchers: Vec<Arc<Watcher>> = (0..4).map(|number| Arc::new(Watcher::new(number))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for watcher in &watchers {
        tasks.spawn(Arc::clone(watcher).watch(Arc::clone(&world)));
    }
    // Until all have begun.
    world.clock.sleep(Duration::from_secs(5)).await;

    for round in 0..3 {
        for at in 0..world.shards.lock().unwrap().len() {
            if round == 0 {
                tasks.spawn(deliver(Arc::clone(&world), Arc::clone(&mapping), at));
            }
        }
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..3 {
            writers.spawn(Arc::clone(&world).write(seed * 10 + writer, 5 + world.random.below(8)));
        }
        world
            .clock
            .sleep(world.random.jitter(Duration::from_secs(2)))
            .await;
        if world.random.below(2) == 0 {
            let before = world.shards.lock().unwrap().len();
            world.split();
            for at in before..world.shards.lock().unwrap().len() {
                tasks.spawn(deliver(Arc::clone(&world), Arc::clone(&mapping), at));
            }
        }
        disturb(&world, &mapping, seed, round).await;
        while writers.join_next().await.is_some() {}
        settle(&world).await;
        rest(&world, seed, round).await;
    }
    // The last changes, and the last look: who is idle looks rarely.
    world.clock.sleep(DAY * 3).await;
    tasks.shutdown().await;
    let verdict = watchers.iter().try_for_each(|watcher| watcher.judge(&world));
    Outcome {
        changes: world.truth.lock().unwrap().len(),
        relists: watchers.iter().map(|watcher| watcher.relisted()).sum(),
        segments: 0,
        verdict,
    }
}

/// What befalls the feed while writers write.
async fn disturb(world: &Arc<World>, mapping: &Arc<Mapping>, seed: u64, round: u64) {
    let log = world.log(&world.engine, world.clock.clone());
    let stop = || world.clock.instant() + Duration::from_secs(600);
    let facts = |enabled| Facts {
        stream: Some(world.stream()),
        mapping: Some(MappingFacts {
            id: "m1".to_owned(),
            enabled,
            from_trim_horizon: true,
        }),
    };
    log.examine(&facts(true), stop()).await.unwrap();
    match (seed / 2 + round) % 5 {
        0 => world.replace_stream(),
        1 => {
            mapping.off.store(true, Ordering::Relaxed);
            world.clock.sleep(Duration::from_secs(10)).await;
            log.examine(&facts(false), stop()).await.unwrap();
            world.clock.sleep(DAY).await;
            // The stream keeps no more than that.
            world.lose();
            mapping.off.store(false, Ordering::Relaxed);
            log.examine(&facts(true), stop()).await.unwrap();
        }
        2 => log
            .reconfigure(1 + (seed + round) as u32 % 4, Transport::Stream, stop())
            .await
            .unwrap_or(()),
        _ => {}
    }
}

/// Waits until everything was delivered or given up.
async fn settle(world: &Arc<World>) {
    for _ in 0..100_000 {
        world.pump();
        if world.is_done() {
            return;
        }
        world.clock.sleep(Duration::from_millis(500)).await;
    }
    panic!("the mapping does not come to an end");
}

/// Nothing happens for days: requests die, and segments go.
async fn rest(world: &Arc<World>, seed: u64, round: u64) {
    if (seed + round) % 3 == 0 {
        return;
    }
    for _ in 0..3 {
        world.clock.sleep(DAY).await;
        let log = world.log(&world.engine, world.clock.clone());
        log.compact(MIN_RETENTION, world.clock.instant() + Duration::from_secs(600))
            .await
            .unwrap();
    }
}

fn simulate(seed: u64, plant: Plant) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run(seed, plant))
}

/// Runs seeds on all cores; the outcomes in their order.
fn simulate_all(seeds: std::ops::Range<u64>, plant: Plant) -> Vec<(u64, Outcome)> {
    let next = AtomicU64::new(seeds.start);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<(u64, Outcome)> = std::thread::scope(|scope| {
        let work = || {
            let mut outcomes = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return outcomes;
                }
                outcomes.push((seed, simulate(seed, plant)));
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn watch_simulation() {
    let seeds = number("TIDEWATCH_SEEDS").unwrap_or(100);
    let seeds = number("TIDEWATCH_SEED").map_or(0..seeds, |seed| seed..seed + 1);
    let outcomes = simulate_all(seeds, Plant::Nothing);
    let wrong: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.verdict.is_err())
        .collect();
    for (seed, outcome) in &wrong {
        println!("seed {seed}: {:?}", outcome.verdict);
    }
    assert!(wrong.is_empty(), "{} of {} seeds", wrong.len(), outcomes.len());
    let changes: usize = outcomes.iter().map(|(_, outcome)| outcome.changes).sum();
    let relists: usize = outcomes.iter().map(|(_, outcome)| outcome.relists).sum();
    println!(
        "watch simulation: {} seeds, {changes} changes, {relists} times a watcher was told to list again",
        outcomes.len()
    );
}
