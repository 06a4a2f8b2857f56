//! Building a feed from its configuration.

use super::Feed;
use crate::clock::Clock;
use crate::config::{AwsConfig, SecretError, WatchConfig};
use crate::random::Random;
use crate::watch::log::{Appender, Log};

/// Why a feed cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A secret of the AWS settings cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Feed {
    /// A feed as configured; region and endpoint of the section go before those of `aws`. No request but for secrets.
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
        let appender = Appender::new(log, config.inline.clone());
        let prefixes = config.prefixes.iter().cloned();
        Ok(Self::new(
            appender,
            &config.table,
            config.layout.clone(),
            prefixes,
            clock,
        ))
    }
}
