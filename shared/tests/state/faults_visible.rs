//! What an operator sees of faults: in logs, in metrics and in the errors themselves.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, KeyName, Metadata, Recorder, SharedString, Unit,
};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::mocked::{Answer, Mocked, call, cancelled};

/// Text that was written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_is_warned_of_once_a_call() {
    // Tests beside this one have no subscriber, and what they log first could be taken for what nobody wants to see.
    let silent = tracing_subscriber::fmt()
        .with_writer(std::io::sink)
        .with_max_level(tracing::Level::WARN)
        .finish();
    let _ = tracing::subscriber::set_global_default(silent);
    let throttled = Answer::Error(400, "ProvisionedThroughputExceededException");
    for (name, answers) in [
        ("put", vec![throttled.clone(); 4]),
        ("atomic_write", vec![cancelled(&["ThrottlingError", "None"]); 4]),
        ("items", vec![throttled; 4]),
        ("put_batch", vec![unprocessed(&["/k", "/l"]); 4]),
    ] {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let mocked = Mocked::new(answers, Answer::Done);
        call(name).on(&mocked.backend).await.unwrap();
        drop(guard);
        let lines = log.lines();
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        for part in [
            "WARN",
            "throttled",
            "table=\"mocked\"",
            &format!("operation=\"{name}\""),
        ] {
            assert!(lines[0].contains(part), "{name}: {lines:?}");
        }
        let keyed = ["put", "atomic_write"].contains(&name);
        assert_eq!(lines[0].contains("key=/k"), keyed, "{name}: {lines:?}");
    }
}

/// A batch of which these keys were not stored.
fn unprocessed(paths: &[&str]) -> Answer {
    let left: Vec<_> = paths
        .iter()
        .map(|path| json!({ "PutRequest": { "Item": crate::mocked::stored(path, "r", 1) } }))
        .collect();
    Answer::Body(200, json!({ "UnprocessedItems": { "mocked": left } }).to_string())
}

/// Sums by metric and labels.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<BTreeMap<String, f64>>>);

struct Sum(Sums, String);

impl Sum {
    fn add(&self, value: f64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += value;
    }
}

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Sum {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Sum(self.clone(), named(key))))
    }

    fn register_gauge(&self, _: &metrics::Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &metrics::Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Sum(self.clone(), named(key))))
    }
}

fn named(key: &metrics::Key) -> String {
    let labels: Vec<&str> = key.labels().map(metrics::Label::value).collect();
    format!("{} {}", key.name(), labels.join(" "))
}

#[test]
fn each_request_is_counted_by_its_outcome_and_what_it_took() {
    let sums = Sums::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&sums, || {
        runtime.block_on(async {
            let took = json!({ "ConsumedCapacity": { "TableName": "mocked", "CapacityUnits": 3.0 } });
            let answers = [
                Answer::Error(400, "ThrottlingException"),
                Answer::Error(400, "TransactionConflictException"),
                Answer::Error(400, "ExpiredTokenException"),
                Answer::Body(200, took.to_string()),
            ];
            let mocked = Mocked::new(answers, Answer::Done);
            call("put").on(&mocked.backend).await.unwrap();

            let answers = [Answer::Error(500, "InternalServerError"), Answer::Ours];
            let mocked = Mocked::new(answers, Answer::Done);
            call("create").on(&mocked.backend).await.unwrap();

            let answers = [
                Answer::Error(400, "TransactionInProgressException"),
                cancelled(&["None", "ConditionalCheckFailed"]),
                Answer::Error(400, "AccessDeniedException"),
            ];
            let mocked = Mocked::new(answers, Answer::Done);
            call("atomic_write").on(&mocked.backend).await.unwrap_err();

            // A part of a batch left unprocessed.
            let mocked = Mocked::new([unprocessed(&["/l"])], Answer::Done);
            call("put_batch").on(&mocked.backend).await.unwrap();
        });
    });
    let sums = sums.0.lock().unwrap().clone();
    let of = |metric: &str| -> Vec<String> {
        let metric = format!("tidewatch_state_{metric} mocked ");
        let found = sums
            .iter()
            .filter_map(|(name, sum)| Some((name.strip_prefix(&metric)?, sum)));
        found.map(|(labels, sum)| format!("{labels} {sum}")).collect()
    };
    assert_eq!(
        of("requests_total"),
        [
            "atomic_write error 1",
            "atomic_write in_progress 1",
            "atomic_write refused 1",
            "create ok 1",
            "create unknown 1",
            "put contended 1",
            "put credentials 1",
            "put ok 1",
            "put throttled 1",
            "put_batch ok 2",
        ]
    );
    assert!(of("capacity_units").contains(&"put 3".to_owned()), "{sums:?}");
    let seconds: Vec<String> = of("request_seconds");
    assert_eq!(seconds.len(), 4, "{seconds:?}");
}
