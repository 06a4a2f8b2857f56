//! Building a forwarder from its configuration.

use std::path::Path;
use std::sync::Arc;

use super::serve::{NamedSink, Places};
use super::sink::{Sink, SinkError};
use super::spool::Spool;
use super::{Forwarder, sinks, spill};
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
        super::OBJECT_TRY
    )]
    Silent,
    /// The spool cannot be written and listed, or the spill not written: a sink that is down, or a large event, would hold
    /// up all others.
    #[error("the {setting} cannot be used: {reason}")]
    Shared {
        /// Its setting, `spool` or `spill`.
        setting: &'static str,
        /// What happened.
        reason: String,
    },
    /// A place cannot be opened.
    #[error("{uri:?} cannot be opened: {reason}")]
    Place {
        /// It.
        uri: Box<ObjectsUri>,
        /// What is missing.
        reason: &'static str,
    },
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

/// Opens places; the AWS configuration is loaded when the first in S3 is asked for.
struct Opener<'a> {
    random: &'a Random,
    #[cfg(feature = "s3")]
    config: &'a crate::config::AwsConfig,
    #[cfg(feature = "s3")]
    sdk: Option<aws_config::SdkConfig>,
}

impl Opener<'_> {
    async fn objects(&mut self, uri: &ObjectsUri) -> Result<Objects, StartError> {
        #[cfg(feature = "s3")]
        if matches!(uri, ObjectsUri::S3(_)) && self.sdk.is_none() {
            self.sdk = Some(self.config.sdk_config().await?);
        }
        #[cfg(feature = "s3")]
        let sdk = self.sdk.as_ref();
        #[cfg(not(feature = "s3"))]
        let sdk = None;
        Objects::open(uri, sdk, self.random.clone()).map_err(|reason| StartError::Place {
            uri: Box::new(uri.clone()),
            reason,
        })
    }

    /// A place that sinks share, if there is one, that shows what is asked of it.
    async fn shared<T>(
        &mut self,
        uri: Option<&ObjectsUri>,
        open: impl FnOnce(Objects) -> T,
        setting: &'static str,
        clock: &Clock,
        show: impl AsyncFnOnce(&T) -> Result<(), ObjectsError>,
    ) -> Result<Option<Arc<T>>, StartError> {
        let Some(uri) = uri else { return Ok(None) };
        let place = open(self.objects(uri).await?);
        let reason = match clock.timeout(super::OBJECT_TRY, show(&place)).await {
            Ok(Ok(())) => return Ok(Some(Arc::new(place))),
            Ok(Err(error)) => error.to_string(),
            Err(TimedOut) => format!(
                "no answer within {:?}: is its endpoint reachable?",
                super::OBJECT_TRY
            ),
        };
        Err(StartError::Shared { setting, reason })
    }
}

impl Forwarder {
    /// Opens the sinks and shows that the quarantine can be written (one PUT), and the spool written and listed (one PUT,
    /// one LIST).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: &Config, clock: Clock, random: Random) -> Result<Self, StartError> {
        let mut opener = Opener {
            random: &random,
            #[cfg(feature = "s3")]
            config: &config.aws,
            #[cfg(feature = "s3")]
            sdk: None,
        };
        let Some(quarantine) = &config.quarantine else {
            return Err(StartError::NotConfigured);
        };
        let quarantine = opener.objects(quarantine).await?;
        let probe = clock.timeout(super::OBJECT_TRY, quarantine.probe()).await;
        probe.map_err(|TimedOut| StartError::Silent)??;
        let places = Places {
            spool: opener
                .shared(config.spool.as_ref(), Spool::new, "spool", &clock, Spool::probe)
                .await?,
            spill: opener
                .shared(
                    config.spill.as_ref(),
                    |objects| objects,
                    "spill",
                    &clock,
                    spill::probe,
                )
                .await?,
        };
        let mut named = Vec::new();
        for (name, sink) in &config.sinks {
            let open: Arc<dyn Sink> = match &sink.uri {
                SinkUri::Stdout => Arc::new(sinks::stdout::Stdout::new()),
                SinkUri::File { dir, remember } => Arc::new(file(name, dir, *remember)?),
                SinkUri::S3 {
                    location,
                    compression,
                } => {
                    let objects = opener.objects(&ObjectsUri::S3(location.clone())).await?;
                    Arc::new(sinks::s3::S3::new(objects, *compression))
                }
                SinkUri::Lake(uri) => Arc::new(sinks::lake::Lake::new(opener.objects(uri).await?)),
            };
            named.push(NamedSink::new(name, sink, open, places.clone()));
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
