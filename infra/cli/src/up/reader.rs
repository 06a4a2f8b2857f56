//! Pulls the audit table's stream and feeds the mapping's shards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use tidewatch::clock::Clock;

use super::route::Router;
use super::wire;

/// Wait after an answer that was not full: Lambda polls a shard four times a second.
const PAUSE: Duration = Duration::from_millis(250);
/// Most records in an answer.
const FULL: usize = 1000;

/// Reads the stream from its beginning. Ends when a read that began after `written` was set finds nothing more.
///
/// # Errors
/// What the endpoint answered, after the SDK's retries.
pub(super) async fn read(
    client: &Client,
    stream_arn: &str,
    router: &mut Router,
    written: &AtomicBool,
    clock: &Clock,
) -> Result<(), String> {
    let described = client.describe_stream().stream_arn(stream_arn).send().await;
    let described =
        described.map_err(|error| format!("cannot describe the stream: {}", error.into_service_error()))?;
    let shards = described
        .stream_description()
        .map(|stream| stream.shards())
        .unwrap_or_default();
    let shard = shards
        .first()
        .and_then(|shard| shard.shard_id())
        .ok_or("the stream has no shard")?;
    let start = client
        .get_shard_iterator()
        .stream_arn(stream_arn)
        .shard_id(shard)
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await
        .map_err(|error| format!("cannot read the stream: {}", error.into_service_error()))?;
    let mut next = start.shard_iterator;
    while let Some(iterator) = next {
        let last = written.load(Ordering::Acquire);
        let got = client.get_records().shard_iterator(iterator).send().await;
        let got = got.map_err(|error| format!("cannot read the stream: {}", error.into_service_error()))?;
        for record in got.records() {
            router
                .route(&wire::record(record, stream_arn))
                .map_err(|error| error.to_string())?;
        }
        if got.records().is_empty() && last {
            return Ok(());
        }
        if got.records().len() < FULL && !last {
            clock.sleep(PAUSE).await;
        }
        next = got.next_shard_iterator;
    }
    Ok(())
}
