//! AWS clients from the configuration. Nothing is loaded before the first client is asked for.

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use std::error::Error;
use std::time::Duration;

use crate::config::{AwsConfig, SecretError};

/// The AWS default chain, as the environment says.
pub async fn default_chain() -> SdkConfig {
    base().load().await
}

fn base() -> ConfigLoader {
    // Whole tries are bounded by who makes them (a sink's timeout, the quarantine's).
    aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .build(),
        )
}

/// The configuration's AWS settings over the default chain. Secrets are read now.
///
/// # Errors
/// [`SecretError`] if a key's reference cannot be read.
pub async fn sdk_config(config: &AwsConfig) -> Result<SdkConfig, SecretError> {
    Ok(loader(config).await?.load().await)
}

/// As [`sdk_config`], for a caller that has something to add.
///
/// # Errors
/// As [`sdk_config`].
pub async fn loader(config: &AwsConfig) -> Result<ConfigLoader, SecretError> {
    let mut loader = base();
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &config.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &config.endpoint_url {
        loader = loader.endpoint_url(endpoint);
    }
    if let (Some(access), Some(secret)) = (&config.access_key, &config.secret_key) {
        let (access, secret) = (access.read().await?, secret.read().await?);
        loader = loader.credentials_provider(aws_credential_types::Credentials::new(
            access,
            secret,
            None,
            None,
            "tidewatch",
        ));
    }
    Ok(loader)
}

/// An SDK error with its causes, on one line. Service errors carry code and message, never item contents.
pub fn describe(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
