//! The system and its misfortunes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};
use tidewatch::audit::log::{Dynamo, EmitError, Log, Outcome};
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::drain::{self, drain};
use tidewatch::forward::sinks::file::File;
use tidewatch::forward::{Forwarder, Invoke, InvokeError, Sink, Spool};
use tidewatch::lake::{Lake, Limits};
use tidewatch::random::Random;
use tidewatch_cli::esm::{Counts, Fault, Faults, Handler, Mapping, Settings, Stream};
use tidewatch_cli::up::handler;
use tidewatch_cli::up::route::Router;
use tidewatch_cli::up::wire;

use crate::engine::{Engine, Fate, refusal};
use crate::sinks::{Memory, Unsteady, Weather};
use crate::store::Store;
use crate::verdict::{self, All, Emitted, Wrong};

const TABLE: &str = "tidewatch-audit-chaos";
const STREAMS: usize = 20;
/// Environments of the function; each remembers for itself.
const ENVIRONMENTS: usize = 3;
const INVOCATION: Duration = Duration::from_secs(60);
/// 2026-11-20 23:50 UTC, so that there are two days.
const START: u64 = 1_795_218_600;
/// When the table refuses everything, in seconds: longer than `emit` tries.
const REFUSES: std::ops::Range<u64> = 200..250;
const DOCUMENT: &str = "
quarantine: s3://audit-bucket/quarantine
spool: s3://audit-bucket/spool
sinks:
  archive: { uri: 's3://audit-bucket/archive?compression=none', timeout: 2s, budget: 5s }
  lake: { uri: 's3://audit-bucket/lake?format=parquet', timeout: 2s, budget: 5s }
  local: { uri: 'stdout://', format: event, timeout: 1s, budget: 5s }
  remote: { uri: 'stdout://', format: event, timeout: 1s, budget: 5s }
aws: { endpoint_url: 'http://store.invalid', region: us-east-1 }
";

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START)
}

/// A mistake, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// An event whose emit failed is not emitted again.
    EmitNotRepeated,
    /// A spool's object is deleted before its records are acknowledged.
    SpoolDeletedEarly,
    /// What a lake run takes in is deleted before it has written.
    LakeInputsDeletedEarly,
    /// Nobody writes which ids are in a file.
    SidecarsLost,
    /// The file sink acknowledges what it has not written.
    AcknowledgedUnwritten,
}

/// How a world is.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Events of a stream.
    pub(crate) events: usize,
    /// How long emitting takes.
    pub(crate) span: Duration,
    /// When `remote` is down: from, until, and whether it hangs.
    pub(crate) outages: Vec<(Duration, Duration, bool)>,
    /// Nothing goes wrong but that.
    pub(crate) calm: bool,
    /// Rows that cannot be read.
    pub(crate) poison: usize,
    pub(crate) plant: Option<Plant>,
}

impl Default for Options {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            seed: 1,
            events: 0,
            span: seconds(1_200),
            outages: vec![
                (seconds(120), seconds(330), false),
                (seconds(500), seconds(640), true),
                (seconds(900), seconds(960), false),
            ],
            calm: false,
            poison: 0,
            plant: None,
        }
    }
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct End {
    seed: u64,
    pub(crate) wrong: Wrong,
    pub(crate) mapping: Counts,
    /// Most records of an invocation by the mapping.
    pub(crate) batch: u64,
    /// Deliveries beyond the first, by sink.
    pub(crate) repeats: BTreeMap<&'static str, u64>,
    /// What may have repeated a batch there, by sink.
    pub(crate) causes: BTreeMap<&'static str, u64>,
    pub(crate) happened: BTreeMap<&'static str, u64>,
    pub(crate) quarantined: usize,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: wrong {:?}", self.seed, self.wrong)?;
        writeln!(
            f,
            "repeats {:?} of {:?} batches of {}",
            self.repeats, self.causes, self.batch
        )?;
        write!(f, "{:?}\n{:?}", self.happened, self.mapping)
    }
}

pub(crate) struct World {
    options: Options,
    clock: Clock,
    random: Random,
    engine: Engine,
    store: Store,
    log: Log,
    all: All,
    /// Events of each stream, as they are emitted.
    streams: Vec<Vec<String>>,
    batch: usize,
    weather: HashMap<String, Arc<Weather>>,
    files: tempfile::TempDir,
    remote: Arc<Memory>,
    function: Handler,
    /// Faults on the wires to S3 that are still to come.
    left: Arc<AtomicU64>,
    counted: Counted,
    written: AtomicBool,
    over: AtomicBool,
}

/// The function, to whom tasks hand over.
#[derive(Debug)]
struct Hand {
    world: Arc<World>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

impl Invoke for Hand {
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        async move {
            if self.world.options.plant == Some(Plant::SpoolDeletedEarly) {
                let handed: Value = serde_json::from_str(&payload).unwrap();
                let queue = self.world.store.folder().join("spool");
                let queue = queue.join(handed["tidewatch"]["sink"].as_str().unwrap());
                if let Some(first) = verdict::files(&queue, ".ndjson").first() {
                    std::fs::remove_file(first).unwrap();
                }
            }
            let answer = (self.world.function)(payload, self.world.clock.now() + INVOCATION);
            answer.await.map_err(InvokeError)
        }
        .boxed()
    }
}

/// What happened, and how often.
type Counted = Arc<Mutex<BTreeMap<&'static str, u64>>>;

/// Counts one of what happened.
fn count(counted: &Counted, what: &'static str) {
    *counted.lock().unwrap().entry(what).or_default() += 1;
}

/// Fates of requests to S3, some of which are lost, late or refused.
fn fates(
    random: &Random,
    left: &Arc<AtomicU64>,
    counted: &Counted,
) -> impl FnMut(&str, &str) -> Fate + Send + 'static {
    let (random, left, counted) = (random.clone(), Arc::clone(left), Arc::clone(counted));
    move |_, _| {
        let fate = match random.below(150) {
            0 => Fate::Dropped,
            1 => Fate::AnswerLost,
            2 => Fate::Late(random.jitter(Duration::from_secs(15))),
            3 => Fate::Answered(503, "<Error><Code>SlowDown</Code></Error>".to_owned()),
            4 => Fate::Delayed {
                before: random.jitter(Duration::from_secs(3)),
                after: random.jitter(Duration::from_secs(3)),
            },
            _ => return Fate::Served,
        };
        let take = |left: u64| left.checked_sub(1);
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            return Fate::Served;
        }
        count(&counted, "requests to S3 lost, late or refused");
        fate
    }
}

impl World {
    pub(crate) async fn new(options: Options) -> Arc<Self> {
        println!("{options:?}");
        let clock = Clock::simulated(start());
        let random = Random::seeded(options.seed);
        let engine = indexed(options.seed);
        let store = Store::new();
        let total = options.events * STREAMS;
        let left = Arc::new(AtomicU64::new(if options.calm {
            0
        } else {
            total as u64 / 10 + 20
        }));
        let counted = Counted::default();

        let client = engine.client();
        let opened = Dynamo::open(&client, TABLE, Dynamo::RETENTION, clock.clone(), random.clone());
        let log = Log::new([opened.await.unwrap().into()], clock.clone(), random.clone());
        let (all, streams) = events(&options);

        let mut weather = HashMap::new();
        for name in ["archive", "lake", "local", "remote"] {
            let outages = options.outages.iter().filter(|_| name == "remote");
            let outages = outages
                .map(|(from, to, hangs)| (start() + *from, start() + *to, *hangs))
                .collect();
            let faults = if options.calm { 0 } else { total as u64 / 20 + 10 };
            let mut one = Weather::new(&clock, &random, faults, outages);
            one.spoils =
                (name == "local" && options.plant == Some(Plant::AcknowledgedUnwritten)).then_some(7);
            weather.insert(name.to_owned(), Arc::new(one));
        }
        let files = tempfile::tempdir().unwrap();
        let local: Arc<dyn Sink> = Arc::new(File::open(&files.path().join("local"), 1 << 20).unwrap());
        let remote = Arc::new(Memory::default());
        let mut environments = Vec::new();
        for _ in 0..ENVIRONMENTS {
            let wire = store.beside();
            let config = Config::parse(DOCUMENT, "chaos", []).unwrap();
            let over = wire.clone();
            let started = tidewatch::aws::changed(
                move |loader| {
                    let credentials = Credentials::new("local", "local", None, None, "test");
                    loader.credentials_provider(credentials).http_client(over.clone())
                },
                Forwarder::start(&config, clock.clone(), random.clone()),
            );
            let forwarder = Box::pin(started).await.unwrap();
            let forwarder = forwarder.map_sinks(|name, inner| {
                let inner: Arc<dyn Sink> = match name {
                    "local" => Arc::clone(&local),
                    "remote" => Arc::<Memory>::clone(&remote),
                    _ => inner,
                };
                let weather = Arc::clone(&weather[name]);
                Arc::new(Unsteady { inner, weather })
            });
            wire.plan(fates(&random, &left, &counted));
            environments.push(handler::handler(forwarder, &clock));
        }
        let draw = random.clone();
        let function: Handler = Arc::new(move |payload, deadline| {
            let at = usize::try_from(draw.below(ENVIRONMENTS as u64)).unwrap();
            environments[at](payload, deadline)
        });
        Arc::new(Self {
            batch: (total / 100).clamp(10, 500),
            options,
            clock,
            random,
            engine,
            store,
            log,
            all,
            streams,
            weather,
            files,
            remote,
            function,
            left,
            counted,
            written: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    fn chance(&self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    async fn wait(&self, most: Duration) {
        self.clock.sleep(self.random.jitter(most)).await;
    }

    fn happened(&self, what: &'static str, times: usize) {
        *self.counted.lock().unwrap().entry(what).or_default() += times as u64;
    }

    /// A wire to S3 that breaks now and then.
    fn wire(&self) -> Store {
        let wire = self.store.beside();
        wire.plan(fates(&self.random, &self.left, &self.counted));
        wire
    }

    fn planted(&self, plant: Plant) -> bool {
        self.options.plant == Some(plant)
    }

    /// Makes the table's wire break now and then, and refuse everything for a while.
    fn trouble_the_table(&self) {
        let (clock, random, counted) = (self.clock.clone(), self.random.clone(), Arc::clone(&self.counted));
        let mut left = self.all.len() / 5;
        self.engine.plan(move |operation, _| {
            if operation != "PutItem" {
                return Fate::Served;
            }
            let since = clock.now().duration_since(start()).unwrap_or_default().as_secs();
            if REFUSES.contains(&since) {
                return refusal("ProvisionedThroughputExceededException");
            }
            let fate = match random.below(40) {
                0 => Fate::Dropped,
                1 => Fate::AnswerLost,
                2 => Fate::Late(random.jitter(Duration::from_secs(10))),
                3 => refusal("ThrottlingException"),
                4 => Fate::Answered(
                    500,
                    r#"{"__type":"x#InternalServerError","message":""}"#.to_owned(),
                ),
                _ => return Fate::Served,
            };
            match left.checked_sub(1) {
                None => Fate::Served,
                Some(rest) => {
                    left = rest;
                    count(&counted, "puts lost, late or refused");
                    fate
                }
            }
        });
    }

    /// Emits a stream's events in order, each until it is stored, some once more.
    async fn emit(&self, stream: &[String]) {
        let gap = 2 * self.options.span / u32::try_from(stream.len()).unwrap();
        for event in stream {
            self.wait(gap).await;
            loop {
                match self.log.emit(event).await {
                    Ok(emitted) if emitted.outcomes == [Outcome::Moved] => self.happened("events moved", 1),
                    Ok(_) => {}
                    Err(EmitError::Failed { .. }) => {
                        self.happened("emits failed", 1);
                        if !self.planted(Plant::EmitNotRepeated) {
                            self.wait(Duration::from_secs(2)).await;
                            continue;
                        }
                    }
                    Err(refused) => panic!("{refused}"),
                }
                break;
            }
            // It may say that it stored it, if an answer of its own was lost; the stream tells.
            if self.chance(20) && !self.options.calm && self.log.emit(event).await.is_ok() {
                self.happened("emits repeated", 1);
            }
        }
    }

    /// Rows that no sink ever gets.
    async fn poison(&self) {
        let client = self.engine.client();
        let (text, number) = (
            |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned()),
            |number: usize| aws_sdk_dynamodb::types::AttributeValue::N(number.to_string()),
        );
        for index in 0..self.options.poison {
            self.clock
                .sleep(self.options.span / u32::try_from(self.options.poison).unwrap())
                .await;
            let put = client
                .put_item()
                .table_name(TABLE)
                .item("SessionID", text("poison"));
            let put = put
                .item("EventIndex", number(index))
                .item("FieldsMap", text("not a map"));
            put.item("EventType", text("x"))
                .item("CreatedAt", number(1))
                .send()
                .await
                .unwrap();
        }
    }

    /// Feeds the table's stream to the mapping's shards, one of which splits.
    async fn feed(&self, stream: &Arc<Stream>) {
        let config = aws_sdk_dynamodbstreams::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url("http://streams.invalid")
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .http_client(self.engine.beside())
            .build();
        let client = aws_sdk_dynamodbstreams::Client::from_conf(config);
        let described = self
            .engine
            .beside()
            .client()
            .describe_table()
            .table_name(TABLE)
            .send();
        let arn = described.await.unwrap().table.unwrap().latest_stream_arn.unwrap();
        let described = client.describe_stream().stream_arn(&arn).send().await.unwrap();
        let shard = described.stream_description.unwrap().shards.unwrap().remove(0);
        let first = client
            .get_shard_iterator()
            .stream_arn(&arn)
            .shard_id(shard.shard_id.unwrap())
            .shard_iterator_type(ShardIteratorType::TrimHorizon)
            .send();
        let mut next = first.await.unwrap().shard_iterator;
        let mut router = Router::new(Arc::clone(stream), self.all.len() / 2);
        while let Some(iterator) = next {
            let last = self.written.load(Ordering::Acquire);
            let got = client
                .get_records()
                .shard_iterator(iterator)
                .send()
                .await
                .unwrap();
            for record in got.records() {
                let mut record = wire::record(record, &arn);
                // The engine looks at another clock.
                let now = self.clock.now().duration_since(UNIX_EPOCH).unwrap();
                record["dynamodb"]["ApproximateCreationDateTime"] = json!(now.as_secs());
                router.route(&record).unwrap();
                self.happened("rows stored", 1);
            }
            if got.records().is_empty() && last {
                break;
            }
            self.clock.sleep(Duration::from_secs(2)).await;
            next = got.next_shard_iterator;
        }
        stream.end();
    }

    async fn drain(self: &Arc<Self>) {
        let wire = self.wire();
        let hand = Hand {
            world: Arc::clone(self),
        };
        let now = self.clock.instant();
        let options = drain::Options {
            last_call: now + INVOCATION,
            deadline: now + 2 * INVOCATION,
            dry_run: false,
        };
        let spool = Spool::new(wire.objects("spool"));
        let report = drain(&spool, &hand, &self.clock, options).await;
        for (_, sink) in report.sinks {
            self.happened("objects drained", sink.objects);
            self.happened("records drained", sink.records);
            self.happened("drains cut short", usize::from(sink.error.is_some()));
        }
    }

    async fn file(self: &Arc<Self>) -> bool {
        let wire = self.wire();
        match self.options.plant {
            Some(Plant::LakeInputsDeletedEarly) => {
                let (folder, mut read, mut cut) = (self.store.folder(), Vec::new(), true);
                wire.plan(move |method, key| {
                    if method == "GET" && key.starts_with("lake/_staging/") {
                        read.push(key.to_owned());
                    } else if method == "PUT" && key.ends_with(".parquet") && std::mem::take(&mut cut) {
                        for key in read.drain(..) {
                            let _ = std::fs::remove_file(folder.join(key));
                        }
                        return Fate::Dropped;
                    }
                    Fate::Served
                });
            }
            Some(Plant::SidecarsLost) => wire.plan(|method, key| {
                if method == "PUT" && key.starts_with("lake/_ids/") {
                    return Fate::Answered(200, String::new());
                }
                Fate::Served
            }),
            _ => {}
        }
        let limits = Limits {
            inputs: 100,
            ..Limits::default()
        };
        let lake = Lake::new(
            wire.objects("lake"),
            limits,
            self.clock.clone(),
            self.random.clone(),
        );
        let ran = lake.run(self.clock.instant() + INVOCATION).await;
        let report = match &ran {
            Ok(report) => report,
            Err(failed) => {
                self.happened("lake runs failed", 1);
                &failed.report
            }
        };
        self.happened("lake plans", usize::try_from(report.plans_done).unwrap());
        self.happened("rows filed", report.rows);
        ran.is_ok_and(|report| report.complete)
    }

    /// Runs a task again and again, now and then two at once, and kills some.
    async fn task<F: Future<Output = ()> + Send + 'static>(
        self: Arc<Self>,
        each: Duration,
        killed: &'static str,
        work: impl Fn(Arc<Self>) -> F,
    ) {
        while !self.over.load(Ordering::Relaxed) {
            if self.options.calm {
                self.clock.sleep(each).await;
                work(Arc::clone(&self)).await;
                continue;
            }
            self.wait(2 * each).await;
            let mut task = tokio::spawn(work(Arc::clone(&self)));
            if self.chance(3) {
                self.wait(Duration::from_secs(3)).await;
                if !task.is_finished() {
                    task.abort();
                    self.happened(killed, 1);
                }
            } else if !self.chance(4) {
                // Otherwise the next one may run beside it.
                let _ = (&mut task).await;
            }
        }
    }

    /// Everything, to its end.
    pub(crate) async fn run(self: &Arc<Self>) -> End {
        if !self.options.calm {
            self.trouble_the_table();
        }
        let stream = Arc::new(Stream::new(
            "arn:aws:dynamodb:local:000000000000:table/chaos/stream/1",
        ));
        let faults = match self.options.calm {
            true => Faults::none(),
            false => Faults::new(&Fault::ALL, 40, Duration::from_secs(90), self.random.clone()),
        };
        let settings = Settings {
            batch_size: self.batch,
            batch_window: Duration::from_secs(1),
            timeout: INVOCATION,
            retry_delay: Duration::from_secs(1),
            ..Settings::default()
        };
        let function = Arc::clone(&self.function);
        let mapping = Mapping::new(
            settings,
            Arc::clone(&stream),
            function,
            self.clock.clone(),
            self.random.clone(),
        );
        let mapping = mapping.unwrap().with_faults(faults);
        let tasks = [
            tokio::spawn(Arc::clone(self).task(
                Duration::from_secs(30),
                "drains killed",
                |world| async move {
                    world.drain().await;
                },
            )),
            tokio::spawn(Arc::clone(self).task(
                Duration::from_secs(60),
                "lake runs killed",
                |world| async move {
                    world.file().await;
                },
            )),
        ];
        let write = async {
            let streams = self.streams.iter().map(|stream| self.emit(stream));
            tokio::join!(join_all(streams), self.poison());
            // A put may still be on its way.
            self.clock.sleep(Duration::from_secs(30)).await;
            self.written.store(true, Ordering::Release);
        };
        tokio::join!(write, self.feed(&stream), mapping.run());
        self.over.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.unwrap();
        }
        self.settle().await;
        self.end(mapping.counts())
    }

    /// Waits for what is still on its way, and lets the tasks finish undisturbed.
    async fn settle(self: &Arc<Self>) {
        self.left.store(0, Ordering::Relaxed);
        self.weather.values().for_each(|weather| weather.settle());
        self.clock.sleep(4 * INVOCATION).await;
        for _ in 0..100 {
            self.drain().await;
            let filed = self.file().await;
            let spool = verdict::files(&self.store.folder().join("spool"), ".ndjson");
            let staged = verdict::files(&self.store.folder().join("lake/_staging"), ".ndjson");
            if filed && spool.is_empty() && staged.is_empty() {
                return;
            }
            self.clock.sleep(Duration::from_secs(20)).await;
        }
        panic!("it does not come to an end");
    }

    fn end(&self, mapping: Counts) -> End {
        let mut wrong = Wrong::new();
        let folder = self.store.folder();
        let enveloped = verdict::lines(&folder.join("archive"));
        let archived = enveloped.into_iter().map(|mut line| line["event"].take());
        // Objects of a zombie stand among the others.
        verdict::compare(&self.all, "archive", archived, false, &mut wrong);
        wrong.remove("archive: out of order");
        let filed = verdict::lake(&folder.join("lake"), &mut wrong);
        verdict::compare(&self.all, "lake", filed, true, &mut wrong);
        let local = verdict::lines(&self.files.path().join("local"));
        verdict::compare(&self.all, "local", local, true, &mut wrong);
        let remote = std::mem::take(&mut *self.remote.0.lock().unwrap());
        let remote = remote
            .iter()
            .map(|line| verdict::parse(std::str::from_utf8(line).unwrap()));
        verdict::compare(&self.all, "remote", remote, false, &mut wrong);

        let mut happened = self.counted.lock().unwrap().clone();
        let rows = self.all.len() + self.options.poison;
        if happened["rows stored"] > rows as u64 {
            wrong.insert("table: doubled".to_owned(), rows);
        }
        let of = |what: &str| happened.get(what).copied().unwrap_or_default();
        let common = mapping.errors + mapping.partial + mapping.redeliveries + mapping.recut;
        let common = common + of("drains killed") + of("drains cut short");
        let common = common + of("requests to S3 lost, late or refused");
        let (mut repeats, mut causes) = (BTreeMap::new(), BTreeMap::new());
        for name in ["archive", "lake", "local", "remote"] {
            let weather = &self.weather[name];
            repeats.insert(name, weather.repeats());
            causes.insert(name, common + weather.broken.load(Ordering::Relaxed));
            for (what, times) in &*weather.suffered.lock().unwrap() {
                *happened.entry(what).or_default() += times;
            }
        }
        let poison = verdict::lines(&folder.join("quarantine"));
        End {
            seed: self.options.seed,
            wrong,
            mapping,
            batch: self.batch as u64,
            repeats,
            causes,
            happened,
            quarantined: poison.len(),
        }
    }
}

/// An engine whose stream has an index: without one a large run takes hours.
fn indexed(seed: u64) -> Engine {
    let mut engine = Engine::new();
    let unique = Random::system().u64();
    let path = format!("file:chaos-{seed}-{unique:016x}?mode=memory&cache=shared");
    engine.database = dynoxide::Database::new(&path).unwrap();
    let index = "CREATE INDEX IF NOT EXISTS chaos_stream_order ON _stream_records
        (table_name, CAST(sequence_number AS INTEGER))";
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(index)
        .unwrap();
    engine
}

/// The events of all streams. Every sixteenth has the key of the one before.
fn events(options: &Options) -> (All, Vec<Vec<String>>) {
    let (mut all, mut streams) = (All::new(), Vec::new());
    let began = time::OffsetDateTime::from(start());
    for stream in 0..STREAMS {
        let mut texts = Vec::new();
        for place in 0..options.events {
            let part = place as f64 / options.events as f64;
            let time = began + options.span.mul_f64(part);
            let uid = format!("{stream:08x}-0000-4000-8000-{place:012x}");
            let event = json!({
                "event": "db.session.query", "code": "TDB02I", "uid": uid, "sid": format!("stream-{stream}"),
                "ei": if place % 16 == 15 { place - 1 } else { place },
                "time": time.format(&time::format_description::well_known::Rfc3339).unwrap(),
                "cluster_name": "example.com", "user": "zoë", "n": stream * options.events + place,
                "db_query": format!("SELECT '{{\"k\": {place}}}'::jsonb,\n\tnote FROM t -- ünï"),
            });
            texts.push(event.to_string());
            all.insert(uid, Emitted { stream, place, event });
        }
        streams.push(texts);
    }
    (all, streams)
}
