//! Lambda's mapping of a table's stream, in small: what the embedded engine's stream has is handed to a feed, in batches
//! and in order, and again what is not in the log.

use std::time::Duration;

use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::watch::feed::Feed;

use crate::engine::{Engine, Fate};

/// Most records of a batch.
const BATCH: usize = 100;
/// How long an invocation may take.
const TIMEOUT: Duration = Duration::from_secs(300);

async fn ask(wire: &Engine, operation: &str, request: Value) -> Value {
    let body = request.to_string().into_bytes();
    let answer = wire.clone().fated(Fate::Served, operation.to_owned(), body);
    let answer = answer.await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{operation}");
    serde_json::from_slice(answer.body().bytes().unwrap()).unwrap()
}

/// Hands all that happens to `table` to the feed, from its first record on; looks every so often. Never ends.
pub(crate) async fn pump(wire: Engine, table: &str, feed: Feed, clock: Clock, every: Duration) {
    let described = ask(&wire, "DescribeTable", json!({"TableName": table})).await;
    let stream = described["Table"]["LatestStreamArn"].clone();
    let shards = ask(&wire, "DescribeStream", json!({"StreamArn": stream})).await;
    let mut place = json!({"StreamArn": stream, "ShardIteratorType": "TRIM_HORIZON"});
    place["ShardId"] = shards["StreamDescription"]["Shards"][0]["ShardId"].clone();
    let mut iterator = Value::Null;
    loop {
        if iterator.is_null() {
            iterator = ask(&wire, "GetShardIterator", place.clone()).await["ShardIterator"].take();
        }
        let request = json!({"ShardIterator": iterator, "Limit": BATCH});
        let mut answer = ask(&wire, "GetRecords", request).await;
        iterator = answer["NextShardIterator"].take();
        let records = answer["Records"].as_array_mut().unwrap();
        if records.is_empty() {
            clock.sleep(every).await;
            continue;
        }
        for record in records.iter_mut() {
            record["eventSourceARN"] = stream.clone();
        }
        let payload = json!({"Records": records}).to_string();
        let deadline = clock.instant() + TIMEOUT;
        let handled = Box::pin(feed.handle(&payload, deadline)).await.unwrap();
        if let Some(first) = handled.failed.first() {
            place["ShardIteratorType"] = json!("AT_SEQUENCE_NUMBER");
            place["SequenceNumber"] = json!(first);
            iterator = Value::Null;
        }
    }
}
