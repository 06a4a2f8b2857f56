//! The `maintain` function: runs the task that a schedule's event names ([`Maintain`]), and tells what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::config::{
    Config, Draining, LoadError, ObjectsUri, SecretError, Versions, VersionsError, overrides, versions_place,
};
use tidewatch::emf;
use tidewatch::maintain::{Maintain, Order, OrderError, Outcome, StartError};
use tidewatch::objects::Objects;
use tidewatch::random::Random;

/// The function: what `main` runs under the Lambda runtime.
#[derive(Debug)]
pub struct Function {
    source: Source,
    clock: Clock,
    random: Random,
    name: String,
}

/// Where the tasks come from.
#[derive(Debug)]
enum Source {
    Fixed(Box<Maintain>),
    /// By the version in force, which each invocation asks for.
    Versions(Box<Versions>, Mutex<Option<(String, Arc<Maintain>)>>),
}

/// A run, and how long it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// What came of it.
    pub outcome: Outcome,
    /// From the event to here.
    pub took: Duration,
}

/// Why no task was begun; the invocation fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read, or has faults.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The place of the configuration's versions cannot be opened.
    #[error("{0}")]
    Place(String),
    /// No version of the configuration can be read.
    #[error("no configuration: {0}")]
    Versions(#[from] VersionsError),
    /// A secret of the AWS settings cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The tasks cannot be set up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The event is none of a schedule.
    #[error(transparent)]
    Order(#[from] OrderError),
}

/// Kept back before the deadline, for the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Before that nothing new is begun any more.
const LAST_CALL: Duration = Duration::from_secs(30);

impl Function {
    /// The function as `TIDEWATCH_CONFIG` says: by a document, or where the value ends with a slash by the versions in
    /// that place, which each invocation reads anew. The document may be the one of `forward`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(uri: Option<&str>, clock: Clock, random: Random) -> Result<Self, Error> {
        let source = match uri.and_then(versions_place) {
            None => {
                let config = Config::load(uri).await?;
                Source::Fixed(Box::new(
                    maintain(&config, &BTreeMap::new(), &clock, &random).await?,
                ))
            }
            Some(place) => {
                let place = place.map_err(Error::Place)?;
                let objects = objects(&place, random.clone()).await?;
                let versions = Versions::new(objects, clock.clone(), overrides());
                Source::Versions(Box::new(versions), Mutex::default())
            }
        };
        Ok(Self {
            source,
            clock,
            random,
            name: "maintain".to_owned(),
        })
    }

    /// The function around tasks that are set up.
    pub fn new(maintain: Maintain, clock: Clock, random: Random) -> Self {
        Self {
            source: Source::Fixed(Box::new(maintain)),
            clock,
            random,
            name: "maintain".to_owned(),
        }
    }

    /// Names the function in its metrics, so that two of one account are told apart.
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Runs what an event asks for; has ended shortly before the deadline.
    ///
    /// # Errors
    /// [`Error`] if no task could be begun. That one failed is said in the outcome.
    pub async fn invoke(&self, event: &str, deadline: SystemTime) -> Result<Ran, Error> {
        let begun = self.clock.instant();
        let order = Order::parse(event)?;
        let end = self.clock.instant_at(deadline);
        let total = end.saturating_duration_since(begun);
        let stop = end - ANSWER.min(total / 10);
        let last_call = stop - LAST_CALL.min(total / 4);
        let outcome = match &self.source {
            Source::Fixed(maintain) => Box::pin(maintain.run(order, last_call, stop)).await,
            Source::Versions(versions, known) => {
                let maintain = Box::pin(self.in_force(versions, known)).await?;
                Box::pin(maintain.run(order, last_call, stop)).await
            }
        };
        Ok(Ran {
            outcome,
            took: self.clock.instant().saturating_duration_since(begun),
        })
    }

    /// The tasks of the version in force.
    async fn in_force(
        &self,
        versions: &Versions,
        known: &Mutex<Option<(String, Arc<Maintain>)>>,
    ) -> Result<Arc<Maintain>, Error> {
        let chain = versions.read().await?;
        let version = chain.versions().get(chain.in_force(self.clock.now()));
        let version = version.ok_or(StartError::NotConfigured)?;
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = lock().as_ref().filter(|(name, _)| *name == version.name).cloned();
        if let Some((_, maintain)) = same {
            return Ok(maintain);
        }
        let maintain = maintain(&version.config, &version.draining, &self.clock, &self.random).await?;
        let maintain = Arc::new(maintain);
        *lock() = Some((version.name.clone(), Arc::clone(&maintain)));
        Ok(maintain)
    }

    /// A run's metrics in CloudWatch's embedded metric format, with the report beside them: a JSON line for the log.
    pub fn metrics(&self, ran: &Ran) -> String {
        let outcome = &ran.outcome;
        let mut metrics: Vec<_> = outcome
            .metrics
            .iter()
            .map(|metric| (metric.name, metric.unit, json!(metric.value)))
            .collect();
        let took = json!(ran.took.as_secs_f64() * 1000.0);
        metrics.push(("maintain_ms", "Milliseconds", took));
        let mut line = emf::line(&self.name, &metrics, self.clock.now());
        line.insert("task".to_owned(), outcome.task.name().into());
        line.insert("dry_run".to_owned(), outcome.dry_run.into());
        line.insert("state".to_owned(), json!(outcome.state));
        line.insert("complete".to_owned(), outcome.complete.into());
        line.insert("report".to_owned(), outcome.report.clone());
        if let Some(error) = &outcome.error {
            line.insert("error".to_owned(), error.as_str().into());
        }
        Value::Object(line).to_string()
    }
}

async fn maintain(
    config: &Config,
    draining: &BTreeMap<String, Draining>,
    clock: &Clock,
    random: &Random,
) -> Result<Maintain, Error> {
    let sdk = config.aws.sdk_config().await?;
    Ok(Maintain::new(
        config,
        draining,
        &sdk,
        clock.clone(),
        random.clone(),
    )?)
}

/// Where versions are kept; S3 by the default chain, since no version has been read that could say otherwise.
#[cfg_attr(not(feature = "s3"), allow(clippy::unused_async))]
async fn objects(place: &ObjectsUri, random: Random) -> Result<Objects, Error> {
    #[cfg(feature = "s3")]
    let sdk = match place {
        ObjectsUri::S3(_) => Some(tidewatch::aws::default_chain().await),
        ObjectsUri::File(_) => None,
    };
    #[cfg(feature = "s3")]
    let sdk = sdk.as_ref();
    #[cfg(not(feature = "s3"))]
    let sdk = None;
    Objects::open(place, sdk, random).map_err(|reason| Error::Place(reason.to_owned()))
}
