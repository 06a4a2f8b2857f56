//! The `forward` function: hands each Lambda event to [`Forwarder`], or with the feature `watch` to
//! [`Feed`], and turns the answer into Lambda's.
//!
//! One binary serves both. A payload is the feed's if the configuration has a section `watch` and it comes from that
//! table's stream, from Kinesis or from a failure queue; every other one is the forwarder's, Lambda's or what a task hands
//! over.

mod metrics;

use std::time::SystemTime;

use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use tidewatch::clock::Clock;
use tidewatch::config::{Config, LoadError, ObjectsUri, Versions, overrides, versions_place};
use tidewatch::forward::{self, Forwarder};
use tidewatch::objects::Objects;
use tidewatch::random::Random;
#[cfg(feature = "watch")]
use tidewatch::watch::feed::{self, Feed};

/// The function: what `main` runs under the Lambda runtime, and `tidewatch up` under a simulated mapping.
#[derive(Debug)]
pub struct Function {
    forwarder: Option<Forwarder>,
    #[cfg(feature = "watch")]
    feed: Option<Feed>,
    clock: Clock,
    name: String,
}

/// Why the function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be read, or has faults.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The place of the configuration's versions cannot be opened.
    #[error("{0}")]
    Place(String),
    /// The forwarder cannot.
    #[error(transparent)]
    Forward(#[from] forward::StartError),
    /// The feed of the watch log cannot.
    #[cfg(feature = "watch")]
    #[error(transparent)]
    Watch(#[from] feed::StartError),
}

/// Why an event has no answer; the invocation fails and Lambda sends all of it again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvokeError {
    /// The forwarder has none.
    #[error(transparent)]
    Forward(#[from] forward::HandleError),
    /// The feed of the watch log has none.
    #[cfg(feature = "watch")]
    #[error(transparent)]
    Watch(#[from] feed::HandleError),
}

/// What became of an event's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Audit events.
    Forward(forward::Report),
    /// Changes of a state table.
    #[cfg(feature = "watch")]
    Watch(feed::Report),
}

impl Function {
    /// The function around a forwarder.
    pub fn new(forwarder: Forwarder, clock: Clock) -> Self {
        Self {
            forwarder: Some(forwarder),
            #[cfg(feature = "watch")]
            feed: None,
            clock,
            name: "forward".to_owned(),
        }
    }

    /// The function around a feed of a watch log.
    #[cfg(feature = "watch")]
    pub fn feeding(feed: Feed, clock: Clock) -> Self {
        Self {
            forwarder: None,
            feed: Some(feed),
            clock,
            name: "forward".to_owned(),
        }
    }

    /// The function as configured: a forwarder, a feed, or both.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: &Config, clock: Clock, random: Random) -> Result<Self, StartError> {
        #[cfg(feature = "watch")]
        let feed = feed(config, &clock, &random).await?;
        #[cfg(feature = "watch")]
        // A sink without a quarantine is refused, not passed over.
        let forwards = feed.is_none() || config.quarantine.is_some() || !config.sinks.is_empty();
        #[cfg(not(feature = "watch"))]
        let forwards = true;
        let forwarder = if forwards {
            Some(Box::pin(Forwarder::start(config, clock.clone(), random)).await?)
        } else {
            None
        };
        Ok(Self {
            forwarder,
            #[cfg(feature = "watch")]
            feed,
            clock,
            name: "forward".to_owned(),
        })
    }

    /// The function as `TIDEWATCH_CONFIG` says: by a document, or where the value ends with a slash by the versions in
    /// that place, which each batch reads anew; a section `watch` in them counts as it is now.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_from(uri: Option<&str>, clock: Clock, random: Random) -> Result<Self, StartError> {
        let Some(place) = uri.and_then(versions_place) else {
            let config = Config::load(uri).await?;
            return Self::start(&config, clock, random).await;
        };
        let place = place.map_err(StartError::Place)?;
        let objects = objects(&place, random.clone()).await?;
        let versions = Versions::new(objects, clock.clone(), overrides());
        #[cfg(feature = "watch")]
        let feed = {
            let chain = versions.read().await;
            let chain = chain.map_err(|error| forward::StartError::Versions(error.to_string()))?;
            let version = chain.versions().get(chain.in_force(clock.now()));
            match version.map(|version| &version.config) {
                Some(config)
                    if config.watch.is_some() && config.quarantine.is_none() && config.sinks.is_empty() =>
                {
                    return Self::start(config, clock, random).await;
                }
                Some(config) => feed(config, &clock, &random).await?,
                None => None,
            }
        };
        let forwarder = Forwarder::start_versions(versions, clock.clone(), random);
        Ok(Self {
            forwarder: Some(Box::pin(forwarder).await?),
            #[cfg(feature = "watch")]
            feed,
            clock,
            name: "forward".to_owned(),
        })
    }

    /// Names the function in its metrics, so that two of one account are told apart.
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Answers one Lambda event: `{"batchItemFailures":[…]}` with the one record from which Lambda must go on, or none;
    /// for a queue with each message that must come again.
    ///
    /// # Errors
    /// [`InvokeError`]; the invocation fails and Lambda sends the whole batch again.
    pub async fn invoke(&self, payload: &str, deadline: SystemTime) -> Result<String, InvokeError> {
        self.invoke_reported(payload, deadline)
            .await
            .map(|(answer, _)| answer)
    }

    /// [`invoke`](Self::invoke), with what became of the records.
    ///
    /// # Errors
    /// As [`invoke`](Self::invoke).
    pub async fn invoke_reported(
        &self,
        payload: &str,
        deadline: SystemTime,
    ) -> Result<(String, Report), InvokeError> {
        let deadline = self.clock.instant_at(deadline);
        #[cfg(feature = "watch")]
        if let Some(feed) = &self.feed
            && (self.forwarder.is_none() || feed.takes(payload))
        {
            let handled = Box::pin(feed.handle(payload, deadline)).await?;
            return Ok((answer(handled.failed), Report::Watch(handled.report)));
        }
        let Some(forwarder) = &self.forwarder else {
            return Err(forward::HandleError::NotAnEvent.into());
        };
        let handled = forwarder.handle(payload, deadline).await?;
        Ok((answer(handled.first_failed), Report::Forward(handled.report)))
    }

    /// A batch's metrics in CloudWatch's embedded metric format, a JSON line for the log.
    pub fn metrics(&self, report: &Report) -> String {
        metrics::embedded(&self.name, report, self.clock.now())
    }
}

/// The feed of a configuration with a section `watch`.
#[cfg(feature = "watch")]
async fn feed(config: &Config, clock: &Clock, random: &Random) -> Result<Option<Feed>, StartError> {
    let Some(watch) = &config.watch else {
        return Ok(None);
    };
    let feed = Feed::start(watch, &config.aws, clock.clone(), random.clone());
    Ok(Some(Box::pin(feed).await?))
}

/// Where versions are kept; S3 by the default chain, since no version has been read that could say otherwise.
#[cfg_attr(not(feature = "s3"), allow(clippy::unused_async))]
async fn objects(place: &ObjectsUri, random: Random) -> Result<Objects, StartError> {
    #[cfg(feature = "s3")]
    let sdk = match place {
        ObjectsUri::S3(_) => Some(tidewatch::aws::default_chain().await),
        ObjectsUri::File(_) => None,
    };
    #[cfg(feature = "s3")]
    let sdk = sdk.as_ref();
    #[cfg(not(feature = "s3"))]
    let sdk = None;
    Objects::open(place, sdk, random).map_err(|reason| StartError::Place(reason.to_owned()))
}

/// Lambda's answer; SQS takes the same.
fn answer(failed: impl IntoIterator<Item = String>) -> String {
    let mut answer = DynamoDbEventResponse::default();
    for identifier in failed {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = Some(identifier);
        answer.batch_item_failures.push(failure);
    }
    // Texts always serialize.
    serde_json::to_string(&answer).unwrap_or_default()
}
