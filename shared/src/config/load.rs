//! Reading the document's text from where it is kept.

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
pub async fn read_text(uri: &str) -> Result<String, LoadError> {
    let read = match uri.split_once(':') {
        Some(("s3", rest)) => s3_object(rest).await,
        Some(("ssm", name)) => ssm_parameter(name).await,
        Some(("file", path)) => file(path.strip_prefix("//").unwrap_or(path)),
        _ => file(uri),
    };
    read.map_err(|reason| LoadError::Read {
        uri: uri.to_owned(),
        reason,
    })
}

fn file(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(feature = "s3")]
async fn s3_object(rest: &str) -> Result<String, String> {
    let due = || "s3://bucket/key is due".to_owned();
    let (bucket, key) = rest
        .strip_prefix("//")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(due)?;
    let client = aws_sdk_s3::Client::new(&crate::aws::default_chain().await);
    let object = client
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .map_err(crate::aws::describe)?;
    let body = object.body.collect().await.map_err(|error| error.to_string())?;
    String::from_utf8(body.to_vec()).map_err(|_| "not UTF-8".to_owned())
}

#[cfg(not(feature = "s3"))]
#[allow(clippy::unused_async)]
async fn s3_object(_rest: &str) -> Result<String, String> {
    Err("built without the feature `s3`".to_owned())
}

/// An SSM parameter, decrypted.
#[cfg(feature = "ssm")]
pub(super) async fn ssm_parameter(name: &str) -> Result<String, String> {
    let client = aws_sdk_ssm::Client::new(&crate::aws::default_chain().await);
    let answer = client
        .get_parameter()
        .name(name)
        .with_decryption(true)
        .send()
        .await
        .map_err(crate::aws::describe)?;
    answer
        .parameter
        .and_then(|parameter| parameter.value)
        .ok_or_else(|| "the parameter is empty".to_owned())
}

#[cfg(not(feature = "ssm"))]
#[allow(clippy::unused_async)]
async fn ssm_parameter(_name: &str) -> Result<String, String> {
    Err("built without the feature `ssm`".to_owned())
}
