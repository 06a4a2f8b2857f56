//! The tasks beside the function: drain, and lake, each under its lease on the state table.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use futures_util::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use tidewatch::clock::Clock;
use tidewatch::forward::drain::{self, drain};
use tidewatch::forward::{Invoke, InvokeError, Spool};
use tidewatch::lake::{Lake, Limits};
use tidewatch::maintain::{Turn, leased};
use tidewatch::objects::Objects;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, ErrorKind, Layout, LockConfiguration};

use super::state::Directory;
use super::tables::STATE_TABLE;
use crate::esm::Handler;

/// The tasks, by the names of their leases.
const DRAIN: &str = "drain";
const LAKE: &str = "lake";
/// How long a run of a task may take.
const TURN: Duration = Duration::from_secs(60);
/// What an invocation by a task has.
const INVOCATION: Duration = Duration::from_secs(300);
/// How often the tasks run once nothing more comes, before that is an error.
const LAST_TURNS: usize = 100;

/// What the tasks did, all runs together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Done {
    /// Records that had waited in the spool and were delivered.
    pub drained: u64,
    /// Objects that wait in the spool.
    pub waiting: u64,
    /// Rows in the lake's files.
    pub filed: u64,
}

/// Runs tasks against a function in this process.
pub(super) struct Tasks {
    spool: Spool,
    lake: Lake,
    forward: InThisProcess,
    backend: Backend,
    clock: Clock,
    done: Mutex<Done>,
}

/// The function that the mapping calls, too.
struct InThisProcess {
    handler: Handler,
    clock: Clock,
    /// Answers that all is delivered, as [`Plant::Forget`](super::Plant::Forget) asks.
    forgets: bool,
}

impl fmt::Debug for InThisProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InThisProcess")
    }
}

impl Invoke for InThisProcess {
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        if self.forgets {
            return std::future::ready(Ok(r#"{"batchItemFailures":[]}"#.to_owned())).boxed();
        }
        let deadline: SystemTime = self.clock.now() + INVOCATION;
        let answer = (self.handler)(payload, deadline);
        async move { answer.await.map_err(InvokeError) }.boxed()
    }
}

impl Tasks {
    /// Over the places of a directory, and a state table that is there. Leases that stand there are broken: this process
    /// has the directory for itself, so who held them was killed.
    ///
    /// # Errors
    /// What the endpoint answered.
    pub(super) async fn new(
        directory: &Directory,
        client: &Client,
        handler: &Handler,
        clock: &Clock,
        done: Done,
    ) -> Result<Self, String> {
        let config = Config {
            table_name: STATE_TABLE.to_owned(),
            layout: Layout::Teleport,
            ..Config::default()
        };
        let random = Random::system();
        let backend = Backend::existing(client, config, clock.clone(), random.clone()).await;
        let backend = backend.map_err(|error| error.to_string())?;
        for task in [DRAIN, LAKE] {
            let lease = LockConfiguration::new(["maintain", task], TURN).key();
            let broken = match backend.get(&lease).await {
                Ok(_) => backend.delete(&lease).await,
                Err(error) => Err(error),
            };
            match broken {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.to_string()),
                _ => {}
            }
        }
        let objects = |dir| Objects::dir(dir, random.clone());
        Ok(Self {
            spool: Spool::new(objects(directory.spool())),
            lake: Lake::new(
                objects(directory.lake()),
                Limits::default(),
                clock.clone(),
                random.clone(),
            ),
            forward: InThisProcess {
                handler: Handler::clone(handler),
                clock: clock.clone(),
                forgets: false,
            },
            backend,
            clock: clock.clone(),
            done: Mutex::new(done),
        })
    }

    /// The same, but what is drained from the spool is said to be delivered, and is not.
    pub(super) fn forgetting(mut self, forgets: bool) -> Self {
        self.forward.forgets = forgets;
        self
    }

    /// What they did so far.
    pub(super) fn done(&self) -> Done {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drains what waits in the spool. Answers whether nothing is left.
    ///
    /// # Errors
    /// What the state table or the spool answered.
    pub(super) async fn drain(&self) -> Result<bool, String> {
        let now = self.clock.instant();
        let options = drain::Options {
            last_call: now + TURN,
            deadline: now + 2 * TURN,
            dry_run: false,
        };
        let work = drain(&self.spool, &self.forward, &self.clock, options);
        let Turn::Ran(report) = Box::pin(leased(&self.backend, DRAIN, work))
            .await
            .map_err(|error| error.to_string())?
        else {
            return Ok(false);
        };
        let mut done = self.lock();
        done.waiting = 0;
        for sink in report.sinks.values() {
            done.drained += sink.records as u64;
            // What was not looked at may wait.
            done.waiting += sink.left.as_ref().map_or(1, |left| left.objects as u64);
        }
        match report.error {
            Some(error) => Err(error),
            None => Ok(done.waiting == 0),
        }
    }

    /// Files what is staged for the lake. Answers whether nothing is left.
    ///
    /// # Errors
    /// What the state table or the lake answered.
    pub(super) async fn file(&self) -> Result<bool, String> {
        let work = self.lake.run(self.clock.instant() + TURN);
        let turn = Box::pin(leased(&self.backend, LAKE, work)).await;
        let Turn::Ran(ran) = turn.map_err(|error| error.to_string())? else {
            return Ok(false);
        };
        let report = ran.map_err(|failed| failed.to_string())?;
        self.lock().filed += report.rows as u64;
        Ok(report.complete)
    }

    /// Runs them, each so often, until `stop` ends. A turn that has begun goes on to its end: one that was dropped
    /// would leave its lease standing. `told` hears of each turn that did something, and of failures.
    pub(super) async fn run(
        &self,
        drains: Duration,
        files: Duration,
        stop: impl Future<Output = ()> + Send,
        told: impl Fn(Result<&Done, String>),
    ) {
        let stop = stop.shared();
        let each = |every: Duration, lake: bool| {
            let (told, stop) = (&told, stop.clone());
            async move {
                while self.clock.timeout(every, stop.clone()).await.is_err() {
                    let before = self.done();
                    let turn = if lake {
                        Box::pin(self.file()).await
                    } else {
                        Box::pin(self.drain()).await
                    };
                    let after = self.done();
                    match turn {
                        Err(error) => told(Err(error)),
                        Ok(_) if before != after => told(Ok(&after)),
                        Ok(_) => {}
                    }
                }
            }
        };
        tokio::join!(each(drains, false), each(files, true));
    }

    /// Runs them until nothing is left. `told` hears of what they did.
    ///
    /// # Errors
    /// A message if that takes too long.
    pub(super) async fn finish(
        &self,
        pause: Duration,
        told: impl Fn(Result<&Done, String>),
    ) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..LAST_TURNS {
            let turns = (Box::pin(self.drain()).await, Box::pin(self.file()).await);
            told(Ok(&self.done()));
            match turns {
                (Ok(true), Ok(true)) => return Ok(()),
                (Err(error), _) | (_, Err(error)) => last = error,
                _ => {}
            }
            self.clock.sleep(pause).await;
        }
        Err(format!(
            "the tasks did not come to an end: {:?} {last}",
            self.done()
        ))
    }
}
