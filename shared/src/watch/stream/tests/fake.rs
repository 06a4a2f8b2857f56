//! A stream as a script: for what no engine shows, splits and merges of shards, iterators that expire, records that are
//! trimmed, listings that lag.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_dynamodb::config::RuntimeComponents;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::{clock, streams};
use crate::clock::{Clock, Instant};
use crate::engine::{Engine, Fate, called, config};
use crate::random::Random;
use crate::state::{Backend, Layout};
use crate::watch::stream::StreamSource;

pub(super) const TABLE: &str = "arn:aws:dynamodb:eu-west-1:1:table/state";

type Plan = Box<dyn FnMut(&str, &Value) -> Fate + Send>;

/// A shard of the script.
#[derive(Default)]
pub(super) struct Shard {
    id: String,
    parent: Option<String>,
    /// Below its first record.
    first: u64,
    records: Vec<u64>,
    /// So many of them are not kept any more.
    pub(super) trimmed: usize,
    pub(super) closed: bool,
    /// The listing lags.
    pub(super) hidden: bool,
    gone: bool,
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) at: Instant,
    pub(super) operation: String,
    pub(super) body: Value,
}

pub(super) struct World {
    clock: Clock,
    pub(super) arn: String,
    pub(super) view: &'static str,
    /// The table has a stream, and it is on.
    pub(super) on: bool,
    /// What the stream that is read says of itself.
    pub(super) status: &'static str,
    shards: Vec<Shard>,
    /// The last record.
    pub(super) number: u64,
    iterators: u64,
    /// Iterators up to this one have expired.
    expired: u64,
    /// Records a page.
    pub(super) page: usize,
    /// Shards a page of the listing.
    pub(super) listing: usize,
    /// Pages without records before each with some.
    pub(super) empty: u64,
    /// How numbers are written: DynamoDB Local pads with zeros.
    pub(super) padded: bool,
    /// This record comes without its number.
    pub(super) nameless: u64,
    calls: Vec<Call>,
    plan: Option<Plan>,
    /// GetRecords under way, and the most at a time.
    pub(super) under_way: (usize, usize),
}

/// The scripted service. Clones share it.
#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<World>>);

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

/// The number of a record whose key is `/k/<number>`.
pub(super) fn key(number: u64) -> String {
    format!("/k/{number}")
}

impl Fake {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(World {
            clock: clock(),
            arn: format!("{TABLE}/stream/1"),
            view: "NEW_AND_OLD_IMAGES",
            on: true,
            status: "ENABLED",
            shards: Vec::new(),
            number: 0,
            iterators: 0,
            expired: 0,
            page: 3,
            listing: 100,
            empty: 0,
            padded: false,
            nameless: 0,
            calls: Vec::new(),
            plan: None,
            under_way: (0, 0),
        })))
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// A source on it, as another process would open one.
    pub(super) async fn source(&self, seed: u64) -> StreamSource {
        let clock = self.world().clock.clone();
        let config = config("state", Layout::Teleport);
        let client = Engine::client_over(self.clone());
        let backend = Backend::unverified(&client, config, clock, Random::seeded(seed));
        StreamSource::open(&backend, &streams(self.clone()))
            .await
            .unwrap()
    }

    pub(super) async fn refused(&self) -> crate::watch::WatchError {
        let clock = self.world().clock.clone();
        let config = config("state", Layout::Teleport);
        let client = Engine::client_over(self.clone());
        let backend = Backend::unverified(&client, config, clock, Random::seeded(1));
        let opened = StreamSource::open(&backend, &streams(self.clone())).await;
        opened.unwrap_err()
    }

    pub(super) fn plan(&self, plan: impl FnMut(&str, &Value) -> Fate + Send + 'static) {
        self.world().plan = Some(Box::new(plan));
    }

    pub(super) fn serve(&self) {
        self.world().plan = None;
    }

    /// The requests since the last call.
    pub(super) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.world().calls)
    }

    /// A shard with so many records.
    pub(super) fn shard(&self, id: &str, parent: Option<&str>, records: usize) {
        let mut world = self.world();
        let first = world.number + 1;
        world.shards.push(Shard {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            first,
            ..Shard::default()
        });
        drop(world);
        self.put(id, records);
    }

    /// So many records more; the last one's number.
    pub(super) fn put(&self, id: &str, records: usize) -> u64 {
        let mut world = self.world();
        for _ in 0..records {
            world.number += 1;
            let number = world.number;
            let shard = world.of(id).unwrap();
            assert!(!shard.closed, "{id} is closed");
            shard.records.push(number);
        }
        world.number
    }

    pub(super) fn with(&self, id: &str, change: impl FnOnce(&mut Shard)) {
        change(self.world().of(id).unwrap());
    }

    pub(super) fn close(&self, id: &str) {
        self.with(id, |shard| shard.closed = true);
    }

    /// All of its records were trimmed, and it with them.
    pub(super) fn forget(&self, id: &str) {
        self.with(id, |shard| shard.gone = true);
    }

    /// Every iterator that was given expires.
    pub(super) fn expire(&self) {
        let mut world = self.world();
        world.expired = world.iterators;
    }

    pub(super) fn open_shards(&self) -> Vec<String> {
        let world = self.world();
        let open = world.shards.iter().filter(|shard| !shard.closed);
        open.map(|shard| shard.id.clone()).collect()
    }

    /// All but the youngest iterator expire.
    pub(super) fn expire_but_last(&self) {
        let mut world = self.world();
        world.expired = world.iterators - 1;
    }

    /// Which shard has a record, and that shard's parent.
    pub(super) fn descent(&self, number: u64) -> (String, Option<String>) {
        let world = self.world();
        let shard = world
            .shards
            .iter()
            .find(|shard| shard.records.contains(&number))
            .unwrap();
        (shard.id.clone(), shard.parent.clone())
    }
}

fn error(code: &str) -> (u16, Value) {
    (400, json!({"__type": format!("x#{code}"), "message": code}))
}

impl World {
    fn of(&mut self, id: &str) -> Option<&mut Shard> {
        self.shards.iter_mut().find(|shard| shard.id == id && !shard.gone)
    }

    fn written(&self, number: u64) -> String {
        if self.padded {
            format!("{number:021}")
        } else {
            format!("1{number:020}")
        }
    }

    fn parsed(&self, written: &str) -> Option<u64> {
        (written.len() >= 21).then(|| written[1..].parse().unwrap())
    }

    fn token(&mut self, id: &str, index: usize, hop: u64) -> String {
        self.iterators += 1;
        format!("{}|{id}|{index}|{hop}", self.iterators)
    }

    fn answer(&mut self, operation: &str, body: &Value) -> (u16, Value) {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        match operation {
            "DescribeTable" => {
                let mut table = json!({"TableName": "state", "LatestStreamArn": self.arn});
                if self.on {
                    table["StreamSpecification"] =
                        json!({"StreamEnabled": true, "StreamViewType": self.view});
                }
                (200, json!({"Table": table}))
            }
            "DescribeStream" => self.describe(body),
            "GetShardIterator" => {
                let (id, kind) = (text("ShardId"), text("ShardIteratorType"));
                let number = self.parsed(&text("SequenceNumber"));
                if kind.ends_with("NUMBER") && number.is_none() {
                    return error("ValidationException");
                }
                let Some(shard) = self.of(&id) else {
                    return error("ResourceNotFoundException");
                };
                let behind = |number: u64| shard.records.partition_point(|record| *record <= number);
                let index = match kind.as_str() {
                    "TRIM_HORIZON" => shard.trimmed,
                    "LATEST" => shard.records.len(),
                    "AT_SEQUENCE_NUMBER" => behind(number.unwrap() - 1),
                    "AFTER_SEQUENCE_NUMBER" => behind(number.unwrap()),
                    _ => return error("ValidationException"),
                };
                if index < shard.trimmed {
                    return error("TrimmedDataAccessException");
                }
                (200, json!({"ShardIterator": self.token(&id, index, 0)}))
            }
            "GetRecords" => self.records(&text("ShardIterator")),
            _ => error("UnknownOperationException"),
        }
    }

    fn describe(&mut self, body: &Value) -> (u16, Value) {
        if body["StreamArn"] != self.arn.as_str() && self.status == "GONE" {
            return error("ResourceNotFoundException");
        }
        let listed: Vec<&Shard> = self
            .shards
            .iter()
            .filter(|shard| !shard.hidden && !shard.gone)
            .collect();
        let start = body["ExclusiveStartShardId"].as_str();
        let from = start.map_or(0, |start| {
            1 + listed.iter().position(|shard| shard.id == start).unwrap()
        });
        let limit = body["Limit"]
            .as_u64()
            .map_or(self.listing, |limit| limit as usize);
        let page: Vec<Value> = listed
            .iter()
            .skip(from)
            .take(limit)
            .map(|shard| {
                let mut range = json!({"StartingSequenceNumber": self.written(shard.first)});
                if shard.closed {
                    let last = shard.records.last().copied().unwrap_or(shard.first);
                    range["EndingSequenceNumber"] = self.written(last).into();
                }
                json!({"ShardId": shard.id, "ParentShardId": shard.parent, "SequenceNumberRange": range})
            })
            .collect();
        let mut description = json!({
            "StreamArn": body["StreamArn"], "StreamStatus": self.status, "StreamViewType": self.view, "Shards": page,
        });
        if from + page.len() < listed.len() {
            description["LastEvaluatedShardId"] = page.last().unwrap()["ShardId"].clone();
        }
        (200, json!({"StreamDescription": description}))
    }

    fn records(&mut self, iterator: &str) -> (u16, Value) {
        let parts: Vec<&str> = iterator.split('|').collect();
        let (serial, id) = (parts[0].parse::<u64>().unwrap(), parts[1]);
        let (index, hop) = (
            parts[2].parse::<usize>().unwrap(),
            parts[3].parse::<u64>().unwrap(),
        );
        if serial <= self.expired {
            return error("ExpiredIteratorException");
        }
        let (empty, most) = (self.empty, self.page);
        let Some(shard) = self.of(id) else {
            return error("ResourceNotFoundException");
        };
        if index < shard.trimmed {
            return error("TrimmedDataAccessException");
        }
        let left = shard.records.len() - index;
        if hop < empty && left > 0 {
            return (
                200,
                json!({"Records": [], "NextShardIterator": self.token(id, index, hop + 1)}),
            );
        }
        let taken = left.min(most);
        let ends = shard.closed && taken == left;
        let numbers: Vec<u64> = shard.records[index..index + taken].to_vec();
        let nameless = self.nameless;
        let records: Vec<Value> = numbers
            .into_iter()
            .map(|number| {
                let path = json!({"S": format!("teleport{}", key(number))});
                let keys = json!({"HashKey": {"S": "teleport"}, "FullPath": path});
                let mut image = keys.clone();
                image["Value"] = json!({"B": "MQ=="});
                let mut change = json!({
                    "Keys": keys, "NewImage": image, "ApproximateCreationDateTime": 1_795_277_340,
                });
                if number != nameless {
                    change["SequenceNumber"] = self.written(number).into();
                }
                json!({"eventName": "INSERT", "dynamodb": change})
            })
            .collect();
        let mut answer = json!({"Records": records});
        if !ends {
            answer["NextShardIterator"] = self.token(id, index + taken, 0).into();
        }
        (200, answer)
    }
}

struct UnderWay(Fake);

impl UnderWay {
    fn new(fake: &Fake) -> Self {
        let (now, most) = &mut fake.world().under_way;
        *now += 1;
        *most = (*most).max(*now);
        Self(fake.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.world().under_way.0 -= 1;
    }
}

impl Fake {
    /// Writes a request down and decides over it.
    fn taken(&self, operation: &str, body: &Value) -> (Fate, Clock) {
        let mut world = self.world();
        let call = Call {
            at: world.clock.instant(),
            operation: operation.to_owned(),
            body: body.clone(),
        };
        world.calls.push(call);
        let fate = world
            .plan
            .as_mut()
            .map_or(Fate::Served, |plan| plan(operation, body));
        (fate, world.clock.clone())
    }
}

impl HttpConnector for Fake {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (operation, body) = called(&request);
        let fake = self.clone();
        HttpConnectorFuture::new(async move {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            let (fate, clock) = fake.taken(&operation, &body);
            let broken = "the connection broke";
            let _under_way = (operation == "GetRecords").then(|| UnderWay::new(&fake));
            let (status, answer) = match fate {
                Fate::Served => fake.world().answer(&operation, &body),
                Fate::Delayed { before, after } => {
                    clock.sleep(before).await;
                    let answer = fake.world().answer(&operation, &body);
                    clock.sleep(after).await;
                    answer
                }
                Fate::Dropped | Fate::Late(_) => return Err(ConnectorError::io(broken.into())),
                Fate::AnswerLost => {
                    fake.world().answer(&operation, &body);
                    return Err(ConnectorError::io(broken.into()));
                }
                Fate::Answered(status, answer) => (status, serde_json::from_str(&answer).unwrap()),
            };
            let body = SdkBody::from(answer.to_string());
            Ok(HttpResponse::new(status.try_into().unwrap(), body))
        })
    }
}

impl HttpClient for Fake {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Never an answer.
pub(super) fn silence() -> Fate {
    Fate::Delayed {
        before: Duration::from_secs(3600),
        after: Duration::ZERO,
    }
}

impl Fake {
    pub(super) fn parent(&self, id: &str) -> Option<String> {
        let world = self.world();
        let shard = world.shards.iter().find(|shard| shard.id == id)?;
        shard.parent.clone()
    }
}
