//! A DynamoDB that answers as it is told (aws-smithy-mocks), and tells what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_mocks::{MockResponse, RuleMode, mock, mock_client};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::body::SdkBody;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{
    Backend, Condition, ConditionalAction, Config, Error, Item, ItemsParams, Key, Layout, Lease, Range,
    Revision,
};

use crate::engine::config;

pub(crate) const TABLE: &str = "mocked";
/// The revision that is stored, and that the calls are pinned to.
pub(crate) const PINNED: &str = "11111111-1111-4111-8111-111111111111";
/// A tenth of a millisecond before a full second, so that the first pause of all is seen in `:now`.
pub(crate) const START: Duration = Duration::new(1_800_000_000, 999_900_000);

/// How long a call may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(4);

/// What is answered to one request.
#[derive(Debug, Clone, Default)]
pub(crate) enum Answer {
    /// Done; a read finds the item in revision [`PINNED`].
    #[default]
    Done,
    /// An error of this code.
    Error(u16, &'static str),
    /// Anything.
    Body(u16, String),
    /// A read finds what the last write asked for.
    Ours,
    /// A read finds the item in another revision.
    Others,
    /// A read finds nothing.
    Nothing,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) operation: String,
    pub(crate) body: Value,
    /// The wall clock as it was sent.
    pub(crate) at: SystemTime,
}

#[derive(Debug, Default)]
struct Script {
    next: VecDeque<Answer>,
    then: Answer,
    asked: Vec<Asked>,
}

/// The mocked service with a backend on it.
#[derive(Debug)]
pub(crate) struct Mocked {
    pub(crate) backend: Backend,
    pub(crate) clock: Clock,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Log(Arc<Mutex<Script>>, Clock);

impl Intercept for Log {
    fn name(&self) -> &'static str {
        "Log"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap();
        let body = context.request().body().bytes().unwrap();
        self.0.lock().unwrap().asked.push(Asked {
            operation: target.rsplit('.').next().unwrap().to_owned(),
            body: serde_json::from_slice(body).unwrap(),
            at: self.1.now(),
        });
        Ok(())
    }
}

impl Mocked {
    /// Answers `next` in order, whatever is asked, and everything after it with `then`.
    pub(crate) fn new(next: impl IntoIterator<Item = Answer>, then: Answer) -> Self {
        let script = Script {
            next: next.into_iter().collect(),
            then,
            asked: Vec::new(),
        };
        let script = Arc::new(Mutex::new(script));
        let clock = Clock::simulated(UNIX_EPOCH + START);
        macro_rules! rules {
            ($($method:ident $name:literal),+) => {
                [$({
                    let script = Arc::clone(&script);
                    mock!(Client::$method).then_compute_response(move |_| {
                        let mut script = script.lock().unwrap();
                        let answer = script.next.pop_front().unwrap_or_else(|| script.then.clone());
                        let (status, body) = answer.to($name, &script.asked);
                        MockResponse::Http(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
                    })
                }),+]
            };
        }
        let rules = rules![
            get_item "GetItem", batch_get_item "BatchGetItem", query "Query", put_item "PutItem",
            update_item "UpdateItem", delete_item "DeleteItem", batch_write_item "BatchWriteItem",
            transact_write_items "TransactWriteItems"
        ];
        let log = Log(Arc::clone(&script), clock.clone());
        let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &rules, move |config| {
            config.interceptor(Log(Arc::clone(&log.0), log.1.clone()))
        });
        let config = Config {
            operation_timeout: LIMIT,
            ..config(TABLE, Layout::Teleport)
        };
        Self {
            backend: Backend::unverified(&client, config, clock.clone(), Random::seeded(7)),
            clock,
            script,
        }
    }

    /// What was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.script.lock().unwrap().asked)
    }

    /// How much time has passed.
    pub(crate) fn passed(&self) -> Duration {
        self.clock.now().duration_since(UNIX_EPOCH + START).unwrap()
    }
}

/// The names of what was asked, in order.
pub(crate) fn names(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|asked| asked.operation.as_str()).collect()
}

/// An error as DynamoDB writes it.
pub(crate) fn error(code: &str, more: &Value) -> String {
    let mut body = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
        "message": format!("{code} for a test"),
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body.to_string()
}

/// A cancelled transaction with these reasons.
pub(crate) fn cancelled(reasons: &[&str]) -> Answer {
    let reasons: Vec<Value> = reasons.iter().map(|code| json!({ "Code": code })).collect();
    let more = json!({ "CancellationReasons": reasons });
    Answer::Body(400, error("TransactionCanceledException", &more))
}

/// A failed condition, with the item as it was.
pub(crate) fn condition_failed(old: &Value) -> Answer {
    let more = json!({ "Item": old });
    Answer::Body(400, error("ConditionalCheckFailedException", &more))
}

/// An item as it is stored.
pub(crate) fn stored(path: &str, revision: &str, expires: u64) -> Value {
    json!({
        "HashKey": { "S": "teleport" },
        "FullPath": { "S": format!("teleport{path}") },
        "Value": { "B": "dg==" },
        "Revision": { "S": revision },
        "Expires": { "N": expires.to_string() },
    })
}

/// The expiry of the stored item, in seconds; the calls that move it move it a minute on.
pub(crate) const EXPIRES: u64 = START.as_secs() + 600;

impl Answer {
    fn to(&self, operation: &str, asked: &[Asked]) -> (u16, String) {
        let item = |revision| stored("/k", revision, EXPIRES);
        let found: Vec<Value> = match self {
            Self::Error(status, code) => return (*status, error(code, &Value::Null)),
            Self::Body(status, body) => return (*status, body.clone()),
            Self::Done => vec![item(PINNED)],
            Self::Others => vec![item("22222222-2222-4222-8222-222222222222")],
            Self::Nothing => Vec::new(),
            Self::Ours => written(asked),
        };
        let body = match operation {
            "GetItem" => found.first().map_or(json!({}), |item| json!({ "Item": item })),
            "BatchGetItem" => json!({ "Responses": { TABLE: found } }),
            "Query" => json!({ "Items": found, "Count": found.len(), "ScannedCount": found.len() }),
            _ => json!({}),
        };
        (200, body.to_string())
    }
}

/// What the last write asked to be stored.
fn written(asked: &[Asked]) -> Vec<Value> {
    let write = asked
        .iter()
        .rfind(|asked| !matches!(asked.operation.as_str(), "GetItem" | "BatchGetItem" | "Query"));
    let body = &write.unwrap().body;
    let items = |all: &Value, of: &dyn Fn(&Value) -> Value| all.as_array().unwrap().iter().map(of).collect();
    match write.unwrap().operation.as_str() {
        "PutItem" => vec![body["Item"].clone()],
        "UpdateItem" => vec![stored("/k", PINNED, EXPIRES + 60)],
        "TransactWriteItems" => items(&body["TransactItems"], &|item| item["Put"]["Item"].clone()),
        "BatchWriteItem" => items(&body["RequestItems"][TABLE], &|item| {
            item["PutRequest"]["Item"].clone()
        }),
        _ => Vec::new(),
    }
}

/// One operation of the backend, with the requests of its success.
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) requests: &'static [&'static str],
    run: fn(Backend) -> BoxFuture<'static, Result<(), Error>>,
}

impl Call {
    pub(crate) async fn on(&self, backend: &Backend) -> Result<(), Error> {
        (self.run)(backend.clone()).await
    }
}

/// The call of this name.
pub(crate) fn call(name: &str) -> Call {
    calls().into_iter().find(|call| call.name == name).unwrap()
}

fn item() -> Item {
    Item::new("/k", "v").at(PINNED)
}

/// Every operation, each on the stored item `/k`.
pub(crate) fn calls() -> Vec<Call> {
    macro_rules! call {
        ($name:literal, $requests:expr, |$backend:ident| $run:expr) => {
            Call {
                name: $name,
                requests: &$requests,
                run: |$backend| async move { $run.await.map(drop) }.boxed(),
            }
        };
    }
    vec![
        call!("get", ["GetItem"], |b| b.get(&Key::from("/k"))),
        call!("items", ["Query"], |b| b
            .items(Range::prefix("/").into())
            .try_collect::<Vec<_>>()),
        call!("entries", ["Query"], |b| b
            .entries(ItemsParams::from(Range::prefix("/")).limit(1))
            .try_collect::<Vec<_>>()),
        call!("count", ["Query"], |b| b.count(&Range::prefix("/"))),
        call!("put", ["PutItem"], |b| b.put(&item())),
        call!("create", ["PutItem"], |b| b.create(&item())),
        call!("update", ["PutItem"], |b| b.update(&item())),
        call!("compare_and_swap", ["PutItem"], |b| b
            .compare_and_swap(&item(), &Item::new("/k", "w"))),
        call!("conditional_update", ["PutItem"], |b| b
            .conditional_update(&item())),
        call!("conditional_delete", ["DeleteItem"], |b| b
            .conditional_delete(&Key::from("/k"), &Revision::from(PINNED))),
        call!("delete", ["DeleteItem"], |b| b.delete(&Key::from("/k"))),
        call!("delete_range", ["Query", "BatchWriteItem"], |b| b
            .delete_range(&Range::prefix("/"))),
        call!("keep_alive", ["UpdateItem"], |b| b
            .keep_alive(&lease(), expires_later())),
        call!("keep_alive_unchecked", ["UpdateItem"], |b| b
            .keep_alive_unchecked(&Key::from("/k"), expires_later())),
        call!("atomic_write", ["TransactWriteItems"], |b| b.atomic_write(&[
            ConditionalAction::put(Item::new("/k", "v"), Condition::NotExists),
            ConditionalAction::delete("/l", Condition::Exists),
        ])),
        call!("put_batch", ["BatchWriteItem"], |b| b
            .put_batch(&[item(), Item::new("/l", "v")])
            .map(tidewatch::state::BatchOutcome::all)),
        call!("delete_batch", ["BatchWriteItem"], |b| b
            .delete_batch(&[Key::from("/k"), Key::from("/l")])
            .map(tidewatch::state::BatchOutcome::all)),
    ]
}

fn lease() -> Lease {
    Lease {
        key: Key::from("/k"),
        revision: Revision::from(PINNED),
    }
}

fn expires_later() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(EXPIRES + 60)
}
