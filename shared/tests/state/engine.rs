//! The embedded engine behind the SDK, in this process and without a socket: what is sent can be counted, delayed,
//! lost or answered otherwise, and under a paused clock everything is deterministic.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, RuntimeComponents};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;
use serde_json::Value;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, Layout, Partitioned};

/// A request that reached the wire.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// DynamoDB's name of the operation.
    pub(crate) operation: String,
    pub(crate) body: Value,
    /// The engine's answer; null for a request that it never saw.
    pub(crate) answer: Value,
}

/// What is to happen to a request.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It is answered.
    Served,
    /// It waits, is applied, and its answer waits.
    Delayed { before: Duration, after: Duration },
    /// It never arrives; the connection breaks.
    Dropped,
    /// It is applied; the connection breaks before its answer.
    AnswerLost,
    /// The connection breaks, and it is applied so much later.
    Late(Duration),
    /// It is not applied; this is answered.
    Answered(u16, String),
}

type Plan = Box<dyn FnMut(&str, &Value) -> Fate + Send>;

/// The engine and the wire to it. Clones share both.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) database: Database,
    sent: Arc<Mutex<Vec<Sent>>>,
    forgets: Arc<AtomicBool>,
    plan: Arc<Mutex<Option<Plan>>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

/// An error as DynamoDB writes it.
pub(crate) fn refusal(code: &str) -> Fate {
    let body = format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"{code}\"}}");
    Fate::Answered(400, body)
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self {
            database: Database::memory().unwrap(),
            sent: Arc::default(),
            forgets: Arc::default(),
            plan: Arc::default(),
        }
    }

    /// The same engine over a wire of its own.
    #[allow(dead_code)] // Tests of the watch use it.
    pub(crate) fn beside(&self) -> Self {
        Self {
            database: self.database.clone(),
            ..Self::new()
        }
    }

    /// Decides over each request from now on.
    pub(crate) fn plan(&self, plan: impl FnMut(&str, &Value) -> Fate + Send + 'static) {
        *self.plan.lock().unwrap() = Some(Box::new(plan));
    }

    /// Fates for the next requests of an operation, in order; everything after them is served.
    pub(crate) fn fates(&self, operation: &'static str, fates: impl IntoIterator<Item = Fate>) {
        let mut fates: Vec<Fate> = fates.into_iter().collect();
        fates.reverse();
        self.plan(move |sent, _| {
            let next = (sent == operation).then(|| fates.pop()).flatten();
            next.unwrap_or(Fate::Served)
        });
    }

    /// What is sent from now on is not remembered: it may be more than memory holds.
    #[allow(dead_code)] // Tests of much data use it.
    pub(crate) fn forget(&self) {
        self.forgets.store(true, Ordering::Relaxed);
    }

    /// What was sent since the last call.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// The operations sent since the last call.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.operation).collect()
    }

    pub(crate) fn client(&self) -> Client {
        Self::client_over(self.clone())
    }

    /// A client over another wire, which may end in [`fated`](Self::fated).
    pub(crate) fn client_over(wire: impl HttpClient + 'static) -> Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url("http://engine.invalid")
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .http_client(wire)
            .build();
        Client::from_conf(config)
    }

    /// A backend on a new table of this name.
    pub(crate) async fn backend(&self, table: &str, layout: Layout, clock: &Clock, seed: u64) -> Backend {
        let config = config(table, layout);
        let backend = Backend::with_client(&self.client(), config, clock.clone(), Random::seeded(seed))
            .await
            .unwrap();
        self.sent();
        backend
    }

    fn apply(&self, operation: &str, body: &[u8]) -> (u16, String) {
        macro_rules! call {
            ($($name:literal => $method:ident),+ $(,)?) => {
                match operation {
                    $($name => serde_json::from_slice(body)
                        .map_err(|error| (400, format!("{{\"__type\":\"x#ValidationException\",\"message\":\"{error}\"}}")))
                        .and_then(|request| self.database.$method(request)
                            .map(|answer| serde_json::to_string(&answer).unwrap())
                            .map_err(|error| (error.status_code(), error.to_json()))),)+
                    _ => Err((400, "{\"__type\":\"x#UnknownOperationException\",\"message\":\"\"}".to_owned())),
                }
            };
        }
        let answer = call! {
            "CreateTable" => create_table,
            "DescribeTable" => describe_table,
            "UpdateTable" => update_table,
            "UpdateTimeToLive" => update_time_to_live,
            "DescribeTimeToLive" => describe_time_to_live,
            "PutItem" => put_item,
            "GetItem" => get_item,
            "UpdateItem" => update_item,
            "DeleteItem" => delete_item,
            "BatchGetItem" => batch_get_item,
            "BatchWriteItem" => batch_write_item,
            "TransactGetItems" => transact_get_items,
            "TransactWriteItems" => transact_write_items,
            "Query" => query,
            "Scan" => scan,
            "DescribeStream" => describe_stream,
            "GetShardIterator" => get_shard_iterator,
            "GetRecords" => get_records,
        };
        match answer {
            Ok(body) => (200, body),
            Err(refused) => refused,
        }
    }

    async fn serve(self, operation: String, body: Vec<u8>) -> Result<HttpResponse, ConnectorError> {
        let fate = match self.plan.lock().unwrap().as_mut() {
            Some(plan) => plan(&operation, &serde_json::from_slice(&body).unwrap_or_default()),
            None => Fate::Served,
        };
        self.fated(fate, operation, body).await
    }

    /// A request with its fate.
    pub(crate) async fn fated(
        self,
        fate: Fate,
        operation: String,
        body: Vec<u8>,
    ) -> Result<HttpResponse, ConnectorError> {
        let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
        let log = |answer: &str| {
            if self.forgets.load(Ordering::Relaxed) {
                return;
            }
            self.sent.lock().unwrap().push(Sent {
                operation: operation.clone(),
                body: parsed.clone(),
                answer: serde_json::from_str(answer).unwrap_or_default(),
            });
        };
        let clock = Clock::system();
        let broken = || ConnectorError::io("the connection broke".into());
        let (status, answer) = match fate {
            Fate::Served => self.apply(&operation, &body),
            Fate::Delayed { before, after } => {
                clock.sleep(before).await;
                let answer = self.apply(&operation, &body);
                clock.sleep(after).await;
                answer
            }
            Fate::Dropped => {
                log("null");
                return Err(broken());
            }
            Fate::AnswerLost => {
                log(&self.apply(&operation, &body).1);
                return Err(broken());
            }
            Fate::Late(after) => {
                log("null");
                let engine = self.clone();
                tokio::spawn(async move {
                    Clock::system().sleep(after).await;
                    engine.apply(&operation, &body);
                });
                return Err(broken());
            }
            Fate::Answered(status, answer) => (status, answer),
        };
        log(&answer);
        Ok(HttpResponse::new(
            status.try_into().unwrap(),
            SdkBody::from(answer),
        ))
    }
}

/// DynamoDB's name of the operation that a request asks for, and its body.
pub(crate) fn called(request: &HttpRequest) -> (String, Vec<u8>) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    (operation, request.body().bytes().unwrap_or_default().to_vec())
}

/// The configuration of a table in a layout.
pub(crate) fn config(table: &str, layout: Layout) -> Config {
    Config {
        table_name: table.to_owned(),
        layout,
        ..Config::default()
    }
}

/// A namespace over several partitions.
pub(crate) fn partitioned(partitions: u8) -> Layout {
    Layout::Partitioned(
        Partitioned::new("test")
            .unwrap()
            .with_partitions(partitions)
            .unwrap(),
    )
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (operation, body) = called(&request);
        HttpConnectorFuture::new(self.clone().serve(operation, body))
    }
}

impl HttpClient for Engine {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
