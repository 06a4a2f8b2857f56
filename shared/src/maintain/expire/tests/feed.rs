//! The table's stream, and an appender that gets it, batch by batch.

use std::sync::{Arc, Mutex};

use super::*;
use crate::watch::event::{Delete, Operation};
use crate::watch::log::{Appender, Incoming, Inline, Log, LogSpec, Pace};
use crate::watch::position::Number;
use crate::watch::record::{Json, Order, Read};
use crate::watch::{Cause, Notice, Start, WatchParams, Watches};

pub(super) const LOGS: &str = "tidewatch-watch-log";
pub(super) const STREAM: &str =
    "arn:aws:dynamodb:local:000000000000:table/tidewatch-state/stream/2027-01-15T08:00:01.000";

/// What `forward` makes of the table's stream.
pub(super) struct Feed {
    engine: Engine,
    clock: Clock,
    log: Log,
    appender: Mutex<Arc<Appender>>,
    /// Where the stream is read on, and how many records there were.
    read: Mutex<(Option<String>, u64)>,
}

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

impl Feed {
    pub(super) async fn new(engine: &Engine, clock: &Clock, seed: u64) -> Self {
        let table = json!({
            "TableName": LOGS, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "Log", "AttributeType": "S"}, {"AttributeName": "Segment", "AttributeType": "N"}],
            "KeySchema": [{"AttributeName": "Log", "KeyType": "HASH"}, {"AttributeName": "Segment", "KeyType": "RANGE"}],
        });
        engine.database.create_table(from(table)).unwrap();
        let log = Log::new(
            &engine.beside().client(),
            LOGS,
            TABLE,
            clock.clone(),
            Random::seeded(seed),
        );
        let spec = LogSpec {
            buckets: 2,
            stream: Some(STREAM.to_owned()),
            ..LogSpec::new(TABLE)
        };
        let stop = clock.instant() + secs(60);
        log.create(&spec, stop).await.unwrap();
        // So that every appender knows from its first batch on.
        log.announce_sweeps(stop).await.unwrap();
        Self {
            engine: engine.clone(),
            clock: clock.clone(),
            appender: Mutex::new(Arc::new(Appender::new(log.clone(), Inline::None))),
            log,
            read: Mutex::default(),
        }
    }

    /// The log over a wire.
    pub(super) fn log(&self, wire: &Engine, seed: u64) -> Log {
        Log::new(
            &wire.client(),
            LOGS,
            TABLE,
            self.clock.clone(),
            Random::seeded(seed),
        )
    }

    /// Another environment gets the stream from now on.
    pub(super) fn restart(&self) {
        *self.appender.lock().unwrap() = Arc::new(Appender::new(self.log.clone(), Inline::None));
    }

    pub(super) fn appender(&self) -> Arc<Appender> {
        Arc::clone(&self.appender.lock().unwrap())
    }

    /// What the stream has by now that was not taken yet: without old images, as an attached table's stream.
    pub(super) fn take(&self) -> Vec<Incoming> {
        let database = &self.engine.database;
        let mut read = self.read.lock().unwrap();
        let iterator = read.0.take().unwrap_or_else(|| {
            let streams = database.list_streams(from(json!({"TableName": TABLE}))).unwrap();
            let streams = serde_json::to_value(streams).unwrap();
            let arn = streams["Streams"][0]["StreamArn"].clone();
            let described = database.describe_stream(from(json!({"StreamArn": arn}))).unwrap();
            let described = serde_json::to_value(described).unwrap();
            let shard = described["StreamDescription"]["Shards"][0]["ShardId"].clone();
            let got = database.get_shard_iterator(from(
                json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}),
            ));
            serde_json::to_value(got.unwrap()).unwrap()["ShardIterator"]
                .as_str()
                .unwrap()
                .to_owned()
        });
        let got = database
            .get_records(from(json!({"ShardIterator": iterator})))
            .unwrap();
        let got = serde_json::to_value(got).unwrap();
        read.0 = got["NextShardIterator"].as_str().map(str::to_owned);
        let mut batch = Vec::new();
        for record in got["Records"].as_array().unwrap() {
            let text = record.to_string();
            let json: Json<'_> = serde_json::from_str(&text).unwrap();
            let mut parts = json.parts(1.0);
            parts.created = Some(self.clock.now());
            parts.old = None;
            read.1 += 1;
            let Read::Change(record) =
                parts.read(&Layout::Teleport, Order::Sequence(Number::from(1000 + read.1)))
            else {
                panic!("a record that is no change")
            };
            batch.push(Incoming::Record(record));
        }
        batch
    }

    /// Appends a batch.
    pub(super) async fn append(&self, batch: &[Incoming]) {
        let stop = self.clock.instant() + secs(60);
        self.appender().append(STREAM, batch, stop).await.unwrap();
    }

    /// Delivers what the stream has.
    pub(super) async fn deliver(&self) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            self.append(&batch).await;
        }
    }

    /// Delivers again and again, soon after each change.
    pub(super) async fn run(&self) {
        loop {
            self.deliver().await;
            self.clock.sleep(millis(120)).await;
        }
    }

    /// What the log tells of deletes: each key, and whether it is told as expired.
    pub(super) async fn deletes(&self) -> Vec<(String, bool)> {
        let watches = Watches::over_log(&self.log, Pace::default(), &crate::watch::Settings::default());
        let params = WatchParams {
            start: Start::Beginning,
            ..WatchParams::default()
        };
        let mut watcher = watches.watch(params).await.unwrap();
        let mut deletes = Vec::new();
        while let Ok(notice) = self.clock.timeout(secs(30), watcher.next()).await {
            if let Notice::Event { event, .. } = notice.unwrap()
                && let Operation::Delete(Delete { cause, .. }) = &event.operation
            {
                deletes.push((event.key.to_string(), *cause == Cause::Expired));
            }
        }
        deletes
    }
}
