//! The system: what stands where, and its run from the first event to the last.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::config::Credentials;
use futures_util::future::join_all;
use tidewatch::audit::log::{Dynamo, Log};
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::sinks::file::File;
use tidewatch::forward::{Forwarder, Sink};
use tidewatch::random::Random;
use tidewatch_cli::esm::{Fault, Faults, Handler, Mapping, Settings, Stream};
use tidewatch_cli::up::handler;

use crate::emitters::{STREAMS, TABLE, events, indexed};
use crate::end::{End, SINKS};
use crate::engine::Engine;
use crate::faults::{self, Counted, Dice};
use crate::sinks::{self, Memory, Unsteady, Weather};
use crate::store::Store;
use crate::tasks::{self, Handed};
use crate::verdict::{self, All};

/// Environments of the function; each remembers for itself.
const ENVIRONMENTS: usize = 3;
pub(crate) const INVOCATION: Duration = Duration::from_secs(60);
/// 2026-11-20 23:50 UTC, so that there are two days.
const START: u64 = 1_795_218_600;
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

pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START)
}

/// A mistake, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// An event whose emit failed is not emitted again.
    EmitNotRepeated,
    /// Success is answered though the spool was not written.
    SpoolUnwritten,
    /// A spool's object is deleted before its records are acknowledged.
    SpoolDeletedEarly,
    /// What a lake run takes in is deleted before it has written.
    LakeInputsDeletedEarly,
    /// Nobody writes which ids are in a file, so that repeats are not dropped.
    SidecarsLost,
    /// The file sink acknowledges what it has not written.
    AcknowledgedUnwritten,
    /// What the file sink acknowledged is given to it once more.
    GivenTwice,
}

/// How a world is.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Events of a stream.
    pub(crate) events: usize,
    /// How long emitting takes.
    pub(crate) span: Duration,
    /// How often the table's stream is looked at.
    pub(crate) poll: Duration,
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
            poll: seconds(20),
            outages: vec![
                (seconds(120), seconds(330), false),
                (seconds(500), seconds(640), true),
                (seconds(900), seconds(960), false),
            ],
            calm: false,
            poison: 5,
            plant: None,
        }
    }
}

pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) log: Log,
    pub(crate) all: All,
    /// Events of each stream, as they are emitted.
    streams: Vec<Vec<String>>,
    pub(crate) batch: usize,
    pub(crate) weather: HashMap<&'static str, Arc<Weather>>,
    pub(crate) files: tempfile::TempDir,
    pub(crate) remote: Arc<Memory>,
    pub(crate) function: Handler,
    pub(crate) handed: Mutex<Handed>,
    /// Faults on the wires to S3.
    s3: Arc<Dice>,
    pub(crate) counted: Counted,
    /// All is emitted.
    pub(crate) written: AtomicBool,
    /// All is answered.
    pub(crate) over: AtomicBool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
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
        let bound = |faults: usize| if options.calm { 0 } else { faults };
        let counted = Counted::default();
        counted.add("rows stored", 0);

        let client = engine.client();
        let opened = Dynamo::open(&client, TABLE, Dynamo::RETENTION, clock.clone(), random.clone());
        let log = Log::new([opened.await.unwrap().into()], clock.clone(), random.clone());
        let (all, streams) = events(&options);

        let weather = SINKS.map(|name| {
            let outages = options.outages.iter().filter(|_| name == "remote");
            let spoils = name == "local" && options.plant == Some(Plant::AcknowledgedUnwritten);
            let weather = Weather {
                clock: clock.clone(),
                random: random.clone(),
                counted: counted.clone(),
                dice: Dice::new(&random, 10, bound(total / 20 + 10), &sinks::FATES),
                outages: outages
                    .map(|(from, to, hangs)| (start() + *from, start() + *to, *hangs))
                    .collect(),
                spoils: spoils.then_some(7),
                twice: name == "local" && options.plant == Some(Plant::GivenTwice),
                calls: AtomicU64::new(0),
                given: Mutex::default(),
                unanswered: AtomicU64::new(0),
            };
            (name, Arc::new(weather))
        });
        let weather = HashMap::from(weather);
        let s3 = Arc::new(Dice::new(&random, 30, bound(total / 10 + 20), &faults::S3));
        let files = tempfile::tempdir().unwrap();
        let local: Arc<dyn Sink> = Arc::new(File::open(&files.path().join("local"), 1 << 20).unwrap());
        let remote = Arc::new(Memory::default());
        let mut environments = Vec::new();
        for _ in 0..ENVIRONMENTS {
            let wire = store.beside();
            let forwarder = environment(&wire, &clock, &random).await;
            let (local, remote, weather) = (Arc::clone(&local), Arc::clone(&remote), weather.clone());
            let forwarder = forwarder.map_sinks(move |name, inner| {
                let inner: Arc<dyn Sink> = match name {
                    "local" => Arc::clone(&local),
                    "remote" => Arc::<Memory>::clone(&remote),
                    _ => inner,
                };
                let weather = Arc::clone(&weather[name]);
                Arc::new(Unsteady { inner, weather })
            });
            let fates = faults::s3(&s3, &counted, &random);
            wire.plan(faults::unwritten(fates, options.plant));
            environments.push(handler::handler(forwarder, &clock));
        }
        let draw = random.clone();
        let function: Handler = Arc::new(move |payload, deadline| {
            let at = usize::try_from(draw.below(ENVIRONMENTS as u64)).unwrap();
            environments[at](payload, deadline)
        });
        Arc::new(Self {
            batch: (total / 50).clamp(10, 500),
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
            handed: Mutex::default(),
            s3,
            counted,
            written: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    pub(crate) fn chance(&self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    pub(crate) async fn wait(&self, most: Duration) {
        self.clock.sleep(self.random.jitter(most)).await;
    }

    /// A wire to S3 that breaks now and then.
    pub(crate) fn wire(&self) -> Store {
        let wire = self.store.beside();
        wire.plan(faults::s3(&self.s3, &self.counted, &self.random));
        wire
    }

    pub(crate) fn planted(&self, plant: Plant) -> bool {
        self.options.plant == Some(plant)
    }

    /// Everything, to its end.
    pub(crate) async fn run(self: &Arc<Self>) -> End {
        self.counted.expect(&[sinks::OUTAGES[0], "records drained"]);
        let faults = if self.options.calm {
            Faults::none()
        } else {
            let counted = &self.counted;
            faults::trouble(&self.engine, self.all.len(), counted, &self.clock, &self.random);
            counted.expect(&faults::S3);
            counted.expect(&sinks::FATES);
            counted.expect(&sinks::OUTAGES);
            counted.expect(&tasks::FATES);
            counted.expect(&["emits failed", "emits repeated", "events moved"]);
            Faults::new(&Fault::ALL, 40, Duration::from_secs(90), self.random.clone())
        };
        let stream = Arc::new(Stream::new(
            "arn:aws:dynamodb:local:000000000000:table/chaos/stream/1",
        ));
        let settings = Settings {
            batch_size: self.batch,
            batch_window: Duration::from_secs(5),
            timeout: INVOCATION,
            retry_delay: Duration::from_secs(1),
            ..Settings::default()
        };
        let mapping = Mapping::new(
            settings,
            Arc::clone(&stream),
            Arc::clone(&self.function),
            self.clock.clone(),
            self.random.clone(),
        );
        let mapping = mapping.unwrap().with_faults(faults);
        let drains = Arc::clone(self).task(
            self.options.span / 20,
            ("drains killed", "drains twice at once"),
            |world| async move {
                world.drain().await;
            },
        );
        let files = Arc::clone(self).task(
            self.options.span / 15,
            ("lake runs killed", "lake runs twice at once"),
            |world| async move {
                let _ = world.file().await;
            },
        );
        let tasks = [tokio::spawn(drains), tokio::spawn(files)];
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
        self.s3.settle();
        self.weather.values().for_each(|weather| weather.dice.settle());
        self.clock.sleep(4 * INVOCATION).await;
        let mut left = None;
        for _ in 0..100 {
            let drained = self.drain().await;
            let filed = self.file().await;
            let spool = verdict::files(&self.store.folder().join("spool"), ".ndjson");
            let staged = verdict::files(&self.store.folder().join("lake/_staging"), ".ndjson");
            let filed = match filed {
                Ok(filed) if filed.complete && spool.is_empty() && staged.is_empty() => return,
                Ok(filed) => format!("{filed:?}"),
                Err(failed) => format!("{failed}"),
            };
            left = Some((drained, filed, spool, staged));
            self.clock.sleep(Duration::from_secs(20)).await;
        }
        panic!("it does not come to an end: {left:#?}");
    }
}

/// A forwarder whose S3 is behind this wire.
async fn environment(wire: &Store, clock: &Clock, random: &Random) -> Forwarder {
    let wire = wire.clone();
    let config = Config::parse(DOCUMENT, "chaos", []).unwrap();
    let started = tidewatch::aws::changed(
        move |loader| {
            let credentials = Credentials::new("local", "local", None, None, "test");
            loader.credentials_provider(credentials).http_client(wire.clone())
        },
        Forwarder::start(&config, clock.clone(), random.clone()),
    );
    Box::pin(started).await.unwrap()
}
