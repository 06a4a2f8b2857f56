//! What brings events back, on S3 and DynamoDB engines in this process, cut before and after each request.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

#[path = "../state/engine.rs"]
#[allow(dead_code)]
mod engine;
#[path = "../support/store.rs"]
mod store;
#[path = "../support/mod.rs"]
mod support;

mod backfill;
mod canary;
mod drain;
mod event_handler;
mod exported;
mod failures;
mod gaps;
mod quarantine;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use engine::Fate;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use store::Store;
use tidewatch::clock::Clock;
use tidewatch::forward::{Invoke, InvokeError};
use tidewatch::objects::{Objects, PAGE};
use tidewatch::redrive::{Hand, Options};

/// A `forward` that keeps what it is handed.
#[derive(Debug, Default)]
struct Forward {
    /// Headers and numbers, in the order in which they were taken.
    taken: Mutex<Vec<(Value, Value)>>,
    /// Sessions whose records are not taken.
    poison: HashSet<String>,
    invocations: Mutex<usize>,
    /// This invocation fails, before or after it took effect.
    cut: Option<(usize, bool)>,
}

impl Invoke for Forward {
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        async move {
            assert!(payload.len() <= 4_000_000);
            let at = {
                let mut invocations = self.invocations.lock().unwrap();
                *invocations += 1;
                *invocations - 1
            };
            let failed = || Err(InvokeError("planted".to_owned()));
            if self.cut == Some((at, false)) {
                return failed();
            }
            let payload: Value = serde_json::from_str(&payload).unwrap();
            let mut first = None;
            for record in payload["Records"].as_array().unwrap() {
                let session = record["dynamodb"]["Keys"]["SessionID"]["S"].as_str().unwrap();
                let number = record["dynamodb"]["SequenceNumber"].as_str();
                let Some(number) = number else { return failed() };
                if self.poison.contains(session) {
                    first = Some(json!({"itemIdentifier": number}));
                    break;
                }
                let taken = (payload["tidewatch"].clone(), record.clone());
                self.taken.lock().unwrap().push(taken);
            }
            if self.cut == Some((at, true)) {
                return failed();
            }
            Ok(json!({"batchItemFailures": Vec::from_iter(first)}).to_string())
        }
        .boxed()
    }
}

impl Forward {
    fn refusing(sessions: &[&str]) -> Self {
        Self {
            poison: sessions.iter().map(|session| (*session).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Numbers in the order in which they were first taken.
    fn numbers(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let taken = self.taken.lock().unwrap();
        let numbers = taken
            .iter()
            .map(|(_, record)| record["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned());
        numbers.filter(|number| seen.insert(number.clone())).collect()
    }
}

fn options(clock: &Clock, dry_run: bool) -> Options {
    Options {
        last_call: clock.instant() + Duration::from_secs(60),
        deadline: clock.instant() + Duration::from_secs(120),
        dry_run,
    }
}

fn hand<'a>(forward: &'a dyn Invoke, clock: &'a Clock) -> Hand<'a> {
    Hand {
        forward,
        clock,
        options: options(clock, false),
    }
}

async fn names(objects: &Objects) -> Vec<String> {
    let page = objects.list("", None, PAGE).await.unwrap();
    page.objects.into_iter().map(|object| object.name).collect()
}

/// Fails the request with this number, before or after it took effect.
fn cut(store: &Store, request: usize, after: bool) {
    let mut at = 0;
    store.plan(move |_, _| {
        at += 1;
        match at - 1 == request {
            false => Fate::Served,
            true if after => Fate::AnswerLost,
            true => Fate::Dropped,
        }
    });
}
