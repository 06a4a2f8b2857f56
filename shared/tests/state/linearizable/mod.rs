//! The model test: random histories of several clients, and whether some order of their calls explains what each saw.
//!
//! What it judges by: stored items; each call judges expiry by the send time of its effective attempt;
//! `OutcomeUnknown` may take effect at any time from its call on, or never. Delays fall before a request is sent or
//! after it was applied, never between, and all clients are on one clock, so the check is exact. Ranges and batches are
//! not in it.
//!
//! `TIDEWATCH_SEED` sets the seed of the first history, `TIDEWATCH_HISTORIES` how many there are. A fault is shown with
//! its history's own seed, which makes it again by itself. Values are written once each, so what was read tells who wrote
//! it.

mod cases;
mod checker;
mod clients;
mod history;
mod model;
mod plants;
mod skew;
mod wire;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use checker::{Rules, counterexample};
use clients::{Setting, engine, run};
use history::History;
use plants::Plant;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn seed() -> u64 {
    setting("TIDEWATCH_SEED", 1)
}

/// Runs histories on two threads, one after the other in each, until `each` says that it is enough.
fn histories(seeds: std::ops::Range<u64>, setting: Setting, each: impl Fn(History) -> bool + Sync) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let runtime = || {
                    let mut builder = tokio::runtime::Builder::new_current_thread();
                    builder.enable_time().start_paused(true).build().unwrap()
                };
                let engine = runtime().block_on(engine());
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !each(runtime().block_on(run(&engine, seed, setting))) {
                        next.store(seeds.end, Ordering::Relaxed);
                        break;
                    }
                }
            });
        }
    });
}

#[test]
fn linearizable() {
    let (seed, count) = (seed(), setting("TIDEWATCH_HISTORIES", 1000));
    println!("TIDEWATCH_SEED={seed} TIDEWATCH_HISTORIES={count}");
    let (ended, failed) = (Mutex::new(BTreeMap::new()), Mutex::new(None));
    histories(seed..seed + count, Setting::default(), |history| {
        assert!(history.operations.len() >= 40);
        if let Some(least) = counterexample(&history, Rules::Exact) {
            *failed.lock().unwrap() = Some(least);
            return false;
        }
        for operation in history.operations {
            *ended.lock().unwrap().entry(operation.outcome.name()).or_insert(0) += 1;
        }
        true
    });
    if let Some(least) = failed.into_inner().unwrap() {
        panic!("not linearizable: {least}");
    }
    println!("calls by how they ended: {:?}", ended.into_inner().unwrap());
}

/// Runs histories with a fault until one is caught, and shows it.
fn catches(plant: Plant) {
    let seed = seed();
    let made = AtomicU64::new(0);
    let caught = Mutex::new(None);
    let setting = Setting {
        plant: Some(plant),
        ..Setting::default()
    };
    histories(seed..seed + 1000, setting, |history| {
        let number = made.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(least) = counterexample(&history, Rules::Exact) {
            caught.lock().unwrap().get_or_insert((number, least));
        }
        caught.lock().unwrap().is_none()
    });
    let caught = caught.into_inner().unwrap();
    let (number, least) = caught.expect("no history shows the fault");
    println!("{plant:?} is caught by history {number} of TIDEWATCH_SEED={seed}: {least}");
}

#[test]
fn linearizable_catches_a_stale_clock_on_retry() {
    catches(Plant::StaleClock);
}

#[test]
fn linearizable_catches_an_unconditional_delete() {
    catches(Plant::UnconditionalDelete);
}

#[test]
fn linearizable_catches_a_multi_put_that_is_not_atomic() {
    catches(Plant::OneByOne);
}

#[test]
fn linearizable_catches_a_repeat_after_an_unknown_outcome() {
    catches(Plant::Repeat);
}

#[test]
fn linearizable_catches_a_new_revision_for_each_attempt() {
    catches(Plant::NewRevision);
}

#[test]
fn linearizable_catches_keep_alive_without_revision() {
    catches(Plant::KeepAliveUnchecked);
}
