//! The table's stream, and the handler that gets it, batch by batch.

use std::sync::{Arc, Mutex};

use super::*;
use crate::watch::log::{Appender, Inline, Log, LogSpec, Pace};
use crate::watch::{Cause, Delete, Notice, Operation, Start, WatchParams, Watches, feed};

pub(super) const LOGS: &str = "tidewatch-watch-log";
pub(super) const STREAM: &str =
    "arn:aws:dynamodb:local:000000000000:table/tidewatch-state/stream/2027-01-15T08:00:01.000";

/// What `forward` makes of the table's stream.
pub(super) struct Feed {
    engine: Engine,
    clock: Clock,
    log: Log,
    handler: Mutex<Arc<feed::Feed>>,
    /// Where the stream is read on, and how many records there were.
    read: Mutex<(Option<String>, u64)>,
}

fn handler(log: &Log, clock: &Clock) -> feed::Feed {
    let appender = Appender::new(log.clone(), Inline::None);
    feed::Feed::new(appender, TABLE, Layout::Teleport, clock.clone())
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
            handler: Mutex::new(Arc::new(handler(&log, clock))),
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
        *self.handler.lock().unwrap() = Arc::new(handler(&self.log, &self.clock));
    }

    /// Records were lost up to now.
    pub(super) async fn lose(&self, id: &str) {
        let stop = self.clock.instant() + secs(60);
        let appender = Appender::new(self.log.clone(), Inline::None);
        let lost = appender.break_all("lost", id, Some(self.clock.now()), stop);
        lost.await.unwrap();
    }

    /// What the stream has by now that was not taken yet: without old images, as an attached table's stream.
    pub(super) fn take(&self) -> Vec<Value> {
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
        let mut batch = got["Records"].as_array().unwrap().clone();
        let created = self.clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        for record in &mut batch {
            read.1 += 1;
            record["eventSource"] = json!("aws:dynamodb");
            record["eventSourceARN"] = json!(STREAM);
            let change = record["dynamodb"].as_object_mut().unwrap();
            change.remove("OldImage");
            change.insert("ApproximateCreationDateTime".to_owned(), json!(created));
            change.insert("SequenceNumber".to_owned(), json!((1000 + read.1).to_string()));
        }
        batch
    }

    /// Hands a batch over.
    pub(super) async fn append(&self, batch: &[Value]) {
        let handler = Arc::clone(&self.handler.lock().unwrap());
        let payload = json!({"Records": batch}).to_string();
        let handled = handler
            .handle(&payload, self.clock.instant() + secs(60))
            .await
            .unwrap();
        assert_eq!(handled.failed.len(), 0, "{:?}", handled.report);
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
