//! The runner and what it wraps, on the embedded engine and directories, under a paused clock.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod relay;
mod runner;
mod tasks;
mod watch_log;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use futures_util::future::{BoxFuture, FutureExt};

use super::{Maintain, Order, Outcome, Task};
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::Engine;
use crate::forward::{Invoke, InvokeError};
use crate::random::Random;
use crate::state::{Backend, Layout};

const TABLE: &str = "state";
const START: SystemTime = UNIX_EPOCH;
const SECOND: Duration = Duration::from_secs(1);

fn clock() -> Clock {
    Clock::simulated(START + Duration::from_secs(1_800_000_000))
}

/// What the SDK is told, to reach the engine.
fn sdk(engine: &Engine) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url("http://engine.invalid")
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(engine.clone())
        .build()
}

/// A state table, and places in a directory.
struct World {
    engine: Engine,
    clock: Clock,
    backend: Backend,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let (engine, clock) = (Engine::new(), clock());
        let backend = engine.backend(TABLE, Layout::Teleport, &clock, 1).await;
        Self {
            engine,
            clock,
            backend,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Tasks of a document; `DIR` in it is the directory.
    fn maintain(&self, document: &str) -> Maintain {
        let document = document.replace("DIR", &format!("file://{}", self.dir.path().display()));
        let config = Config::parse(&document, "test", []).unwrap();
        Maintain::new(
            &config,
            &BTreeMap::new(),
            &sdk(&self.engine),
            self.clock.clone(),
            Random::seeded(2),
        )
        .unwrap()
    }

    async fn run(&self, maintain: &Maintain, order: Order) -> Outcome {
        let now = self.clock.instant();
        maintain.run(order, now + 60 * SECOND, now + 90 * SECOND).await
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Names of files below a folder.
    fn files(&self, folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir.path().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.file_name().unwrap().to_str().unwrap().to_owned()),
                }
            }
        }
        found.sort();
        found
    }
}

fn dry(task: Task) -> Order {
    Order {
        dry_run: true,
        ..Order::of(task)
    }
}

fn metric(outcome: &Outcome, name: &str) -> f64 {
    let found = outcome.metrics.iter().find(|metric| metric.name == name);
    found
        .unwrap_or_else(|| panic!("{name} is not in {outcome:?}"))
        .value
}

/// A function that takes everything, after a while.
#[derive(Debug, Clone, Default)]
struct Takes {
    after: Duration,
    payloads: Arc<Mutex<Vec<String>>>,
}

impl Takes {
    fn count(&self) -> usize {
        self.payloads.lock().unwrap().len()
    }
}

impl Invoke for Takes {
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        async move {
            tokio::time::sleep(self.after).await;
            self.payloads.lock().unwrap().push(payload);
            Ok(r#"{"batchItemFailures":[]}"#.to_owned())
        }
        .boxed()
    }
}
