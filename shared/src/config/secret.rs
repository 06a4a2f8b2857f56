//! Secrets, named by reference.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A secret by reference: `env:NAME`, `file:/path` (its text without the trailing newline) or `ssm:NAME` (an SSM
/// parameter, decrypted). Any other text is the secret itself, as Teleport's `access_key` and `secret_key` hold it;
/// it is accepted with a warning and never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
    /// An SSM parameter (feature `ssm`).
    Ssm(String),
    /// The secret itself.
    Literal(Literal),
}

/// A literal secret; shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Literal(String);

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            Some(("env", name)) => Self::Env(name.to_owned()),
            Some(("file", path)) => Self::File(path.strip_prefix("//").unwrap_or(path).into()),
            Some(("ssm", name)) => Self::Ssm(name.to_owned()),
            _ => Self::Literal(Literal(text.to_owned())),
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Ssm(name) => write!(f, "ssm:{name}"),
            Self::Literal(_) => f.write_str("(literal)"),
        }
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(literal)")
    }
}

/// Why a secret cannot be had; never holds it.
#[derive(Debug, thiserror::Error)]
#[error("the secret {reference:?} cannot be read: {reason}")]
pub struct SecretError {
    /// The reference.
    pub reference: Secret,
    /// What happened.
    pub reason: String,
}

impl Secret {
    /// Whether it stands in the configuration itself.
    pub fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// Reads the secret. One request to SSM for `ssm:`.
    ///
    /// # Errors
    /// [`SecretError`] if the variable, file or parameter is not there or cannot be read.
    pub async fn read(&self) -> Result<String, SecretError> {
        let error = |reason: String| SecretError {
            reference: self.clone(),
            reason,
        };
        match self {
            Self::Env(name) => std::env::var(name).map_err(|_| error("the variable is not set".to_owned())),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|cause| error(cause.to_string())),
            Self::Literal(literal) => Ok(literal.0.clone()),
            #[cfg(feature = "ssm")]
            Self::Ssm(name) => {
                let sdk = crate::aws::default_chain().await;
                crate::aws::ssm_parameter(name, &sdk).await.map_err(error)
            }
            #[cfg(not(feature = "ssm"))]
            Self::Ssm(_) => Err(error("built without the feature `ssm`".to_owned())),
        }
    }
}

/// Warns once if one of a section's two keys stands in the configuration itself.
pub(crate) fn warn_of_literals(section: &str, keys: [&Option<Secret>; 2]) {
    if keys.into_iter().flatten().any(Secret::is_literal) {
        tracing::warn!(
            "{section}.access_key or {section}.secret_key stands in the configuration as text; name it by reference \
             (env:, file:, ssm:) instead"
        );
    }
}
