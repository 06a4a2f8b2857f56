//! The watcher cases of the conformance suite, in every layout. The other cases run without a stream, in
//! `tests/state/conformance.rs`.
//!
//! On the embedded engine they run over the watch log and over the table's stream, in this process under a paused clock,
//! and over the stream on a loopback socket. On DynamoDB Local they run over the stream, if the environment variable
//! `DYNAMODB_LOCAL_URL` holds its URL. `TIDEWATCH_CASE` runs only the cases with that in their name.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, Item, Key, Layout};
use tidewatch::table::{Kind, Spec, Tables};
use tidewatch::testkit::conformance::{Capability, Case, Harness, Outcome, cases, run, shim_cases};
use tidewatch::watch::feed::Feed;
use tidewatch::watch::log::{Appender, Inline, Log, LogSpec, Pace};
use tidewatch::watch::stream::StreamSource;
use tidewatch::watch::{
    Filter, Notice, Operation, Operations, Prefix, Settings, Start, TeleportWatches, Values, WatchParams,
    Watches,
};

use crate::engine::{Engine, Fate, config, partitioned};
use crate::pump::pump;
use crate::streams;

const LOCAL: &str = "DYNAMODB_LOCAL_URL";
const TABLE: &str = "conformance";
/// Needs an engine that deletes what has expired when it is told to.
const EXPIRY: &str = "08 events, expiry";
/// Needs an engine that splits shards, which none of these does.
const SPLITTING: &str = "shard splitting";

fn watching(cases: Vec<Case>) -> Vec<Case> {
    use Capability::{Splitting, Sweep, Watcher};
    let needs = |case: &Case| matches!(case.needs, Some(Splitting | Sweep | Watcher));
    // 300 MB through an engine that looks at all records of its stream at each write.
    let large = |case: &Case| case.name.contains("1,000 items");
    cases
        .into_iter()
        .filter(|case| needs(case) && !large(case))
        .collect()
}

/// Runs cases, prints how each ended, and fails if one did, or if one was not run that is none of `not_run`.
async fn suite<F: Future<Output = Harness>>(
    on: &str,
    layout: &Layout,
    cases: Vec<Case>,
    not_run: &[&str],
    constructor: impl Fn() -> F,
) {
    let mut failed = Vec::new();
    let only = std::env::var("TIDEWATCH_CASE").unwrap_or_default();
    for case in watching(cases).iter().filter(|case| case.name.contains(&only)) {
        let outcome = run(case, &constructor).await;
        println!(
            "conformance of watchers, {on}, {}: {case}: {outcome}",
            shown(layout)
        );
        match outcome {
            Outcome::Passed => {}
            Outcome::NotRun(_) if not_run.contains(&case.name) => {}
            Outcome::Failed(what) => failed.push(format!("{case}: {what}")),
            Outcome::NotRun(why) => failed.push(format!("{case}: not run: {why}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn shown(layout: &Layout) -> String {
    match layout {
        Layout::Teleport => "Teleport".to_owned(),
        Layout::Partitioned(spread) => format!("{} partition(s)", spread.partitions()),
    }
}

fn settings(table: &str, layout: &Layout) -> Config {
    Config {
        poll_stream_period: Duration::from_millis(300),
        ..config(table, layout.clone())
    }
}

/// A new engine in this process, and a backend on it. The engine goes by the machine's time, of which the clock is so far
/// behind that its sweep finds expired what the backend wrote to live for a moment.
async fn engine(layout: &Layout) -> (Engine, Backend) {
    let engine = Engine::new();
    let clock = Clock::simulated(Clock::system().now() - Duration::from_secs(600));
    let config = settings(TABLE, layout);
    let backend = Backend::with_client(&engine.client(), config, clock, Random::seeded(1)).await;
    (engine, backend.unwrap())
}

/// From here on requests are delayed at random, and so overtake each other in ever the same ways.
fn delayed(engine: &Engine) {
    let delays = Random::seeded(3);
    engine.plan(move |_, _| Fate::Delayed {
        before: delays.jitter(Duration::from_millis(4)),
        after: delays.jitter(Duration::from_millis(2)),
    });
}

fn swept(engine: &Engine, harness: Harness) -> Harness {
    let database = engine.database.clone();
    harness.with_sweep(move || {
        let deleted = database.sweep_ttl().unwrap();
        async move { assert_eq!(deleted, 1, "the case's only item") }
    })
}

async fn over_the_stream(layout: Layout, cases: Vec<Case>) {
    suite("over the stream", &layout, cases, &[SPLITTING], || async {
        let (engine, backend) = engine(&layout).await;
        let source = StreamSource::open(&backend, &streams(engine.clone())).await;
        let watches = Watches::over_stream(source.unwrap(), &backend);
        delayed(&engine);
        let harness = Harness::new(backend, Random::seeded(4))
            .with_watcher(TeleportWatches::new(watches, Values::AsTheyCome));
        swept(&engine, harness)
    })
    .await;
}

/// The log does not hold values of an attached table, and nowhere those of more than 32 KiB: they are read.
async fn over_the_log(layout: Layout, cases: Vec<Case>) {
    suite("over the log", &layout, cases, &[SPLITTING], || async {
        let (engine, backend) = engine(&layout).await;
        let (client, clock) = (engine.client(), backend.clock().clone());
        let tables = Tables::new(client.clone(), clock.clone(), Duration::from_secs(60));
        let spec = Spec::new(Kind::WatchLog, "logs").unwrap();
        tables.create(&spec, &|_| {}).await.unwrap();
        let log = || Log::new(&client, "logs", TABLE, clock.clone(), Random::seeded(2));
        let stop = clock.instant() + Duration::from_secs(60);
        log().create(&LogSpec::new(TABLE), stop).await.unwrap();
        let inline = match layout {
            Layout::Teleport => Inline::None,
            Layout::Partitioned(_) => Inline::All,
        };
        let feed = Feed::new(Appender::new(log(), inline), TABLE, layout.clone(), clock.clone());
        let every = Duration::from_millis(50);
        tokio::spawn(pump(engine.clone(), TABLE, feed, clock.clone(), every));
        let pace = Pace {
            busy: Duration::from_millis(50),
            idle: Duration::from_millis(500),
        };
        let watches = Watches::over_log(&log(), pace, &Settings::default());
        delayed(&engine);
        let values = Values::Fetch(backend.clone());
        let harness =
            Harness::new(backend, Random::seeded(4)).with_watcher(TeleportWatches::new(watches, values));
        swept(&engine, harness)
    })
    .await;
}

/// Clients of an engine behind a URL.
fn clients(url: &str) -> (Client, aws_sdk_dynamodbstreams::Client) {
    let tables = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let streams = aws_sdk_dynamodbstreams::Config::builder()
        .behavior_version_latest()
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    (
        Client::from_conf(tables),
        aws_sdk_dynamodbstreams::Client::from_conf(streams),
    )
}

/// All cases share a table of this engine, and the machine's clock.
async fn behind(
    url: &str,
    on: &str,
    layout: Layout,
    cases: Vec<Case>,
    not_run: &[&str],
    also: impl Fn(Harness) -> Harness,
) {
    let (tables, streams) = clients(url);
    let table = format!("conformance-{}", Random::system().uuid());
    let open = || async {
        let config = Config {
            operation_timeout: Duration::from_secs(300),
            attempt_timeout: Duration::from_secs(60),
            ..settings(&table, &layout)
        };
        let backend = Backend::with_client(&tables, config, Clock::system(), Random::system());
        backend.await.unwrap()
    };
    // An iterator behind nothing at all is one that DynamoDB Local may take for trimmed once there is a first record.
    open().await.put(&Item::new("/first", "1")).await.unwrap();
    suite(on, &layout, cases, not_run, || async {
        let backend = open().await;
        let source = StreamSource::open(&backend, &streams).await.unwrap();
        let watches = Watches::over_stream(source, &backend);
        also(
            Harness::new(backend, Random::system())
                .with_watcher(TeleportWatches::new(watches, Values::AsTheyCome)),
        )
    })
    .await;
    goes_on(&open().await, &streams).await;
    tables.delete_table().table_name(table).send().await.unwrap();
}

/// Another process goes on behind what a watcher was told last: the stream is asked for what follows a number.
async fn goes_on(backend: &Backend, streams: &aws_sdk_dynamodbstreams::Client) {
    let filter = Filter::new([Prefix::component("/goes on")], Operations::All);
    let watches = || async {
        let source = StreamSource::open(backend, streams).await.unwrap();
        Watches::over_stream(source, backend)
    };
    let put = |n: u32| async move {
        let item = Item::new(Key::new(["goes on", &n.to_string()]), n.to_string());
        backend.put(&item).await.unwrap();
    };
    let mut watcher = watches().await.watch(filter.clone().into()).await.unwrap();
    let mut seen = BTreeSet::new();
    for n in 0..5 {
        put(n).await;
    }
    while seen.len() < 3 {
        assert!(seen.insert(next(&mut watcher).await.unwrap()));
    }
    let token = watcher.position().to_string();
    drop(watcher);
    for n in 5..8 {
        put(n).await;
    }
    let params = WatchParams {
        start: Start::At(token.parse().unwrap()),
        ..filter.into()
    };
    let mut watcher = watches().await.watch(params).await.unwrap();
    while seen.len() < 8 {
        let key = next(&mut watcher).await;
        assert!(seen.insert(key.expect("something is missing")), "told twice");
    }
    assert_eq!(next(&mut watcher).await, None, "told twice");
}

/// The key of the next put, if there is one soon.
async fn next(watcher: &mut tidewatch::watch::Watcher) -> Option<Key> {
    let clock = Clock::system();
    let next = clock.timeout(Duration::from_secs(3), watcher.next());
    match next.await.ok()?.unwrap() {
        Notice::Event { event, .. } if matches!(event.operation, Operation::Put(_)) => {
            Some(event.key.clone())
        }
        other => panic!("{other:?}"),
    }
}

async fn on_a_socket(layout: Layout, cases: Vec<Case>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let engine = Engine::new();
    let database = engine.database.clone();
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
        let _ = stopped.await;
    }));
    Box::pin(behind(
        &url,
        "over the stream on a socket",
        layout,
        cases,
        &[SPLITTING],
        |harness| swept(&engine, harness),
    ))
    .await;
    drop(stop);
}

async fn on_dynamodb_local(layout: Layout, cases: Vec<Case>) {
    let on = "over the stream on DynamoDB Local";
    match std::env::var(LOCAL) {
        Ok(url) if !url.is_empty() => {
            Box::pin(behind(&url, on, layout, cases, &[SPLITTING, EXPIRY], |harness| {
                harness
            }))
            .await;
        }
        _ => println!(
            "SKIPPED: conformance of watchers {on}, {}: {LOCAL} does not hold its URL",
            shown(&layout)
        ),
    }
}

macro_rules! suites {
    ($on:ident $(, $attribute:tt)*) => {
        mod $on {
            use super::*;

            #[tokio::test $($attribute)*]
            async fn teleport() {
                super::$on(Layout::Teleport, cases()).await;
            }

            #[tokio::test $($attribute)*]
            async fn partitioned_1() {
                super::$on(partitioned(1), cases()).await;
            }

            #[tokio::test $($attribute)*]
            async fn partitioned_5() {
                super::$on(partitioned(5), cases()).await;
            }

            #[tokio::test $($attribute)*]
            async fn teleport_by_atomic_writes() {
                super::$on(Layout::Teleport, shim_cases()).await;
            }
        }
    };
}

suites!(over_the_log, (start_paused = true));
suites!(over_the_stream, (start_paused = true));
suites!(on_a_socket);
suites!(on_dynamodb_local);
