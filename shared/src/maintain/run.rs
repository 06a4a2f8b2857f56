//! A task of the configuration, run: its clients, its lease, its time, and what came of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use tokio::sync::OnceCell;

use super::lease::{Turn, leased};
use super::line::{Line, relayed};
use super::outcome::Done;
use super::watch_log::WatchLog;
use super::{Ended, Order, Outcome, Run, Task};
use crate::clock::{Clock, Instant};
#[cfg(feature = "lake")]
use crate::config::SinkUri;
use crate::config::{Config, Draining, MaintainConfig, ObjectsUri, SinkConfig};
use crate::forward::{Invoke, Spool};
#[cfg(feature = "lake")]
use crate::lake::{Lake, Limits};
use crate::objects::Objects;
use crate::random::Random;
use crate::state::{self, Backend};
use crate::watch::log::Log;

/// All tasks as configured. One is made at start, with the clients of all tasks, and serves every run of the process.
#[derive(Debug)]
pub struct Maintain {
    pub(super) document: Config,
    /// Its section.
    pub(super) config: MaintainConfig,
    pub(super) clock: Clock,
    pub(super) random: Random,
    #[cfg(feature = "s3")]
    pub(super) sdk: SdkConfig,
    /// Of the state table and the watch log.
    pub(super) client: Client,
    /// Of the audit table.
    pub(super) audit: Client,
    #[cfg(feature = "lambda")]
    pub(super) lambda: aws_sdk_lambda::Client,
    pub(super) backend: OnceCell<Backend>,
    pub(super) watch_log: Option<WatchLog>,
    pub(super) spool: Option<Spool>,
    /// The spool, to be looked into.
    pub(super) parked: Option<Objects>,
    pub(super) quarantine: Option<Objects>,
    pub(super) failures: Option<Objects>,
    /// Sinks by name, with the places of those that put objects.
    pub(super) sinks: BTreeMap<String, (SinkConfig, Option<Objects>)>,
    #[cfg(feature = "lake")]
    pub(super) lakes: BTreeMap<String, Lake>,
    pub(super) forward: Option<Arc<dyn Invoke>>,
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

/// How long a task that does not stop by itself is waited for.
const GRACE: Duration = Duration::from_secs(2);

impl Maintain {
    /// The tasks of a configuration's section `maintain`, over these settings of the SDK; for the state table and its watch
    /// log with region and endpoint of the section `watch`, if that has any. Of sinks that were removed (`draining`) what is
    /// staged for a lake is filed still. No request.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(
        config: &Config,
        draining: &BTreeMap<String, Draining>,
        sdk: &SdkConfig,
        clock: Clock,
        random: Random,
    ) -> Result<Self, StartError> {
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
        let mut sinks = BTreeMap::new();
        for (name, sink) in &config.sinks {
            let objects = sink.uri.place().as_ref().map(open).transpose()?;
            sinks.insert(name.clone(), (sink.clone(), objects));
        }
        #[cfg(feature = "lake")]
        let lakes = lakes(config, draining, open, &clock, &random)?;
        #[cfg(not(feature = "lake"))]
        let _ = draining;
        #[cfg(feature = "lambda")]
        let lambda = aws_sdk_lambda::Client::new(sdk);
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
            transport: watch.source,
            retention: maintain.retention,
            #[cfg(feature = "lambda")]
            function: maintain.feed.clone(),
            #[cfg(feature = "lambda")]
            lambda: lambda.clone(),
        });
        Ok(Self {
            client,
            audit: Client::new(sdk),
            backend: OnceCell::new(),
            watch_log,
            spool: config.spool.as_ref().map(open).transpose()?.map(Spool::new),
            parked: config.spool.as_ref().map(open).transpose()?,
            quarantine: config.quarantine.as_ref().map(open).transpose()?,
            failures: maintain.failures.as_ref().map(open).transpose()?,
            sinks,
            #[cfg(feature = "lake")]
            lakes,
            forward: function(&maintain, sdk),
            #[cfg(feature = "s3")]
            sdk: sdk.clone(),
            #[cfg(feature = "lambda")]
            lambda,
            document: config.clone(),
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
    /// A dry run takes no lease, nor does `verify`.
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
        // What only reads has nothing to keep others from.
        if run.dry_run || task == Task::Verify {
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
    pub(super) fn every(&self, order: Order) -> Option<Duration> {
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
    pub(super) async fn backend(&self, run: Run) -> Result<&Backend, String> {
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

/// The lakes of sinks, removed ones among them.
#[cfg(feature = "lake")]
fn lakes(
    config: &Config,
    draining: &BTreeMap<String, Draining>,
    open: impl Fn(&ObjectsUri) -> Result<Objects, StartError>,
    clock: &Clock,
    random: &Random,
) -> Result<BTreeMap<String, Lake>, StartError> {
    let removed = draining
        .iter()
        .filter_map(|(name, removed)| Some((name, removed.config.as_ref()?)));
    let mut lakes = BTreeMap::new();
    for (name, sink) in removed.chain(&config.sinks) {
        if let SinkUri::Lake(uri) = &sink.uri {
            let lake = Lake::new(open(uri)?, Limits::default(), clock.clone(), random.clone());
            lakes.insert(name.clone(), lake);
        }
    }
    Ok(lakes)
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
