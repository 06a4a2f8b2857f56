//! The task on the embedded engine, under a paused clock: what it reads, deletes and leaves, and what befalls it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod cuts;
mod feed;
mod listed;
mod passes;
mod races;
mod volume;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use feed::Feed;
use serde_json::{Value, json};

use super::progress::KEY;
use super::{Expire, FoundBy, List, Report, Settings};
use crate::clock::Clock;
use crate::engine::{Engine, Fate, config, partitioned};
use crate::maintain::Run;
use crate::random::Random;
use crate::state::{Backend, Item, Key, Layout};
use crate::table::{Added, Measured, Tables};

const TABLE: &str = "tidewatch-state";
/// A quarter into a second.
const START: Duration = Duration::from_millis(1_800_000_000_250);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs work under a paused clock of its own.
fn paused<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

/// A table, and what it takes to sweep it.
struct World {
    engine: Engine,
    clock: Clock,
    random: Random,
    layout: Layout,
    by: FoundBy,
    /// Its table has the index whether its layout brings that or not.
    insisted: bool,
    /// Of a table with a due list.
    feed: Option<Feed>,
}

impl World {
    async fn new(by: FoundBy, seed: u64) -> Self {
        let clock = Clock::simulated(UNIX_EPOCH + START);
        let engine = Engine::new();
        let layout = match by {
            FoundBy::Index => partitioned(3),
            FoundBy::List | FoundBy::Scan => Layout::Teleport,
        };
        engine.backend(TABLE, layout.clone(), &clock, seed).await;
        let feed = match by {
            FoundBy::List => Some(Feed::new(&engine, &clock, seed).await),
            FoundBy::Index | FoundBy::Scan => None,
        };
        Self {
            engine,
            clock,
            random: Random::seeded(seed),
            layout,
            by,
            insisted: false,
            feed,
        }
    }

    /// A table in Teleport's layout whose operator insisted on an index.
    async fn insisted(seed: u64) -> Self {
        let mut world = Self::new(FoundBy::Scan, seed).await;
        let tables = Tables::new(world.engine.client(), world.clock.clone(), Tables::WAIT);
        let live = tables.read(TABLE).await.unwrap();
        let added = Added::new(&live, &Measured::default());
        tables.add_index(&live, &added, &|_| {}).await.unwrap();
        (world.by, world.insisted) = (FoundBy::Index, true);
        world
    }

    /// A backend over a wire.
    fn backend(&self, wire: &Engine) -> Backend {
        let random = Random::seeded(self.random.u64());
        let config = config(TABLE, self.layout.clone());
        Backend::unverified(&wire.client(), config, self.clock.clone(), random)
    }

    /// The task over a wire.
    fn expire(&self, wire: &Engine, mut settings: Settings) -> Expire {
        settings.index = self.insisted;
        let log = self.feed.as_ref().map(|feed| feed.log(wire, self.random.u64()));
        let expire = Expire::new(self.backend(wire), log, settings);
        assert_eq!(expire.found_by(), self.by);
        expire
    }

    /// A run of so long, with a second to end in.
    fn run(&self, long: Duration) -> Run {
        let last_call = self.clock.instant() + long;
        Run {
            last_call,
            stop: last_call + secs(1),
            dry_run: false,
        }
    }

    fn feed(&self) -> &Feed {
        self.feed.as_ref().unwrap()
    }

    /// One pass over a sound wire, after all changes were told.
    async fn sweep(&self) -> Report {
        if let Some(feed) = &self.feed {
            feed.deliver().await;
        }
        let expire = self.expire(&self.engine.beside(), Settings::default());
        expire.run(self.run(secs(300))).await.unwrap()
    }

    /// A time so many seconds from the second that the test began in; before it if negative.
    fn at(&self, seconds: i64) -> SystemTime {
        let begun = UNIX_EPOCH + secs(START.as_secs());
        let distance = secs(seconds.unsigned_abs());
        if seconds < 0 {
            begun - distance
        } else {
            begun + distance
        }
    }

    async fn put(&self, key: &str, expires: Option<i64>) {
        let mut item = Item::new(key, "v");
        item.expires = expires.map(|expires| self.at(expires));
        self.backend(&self.engine.beside()).put(&item).await.unwrap();
    }

    /// A wire on which requests take their time, are lost before and after they are applied, are refused, or arrive late.
    fn rough(&self) -> Engine {
        let wire = self.engine.beside();
        let random = self.random.clone();
        wire.plan(move |_, _| {
            let span = |most: u64| millis(random.below(most));
            match random.below(30) {
                0 => Fate::Dropped,
                1 => Fate::AnswerLost,
                2 => Fate::Late(span(3_000)),
                3 => crate::engine::refusal("ThrottlingException"),
                4..10 => Fate::Delayed {
                    before: span(1_500),
                    after: span(500),
                },
                _ => Fate::Delayed {
                    before: span(50),
                    after: span(50),
                },
            }
        });
        wire
    }

    /// What stands in the table, but for the task's own item and the record of the layout: keys and seconds of expiry.
    fn stored(&self) -> BTreeMap<String, Option<i64>> {
        let mut stored = BTreeMap::new();
        let mut from = Value::Null;
        loop {
            let mut scan = json!({"TableName": TABLE});
            if !from.is_null() {
                scan["ExclusiveStartKey"] = from;
            }
            let page = self.engine.database.scan(serde_json::from_value(scan).unwrap());
            let page = serde_json::to_value(page.unwrap()).unwrap();
            for item in page["Items"].as_array().unwrap() {
                let partition = item[self.layout.partition_name()]["S"].as_str().unwrap();
                let key = item[self.layout.sort_name()]["S"].as_str().unwrap();
                let key = key.strip_prefix("teleport").unwrap_or(key);
                let expires = item["Expires"]["N"].as_str().map(|at| at.parse().unwrap());
                if key != KEY && (partition == "teleport" || partition.starts_with("test#")) {
                    stored.insert(key.to_owned(), expires);
                }
            }
            from = page["LastEvaluatedKey"].clone();
            if from.is_null() {
                return stored;
            }
        }
    }

    fn has(&self, key: &str) -> bool {
        self.stored().contains_key(key)
    }
}

/// Read and write units of the state table that the engine charged for what was sent.
fn charged(wire: &Engine) -> (f64, f64) {
    let (mut read, mut write) = (0.0, 0.0);
    for sent in wire.sent() {
        let consumed = &sent.answer["ConsumedCapacity"];
        let all = consumed
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![consumed.clone()]);
        for one in all.iter().filter(|one| one["TableName"] == TABLE) {
            let units = one["CapacityUnits"].as_f64().unwrap();
            match sent.operation.as_str() {
                "Query" | "GetItem" | "BatchGetItem" => read += units,
                _ => write += units,
            }
        }
    }
    (read, write)
}

/// Runs seeds on all cores, so many or as many as `TIDEWATCH_SEEDS` says; those that were wrong.
fn seeds<F: Future<Output = Result<(), String>>>(
    count: u64,
    run: impl Fn(u64) -> F + Sync,
) -> Vec<(u64, String)> {
    let asked = std::env::var("TIDEWATCH_SEEDS")
        .ok()
        .and_then(|asked| asked.parse().ok());
    let count = asked.unwrap_or(count);
    let next = std::sync::atomic::AtomicU64::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    if let Err(what) = paused(run(seed)) {
                        wrong.lock().unwrap().push((seed, what));
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

fn key(text: &str) -> Key {
    Key::from(text)
}

/// Whether a run came to its end: what a list was not full with is no matter here.
fn is_done(report: &Report) -> bool {
    report.errors.is_empty() && (report.complete || report.list == Some(List::Filling))
}
