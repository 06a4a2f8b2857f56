//! Building a forwarder from its configuration.

use std::path::Path;
use std::sync::Arc;

use super::serve::NamedSink;
use super::sink::{Sink, SinkError};
use super::{Forwarder, sinks};
use crate::clock::{Clock, TimedOut};
use crate::config::{Config, ObjectsUri, SinkUri};
use crate::objects::{Objects, ObjectsError};
use crate::random::Random;

/// Why a forwarder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to forward to.
    #[error("the configuration names no quarantine and no sinks")]
    NotConfigured,
    /// The quarantine cannot be written; without one a bad record would have nowhere to go.
    #[error("the quarantine cannot be written: {0}")]
    Quarantine(#[from] ObjectsError),
    /// The quarantine does not answer.
    #[error(
        "the quarantine did not answer within {:?}: is its endpoint reachable?",
        super::QUARANTINE_TRY
    )]
    Silent,
    /// A sink cannot be opened.
    #[error("sink {name}: {error}")]
    Sink {
        /// The sink.
        name: String,
        /// What happened.
        error: SinkError,
    },
    /// A secret of the AWS settings cannot be read.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    Secret(#[from] crate::config::SecretError),
}

/// S3 clients, one a region and endpoint; the AWS configuration is loaded when the first is asked for.
#[cfg(feature = "s3")]
struct Clients<'a> {
    config: &'a crate::config::AwsConfig,
    sdk: Option<aws_config::SdkConfig>,
}

#[cfg(feature = "s3")]
impl Clients<'_> {
    async fn objects(&mut self, location: &crate::config::S3Location) -> Result<Objects, StartError> {
        let sdk = match &self.sdk {
            Some(sdk) => sdk.clone(),
            None => self.config.sdk_config().await?,
        };
        let mut builder = aws_sdk_s3::config::Builder::from(&sdk);
        if let Some(region) = &location.region {
            builder = builder.region(aws_config::Region::new(region.clone()));
        }
        if let Some(endpoint) = &location.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        // What stands in for S3 is addressed by path.
        let elsewhere = location.endpoint.is_some() || sdk.endpoint_url().is_some();
        let client = aws_sdk_s3::Client::from_conf(builder.force_path_style(elsewhere).build());
        self.sdk = Some(sdk);
        Ok(Objects::s3(client, location.clone()))
    }
}

impl Forwarder {
    /// Opens the sinks and shows that the quarantine can be written (one PUT).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: &Config, clock: Clock, random: Random) -> Result<Self, StartError> {
        #[cfg(feature = "s3")]
        let mut clients = Clients {
            config: &config.aws,
            sdk: None,
        };
        let Some(quarantine) = &config.quarantine else {
            return Err(StartError::NotConfigured);
        };
        let quarantine = match quarantine {
            ObjectsUri::File(dir) => Objects::dir(dir.clone(), random.clone()),
            #[cfg(feature = "s3")]
            ObjectsUri::S3(location) => clients.objects(location).await?,
            #[cfg(not(feature = "s3"))]
            ObjectsUri::S3(_) => return Err(without_s3("quarantine")),
        };
        let probe = clock.timeout(super::QUARANTINE_TRY, quarantine.probe()).await;
        probe.map_err(|TimedOut| StartError::Silent)??;
        let mut named = Vec::new();
        for (name, sink) in &config.sinks {
            let open: Arc<dyn Sink> = match &sink.uri {
                SinkUri::Stdout => Arc::new(sinks::stdout::Stdout::new()),
                SinkUri::File { dir, remember } => Arc::new(file(name, dir, *remember)?),
                SinkUri::Lake(ObjectsUri::File(dir)) => {
                    Arc::new(sinks::lake::Lake::new(Objects::dir(dir.clone(), random.clone())))
                }
                #[cfg(feature = "s3")]
                SinkUri::Lake(ObjectsUri::S3(location)) => {
                    Arc::new(sinks::lake::Lake::new(clients.objects(location).await?))
                }
                #[cfg(feature = "s3")]
                SinkUri::S3 {
                    location,
                    compression,
                } => Arc::new(sinks::s3::S3::new(clients.objects(location).await?, *compression)),
                #[cfg(not(feature = "s3"))]
                SinkUri::S3 { .. } | SinkUri::Lake(ObjectsUri::S3(_)) => return Err(without_s3(name)),
            };
            named.push(NamedSink::new(name, sink.format, sink.timeout, open));
        }
        Ok(Self {
            sinks: named,
            quarantine,
            modify_unproven: config.modify_unproven,
            clock,
            random,
        })
    }
}

fn file(name: &str, dir: &Path, remember: usize) -> Result<sinks::file::File, StartError> {
    sinks::file::File::open(dir, remember).map_err(|error| StartError::Sink {
        name: name.to_owned(),
        error,
    })
}

#[cfg(not(feature = "s3"))]
fn without_s3(name: &str) -> StartError {
    StartError::Sink {
        name: name.to_owned(),
        error: SinkError("built without the feature `s3`".to_owned()),
    }
}
