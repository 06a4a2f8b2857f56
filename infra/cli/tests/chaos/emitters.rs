//! Twenty emitters, what they emit, and the stream of their table.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use serde_json::json;
use tidewatch::audit::log::{EmitError, Outcome};
use tidewatch::random::Random;
use tidewatch_cli::esm::Stream;
use tidewatch_cli::up::{route::Router, wire};

use crate::engine::Engine;
use crate::verdict::{All, Emitted};
use crate::world::{Options, Plant, World, start};

pub(crate) const TABLE: &str = "tidewatch-audit-chaos";
pub(crate) const STREAMS: usize = 20;
/// The session of rows that no sink ever gets.
pub(crate) const POISON: &str = "poison";

/// An engine whose stream has an index: without one a large run takes hours.
pub(crate) fn indexed(seed: u64) -> Engine {
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
pub(crate) fn events(options: &Options) -> (All, Vec<Vec<String>>) {
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

impl World {
    /// Emits a stream's events in order, each until it is stored, some once more.
    pub(crate) async fn emit(&self, stream: &[String]) {
        let gap = 2 * self.options.span / u32::try_from(stream.len()).unwrap();
        for event in stream {
            self.wait(gap).await;
            loop {
                match self.log.emit(event).await {
                    Ok(emitted) if emitted.outcomes == [Outcome::Moved] => {
                        self.counted.add("events moved", 1)
                    }
                    Ok(_) => {}
                    Err(EmitError::Failed { .. }) => {
                        self.counted.add("emits failed", 1);
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
            if !self.options.calm && self.chance(20) && self.log.emit(event).await.is_ok() {
                self.counted.add("emits repeated", 1);
            }
        }
    }

    /// Rows that no sink ever gets.
    pub(crate) async fn poison(&self) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: usize| AttributeValue::N(number.to_string());
        let client = self.engine.beside().client();
        for index in 0..self.options.poison {
            let pause = self.options.span / u32::try_from(self.options.poison).unwrap();
            self.clock.sleep(pause).await;
            let put = client
                .put_item()
                .table_name(TABLE)
                .item("SessionID", text(POISON))
                .item("EventIndex", number(index))
                .item("EventType", text("x"))
                .item("CreatedAt", number(1))
                .item("FieldsMap", text("not a map"));
            put.send().await.unwrap();
        }
    }

    /// Feeds the table's stream to the mapping's shards, one of which splits.
    pub(crate) async fn feed(&self, stream: &Arc<Stream>) {
        let wire = self.engine.beside();
        let config = aws_sdk_dynamodbstreams::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url("http://streams.invalid")
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .http_client(wire.clone())
            .build();
        let client = aws_sdk_dynamodbstreams::Client::from_conf(config);
        let described = wire.client().describe_table().table_name(TABLE).send().await;
        let arn = described.unwrap().table.unwrap().latest_stream_arn.unwrap();
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
            let got = client.get_records().shard_iterator(iterator).send();
            let got = got.await.unwrap();
            for record in got.records() {
                let mut record = wire::record(record, &arn);
                // The engine looks at another clock.
                let now = self.clock.now().duration_since(UNIX_EPOCH).unwrap();
                record["dynamodb"]["ApproximateCreationDateTime"] = json!(now.as_secs());
                router.route(&record).unwrap();
            }
            self.counted.add("rows stored", got.records().len());
            if got.records().is_empty() && last {
                break;
            }
            if got.records().len() < 1000 {
                self.clock.sleep(self.options.poll).await;
            }
            next = got.next_shard_iterator;
            // What was sent is not looked at, and would fill the memory.
            wire.sent();
            self.engine.sent();
        }
        stream.end();
    }
}
