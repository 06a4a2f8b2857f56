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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lambda::{Mapping, deliver};
use watcher::{LONGEST, PACE, Watcher};
use world::World;

use crate::clock::Instant;
use crate::state::Key;
use crate::watch::log::{Appender, Facts, Inline, Log, MIN_RETENTION, MappingFacts, Plant, Transport};
use crate::watch::{Settings, Watches};

/// A mistake that the run must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// What Lambda gives up is not marked.
    GapNotMarked,
    /// Nobody looks whether the mapping was off.
    MappingNotExamined,
    /// In the protocol.
    Log(Plant),
}

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    changes: usize,
    /// Why watchers were told to list again.
    reasons: Vec<String>,
    /// All that watchers were told, and when.
    trace: Vec<String>,
    verdict: Result<(), String>,
}

const DAY: Duration = Duration::from_secs(86_400);

async fn run(seed: u64, mistake: Mistake) -> Outcome {
    let world = World::new(seed).await;
    let plant = match mistake {
        Mistake::Log(plant) => Some(plant),
        _ => None,
    };
    let environments = (0..3)
        .map(|_| {
            let log = world.log(&world.wire(), world.clock.clone()).planted(plant);
            Arc::new(Appender::new(log, Inline::None))
        })
        .collect();
    let mapping = Arc::new(Mapping {
        environments,
        awake: AtomicU64::new(0),
        gives_up: seed % 2 == 1,
        off: AtomicBool::new(false),
        silent: mistake == Mistake::GapNotMarked,
        given_up: AtomicU64::new(0),
    });
    let watchers: Vec<Arc<Watcher>> = (0..4).map(|number| Arc::new(Watcher::new(number))).collect();
    let mut processes: BTreeMap<usize, Watches> = BTreeMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    // Two processes; the memory of one holds so little that who stalls reads the log by itself.
    for (number, watcher) in watchers.iter().enumerate() {
        let settings = Settings {
            buffer_size: if number < 2 { 4 } else { 1024 },
            ..Settings::default()
        };
        let known = processes.entry(number / 2).or_insert_with(|| {
            let log = world.log(&world.wire(), world.clock.clone());
            Watches::over_log(&log, PACE, &settings)
        });
        tasks.spawn(Arc::clone(watcher).watch(Arc::clone(&world), known.clone()));
    }
    // Until all have begun.
    world.clock.sleep(Duration::from_secs(5)).await;

    for round in 0..3 {
        mapping.awake.store(world.random.below(3), Ordering::Relaxed);
        for at in 0..world.shards.lock().unwrap().len() {
            if round == 0 {
                tasks.spawn(deliver(Arc::clone(&world), Arc::clone(&mapping), at));
            }
        }
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..3 {
            writers.spawn(Arc::clone(&world).write(5 + world.random.below(8)));
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
        disturb(&world, &mapping, seed, round, mistake).await;
        while writers.join_next().await.is_some() {}
        settle(&world).await;
        rest(&world, seed, round, mistake).await;
    }
    examine(&world, true, mistake).await;
    // The last changes, and the last look: who is idle looks rarely, and who stalls does so to its end.
    world.over.store(true, Ordering::Relaxed);
    world.clock.sleep(DAY * 3 + LONGEST).await;
    tasks.shutdown().await;
    if let Ok(key) = std::env::var("TIDEWATCH_KEY") {
        tell(&world, &watchers, &key);
    }
    let verdict = watchers.iter().try_for_each(|watcher| watcher.judge(&world));
    Outcome {
        changes: world.truth.lock().unwrap().len(),
        reasons: watchers.iter().flat_map(|watcher| watcher.reasons()).collect(),
        trace: watchers.iter().map(|watcher| watcher.trace()).collect(),
        verdict,
    }
}

/// Prints what became of a key, for whoever looks into a seed: the truth, what watchers were told, and the log.
fn tell(world: &World, watchers: &[Arc<Watcher>], key: &str) {
    for change in world
        .truth
        .lock()
        .unwrap()
        .iter()
        .filter(|change| change.key == Key::from(key))
    {
        println!("{change:?}");
    }
    for (number, watcher) in watchers.iter().enumerate() {
        println!("watcher {number}: {}", watcher.trace());
        println!("watcher {number}: {:?}", watcher.reasons());
    }
    let scan = serde_json::from_value(serde_json::json!({"TableName": world::LOGS})).unwrap();
    let all = serde_json::to_value(world.engine.database.scan(scan).unwrap()).unwrap();
    for item in all["Items"].as_array().unwrap() {
        println!("{item}");
    }
}

/// The log as the one who tends it has it.
fn tended(world: &World, mistake: Mistake) -> Log {
    let plant = match mistake {
        Mistake::Log(plant) => Some(plant),
        _ => None,
    };
    world.log(&world.engine, world.clock.clone()).planted(plant)
}

/// What the task does that looks after the log.
async fn examine(world: &World, enabled: bool, mistake: Mistake) {
    if mistake == Mistake::MappingNotExamined {
        return;
    }
    let facts = Facts {
        stream: (mistake != Mistake::Log(Plant::StreamNotCompared)).then(|| world.stream()),
        mapping: Some(MappingFacts {
            id: "m1".to_owned(),
            enabled,
            from_trim_horizon: true,
        }),
    };
    tended(world, mistake).examine(&facts, stop(world)).await.unwrap();
}

fn stop(world: &World) -> Instant {
    world.clock.instant() + Duration::from_secs(600)
}

/// What befalls the feed while writers write.
async fn disturb(world: &Arc<World>, mapping: &Arc<Mapping>, seed: u64, round: u64, mistake: Mistake) {
    examine(world, true, mistake).await;
    match (seed / 2 + round) % 5 {
        0 => world.replace_stream(),
        1 => {
            mapping.off.store(true, Ordering::Relaxed);
            world.clock.sleep(Duration::from_secs(10)).await;
            examine(world, false, mistake).await;
            world.clock.sleep(DAY).await;
            // The stream keeps no more than that.
            world.lose();
            mapping.off.store(false, Ordering::Relaxed);
            examine(world, true, mistake).await;
        }
        2 => {
            let buckets = 1 + u32::try_from((seed + round) % 4).unwrap();
            tended(world, mistake)
                .reconfigure(buckets, Transport::Stream, stop(world))
                .await
                .unwrap();
        }
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
async fn rest(world: &Arc<World>, seed: u64, round: u64, mistake: Mistake) {
    if (seed + round).is_multiple_of(3) {
        return;
    }
    for _ in 0..6 {
        world.clock.sleep(DAY / 2).await;
        examine(world, true, mistake).await;
        tended(world, mistake)
            .compact(MIN_RETENTION, stop(world))
            .await
            .unwrap();
    }
}

fn simulate(seed: u64, mistake: Mistake) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run(seed, mistake))
}

/// Runs seeds on all cores; the outcomes in their order.
fn simulate_all(seeds: std::ops::Range<u64>, mistake: Mistake) -> Vec<(u64, Outcome)> {
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
                outcomes.push((seed, simulate(seed, mistake)));
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
    // A hundred take a minute and a half in dev: the gate asks for them.
    let default = if cfg!(debug_assertions) { 10 } else { 100 };
    let seeds = number("TIDEWATCH_SEEDS").unwrap_or(default);
    let seeds = number("TIDEWATCH_SEED").map_or(0..seeds, |seed| seed..seed + 1);
    let outcomes = simulate_all(seeds, Mistake::Nothing);
    let wrong: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.verdict.is_err())
        .collect();
    for (seed, outcome) in &wrong {
        println!("seed {seed}: {:?}", outcome.verdict);
    }
    assert!(wrong.is_empty(), "{} of {} seeds", wrong.len(), outcomes.len());
    let changes: usize = outcomes.iter().map(|(_, outcome)| outcome.changes).sum();
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in outcomes.iter().flat_map(|(_, outcome)| &outcome.reasons) {
        *reasons.entry(reason).or_default() += 1;
    }
    assert!(
        changes > 50 * outcomes.len(),
        "{changes} changes in {} seeds",
        outcomes.len()
    );
    if outcomes.len() >= 100 {
        assert!(reasons.len() >= 3, "{reasons:?}");
    }
    println!(
        "watch simulation: {} seeds, {changes} changes; told to list again: {reasons:#?}",
        outcomes.len()
    );
}

#[test]
fn watch_simulation_has_one_trace_a_seed() {
    for seed in 2..4 {
        assert_eq!(
            simulate(seed, Mistake::Nothing),
            simulate(seed, Mistake::Nothing),
            "seed {seed}"
        );
    }
}

/// Each mistake is found: with the seed that found it last, or with one of those after it.
fn is_found(mistake: Mistake, first: u64) {
    const SEEDS: u64 = 60;
    for from in (first..first + SEEDS).step_by(2) {
        let found = simulate_all(from..from + 2, mistake)
            .into_iter()
            .find(|(_, outcome)| outcome.verdict.is_err());
        if let Some((seed, outcome)) = found {
            println!("{mistake:?}: found with seed {seed}: {:?}", outcome.verdict);
            return;
        }
    }
    panic!("{mistake:?} was not found with {SEEDS} seeds");
}

macro_rules! mistakes {
    ($($name:ident: $mistake:expr, $first:literal;)+) => { $(
        #[test]
        fn $name() {
            is_found($mistake, $first);
        }
    )+ };
}

mod watch_simulation_finds {
    use super::{Mistake, Plant, is_found};

    mistakes! {
        repeats_not_looked_for: Mistake::Log(Plant::RepeatsNotLookedFor), 0;
        the_walk_back_cut_short: Mistake::Log(Plant::WalkCutShort), 3;
        an_overtaken_record_appended: Mistake::Log(Plant::OvertakenAppended), 5;
        a_gap_not_marked: Mistake::GapNotMarked, 3;
        a_remembered_head_used_after_compaction: Mistake::Log(Plant::RememberedForEver), 3;
        the_newest_segment_compacted: Mistake::Log(Plant::NewestCompacted), 46;
        the_bucket_count_changed_without_sealing: Mistake::Log(Plant::NotSealed), 42;
        a_stream_re_created: Mistake::Log(Plant::StreamNotCompared), 0;
        a_mapping_off_for_a_day: Mistake::MappingNotExamined, 0;
    }
}
