//! What all AWS clients have in common.

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader};
use std::error::Error;
#[cfg(feature = "testkit")]
use std::sync::Arc;
use std::time::Duration;

/// The AWS default chain, as the environment says.
pub async fn default_chain() -> SdkConfig {
    base().load().await
}

pub(crate) fn base() -> ConfigLoader {
    // Whole tries are bounded by who makes them (a sink's timeout, the quarantine's).
    let loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .build(),
        );
    #[cfg(feature = "testkit")]
    let loader = match CHANGE.try_with(Arc::clone) {
        Ok(change) => change(loader),
        Err(_) => loader,
    };
    loader
}

#[cfg(feature = "testkit")]
type Change = Arc<dyn Fn(ConfigLoader) -> ConfigLoader + Send + Sync>;

#[cfg(feature = "testkit")]
tokio::task_local! {
    static CHANGE: Change;
}

/// For tests: every AWS configuration that `work` loads in its own task is changed so, to lead to an engine in this
/// process instead of a network.
#[cfg(feature = "testkit")]
pub async fn changed<T>(
    change: impl Fn(ConfigLoader) -> ConfigLoader + Send + Sync + 'static,
    work: impl Future<Output = T>,
) -> T {
    let change: Change = Arc::new(change);
    CHANGE.scope(change, work).await
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

/// The text of an object, by what follows `s3:` in its URI. One request.
#[cfg(feature = "s3")]
pub(crate) async fn s3_object(rest: &str, sdk: &SdkConfig) -> Result<String, String> {
    let due = || "s3://bucket/key is due".to_owned();
    let (bucket, key) = rest
        .strip_prefix("//")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(due)?;
    // What stands in for S3 is addressed by path.
    let config = aws_sdk_s3::config::Builder::from(sdk).force_path_style(sdk.endpoint_url().is_some());
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let object = client
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .map_err(describe)?;
    let body = object.body.collect().await.map_err(|error| error.to_string())?;
    String::from_utf8(body.to_vec()).map_err(|_| "not UTF-8".to_owned())
}

/// An SSM parameter, decrypted. One request.
#[cfg(feature = "ssm")]
pub(crate) async fn ssm_parameter(name: &str, sdk: &SdkConfig) -> Result<String, String> {
    let client = aws_sdk_ssm::Client::new(sdk);
    let answer = client
        .get_parameter()
        .name(name)
        .with_decryption(true)
        .send()
        .await
        .map_err(describe)?;
    answer
        .parameter
        .and_then(|parameter| parameter.value)
        .ok_or_else(|| "the parameter is empty".to_owned())
}
