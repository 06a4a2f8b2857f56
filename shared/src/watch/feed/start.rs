//! Building a feed from its configuration.

use std::time::Duration;

use super::Feed;
use crate::clock::Clock;
use crate::config::{AwsConfig, SecretError, WatchConfig};
use crate::random::Random;
use crate::watch::log::{Appender, Log, LogError, LogSpec};

/// Why a feed cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A secret of the AWS settings cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The log cannot be reached or made, or is another table's.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Lambda gives a function ten seconds to start.
const START: Duration = Duration::from_secs(8);

impl Feed {
    /// A feed as configured; region and endpoint of the section go before those of `aws`. Makes the log in its table if
    /// there is none (one request if there is one, and then its buckets, its source and what it covers stay what they are).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: &WatchConfig,
        aws: &AwsConfig,
        clock: Clock,
        random: Random,
    ) -> Result<Self, StartError> {
        let mut aws = aws.clone();
        aws.region = config.region.clone().or(aws.region);
        aws.endpoint_url = config.endpoint.clone().or(aws.endpoint_url);
        let client = aws_sdk_dynamodb::Client::new(&aws.sdk_config().await?);
        let log = Log::new(
            &client,
            &config.log.table,
            &config.log.name,
            clock.clone(),
            random,
        );
        Self::over(log, config, clock).await
    }

    /// As [`start`](Self::start), over a log that is made already or not.
    ///
    /// # Errors
    /// [`StartError::Log`].
    pub async fn over(log: Log, config: &WatchConfig, clock: Clock) -> Result<Self, StartError> {
        let spec = LogSpec {
            layout: config.layout.clone(),
            transport: config.source,
            buckets: config.buckets,
            prefixes: config.prefixes.clone(),
            ..LogSpec::new(&config.table)
        };
        Box::pin(log.create(&spec, clock.instant() + START)).await?;
        let appender = Appender::new(log, config.inline.clone());
        Ok(Self::new(appender, &config.table, config.layout.clone(), clock))
    }
}
