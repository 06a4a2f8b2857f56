//! The feed on a real log: what is answered, what stands in the log, what comes twice.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::config::{Config, WatchConfig};
use tidewatch::random::Random;
use tidewatch::table::{Kind, Spec, Tables};
use tidewatch::watch::feed::{Feed, HandleError, Handled, Report, StartError};
use tidewatch::watch::log::Log;

use super::engine::{Engine, Fate, refusal};

/// A quarter of an hour after the samples' changes were made.
const START: u64 = 1_772_355_600 + 900;

struct Setup {
    engine: Engine,
    client: Client,
    clock: Clock,
}

/// `watch` of a document.
fn configured(more: &str) -> WatchConfig {
    let document = format!("watch: {{ log: {{ table: logs }}, {more} }}");
    Config::parse(&document, "t", []).unwrap().watch.unwrap()
}

fn teleport(more: &str) -> WatchConfig {
    configured(&format!("table: teleport-state, layout: teleport, {more}"))
}

impl Setup {
    async fn new() -> Self {
        let engine = Engine::new();
        let client = engine.client();
        let clock = Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(START));
        let tables = Tables::new(client.clone(), clock.clone(), Duration::from_secs(60));
        let spec = Spec::new(Kind::WatchLog, "logs").unwrap();
        tables.create(&spec, &|_| {}).await.unwrap();
        engine.sent();
        Self {
            engine,
            client,
            clock,
        }
    }

    async fn start(&self, config: &WatchConfig) -> Result<Feed, StartError> {
        let random = Random::seeded(1);
        let log = Log::new(&self.client, "logs", &config.log.name, self.clock.clone(), random);
        Feed::over(log, config, self.clock.clone()).await
    }

    async fn handle(&self, feed: &Feed, payload: &str) -> Result<Handled, HandleError> {
        let deadline = self.clock.instant() + Duration::from_secs(300);
        Box::pin(feed.handle(payload, deadline)).await
    }

    /// The segments of all buckets.
    async fn segments(&self) -> usize {
        let all = self.client.scan().table_name("logs").send().await.unwrap();
        let is_segment = |item: &&std::collections::HashMap<String, _>| {
            let log: &aws_sdk_dynamodb::types::AttributeValue = &item["Log"];
            !log.as_s().unwrap().starts_with("control/")
        };
        all.items().iter().filter(is_segment).count()
    }
}

fn read(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/state");
    std::fs::read_to_string(folder.join(path)).unwrap()
}

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/state");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let names: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|found| found == "json"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(names.len() >= 35, "{}", names.len());
    names
}

fn counts(report: &Report) -> Value {
    json!({"records_in": report.records_in, "appended": report.appended, "gaps": report.gaps,
        "skipped": report.skipped, "retried": report.retried})
}

#[tokio::test(start_paused = true)]
async fn every_sample_is_answered_and_counted_as_is_expected_and_stands_there_when_it_comes_again() {
    for name in names() {
        let expected: Value = serde_json::from_str(&read(&format!("expected/{name}.json"))).unwrap();
        let setup = Setup::new().await;
        let source = if name.contains("kinesis") {
            "kinesis"
        } else {
            "stream"
        };
        let config = if name.starts_with("partitioned") {
            configured("table: own-state, layout: partitioned, buckets: 1")
        } else {
            teleport(&format!("buckets: 1, source: {source}"))
        };
        let feed = setup.start(&config).await.unwrap();
        let payload = read(&format!("{name}.json"));
        let answer = setup.handle(&feed, &payload).await;
        if let Some(message) = expected["answer"]["error"].as_str() {
            let error = answer.unwrap_err().to_string();
            assert!(error.contains(message), "{name}: {error}");
            assert_eq!(setup.segments().await, 0, "{name}");
            continue;
        }
        let handled = answer.unwrap();
        let failures: Vec<Value> = handled
            .failed
            .iter()
            .map(|id| json!({"itemIdentifier": id}))
            .collect();
        assert_eq!(json!(failures), expected["answer"]["batchItemFailures"], "{name}");
        assert_eq!(counts(&handled.report), expected["metrics"], "{name}");

        // What the environment remembers must not matter: another one is given it again.
        let before = setup.segments().await;
        let again = setup.start(&config).await.unwrap();
        let again = setup.handle(&again, &payload).await.unwrap();
        assert_eq!(again.failed, handled.failed, "{name}");
        // What is of an older stream is not looked for any more.
        let done = |report: &Report| report.appended + report.repeats + report.gaps;
        assert_eq!(done(&again.report), done(&handled.report), "{name}");
        assert_eq!(again.report.appended, 0, "{name}");
        // A gap for what has no name at all comes with it each time.
        let nameless = expected.to_string().contains(r#""unreadable":null"#);
        assert_eq!(setup.segments().await > before, nameless, "{name}");
    }
}

/// Waited out until the margin; then the lowest record that is not in the log, and all of it when it comes again.
#[tokio::test(start_paused = true)]
async fn a_log_without_capacity_is_waited_for_and_then_told() {
    let setup = Setup::new().await;
    let feed = setup.start(&teleport("buckets: 4")).await.unwrap();
    let payload = read("two-streams.json");
    let first =
        serde_json::from_str::<Value>(&payload).unwrap()["Records"][0]["dynamodb"]["SequenceNumber"].clone();
    setup.engine.plan(|operation, _| match operation {
        "PutItem" => refusal("ProvisionedThroughputExceededException"),
        _ => Fate::Served,
    });
    let begun = setup.clock.instant();
    let handled = setup.handle(&feed, &payload).await.unwrap();
    let took = setup.clock.instant() - begun;
    assert!(
        took > Duration::from_secs(265) && took <= Duration::from_secs(270),
        "{took:?}"
    );
    assert_eq!(json!(handled.failed), json!([first]));
    assert_eq!((handled.report.retried, handled.report.appended), (4, 0));
    assert!(handled.report.error.unwrap().contains("logs"));

    setup.engine.plan(|_, _| Fate::Served);
    let handled = setup.handle(&feed, &payload).await.unwrap();
    assert_eq!((handled.failed.len(), handled.report.appended), (0, 4));
    assert_eq!(
        handled.report.lag,
        Some(
            setup
                .clock
                .now()
                .duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_355_600))
                .unwrap()
        )
    );
}

/// A second mapping's failure, or the same message again, tells of nothing new.
#[tokio::test(start_paused = true)]
async fn what_was_given_up_breaks_every_bucket_once() {
    let setup = Setup::new().await;
    let feed = setup.start(&teleport("buckets: 3")).await.unwrap();
    let payload = read("given-up.json");
    assert_eq!(setup.handle(&feed, &payload).await.unwrap().report.gaps, 1);
    assert_eq!(setup.segments().await, 3);
    setup.handle(&feed, &payload).await.unwrap();
    assert_eq!(setup.segments().await, 3);
    // One is refused; the gap of the other is due all the same.
    let handled = setup
        .handle(&feed, &read("given-up-with-records.json"))
        .await
        .unwrap();
    assert_eq!((handled.failed.len(), handled.report.gaps), (1, 1));
    // The gap that could not be appended: both come again.
    setup
        .engine
        .plan(|_, _| refusal("ProvisionedThroughputExceededException"));
    let handled = setup.handle(&feed, &read("given-up-two.json")).await.unwrap();
    assert_eq!(
        (handled.failed.len(), handled.report.gaps, handled.report.retried),
        (2, 0, 2)
    );
}

/// What was agreed when the log was made holds; what would mix two tables' changes is refused at the start.
#[tokio::test(start_paused = true)]
async fn a_log_is_made_once_and_is_of_one_table() {
    let setup = Setup::new().await;
    let config = teleport("buckets: 2, prefixes: [/nodes/default/a]");
    let feed = setup.start(&config).await.unwrap();
    assert_eq!(setup.engine.operations(), ["GetItem", "PutItem"]);
    setup.start(&config).await.unwrap();
    assert_eq!(setup.engine.operations(), ["GetItem"]);
    let mut other = configured("table: own-state, layout: partitioned");
    "teleport-state".clone_into(&mut other.log.name);
    let error = setup.start(&other).await.unwrap_err().to_string();
    assert!(
        error.contains("teleport-state") && error.contains("own-state"),
        "{error}"
    );
    // Keys that are not covered are counted, and nothing of them is in the log.
    let handled = setup.handle(&feed, &read("two-streams.json")).await.unwrap();
    assert_eq!((handled.report.appended, handled.report.skipped), (2, 2));
}
