//! The watcher cases of the conformance suite, over the table's stream on the embedded engine, in every layout. The
//! other cases run without a stream, in `tests/state/conformance.rs`.

use std::time::{Duration, UNIX_EPOCH};

use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, Layout};
use tidewatch::testkit::conformance::{Capability, Case, Harness, Outcome, cases, run, shim_cases};
use tidewatch::watch::stream::StreamSource;
use tidewatch::watch::{TeleportWatches, Values, Watches};

use crate::engine::{Engine, Fate, config, partitioned};
use crate::streams;

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

async fn suite(layout: Layout, cases: Vec<Case>) {
    let mut failed = Vec::new();
    let only = std::env::var("TIDEWATCH_CASE").unwrap_or_default();
    for case in watching(cases).iter().filter(|case| case.name.contains(&only)) {
        let outcome = run(case, || harness(layout.clone())).await;
        println!(
            "conformance of watchers, in process, {}: {case}: {outcome}",
            layout.name()
        );
        if let Outcome::Failed(what) = outcome {
            failed.push(format!("{case}: {what}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

async fn harness(layout: Layout) -> Harness {
    let engine = Engine::new();
    let clock = Clock::simulated(UNIX_EPOCH + Duration::from_millis(1_800_000_000_250));
    let config = Config {
        poll_stream_period: Duration::from_millis(300),
        ..config("conformance", layout)
    };
    let backend = Backend::with_client(&engine.client(), config, clock.clone(), Random::seeded(1))
        .await
        .unwrap();
    let source = StreamSource::open(&backend, &streams(engine.clone()))
        .await
        .unwrap();
    let watches = TeleportWatches::new(Watches::over_stream(source, &backend), Values::AsTheyCome);
    let delays = Random::seeded(3);
    engine.plan(move |_, _| Fate::Delayed {
        before: delays.jitter(Duration::from_millis(4)),
        after: delays.jitter(Duration::from_millis(2)),
    });
    let sweeper = (engine.client(), clock);
    Harness::new(backend, Random::seeded(4))
        .with_watcher(watches)
        .with_sweep(move || {
            let (client, clock) = sweeper.clone();
            async move { sweep(&client, &clock).await }
        })
}

/// Deletes what has expired, as DynamoDB's TTL would.
async fn sweep(client: &aws_sdk_dynamodb::Client, clock: &Clock) {
    let now = clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let table = client
        .describe_table()
        .table_name("conformance")
        .send()
        .await
        .unwrap();
    let names: Vec<String> = table
        .table()
        .unwrap()
        .key_schema()
        .iter()
        .map(|key| key.attribute_name().to_owned())
        .collect();
    let found = client.scan().table_name("conformance").send().await.unwrap();
    for item in found.items() {
        let expires = item.get("Expires").and_then(|expires| expires.as_n().ok());
        if expires.is_some_and(|expires| expires.parse::<u64>().unwrap() < now) {
            let key = names
                .iter()
                .map(|name| (name.clone(), item[name].clone()))
                .collect();
            let delete = client.delete_item().table_name("conformance").set_key(Some(key));
            delete.send().await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn teleport() {
    suite(Layout::Teleport, cases()).await;
}

#[tokio::test(start_paused = true)]
async fn partitioned_5() {
    suite(partitioned(5), cases()).await;
}

#[tokio::test(start_paused = true)]
async fn teleport_by_atomic_writes() {
    suite(Layout::Teleport, shim_cases()).await;
}
