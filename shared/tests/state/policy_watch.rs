//! As in `policy`: whoever appends to a watch log, watches one or watches a stream, with the policy for just that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::config::{Config as Document, WatchConfig};
use tidewatch::random::Random;
use tidewatch::state::{Key, Revision};
use tidewatch::watch::feed::Feed;
use tidewatch::watch::log::{Log, Pace, Swept};
use tidewatch::watch::{
    Cause, Event, Filter, Notice, Operation, Operations, Prefix, Settings, Start, WatchParams, Watcher,
    Watches,
};

use crate::policy::{client, tried, variable};

const PUT: &str = "/nodes/default/a";
const GONE: &str = "/nodes/default/b";
/// For one step of a test.
const PATIENCE: Duration = Duration::from_secs(10);

/// A log of its own: what was refused half-way leaves one.
struct Logged {
    config: WatchConfig,
    clock: Clock,
    random: Random,
}

impl Logged {
    fn of(table: &str) -> Self {
        let random = Random::system();
        let (logs, name) = (variable("TIDEWATCH_POLICY_LOG"), random.uuid());
        let document = format!(
            "watch: {{ table: {table}, layout: teleport, buckets: 1, log: {{ table: {logs}, name: '{name}' }} }}"
        );
        let config = Document::parse(&document, "policy", []).unwrap().watch.unwrap();
        Self {
            config,
            clock: Clock::system(),
            random,
        }
    }

    fn log(&self, client: &Client) -> Log {
        let (table, name) = (&self.config.log.table, &self.config.log.name);
        Log::new(client, table, name, self.clock.clone(), self.random.clone())
    }

    /// As a new environment of the function.
    async fn feed(&self, client: &Client) -> Feed {
        let feed = Feed::over(self.log(client), &self.config, self.clock.clone());
        feed.await.unwrap()
    }

    /// A record of now; its image says when the item expires, if it is there.
    fn record(&self, number: u32, key: &str, expires: Option<u64>) -> Value {
        let now = self.seconds();
        let keys = json!({"HashKey": {"S": "teleport"}, "FullPath": {"S": format!("teleport{key}")}});
        let mut change = json!({
            "ApproximateCreationDateTime": now, "Keys": keys, "SequenceNumber": format!("4421584500000000017{number:09}"),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        if let Some(expires) = expires {
            change["NewImage"] = keys;
            change["NewImage"]["Value"] = json!({"B": "eA=="});
            change["NewImage"]["Timestamp"] = json!({"N": now.to_string()});
            change["NewImage"]["Revision"] = json!({"S": "r"});
            change["NewImage"]["Expires"] = json!({"N": expires.to_string()});
        }
        let stream = "stream/2026-03-01T09:00:00.000";
        json!({
            "eventID": format!("{number:032}"), "eventName": if expires.is_some() { "INSERT" } else { "REMOVE" },
            "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "us-east-1", "dynamodb": change,
            "eventSourceARN": format!("arn:aws:dynamodb:us-east-1:000000000000:table/{}/{stream}", self.config.table),
        })
    }

    fn seconds(&self) -> u64 {
        self.clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    async fn append(&self, feed: &Feed, records: &[Value]) {
        let payload = json!({"Records": records}).to_string();
        let deadline = self.clock.instant() + 2 * PATIENCE;
        let handled = Box::pin(feed.handle(&payload, deadline)).await.unwrap();
        assert_eq!(handled.report.error, None);
        assert_eq!(
            (handled.failed.len(), handled.report.appended),
            (0, records.len())
        );
    }
}

fn all(start: Start) -> WatchParams {
    WatchParams {
        start,
        ..Filter::new([Prefix::component("/nodes")], Operations::All).into()
    }
}

async fn next(watcher: &mut Watcher) -> Event {
    let next = async {
        loop {
            if let Notice::Event { event, .. } = watcher.next().await.unwrap() {
                return Event::clone(&event);
            }
        }
    };
    let clock = Clock::system();
    clock.timeout(PATIENCE, next).await.expect("nothing came")
}

/// With sweeps announced: what falls due is filed, and a note tells that a delete was an expiry.
#[tokio::test]
async fn policy_allows_appending() {
    let Some((tried, config)) = tried("policy_allows_appending") else {
        return;
    };
    let (logged, owner) = (Logged::of(&config.table_name), client("OWNER"));
    let stop = || logged.clock.instant() + PATIENCE;
    logged.feed(&tried).await;
    let kept = logged.log(&owner);
    let sweeps = kept.announce_sweeps(stop()).await.unwrap();
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(logged.seconds() + 3600);
    let swept = Swept {
        key: Key::from(GONE),
        revision: Revision::from("r"),
        expires: logged.clock.now(),
    };
    sweeps.intend(&[swept], stop()).await.unwrap();
    let put = logged.record(1, PUT, Some(logged.seconds() + 3600));
    let feed = logged.feed(&tried).await;
    logged.append(&feed, &[put, logged.record(2, GONE, None)]).await;
    #[cfg(feature = "streams")]
    stream::mapped(&config.table_name).await;

    let due = sweeps.due(expires + PATIENCE, None, stop()).await.unwrap();
    let keys: Vec<&Key> = due
        .iter()
        .flat_map(|chunk| &chunk.keys)
        .map(|key| &key.key)
        .collect();
    assert_eq!(keys, [&Key::from(PUT)]);
    let watches = Watches::over_log(&kept, Pace::default(), &Settings::default());
    let mut watcher = watches.watch(all(Start::Beginning)).await.unwrap();
    assert_eq!(next(&mut watcher).await.key, Key::from(PUT));
    match next(&mut watcher).await.operation {
        Operation::Delete(delete) => assert_eq!(delete.cause, Cause::Expired),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn policy_allows_watching_the_log() {
    let Some((tried, config)) = tried("policy_allows_watching_the_log") else {
        return;
    };
    let logged = Logged::of(&config.table_name);
    let feed = logged.feed(&client("OWNER")).await;
    let watches = || Watches::over_log(&logged.log(&tried), Pace::default(), &Settings::default());
    let mut watcher = watches().watch(all(Start::Now)).await.unwrap();
    let put = logged.record(1, PUT, Some(logged.seconds() + 3600));
    logged.append(&feed, &[put]).await;
    assert_eq!(next(&mut watcher).await.key, Key::from(PUT));
    let mut watcher = watches().watch(all(Start::Beginning)).await.unwrap();
    assert_eq!(next(&mut watcher).await.key, Key::from(PUT));
}

#[cfg(feature = "streams")]
pub(crate) mod stream {
    use aws_sdk_dynamodbstreams::Client;
    use aws_sdk_dynamodbstreams::config::Region;
    use aws_sdk_dynamodbstreams::types::ShardIteratorType;
    use tidewatch::state::{Backend, Item};
    use tidewatch::watch::stream::StreamSource;

    use super::*;
    use crate::policy::credentials;

    pub(crate) fn streams() -> Client {
        Client::from_conf(
            aws_sdk_dynamodbstreams::Config::builder()
                .behavior_version_latest()
                .endpoint_url(variable("TIDEWATCH_POLICY_ENDPOINT"))
                .region(Region::new("us-east-1"))
                .credentials_provider(credentials("TRIED"))
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .build(),
        )
    }

    /// What Lambda asks with its function's role.
    pub(super) async fn mapped(table: &str) {
        let streams = streams();
        let listed = streams.list_streams().table_name(table).send().await.unwrap();
        polled(&streams, listed.streams()[0].stream_arn().unwrap()).await;
    }

    /// What whoever reads a stream asks.
    pub(crate) async fn polled(streams: &Client, stream: &str) {
        let described = streams.describe_stream().stream_arn(stream).send().await.unwrap();
        let shards = described.stream_description().unwrap().shards();
        let iterator = streams.get_shard_iterator().stream_arn(stream);
        let iterator = iterator.shard_id(shards[0].shard_id().unwrap());
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon);
        let iterator = iterator.send().await.unwrap().shard_iterator.unwrap();
        let records = streams.get_records().shard_iterator(iterator);
        records.send().await.unwrap();
    }

    #[tokio::test]
    async fn policy_allows_watching_the_stream() {
        let Some((tried, config)) = tried("policy_allows_watching_the_stream") else {
            return;
        };
        let backend = |client: &aws_sdk_dynamodb::Client| {
            Backend::unverified(client, config.clone(), Clock::system(), Random::system())
        };
        let watching = backend(&tried);
        let source = StreamSource::open(&watching, &streams()).await.unwrap();
        let watches = Watches::over_stream(source, &watching);
        let mut watcher = watches.watch(all(Start::Now)).await.unwrap();
        // A run that was refused half-way leaves what it had written.
        let key = Key::from("/nodes").join(&Random::system().uuid().to_string());
        let owner = backend(&client("OWNER"));
        owner.put(&Item::new(&key, "1")).await.unwrap();
        assert_eq!(next(&mut watcher).await.key, key);
    }
}
