//! The spool under everything that may happen at once: two shards whose batches are cut anew, answers that are lost,
//! invocations that go on as zombies or are killed, requests to S3 that are lost, late or take effect unheard, a sink
//! that goes down, hangs and comes back, and several drainers.
//!
//! Checked: nothing is lost, and the first deliveries of a key are in order. Then mistakes are planted, and each must be
//! found.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::destinations::destinations;
use super::drain::{Options, drain};
use super::open::{Opener, Plan};
use super::plant::Plant;
use super::serve::{NamedSink, Places};
use super::{Forwarder, InProcess, Outgoing, Sink, SinkError, Spool};
use crate::clock::Clock;
use crate::config::{Chain, Config};
use crate::engine::Fate;
use crate::random::Random;
use crate::store::Store;

const SHARDS: usize = 2;
/// Records of a shard.
const RECORDS: usize = 14;
/// Environments of the function.
const ENVIRONMENTS: usize = 3;
const INVOCATION: Duration = Duration::from_secs(60);

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Lost,
    Disordered,
    Stuck,
}

/// The sink: each record takes effect by itself, and what took effect may not be told.
#[derive(Debug)]
struct Target {
    up: AtomicBool,
    log: Mutex<Vec<usize>>,
    clock: Clock,
    random: Random,
}

impl Sink for Target {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        async move {
            for (taken, record) in records.iter().enumerate() {
                self.clock
                    .sleep(self.random.jitter(Duration::from_millis(60)))
                    .await;
                if !self.up.load(Ordering::Relaxed) {
                    if self.random.below(4) == 0 {
                        std::future::pending::<()>().await;
                    }
                    return if taken == 0 {
                        Err(SinkError("down".to_owned()))
                    } else {
                        Ok(taken)
                    };
                }
                self.log
                    .lock()
                    .unwrap()
                    .push(record.sequence_number.parse().unwrap());
                if self.random.below(15) == 0 {
                    return Err(SinkError("the answer was lost".to_owned()));
                }
            }
            Ok(records.len())
        }
        .boxed()
    }
}

/// An environment of the function, or a drainer: what it remembers, and its own wire to S3.
struct Environment {
    spool: Arc<Spool>,
    forwarder: Arc<Forwarder>,
}

struct World {
    clock: Clock,
    random: Random,
    target: Arc<Target>,
    environments: Vec<Environment>,
    drainer: Arc<Spool>,
    /// Sessions of each shard's records.
    sessions: Vec<Vec<String>>,
    over: AtomicBool,
}

/// The number of a shard's record.
fn number(shard: usize, at: usize) -> usize {
    SHARDS * at + shard + 1
}

fn spool(store: &Store, random: &Random, plant: Option<Plant>) -> Arc<Spool> {
    let wire = store.beside();
    let random = random.clone();
    wire.plan(move |_, _| {
        let pause = || random.jitter(Duration::from_millis(400));
        match random.below(40) {
            0 => Fate::Dropped,
            1 => Fate::AnswerLost,
            2 => Fate::Late(random.jitter(Duration::from_secs(10))),
            _ => Fate::Delayed {
                before: pause(),
                after: pause(),
            },
        }
    });
    Arc::new(Spool::new(wire.objects("spool")).planted(plant))
}

impl World {
    fn new(seed: u64, plant: Option<Plant>) -> Arc<Self> {
        let random = Random::seeded(seed);
        let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_168_800));
        let store = Store::new();
        let target = Arc::new(Target {
            up: AtomicBool::new(random.below(2) == 0),
            log: Mutex::default(),
            clock: clock.clone(),
            random: random.clone(),
        });
        let document = "quarantine: s3://audit-bucket/quarantine\nspool: s3://audit-bucket/spool\n\
            sinks: { a: { uri: 'stdout://', timeout: 1s, budget: 2s } }";
        let config = Config::parse(document, "test", []).unwrap();
        let environment = |_| {
            let spool = spool(&store, &random, plant);
            let places = Places {
                spool: Some(Arc::clone(&spool)),
                spill: None,
            };
            let chain = Arc::new(Chain::of(config.clone()));
            let destination = destinations(&chain).pop().unwrap();
            let sink = Arc::<Target>::clone(&target);
            let sink = NamedSink::of(destination, sink, Arc::default(), places);
            let quarantine = Arc::new(store.beside().objects("quarantine"));
            let forwarder = Forwarder::new(
                None,
                Plan::new(chain, vec![sink], quarantine),
                Opener::new(clock.clone(), random.clone()),
                clock.clone(),
                random.clone(),
            );
            Environment {
                spool,
                forwarder: Arc::new(forwarder),
            }
        };
        let environments = (0..ENVIRONMENTS).map(environment).collect();
        let session = |shard: usize| format!("k{shard}{}", random.below(3));
        let sessions = (0..SHARDS)
            .map(|shard| (0..RECORDS).map(|_| session(shard)).collect())
            .collect();
        Arc::new(Self {
            drainer: spool(&store, &random, plant),
            clock,
            random,
            target,
            environments,
            sessions,
            over: AtomicBool::new(false),
        })
    }

    fn chance(&self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    async fn wait(&self, most: Duration) {
        self.clock.sleep(self.random.jitter(most)).await;
    }

    fn payload(&self, shard: usize, from: usize, to: usize) -> String {
        let records: Vec<String> = (from..to)
            .map(|at| {
                let (number, session) = (number(shard, at), &self.sessions[shard][at]);
                format!(
                    r#"{{"eventName":"INSERT","dynamodb":{{"SequenceNumber":"{number}","NewImage":{{"SessionID":{{"S":"{session}"}},"EventIndex":{{"N":"{number}"}},"EventType":{{"S":"x"}},"FieldsMap":{{"M":{{"uid":{{"S":"{number}"}}}}}}}}}}}}"#
                )
            })
            .collect();
        format!(r#"{{"Records":[{}]}}"#, records.join(","))
    }

    /// Lambda's event source mapping of a shard.
    async fn mapping(self: Arc<Self>, shard: usize) {
        let mut checkpoint = 0;
        while checkpoint < RECORDS {
            self.wait(Duration::from_millis(1500)).await;
            let most = usize::try_from(self.random.below(5)).unwrap();
            let end = (checkpoint + 1 + most).min(RECORDS);
            let payload = self.payload(shard, checkpoint, end);
            let at = usize::try_from(self.random.below(ENVIRONMENTS as u64)).unwrap();
            let forwarder = Arc::clone(&self.environments[at].forwarder);
            let deadline = self.clock.instant() + INVOCATION;
            let mut task = tokio::spawn(async move { forwarder.handle(&payload, deadline).await });
            if self.chance(25) {
                self.wait(Duration::from_secs(2)).await;
                task.abort();
                continue;
            }
            // Given up early it goes on as a zombie.
            let patience = if self.chance(10) {
                self.random.jitter(Duration::from_secs(2))
            } else {
                INVOCATION
            };
            let Ok(Ok(answer)) = self.clock.timeout(patience, &mut task).await else {
                continue;
            };
            if !self.chance(10) {
                let failed = answer.unwrap().first_failed;
                checkpoint = match failed {
                    None => end,
                    Some(failed) => (checkpoint..end)
                        .find(|at| number(shard, *at).to_string() == failed)
                        .unwrap(),
                };
            }
        }
    }

    async fn drain(&self, forwarder: &Arc<Forwarder>) {
        let forward = InProcess::new(Arc::clone(forwarder), self.clock.clone(), INVOCATION);
        let now = self.clock.instant();
        let options = Options {
            last_call: now + INVOCATION,
            deadline: now + 2 * INVOCATION,
            dry_run: false,
        };
        drain(&self.drainer, &forward, &self.clock, options).await;
    }

    /// Drainers, several at once, some of which are killed.
    async fn drainers(self: Arc<Self>) {
        while !self.over.load(Ordering::Relaxed) {
            self.wait(Duration::from_secs(4)).await;
            let world = Arc::clone(&self);
            let at = usize::try_from(self.random.below(ENVIRONMENTS as u64)).unwrap();
            let task = tokio::spawn(async move {
                let forwarder = Arc::clone(&world.environments[at].forwarder);
                world.drain(&forwarder).await;
            });
            if self.chance(8) {
                self.wait(Duration::from_secs(3)).await;
                task.abort();
            }
        }
    }

    async fn weather(self: Arc<Self>) {
        while !self.over.load(Ordering::Relaxed) {
            self.wait(Duration::from_secs(8)).await;
            self.target.up.fetch_xor(true, Ordering::Relaxed);
        }
        self.target.up.store(true, Ordering::Relaxed);
    }

    fn judge(&self) -> Option<Wrong> {
        let log = self.target.log.lock().unwrap();
        let found: HashSet<usize> = log.iter().copied().collect();
        if found.len() < SHARDS * RECORDS {
            return Some(Wrong::Lost);
        }
        let session = |number: usize| &self.sessions[(number - 1) % SHARDS][(number - 1) / SHARDS];
        let mut last: BTreeMap<&String, usize> = BTreeMap::new();
        let mut seen = HashSet::new();
        for number in log.iter().copied() {
            if seen.insert(number) && last.insert(session(number), number) > Some(number) {
                return Some(Wrong::Disordered);
            }
        }
        None
    }
}

async fn simulate(seed: u64, plant: Option<Plant>) -> Option<Wrong> {
    let world = World::new(seed, plant);
    let mappings: Vec<_> = (0..SHARDS)
        .map(|shard| tokio::spawn(Arc::clone(&world).mapping(shard)))
        .collect();
    let others = [
        tokio::spawn(Arc::clone(&world).drainers()),
        tokio::spawn(Arc::clone(&world).weather()),
    ];
    for mapping in mappings {
        mapping.await.unwrap();
    }
    world.over.store(true, Ordering::Relaxed);
    for other in others {
        other.await.unwrap();
    }
    // Zombies, and requests that are still on their way.
    world.clock.sleep(4 * INVOCATION).await;
    for _ in 0..100 {
        world.drain(&world.environments[0].forwarder).await;
        world.clock.sleep(Duration::from_secs(20)).await;
        if matches!(world.environments[0].spool.lowest("a").await, Ok(None)) {
            return world.judge();
        }
    }
    Some(Wrong::Stuck)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_overtaken() {
    for seed in 0..40 {
        assert_eq!(simulate(seed, None).await, None, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_planted_mistake_is_found() {
    for (plant, due) in [
        (Plant::NamedByNumber, Wrong::Lost),
        (Plant::Overwritten, Wrong::Lost),
        (Plant::AskedOnce, Wrong::Disordered),
        (Plant::DeletedByRange, Wrong::Lost),
    ] {
        let mut found = None;
        for seed in 0..100 {
            let wrong = simulate(seed, Some(plant)).await;
            if wrong == Some(due) {
                found = Some(seed);
                break;
            }
        }
        println!("{plant:?}: {found:?}");
        assert!(found.is_some(), "{plant:?}");
    }
}
