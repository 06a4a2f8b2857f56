//! The conformance suite, in every layout, on the embedded engine and on DynamoDB Local.
//!
//! The embedded engine is tried twice: inside this process, where requests are delayed at random under a paused clock
//! and so overtake each other in ever the same ways, and on a loopback socket, where requests and answers go through
//! everything that they go through with AWS. DynamoDB Local is tried if the environment variable
//! `DYNAMODB_LOCAL_URL` holds its URL (`http://127.0.0.1:8000`). `TIDEWATCH_CASE` runs only the cases with that in
//! their name.

use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::types::StreamSpecification;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, Layout};
use tidewatch::testkit::conformance::{Case, Harness, Outcome, cases, run, shim_cases};

use crate::engine::{Engine, Fate, config, partitioned};

const LOCAL: &str = "DYNAMODB_LOCAL_URL";

fn shown(layout: &Layout) -> String {
    match layout {
        Layout::Teleport => "Teleport".to_owned(),
        Layout::Partitioned(spread) => format!("{} partition(s)", spread.partitions()),
    }
}

/// Runs cases, prints how each ended, and fails if one did.
async fn suite<F: Future<Output = Harness>>(on: &str, cases: &[Case], constructor: impl Fn() -> F) {
    let mut failed = Vec::new();
    let only = std::env::var("TIDEWATCH_CASE").unwrap_or_default();
    for case in cases.iter().filter(|case| case.name.contains(&only)) {
        let outcome = run(case, &constructor).await;
        println!("conformance {on}: {case}: {outcome}");
        if let Outcome::Failed(what) = outcome {
            failed.push(format!("{case}: {what}"));
        }
    }
    assert!(failed.is_empty(), "{on}:\n{}", failed.join("\n"));
}

/// Turns a table's stream off. The embedded engine looks at all of its records at each write, so that 20,000 items would
/// take minutes, DynamoDB Local slows down with them too, and no case reads it yet.
async fn without_stream(client: &Client, table: &str) {
    let off = StreamSpecification::builder()
        .stream_enabled(false)
        .build()
        .unwrap();
    let request = client.update_table().table_name(table).stream_specification(off);
    request.send().await.unwrap();
}

async fn in_process(layout: Layout, cases: &[Case]) {
    suite(&format!("in process, {}", shown(&layout)), cases, || async {
        let engine = Engine::new();
        let clock = Clock::simulated(UNIX_EPOCH + Duration::from_millis(1_800_000_000_250));
        let backend = engine.backend("conformance", layout.clone(), &clock, 1).await;
        let second = engine.backend("conformance", layout.clone(), &clock, 2).await;
        without_stream(&engine.client(), "conformance").await;
        let delays = Random::seeded(3);
        engine.plan(move |_, _| Fate::Delayed {
            before: delays.jitter(Duration::from_millis(4)),
            after: delays.jitter(Duration::from_millis(2)),
        });
        Harness::new(backend, Random::seeded(4)).with_second(second)
    })
    .await;
}

/// A client for an engine behind a URL.
fn client(url: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// All cases share a table of this engine, and a clock that they move and that goes on by itself too.
async fn behind(url: &str, what: &str, layout: Layout, cases: &[Case]) {
    let client = client(url);
    let table = format!("conformance-{}", Random::system().uuid());
    let clock = Clock::manual(Clock::system().now());
    let ticking = clock.clone();
    let ticks = tokio::spawn(async move {
        const TICK: Duration = Duration::from_millis(5);
        loop {
            Clock::system().sleep(TICK).await;
            ticking.advance(TICK);
        }
    });
    let config = Config {
        operation_timeout: Duration::from_secs(300),
        attempt_timeout: Duration::from_secs(60),
        ..config(&table, layout.clone())
    };
    let open = || async {
        let (config, clock) = (config.clone(), clock.clone());
        Backend::with_client(&client, config, clock, Random::system())
            .await
            .unwrap()
    };
    open().await;
    without_stream(&client, &table).await;
    suite(&format!("{what}, {}", shown(&layout)), cases, || async {
        Harness::new(open().await, Random::system()).with_second(open().await)
    })
    .await;
    ticks.abort();
    client.delete_table().table_name(table).send().await.unwrap();
}

async fn on_a_socket(layout: Layout, cases: &[Case]) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let database = dynoxide::Database::memory().unwrap();
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
        let _ = stopped.await;
    }));
    behind(&url, "on a socket", layout, cases).await;
    drop(stop);
}

async fn on_dynamodb_local(layout: Layout, cases: &[Case]) {
    match std::env::var(LOCAL) {
        Ok(url) if !url.is_empty() => behind(&url, "on DynamoDB Local", layout, cases).await,
        _ => println!(
            "SKIPPED: conformance on DynamoDB Local, {}: {LOCAL} does not hold its URL",
            shown(&layout)
        ),
    }
}

macro_rules! suites {
    ($engine:ident $(, $attribute:tt)*) => {
        mod $engine {
            use super::*;

            #[tokio::test $($attribute)*]
            async fn teleport() {
                super::$engine(Layout::Teleport, &cases()).await;
            }

            #[tokio::test $($attribute)*]
            async fn partitioned_1() {
                super::$engine(partitioned(1), &cases()).await;
            }

            #[tokio::test $($attribute)*]
            async fn partitioned_5() {
                super::$engine(partitioned(5), &cases()).await;
            }

            #[tokio::test $($attribute)*]
            async fn teleport_by_atomic_writes() {
                super::$engine(Layout::Teleport, &shim_cases()).await;
            }

            #[tokio::test $($attribute)*]
            async fn partitioned_1_by_atomic_writes() {
                super::$engine(partitioned(1), &shim_cases()).await;
            }

            #[tokio::test $($attribute)*]
            async fn partitioned_5_by_atomic_writes() {
                super::$engine(partitioned(5), &shim_cases()).await;
            }
        }
    };
}

suites!(in_process, (start_paused = true));
suites!(on_a_socket);
suites!(on_dynamodb_local);
