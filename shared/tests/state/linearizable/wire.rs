//! The wire of one client to the engine: it notes what is sent, decides over it, and can have a fault planted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::RuntimeComponents;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;
use tidewatch::clock::Clock;
use tidewatch::random::Random;

use super::history::{Attempt, Stamp, Told};
use super::plants::{Plant, one_by_one};
use crate::engine::{Engine, Fate, called, refusal};

/// What one attempt may take at most; the clients' backends are so configured.
pub(crate) const ATTEMPT: Duration = Duration::from_millis(400);

/// What goes wrong in a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    /// In how many of a hundred requests.
    pub(crate) percent: u64,
    /// How long a request may be on its way at most, after its clock was read.
    pub(crate) delay: Duration,
}

/// The call that a client is making.
#[derive(Debug, Default)]
struct Current {
    reads: bool,
    attempts: Vec<Attempt>,
    /// The first request, for the plants that repeat from it.
    first: Option<Value>,
}

/// What all clients of a history share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The time since the history began.
    pub(crate) clock: Clock,
    pub(crate) start: std::time::SystemTime,
    pub(crate) random: Random,
    pub(crate) trouble: Mutex<Trouble>,
    events: Mutex<u32>,
    revisions: Mutex<HashMap<String, u32>>,
}

impl Shared {
    pub(crate) fn new(clock: Clock, random: Random, trouble: Trouble) -> Self {
        Self {
            start: clock.now(),
            clock,
            random,
            trouble: Mutex::new(trouble),
            events: Mutex::default(),
            revisions: Mutex::default(),
        }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let mut events = self.events.lock().unwrap();
        *events += 1;
        Stamp {
            at: self.clock.now().duration_since(self.start).unwrap(),
            event: *events,
        }
    }

    /// The number of a revision.
    pub(crate) fn number(&self, revision: &str) -> u32 {
        let mut revisions = self.revisions.lock().unwrap();
        let next = u32::try_from(revisions.len()).unwrap();
        *revisions.entry(revision.to_owned()).or_insert(next)
    }

    /// The revision of a number.
    pub(crate) fn revision(&self, number: u32) -> String {
        let revisions = self.revisions.lock().unwrap();
        revisions
            .iter()
            .find(|(_, one)| **one == number)
            .unwrap()
            .0
            .clone()
    }

    /// A fate, and how long its answer takes.
    fn fate(&self, operation: &str) -> (Fate, Duration) {
        let trouble = *self.trouble.lock().unwrap();
        let random = &self.random;
        let within = |millis| random.jitter(Duration::from_millis(millis));
        let served = || match trouble.delay {
            Duration::ZERO => Fate::Served,
            most => Fate::Delayed {
                before: random.jitter(most),
                after: Duration::ZERO,
            },
        };
        if random.below(100) >= trouble.percent {
            return (served(), within(60));
        }
        let transaction = operation == "TransactWriteItems";
        match random.below(11) {
            0 => (Fate::Dropped, within(100)),
            1 => (Fate::AnswerLost, within(100)),
            2 => (Fate::Late(within(1500)), within(100)),
            3 => (served(), ATTEMPT * 2),
            4 => (served(), within(500)),
            5 | 6 => (refusal("ProvisionedThroughputExceededException"), within(380)),
            7 if transaction => (cancelled("TransactionConflict"), within(100)),
            7 => (refusal("TransactionConflictException"), within(380)),
            8 if transaction => (cancelled("ThrottlingError"), within(100)),
            8 => (refusal("ThrottlingException"), within(380)),
            9 if transaction => (refusal("TransactionInProgressException"), within(100)),
            9 => (refusal("ExpiredTokenException"), within(100)),
            _ => (Fate::Answered(500, failure("InternalServerError")), within(100)),
        }
    }
}

fn failure(code: &str) -> String {
    format!("{{\"__type\":\"com.amazonaws.dynamodb.v20120810#{code}\",\"message\":\"{code}\"}}")
}

/// A transaction cancelled for one reason.
fn cancelled(reason: &str) -> Fate {
    let body = serde_json::json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": [{ "Code": "None" }, { "Code": reason }],
    });
    Fate::Answered(400, body.to_string())
}

/// The wire of one client.
#[derive(Clone)]
pub(crate) struct Wire {
    engine: Engine,
    shared: Arc<Shared>,
    /// The clock of this client.
    clock: Clock,
    plant: Option<Plant>,
    current: Arc<Mutex<Current>>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    pub(crate) fn new(engine: &Engine, shared: &Arc<Shared>, clock: &Clock, plant: Option<Plant>) -> Self {
        Self {
            engine: engine.clone(),
            shared: Arc::clone(shared),
            clock: clock.clone(),
            plant,
            current: Arc::default(),
        }
    }

    /// The next call of this client begins.
    pub(crate) fn begin(&self, reads: bool) {
        *self.current.lock().unwrap() = Current {
            reads,
            ..Current::default()
        };
    }

    /// The attempts of the call.
    pub(crate) fn end(&self) -> Vec<Attempt> {
        std::mem::take(&mut self.current.lock().unwrap().attempts)
    }

    /// Notes an attempt; none for a request that only looks what became of one.
    fn note(&self, operation: &str, body: &mut Value) -> Option<usize> {
        let mut current = self.current.lock().unwrap();
        if (operation == "GetItem") != current.reads {
            return None;
        }
        let read = self.clock.now().duration_since(self.shared.start).unwrap();
        current.attempts.push(Attempt {
            sent: self.shared.stamp(),
            read: i64::try_from(read.as_secs()).unwrap(),
            told: Told::Nothing,
            token: body["ClientRequestToken"].as_str().map(str::to_owned),
        });
        let index = current.attempts.len() - 1;
        if let Some(plant) = self.plant {
            let first = current.first.get_or_insert_with(|| body.clone()).clone();
            plant.rewrite(
                operation,
                body,
                (index > 0).then_some(&first),
                &self.shared.random,
            );
        }
        Some(index)
    }

    async fn carry(self, operation: String, body: Vec<u8>) -> Result<HttpResponse, ConnectorError> {
        let mut request: Value = serde_json::from_slice(&body).unwrap();
        let attempt = self.note(&operation, &mut request);
        let (fate, pause) = self.shared.fate(&operation);
        let split = self.plant == Some(Plant::OneByOne) && operation == "TransactWriteItems";
        let answer = if split && matches!(fate, Fate::Served) {
            Ok(one_by_one(&self.engine, request).await)
        } else {
            self.engine
                .clone()
                .fated(fate, operation, request.to_string().into_bytes())
                .await
        };
        self.shared.clock.sleep(pause).await;
        if let (Some(index), Ok(answer)) = (attempt, &answer) {
            self.current.lock().unwrap().attempts[index].told = told(answer);
        }
        answer
    }
}

/// What an answer says of its request.
fn told(answer: &HttpResponse) -> Told {
    let body: Value = serde_json::from_slice(answer.body().bytes().unwrap()).unwrap();
    let code = body["__type"]
        .as_str()
        .unwrap_or_default()
        .rsplit('#')
        .next()
        .unwrap();
    let reasons = body["CancellationReasons"].as_array();
    let failed = |reason: &Value| reason["Code"] == "ConditionalCheckFailed";
    match (answer.status().as_u16(), code) {
        (200, _) => Told::Applied,
        (500.., _) | (_, "TransactionInProgressException") => Told::Nothing,
        (_, "ConditionalCheckFailedException") => Told::Refused,
        (_, "TransactionCanceledException") if reasons.is_some_and(|all| all.iter().any(failed)) => {
            Told::Refused
        }
        _ => Told::NotApplied,
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (operation, body) = called(&request);
        HttpConnectorFuture::new(self.clone().carry(operation, body))
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
