//! Reading the document's text from where it is kept.

#[cfg(any(feature = "s3", feature = "ssm"))]
use aws_config::SdkConfig;

use super::Faults;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The document cannot be read.
    #[error("the configuration {uri} cannot be read: {reason}")]
    Read {
        /// Where it should be.
        uri: String,
        /// What happened.
        reason: String,
    },
    /// The document has faults.
    #[error(transparent)]
    Faults(#[from] Faults),
}

/// The text of a document: a path or `file:///path`, `s3://bucket/key` (feature `s3`), `ssm:NAME` (feature `ssm`).
/// One request for the latter two, with the AWS default chain.
///
/// # Errors
/// [`LoadError::Read`].
#[cfg_attr(not(any(feature = "s3", feature = "ssm")), allow(clippy::unused_async))]
pub async fn read_text(uri: &str) -> Result<String, LoadError> {
    // Loaded for what needs it only: a function with its document in a file does not wait for it.
    #[cfg(any(feature = "s3", feature = "ssm"))]
    if uri.starts_with("s3:") || uri.starts_with("ssm:") {
        return read_text_with(uri, &crate::aws::default_chain().await).await;
    }
    named(uri, here(uri))
}

/// As [`read_text`], with this AWS configuration instead of the default chain.
///
/// # Errors
/// [`LoadError::Read`].
#[cfg(any(feature = "s3", feature = "ssm"))]
pub async fn read_text_with(uri: &str, sdk: &SdkConfig) -> Result<String, LoadError> {
    let read = match uri.split_once(':') {
        #[cfg(feature = "s3")]
        Some(("s3", rest)) => crate::aws::s3_object(rest, sdk).await,
        #[cfg(feature = "ssm")]
        Some(("ssm", name)) => crate::aws::ssm_parameter(name, sdk).await,
        _ => here(uri),
    };
    named(uri, read)
}

fn named(uri: &str, read: Result<String, String>) -> Result<String, LoadError> {
    read.map_err(|reason| LoadError::Read {
        uri: uri.to_owned(),
        reason,
    })
}

/// What needs no request; the rest comes here only where the build lacks it.
fn here(uri: &str) -> Result<String, String> {
    match uri.split_once(':') {
        Some(("s3", _)) => Err("built without the feature `s3`".to_owned()),
        Some(("ssm", _)) => Err("built without the feature `ssm`".to_owned()),
        Some(("file", path)) => file(path.strip_prefix("//").unwrap_or(path)),
        _ => file(uri),
    }
}

fn file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
