//! A task of the configuration, run: its clients, its lease, its time, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use futures_util::future::{BoxFuture, FutureExt};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::drain::options;
use super::lease::{Turn, leased};
use super::line::{Line, relayed};
use super::watch_log::WatchLog;
use super::{Metric, Order, Report, Run, Task};
use crate::clock::{Clock, Instant};
use crate::config::{Config, MaintainConfig, ObjectsUri, SinkUri};
use crate::forward::drain::drain;
use crate::forward::{Invoke, InvokeError, Spool};
#[cfg(feature = "lake")]
use crate::lake::{Lake, Limits};
use crate::objects::Objects;
use crate::random::Random;
use crate::redrive::{Hand, failures};
use crate::state::{self, Backend};
use crate::watch::log::Log;

/// All tasks as configured. One is made at start, with the clients of all tasks, and serves every run of the process.
#[derive(Debug)]
pub struct Maintain {
    config: MaintainConfig,
    clock: Clock,
    random: Random,
    /// Of the state table and the watch log.
    client: Client,
    backend: OnceCell<Backend>,
    watch_log: Option<WatchLog>,
    spool: Option<Spool>,
    failures: Option<Objects>,
    #[cfg(feature = "lake")]
    lakes: BTreeMap<String, Lake>,
    forward: Option<Arc<dyn Invoke>>,
}

/// Why no task can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The configuration has no section for this.
    #[error("the configuration has no section `maintain`")]
    NotConfigured,
    /// A place cannot be opened.
    #[error("{uri:?} cannot be opened: {reason}")]
    Place {
        /// It.
        uri: Box<ObjectsUri>,
        /// What is missing.
        reason: &'static str,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It ran, to its end or its error.
    Ran,
    /// Another was running the task, and it was left to that one.
    Held,
    /// The lease was lost while it ran, and it was stopped where it was.
    Lost,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The task.
    pub task: Task,
    /// It only looked.
    pub dry_run: bool,
    /// How it ended.
    pub state: Ended,
    /// Nothing was left that it should have done.
    pub complete: bool,
    /// It found what somebody must look at: a loss, or what leads to one.
    pub found: bool,
    /// Why it failed; the next run goes on where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The task's own report; null if it was not begun, or failed before there was one.
    pub report: Value,
    /// The figures to alarm on.
    pub metrics: Vec<Metric>,
}

/// What a task's turn came to.
struct Done {
    report: Value,
    metrics: Vec<Metric>,
    complete: bool,
    found: bool,
    error: Option<String>,
}

impl Done {
    fn of(report: &impl Report, error: Option<String>) -> Self {
        let (metrics, complete) = (report.metrics(), report.is_complete() && error.is_none());
        match serde_json::to_value(report) {
            Ok(report) => Self {
                report,
                metrics,
                complete,
                found: false,
                error,
            },
            Err(wrong) => Self {
                report: Value::Null,
                metrics,
                complete: false,
                found: false,
                error: error.or_else(|| Some(wrong.to_string())),
            },
        }
    }

    fn failed(error: impl fmt::Display) -> Self {
        Self {
            report: Value::Null,
            metrics: Vec::new(),
            complete: false,
            found: false,
            error: Some(error.to_string()),
        }
    }

    fn finding(mut self, found: bool) -> Self {
        self.found = found;
        self
    }

    /// Something is not configured that the task needs.
    fn lacking(task: Task, settings: &str) -> Self {
        Self::failed(format!("{task} needs {settings} of the configuration"))
    }
}

/// How long a task that does not stop by itself is waited for.
const GRACE: Duration = Duration::from_secs(2);

impl Maintain {
    /// The tasks of a configuration's section `maintain`, over these settings of the SDK; for the tables with region and
    /// endpoint of the section `watch`, if that has any. No request.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(config: &Config, sdk: &SdkConfig, clock: Clock, random: Random) -> Result<Self, StartError> {
        let maintain = config.maintain.clone().ok_or(StartError::NotConfigured)?;
        let client = Client::new(&of_tables(config, sdk));
        let open = |uri: &ObjectsUri| {
            #[cfg(feature = "s3")]
            let opened = Objects::open(uri, Some(sdk), random.clone());
            #[cfg(not(feature = "s3"))]
            let opened = Objects::open(uri, None, random.clone());
            opened.map_err(|reason| StartError::Place {
                uri: Box::new(uri.clone()),
                reason,
            })
        };
        let mut lakes = BTreeMap::new();
        for (name, sink) in &config.sinks {
            if let SinkUri::Lake(uri) = &sink.uri {
                lakes.insert(name.clone(), open(uri)?);
            }
        }
        #[cfg(feature = "lake")]
        let lake = |objects| Lake::new(objects, Limits::default(), clock.clone(), random.clone());
        let watch_log = config.watch.as_ref().map(|watch| WatchLog {
            log: Log::new(
                &client,
                &watch.log.table,
                &watch.log.name,
                clock.clone(),
                random.clone(),
            ),
            client: client.clone(),
            table: watch.table.clone(),
            retention: maintain.retention,
            #[cfg(feature = "lambda")]
            function: maintain.function.clone(),
            #[cfg(feature = "lambda")]
            lambda: aws_sdk_lambda::Client::new(sdk),
        });
        Ok(Self {
            client,
            backend: OnceCell::new(),
            watch_log,
            spool: config.spool.as_ref().map(open).transpose()?.map(Spool::new),
            failures: maintain.failures.as_ref().map(open).transpose()?,
            #[cfg(feature = "lake")]
            lakes: lakes
                .into_iter()
                .map(|(name, objects)| (name, lake(objects)))
                .collect(),
            forward: function(&maintain, sdk),
            config: maintain,
            clock,
            random,
        })
    }

    /// Hands records to this instead of the function that is configured.
    #[must_use]
    pub fn handing_to(mut self, forward: Arc<dyn Invoke>) -> Self {
        self.forward = Some(forward);
        self
    }

    /// Runs a task under its lease, unless another does; `expire` that repeats itself waits for its predecessor to give way.
    /// What is begun is begun by `last_call`, and everything has ended at `stop`, or about two seconds later.
    /// A dry run takes no lease.
    ///
    /// Requests, beside those of the task: four to six once in a process to open the state table; two for the lease, and one
    /// each half minute.
    /// If the call is dropped, the lease stands until it expires, up to a minute; the task goes on in the next run.
    pub async fn run(&self, order: Order, last_call: Instant, stop: Instant) -> Outcome {
        let run = Run {
            last_call,
            stop,
            dry_run: order.dry_run,
        };
        let (state, done) = match Box::pin(self.turn(order, run)).await {
            Ok(Turn::Ran(done)) => (Ended::Ran, done),
            Ok(Turn::Held) => (
                Ended::Held,
                Done {
                    error: None,
                    ..Done::failed("")
                },
            ),
            Ok(Turn::Lost(error)) => (
                Ended::Lost,
                Done::failed(format!("the lease was lost, and the task stopped: {error}")),
            ),
            Err(error) => (
                Ended::Ran,
                Done::failed(format!("the task was not begun: {error}")),
            ),
        };
        if let Some(error) = &done.error {
            tracing::error!(task = order.task.name(), error, "the task failed");
        }
        Outcome {
            task: order.task,
            dry_run: order.dry_run,
            state,
            complete: done.complete,
            found: done.found,
            error: done.error,
            report: done.report,
            metrics: done.metrics,
        }
    }

    async fn turn(&self, order: Order, run: Run) -> Result<Turn<Done>, String> {
        let task = order.task;
        if run.dry_run {
            let work = self.bounded(run, self.work(order, run, Line::default()));
            return Ok(Turn::Ran(work.await));
        }
        let backend = self.backend(run).await?;
        let repeats = task == Task::Expire && self.every(order).is_some();
        if repeats {
            let work = |line| self.bounded(run, self.work(order, run, line));
            let turn = Box::pin(relayed(backend, task.name(), run.last_call, work)).await;
            return turn.map_err(|error| error.to_string());
        }
        let work = self.bounded(run, self.work(order, run, Line::default()));
        let turn = Box::pin(leased(backend, task.name(), work)).await;
        turn.map_err(|error| error.to_string())
    }

    /// How often it repeats itself; a dry run looks once.
    fn every(&self, order: Order) -> Option<Duration> {
        let every = order.every.or(self.config.expire.every);
        every.filter(|_| !order.dry_run)
    }

    /// A task must stop by itself; a request that hangs must not keep it from that.
    async fn bounded(&self, run: Run, work: impl Future<Output = Done>) -> Done {
        let left = (run.stop + GRACE).saturating_duration_since(self.clock.instant());
        let done = self.clock.timeout(left, Box::pin(work)).await;
        done.unwrap_or_else(|_| Done::failed("it did not end in its time, and was stopped where it was"))
    }

    /// The state table, opened once.
    async fn backend(&self, run: Run) -> Result<&Backend, String> {
        let open = || async {
            let config = state::Config {
                table_name: self.config.state.table.clone(),
                layout: self.config.state.layout.clone(),
                ..state::Config::default()
            };
            Box::pin(Backend::existing(
                &self.client,
                config,
                self.clock.clone(),
                self.random.clone(),
            ))
            .await
        };
        let left = run.stop.saturating_duration_since(self.clock.instant());
        match self.clock.timeout(left, self.backend.get_or_try_init(open)).await {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(_) => Err(format!(
                "the table {} did not answer in time",
                self.config.state.table
            )),
        }
    }

    async fn work(&self, order: Order, run: Run, _line: Line) -> Done {
        match order.task {
            Task::WatchLog => self.watch_log(run).await,
            Task::Lake => self.lake(run).await,
            Task::Drain => self.drain(run).await,
            Task::Redrive => self.redrive(run).await,
            task => Done::failed(format!("{task} is not in this build")),
        }
    }

    async fn watch_log(&self, run: Run) -> Done {
        let Some(watch_log) = &self.watch_log else {
            return Done::lacking(Task::WatchLog, "the section `watch`");
        };
        match watch_log.run(&self.clock, run).await {
            Ok(report) => Done::of(&report, None).finding(!report.findings.is_empty()),
            Err(error) => Done::failed(error),
        }
    }

    #[cfg(feature = "lake")]
    async fn lake(&self, run: Run) -> Done {
        if self.lakes.is_empty() {
            return Done::lacking(Task::Lake, "a sink with format=parquet among the `sinks`");
        }
        let report = super::lake::file(&self.lakes, run).await;
        let error = report.error();
        Done::of(&report, error)
    }

    #[cfg(not(feature = "lake"))]
    #[allow(clippy::unused_async)]
    async fn lake(&self, _: Run) -> Done {
        Done::failed("lake needs a build with the feature `lake`")
    }

    async fn drain(&self, run: Run) -> Done {
        let (Some(spool), Some(forward)) = (&self.spool, self.forward(run)) else {
            return Done::lacking(Task::Drain, "`spool` and `maintain.function`");
        };
        let report = Box::pin(drain(spool, forward, &self.clock, options(run))).await;
        let error = report.error.clone();
        Done::of(&report, error)
    }

    async fn redrive(&self, run: Run) -> Done {
        let (Some(failures), Some(forward)) = (&self.failures, self.forward(run)) else {
            return Done::lacking(Task::Redrive, "`maintain.failures` and `maintain.function`");
        };
        let hand = Hand {
            forward,
            clock: &self.clock,
            options: options(run),
        };
        let report = Box::pin(failures::redrive(failures, hand, &|_| {})).await;
        let error = report.error.clone();
        Done::of(&report, error)
    }

    /// To whom records are handed; a dry run hands over nothing, and so needs nobody.
    fn forward(&self, run: Run) -> Option<&dyn Invoke> {
        match &self.forward {
            None if run.dry_run => Some(&Nobody),
            forward => forward.as_deref(),
        }
    }
}

/// The SDK's settings for the state table and its watch log.
fn of_tables(config: &Config, sdk: &SdkConfig) -> SdkConfig {
    let mut settings = sdk.to_builder();
    if let Some(watch) = &config.watch {
        if let Some(region) = &watch.region {
            settings.set_region(Some(Region::new(region.clone())));
        }
        if let Some(endpoint) = &watch.endpoint {
            settings.set_endpoint_url(Some(endpoint.clone()));
        }
    }
    settings.build()
}

#[cfg(feature = "lambda")]
fn function(maintain: &MaintainConfig, sdk: &SdkConfig) -> Option<Arc<dyn Invoke>> {
    let name = maintain.function.clone()?;
    Some(Arc::new(crate::forward::LambdaFunction::new(sdk, name)))
}

#[cfg(not(feature = "lambda"))]
fn function(_: &MaintainConfig, _: &SdkConfig) -> Option<Arc<dyn Invoke>> {
    None
}

/// Who is handed the records of a dry run.
#[derive(Debug)]
struct Nobody;

impl Invoke for Nobody {
    fn invoke(&self, _: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        let error = InvokeError("a dry run hands nothing over".to_owned());
        std::future::ready(Err(error)).boxed()
    }
}
