//! What watching costs: how late a change is told, what is read for it, and the memory of a watcher. Beside it the same
//! work done as Teleport does it, where every process reads the table's stream by itself and every watcher has a queue.
//!
//! `cargo bench -p tidewatch --features dynamodb,streams,testkit --bench watch`; takes two minutes.
//!
//! The engine is embedded and answers within a millisecond, and a mapping is played that looks for records four times a
//! second, as Lambda does: what AWS adds to the delay is not in it. The processes are sets of clients, readers and
//! watchers of their own in this one process. Twenty items of 1 KiB are written a second, and every watcher asks for all
//! of them. A delay is from the sending of the write to the watcher's having the event.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing
)]

#[allow(dead_code)] // The tests use the rest.
#[path = "../tests/state/engine.rs"]
mod engine;
#[path = "../tests/watch/pump.rs"]
mod pump;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aws_sdk_dynamodbstreams::config::{Credentials, Region};
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use engine::{Engine, Sent};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Item, Key, Layout};
use tidewatch::table::{Kind, Spec, Tables};
use tidewatch::watch::feed::Feed;
use tidewatch::watch::log::{Appender, Inline, Log, LogSpec, Pace};
use tidewatch::watch::{Filter, Notice, Operations, Prefix, Settings, Watcher, Watches};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const TABLE: &str = "state";
const LOGS: &str = "logs";
const PER_SECOND: u32 = 20;
const VALUE: usize = 1024;
/// Lambda looks at a shard four times a second.
const MAPPING: Duration = Duration::from_millis(250);
/// Teleport looks at each shard once a second.
const POLL: Duration = Duration::from_secs(1);
/// Teleport's `buffer_size`, by default.
const QUEUE: usize = 1024;

/// An engine with a state table, and its log with a mapping.
struct World {
    engine: Engine,
    backend: Backend,
    /// The mapping's wire.
    mapping: Engine,
    _tasks: JoinSet<()>,
}

impl World {
    async fn new(mapped: bool) -> Self {
        let (engine, clock) = (Engine::new(), Clock::system());
        let backend = engine.backend(TABLE, Layout::Teleport, &clock, 1).await;
        let mapping = engine.beside();
        let mut tasks = JoinSet::new();
        if mapped {
            let client = mapping.client();
            let tables = Tables::new(client.clone(), clock.clone(), Duration::from_secs(60));
            let spec = Spec::new(Kind::WatchLog, LOGS).unwrap();
            tables.create(&spec, &|_| {}).await.unwrap();
            let log = Log::new(&client, LOGS, TABLE, clock.clone(), Random::seeded(2));
            let stop = clock.instant() + Duration::from_secs(60);
            log.create(&LogSpec::new(TABLE), stop).await.unwrap();
            let feed = Feed::new(
                Appender::new(log, Inline::All),
                TABLE,
                Layout::Teleport,
                clock.clone(),
            );
            tasks.spawn(pump::pump(mapping.clone(), TABLE, feed, clock, MAPPING));
        }
        Self {
            engine,
            backend,
            mapping,
            _tasks: tasks,
        }
    }

    /// What a process has: a wire of its own, and watches over it.
    fn process(&self) -> (Engine, Watches) {
        let wire = self.engine.beside();
        let log = Log::new(&wire.client(), LOGS, TABLE, Clock::system(), Random::system());
        let watches = Watches::over_log(&log, Pace::default(), &Settings::default());
        (wire, watches)
    }

    /// Writes so many items, evenly; each time is noted before the request is sent.
    async fn write(&self, sent: &[OnceLock<Instant>]) {
        let begun = Instant::now();
        for (n, sent) in sent.iter().enumerate() {
            let due = begun + Duration::from_secs(1) / PER_SECOND * u32::try_from(n).unwrap();
            tokio::time::sleep_until(due.into()).await;
            sent.set(Instant::now()).unwrap();
            self.backend.put(&item(n)).await.unwrap();
        }
    }
}

fn item(n: usize) -> Item {
    Item::new(Key::new(["nodes", &n.to_string()]), [b'v'; VALUE])
}

/// The number in an item's key.
fn number(key: &Key) -> usize {
    let text = key.as_str().unwrap();
    text.rsplit('/').next().unwrap().parse().unwrap()
}

async fn watch(watches: &Watches) -> Watcher {
    let filter = Filter::new([Prefix::component("/nodes")], Operations::All);
    watches.watch(filter.into()).await.unwrap()
}

/// What a run came to: delays in seconds, sorted, and what was sent.
struct Run {
    name: String,
    delays: Vec<f64>,
    took: f64,
    /// By the mapping, or by Teleport's processes.
    stream: Vec<Sent>,
    log: Vec<Sent>,
    processes: usize,
    watchers: usize,
}

impl Run {
    fn print(&self) {
        let quantile = |q: f64| {
            let at = (self.delays.len() - 1) as f64 * q;
            self.delays[at as usize] * 1e3
        };
        let asked = |sent: &[Sent], operation| {
            let asked = sent.iter().filter(|sent| sent.operation == operation).count();
            asked as f64 / self.took
        };
        let units = self.log.iter().filter_map(|sent| {
            let consumed = &sent.answer["ConsumedCapacity"]["CapacityUnits"];
            consumed.as_f64()
        });
        let processes = self.processes as f64;
        println!(
            "{:32} {:9} {:9} {:8.0} {:8.0} {:12.1} {:14.1} {:12.2}",
            self.name,
            self.processes,
            self.watchers,
            quantile(0.5),
            quantile(0.99),
            asked(&self.stream, "GetRecords"),
            self.log.len() as f64 / self.took / processes,
            units.fold(0.0, |sum, units| sum + units) / self.took / processes,
        );
    }
}

async fn over_the_log(processes: usize, each: usize, seconds: u32) -> Run {
    let world = World::new(true).await;
    let writes = (seconds * PER_SECOND) as usize;
    let sent: Arc<[OnceLock<Instant>]> = (0..writes).map(|_| OnceLock::new()).collect();
    let mut tasks = JoinSet::new();
    let mut wires = Vec::new();
    for _ in 0..processes {
        let (wire, watches) = world.process();
        for _ in 0..each {
            let (mut watcher, sent) = (watch(&watches).await, Arc::clone(&sent));
            tasks.spawn(async move {
                let mut delays = Vec::with_capacity(sent.len());
                while delays.len() < sent.len() {
                    if let Notice::Event { event, .. } = watcher.next().await.unwrap() {
                        let sent = sent[number(&event.key)].get().unwrap();
                        delays.push(sent.elapsed().as_secs_f64());
                    }
                }
                (watcher, delays)
            });
        }
        wires.push(wire);
    }
    for wire in wires.iter().chain([&world.mapping]) {
        wire.sent();
    }
    let begun = Instant::now();
    world.write(&sent).await;
    let took = begun.elapsed().as_secs_f64();
    let (stream, log) = (
        world.mapping.sent(),
        wires.iter().flat_map(Engine::sent).collect(),
    );
    let mut delays: Vec<f64> = tasks.join_all().await.into_iter().flat_map(|(_, d)| d).collect();
    delays.sort_by(f64::total_cmp);
    Run {
        name: "watch log".to_owned(),
        delays,
        took,
        stream,
        log,
        processes,
        watchers: processes * each,
    }
}

/// What Teleport's queues hold: values are shared, the rest is in each of them.
#[derive(Debug, Clone)]
struct Queued {
    _operation: &'static str,
    key: Arc<Key>,
    _value: Arc<[u8]>,
    _expires: Option<std::time::SystemTime>,
    _revision: Arc<str>,
}

fn queued(key: &str, value: &[u8], revision: &str) -> Queued {
    Queued {
        _operation: "Put",
        key: Arc::new(Key::from(key)),
        _value: value.into(),
        _expires: None,
        _revision: revision.into(),
    }
}

/// A process of Teleport's: looks at the one shard each second, and puts what it has into each queue.
async fn teleport(wire: Engine, queues: Vec<mpsc::Sender<Queued>>, ready: tokio::sync::oneshot::Sender<()>) {
    let config = aws_sdk_dynamodbstreams::Config::builder()
        .behavior_version_latest()
        .endpoint_url("http://engine.invalid")
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "bench"))
        .http_client(wire.clone())
        .build();
    let streams = aws_sdk_dynamodbstreams::Client::from_conf(config);
    let table = wire.client().describe_table().table_name(TABLE).send().await;
    let arn = table.unwrap().table.unwrap().latest_stream_arn.unwrap();
    let described = streams.describe_stream().stream_arn(&arn).send().await.unwrap();
    let shard = described.stream_description.unwrap().shards.unwrap()[0].clone();
    let iterator = streams
        .get_shard_iterator()
        .stream_arn(arn)
        .shard_id(shard.shard_id.unwrap())
        .shard_iterator_type(ShardIteratorType::Latest)
        .send()
        .await;
    let mut iterator = iterator.unwrap().shard_iterator;
    ready.send(()).unwrap();
    loop {
        // Processes are not in step.
        tokio::time::sleep(POLL).await;
        let answer = streams.get_records().set_shard_iterator(iterator).send();
        let answer = answer.await.unwrap();
        iterator = answer.next_shard_iterator;
        for record in answer.records.unwrap() {
            let item = record.dynamodb.unwrap().new_image.unwrap();
            let key = item["FullPath"].as_s().unwrap().trim_start_matches("teleport");
            let value = item["Value"].as_b().unwrap().as_ref();
            let event = queued(key, value, item["Revision"].as_s().unwrap());
            for queue in &queues {
                queue.try_send(event.clone()).unwrap();
            }
        }
    }
}

async fn as_teleport(processes: usize, each: usize, seconds: u32) -> Run {
    let world = World::new(false).await;
    let writes = (seconds * PER_SECOND) as usize;
    let sent: Arc<[OnceLock<Instant>]> = (0..writes).map(|_| OnceLock::new()).collect();
    let mut tasks = JoinSet::new();
    let mut pollers = JoinSet::new();
    let mut wires = Vec::new();
    for _ in 0..processes {
        let mut queues = Vec::new();
        for _ in 0..each {
            let (queue, mut events) = mpsc::channel::<Queued>(QUEUE);
            let sent = Arc::clone(&sent);
            queues.push(queue);
            tasks.spawn(async move {
                let mut delays = Vec::with_capacity(sent.len());
                while delays.len() < sent.len() {
                    let event = events.recv().await.unwrap();
                    let sent = sent[number(&event.key)].get().unwrap();
                    delays.push(sent.elapsed().as_secs_f64());
                }
                (events, delays)
            });
        }
        let (ready, begun) = tokio::sync::oneshot::channel();
        wires.push(world.engine.beside());
        pollers.spawn(teleport(wires[wires.len() - 1].clone(), queues, ready));
        begun.await.unwrap();
        tokio::time::sleep(POLL / u32::try_from(processes).unwrap()).await;
    }
    for wire in &wires {
        wire.sent();
    }
    let begun = Instant::now();
    world.write(&sent).await;
    let took = begun.elapsed().as_secs_f64();
    let stream = wires.iter().flat_map(Engine::sent).collect();
    let mut delays: Vec<f64> = tasks.join_all().await.into_iter().flat_map(|(_, d)| d).collect();
    delays.sort_by(f64::total_cmp);
    Run {
        name: "as Teleport, one shard".to_owned(),
        delays,
        took,
        stream,
        log: Vec::new(),
        processes,
        watchers: processes * each,
    }
}

/// Bytes that this process has in memory; none where nothing tells.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0)
}

fn growth(from: Option<f64>) -> f64 {
    (resident().unwrap_or_default() - from.unwrap_or_default()) / 1024.0
}

/// KiB a watcher: of those that wait for something, and more of those that let so many events lie.
async fn memory(watchers: usize, events: usize) {
    let world = World::new(true).await;
    let (wire, watches) = world.process();
    // What the engine, the clients and one watcher take for as many events is no other watcher's.
    let mut first = watch(&watches).await;
    let pass = async |first: &mut Watcher| {
        let before = resident();
        for n in 0..events {
            world.backend.put(&item(n)).await.unwrap();
            for each in [&world.engine, &world.mapping, &wire] {
                each.sent();
            }
        }
        for _ in 0..events {
            first.next().await.unwrap();
        }
        for each in [&world.engine, &world.mapping, &wire] {
            each.sent();
        }
        growth(before)
    };
    pass(&mut first).await;
    let alone = pass(&mut first).await;

    let before = resident();
    let mut idle = JoinSet::new();
    for _ in 0..watchers {
        let filter = Filter::new([Prefix::component("/elsewhere")], Operations::All);
        let mut watcher = watches.watch(filter.into()).await.unwrap();
        idle.spawn(async move { watcher.next().await.is_ok() });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let idle_each = growth(before) / watchers as f64;
    drop(idle);

    let mut slow = Vec::new();
    for _ in 0..watchers {
        slow.push(watch(&watches).await);
    }
    let behind_each = (pass(&mut first).await - alone).max(0.0) / watchers as f64;
    drop(slow);

    let before = resident();
    let mut queues: Vec<_> = (0..watchers).map(|_| mpsc::channel::<Queued>(QUEUE)).collect();
    let mut waiting = JoinSet::new();
    for (queue, mut events) in queues.drain(..) {
        waiting.spawn(async move {
            events.recv().await;
            drop(queue);
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let teleport_idle = growth(before) / watchers as f64;
    drop(waiting);
    let queues: Vec<_> = (0..watchers).map(|_| mpsc::channel::<Queued>(QUEUE)).collect();
    let before = resident();
    for n in 0..events {
        let event = queued(
            &n.to_string(),
            &[b'v'; VALUE],
            "0b6f6f5a-1111-4222-8333-444444444444",
        );
        for (queue, _) in &queues {
            queue.try_send(event.clone()).unwrap();
        }
    }
    let teleport_behind = growth(before) / watchers as f64;
    println!("memory of {watchers} watchers, KiB each: waiting; more once {events} events lie untaken");
    println!("{:32} {idle_each:8.1} {behind_each:8.1}", "watch log");
    println!(
        "{:32} {teleport_idle:8.1} {teleport_behind:8.1}",
        "as Teleport, queues of 1,024"
    );
}

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let (seconds, many) = if whole { (10, 1_000) } else { (1, 10) };
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .worker_threads(2)
            .build()
            .unwrap()
    };
    // First, while nothing has been freed that would be taken again.
    runtime().block_on(memory(many, many));
    println!(
        "{:32} {:>9} {:>9} {:>8} {:>8} {:>12} {:>14} {:>12}",
        "", "processes", "watchers", "p50, ms", "p99, ms", "stream reads", "log reads/proc", "units/proc"
    );
    for (processes, each) in [(1, 1), (1, many / 10), (1, many), (10, many / 10)] {
        runtime().block_on(over_the_log(processes, each, seconds)).print();
    }
    runtime().block_on(as_teleport(10, many / 10, seconds)).print();
    println!("reads and units are a second; what a process reads of the log all its watchers share");
}
