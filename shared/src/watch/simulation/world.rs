//! The state table on the embedded engine, its writers, and its stream as shards that split.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;
use crate::engine::{Engine, Fate, config};
use crate::random::Random;
use crate::state::{Backend, Item, Key, Layout, Revision};
use crate::watch::event::{Event, Operation};
use crate::watch::log::{Log, LogSpec};
use crate::watch::position::Number;
use crate::watch::record::{Json, Order, Read, Record};

pub(super) const STATE: &str = "tidewatch-state";
pub(super) const LOGS: &str = "tidewatch-watch-log";
/// Keys that writers choose from: some below `/a`, some beside it.
pub(super) const KEYS: [&str; 8] = ["/a", "/a/1", "/a/2", "/a/3", "/ab", "/b/1", "/b/2", ".locks/x"];

/// A change as the stream had it.
#[derive(Debug, Clone)]
pub(super) struct Truth {
    pub(super) key: Key,
    pub(super) told: Told,
    pub(super) written: SystemTime,
}

/// What a watcher is told of an event, as far as the run compares it: revision and expiry of a put, nothing for a delete,
/// and the creation time.
pub(super) type Told = (Option<(Revision, Option<SystemTime>)>, Option<SystemTime>);

pub(super) fn told(event: &Event) -> Told {
    let put = match &event.operation {
        Operation::Put(put) => Some((put.revision.clone(), put.expires)),
        _ => None,
    };
    (put, event.created)
}

/// A shard: its records, and what of them the mapping has done with.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) parent: Option<usize>,
    pub(super) closed: bool,
    pub(super) records: Vec<Record>,
    pub(super) checkpoint: usize,
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) clock: Clock,
    pub(super) engine: Engine,
    pub(super) shards: Mutex<Vec<Shard>>,
    pub(super) truth: Mutex<Vec<Truth>>,
    /// ARN of the stream that the table has now.
    pub(super) stream: Mutex<String>,
    /// Creation times are rounded down to this.
    rounding: Duration,
    read: Mutex<Option<String>>,
    streams: Mutex<u32>,
    /// Something changed in the shards. It wakes in the order of waiting, as one trace a seed needs.
    pub(super) changed: tokio::sync::Notify,
    /// Nothing more happens: who still stalls would miss the end of the run, not a change.
    pub(super) over: AtomicBool,
}

impl World {
    pub(super) async fn new(seed: u64) -> Arc<Self> {
        let clock = Clock::simulated(UNIX_EPOCH + Duration::from_millis(1_800_000_000_250));
        let random = Random::seeded(seed);
        let engine = Engine::new();
        engine.backend(STATE, Layout::Teleport, &clock, seed).await;
        let rounding = [1, 1000, 60_000][usize::try_from(seed % 3).unwrap()];
        let world = Arc::new(Self {
            random,
            clock,
            engine,
            shards: Mutex::new(vec![Shard::default(), Shard::default()]),
            truth: Mutex::default(),
            stream: Mutex::default(),
            rounding: Duration::from_millis(rounding),
            read: Mutex::default(),
            streams: Mutex::new(0),
            changed: tokio::sync::Notify::new(),
            over: AtomicBool::new(false),
        });
        world.replace_stream();
        world.create_logs().await;
        world
    }

    async fn create_logs(&self) {
        let table = serde_json::json!({
            "TableName": LOGS, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "Log", "AttributeType": "S"}, {"AttributeName": "Segment", "AttributeType": "N"}],
            "KeySchema": [{"AttributeName": "Log", "KeyType": "HASH"}, {"AttributeName": "Segment", "KeyType": "RANGE"}],
        });
        self.engine
            .database
            .create_table(serde_json::from_value(table).unwrap())
            .unwrap();
        let spec = LogSpec {
            buckets: 3,
            stream: Some(self.stream()),
            ..LogSpec::new(STATE)
        };
        let log = self.log(&self.engine, self.clock.clone());
        log.create(&spec, self.clock.instant() + Duration::from_secs(60))
            .await
            .unwrap();
    }

    /// The log over a wire, under a clock.
    pub(super) fn log(&self, wire: &Engine, clock: Clock) -> Log {
        Log::new(&wire.client(), LOGS, STATE, clock, self.random.clone())
    }

    /// A wire of one's own to the engine: requests take their time, are lost before and after they are applied, or
    /// arrive late.
    pub(super) fn wire(&self) -> Engine {
        let wire = self.engine.beside();
        let random = self.random.clone();
        wire.plan(move |_, _| {
            let jitter = |millis| random.jitter(Duration::from_millis(millis));
            match random.below(100) {
                0..3 => Fate::AnswerLost,
                3..5 => Fate::Dropped,
                5..7 => Fate::Late(jitter(20_000)),
                _ => Fate::Delayed {
                    before: jitter(40),
                    after: jitter(20),
                },
            }
        });
        wire
    }

    pub(super) fn stream(&self) -> String {
        self.stream.lock().unwrap().clone()
    }

    /// The table's stream is turned off and on: what was not delivered is gone.
    pub(super) fn replace_stream(&self) {
        let mut streams = self.streams.lock().unwrap();
        *streams += 1;
        *self.stream.lock().unwrap() = format!(
            "arn:aws:dynamodb:local:000000000000:table/{STATE}/stream/2027-01-15T08:00:{streams:02}.000"
        );
        self.lose();
    }

    /// What was not delivered is gone.
    pub(super) fn lose(&self) {
        for shard in self.shards.lock().unwrap().iter_mut() {
            shard.checkpoint = shard.records.len();
        }
    }

    /// A writer: puts, deletes, keep-alives and transactions on its share of time.
    pub(super) async fn write(self: Arc<Self>, writes: u64) {
        let random = Random::seeded(self.random.u64());
        let client = self.engine.client();
        let backend = Backend::unverified(
            &client,
            config(STATE, Layout::Teleport),
            self.clock.clone(),
            Random::seeded(self.random.u64()),
        );
        for _ in 0..writes {
            let key = |random: &Random| Key::from(KEYS[usize::try_from(random.below(8)).unwrap()]);
            let item = Item::new(key(&random), random.u64().to_string());
            match random.below(10) {
                0..5 => drop(backend.put(&item).await),
                5..7 => drop(backend.delete(&item.key).await),
                7 => {
                    let expiring = item.expiring(self.clock.now() + Duration::from_secs(3600));
                    if let Ok(lease) = backend.put(&expiring).await {
                        self.pump();
                        drop(
                            backend
                                .keep_alive(&lease, self.clock.now() + Duration::from_secs(7200))
                                .await,
                        );
                    }
                }
                _ => drop(backend.put_batch(&[item, Item::new(key(&random), "b")]).await),
            }
            self.pump();
            self.clock.sleep(random.jitter(Duration::from_millis(400))).await;
        }
    }

    /// Moves new records of the engine's stream into the shards.
    pub(super) fn pump(&self) {
        let database = &self.engine.database;
        let mut read = self.read.lock().unwrap();
        let iterator = read.take().unwrap_or_else(|| {
            let streams = database
                .list_streams(from(serde_json::json!({"TableName": STATE})))
                .unwrap();
            let streams = serde_json::to_value(streams).unwrap();
            let arn = streams["Streams"][0]["StreamArn"].as_str().unwrap().to_owned();
            let described = database
                .describe_stream(from(serde_json::json!({"StreamArn": arn})))
                .unwrap();
            let described = serde_json::to_value(described).unwrap();
            let shard = described["StreamDescription"]["Shards"][0]["ShardId"]
                .as_str()
                .unwrap()
                .to_owned();
            let got = database.get_shard_iterator(from(
                serde_json::json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}),
            ));
            let got = serde_json::to_value(got.unwrap()).unwrap();
            got["ShardIterator"].as_str().unwrap().to_owned()
        });
        let got = database
            .get_records(from(serde_json::json!({"ShardIterator": iterator})))
            .unwrap();
        let got = serde_json::to_value(got).unwrap();
        *read = got["NextShardIterator"].as_str().map(str::to_owned);
        let now = self.clock.now();
        let step = self.rounding.as_millis();
        let rounded = now.duration_since(UNIX_EPOCH).unwrap().as_millis() / step * step;
        let created = UNIX_EPOCH + Duration::from_millis(u64::try_from(rounded).unwrap());
        let mut shards = self.shards.lock().unwrap();
        for record in got["Records"].as_array().unwrap() {
            let text = record.to_string();
            let json: Json<'_> = serde_json::from_str(&text).unwrap();
            // The engine's numbers hold the time of the machine, and one seed is to be one trace.
            let sequence = Number::from(1000 + 7 * self.truth.lock().unwrap().len() as u64);
            let mut parts = json.parts(1.0);
            parts.created = Some(created);
            // As an attached table's stream: new images only.
            parts.old = None;
            let Read::Change(record) = parts.read(&Layout::Teleport, Order::Sequence(sequence)) else {
                panic!("a record that is no change")
            };
            let key = record.event.key.clone();
            let told = told(&record.event);
            self.truth.lock().unwrap().push(Truth {
                key: key.clone(),
                told,
                written: now,
            });
            let mut at =
                usize::from(key.as_bytes().iter().map(|byte| u32::from(*byte)).sum::<u32>() % 2 == 1);
            while shards[at].closed {
                let children: Vec<usize> = (0..shards.len())
                    .filter(|child| shards[*child].parent == Some(at))
                    .collect();
                let side = key.as_bytes().last().copied().unwrap_or_default() / 2 % 2;
                at = children[usize::from(side)];
            }
            shards[at].records.push(record);
            self.changed.notify_waiters();
        }
    }

    /// A shard of those that are open is closed, and two go on from it.
    pub(super) fn split(&self) {
        let mut shards = self.shards.lock().unwrap();
        let open: Vec<usize> = (0..shards.len()).filter(|at| !shards[*at].closed).collect();
        let at = open[usize::try_from(self.random.below(open.len() as u64)).unwrap()];
        shards[at].closed = true;
        for _ in 0..2 {
            shards.push(Shard {
                parent: Some(at),
                ..Shard::default()
            });
        }
    }

    /// Whether everything has been delivered or given up.
    pub(super) fn is_done(&self) -> bool {
        self.shards
            .lock()
            .unwrap()
            .iter()
            .all(|shard| shard.checkpoint == shard.records.len())
    }

    /// How many changes each key had.
    pub(super) fn by_key(&self) -> BTreeMap<Key, Vec<Truth>> {
        let mut by_key: BTreeMap<Key, Vec<Truth>> = BTreeMap::new();
        for truth in self.truth.lock().unwrap().iter() {
            by_key.entry(truth.key.clone()).or_default().push(truth.clone());
        }
        by_key
    }
}

fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}
