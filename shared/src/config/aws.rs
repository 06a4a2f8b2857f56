//! How AWS is reached. Nothing is loaded before the first client is asked for.

use super::document::Section;
use super::secret::{Secret, warn_of_literals};

/// How AWS is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct AwsConfig {
    /// Region.
    pub region: Option<String>,
    /// Profile of the shared configuration files.
    pub profile: Option<String>,
    /// Endpoint instead of AWS's, for every service.
    pub endpoint_url: Option<String>,
    /// Access key by reference (env:NAME, file:/path, ssm:NAME), as text with a warning.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub access_key: Option<Secret>,
    /// Secret key, likewise.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub secret_key: Option<Secret>,
}

impl AwsConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let text = |text: &str| {
            if text.is_empty() {
                Err("a value is due")
            } else {
                Ok(text.to_owned())
            }
        };
        let aws = Self {
            region: section.setting("region", text),
            profile: section.setting("profile", text),
            endpoint_url: section.setting("endpoint_url", |text| {
                Self::check_endpoint(text).map(|()| text.to_owned())
            }),
            access_key: section.setting("access_key", str::parse),
            secret_key: section.setting("secret_key", str::parse),
        };
        if aws.access_key.is_some() != aws.secret_key.is_some() {
            section.fault("", "access_key and secret_key go together");
        }
        warn_of_literals("aws", [&aws.access_key, &aws.secret_key]);
        aws
    }

    pub(crate) fn check_endpoint(text: &str) -> Result<(), &'static str> {
        match url::Url::parse(text) {
            // It would be shown wherever the place is named.
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                Err("a URL without user and password is due")
            }
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
            _ => Err("an http:// or https:// URL is due"),
        }
    }

    /// These settings over the default chain. Secrets are read now.
    ///
    /// # Errors
    /// [`SecretError`](super::SecretError) if a key's reference cannot be read.
    #[cfg(any(feature = "s3", feature = "ssm", feature = "dynamodb", feature = "lambda"))]
    pub async fn sdk_config(&self) -> Result<aws_config::SdkConfig, super::SecretError> {
        Ok(self.loader().await?.load().await)
    }

    /// As [`sdk_config`](Self::sdk_config), for a caller that has something to add.
    ///
    /// # Errors
    /// As [`sdk_config`](Self::sdk_config).
    #[cfg(any(feature = "s3", feature = "ssm", feature = "dynamodb", feature = "lambda"))]
    pub async fn loader(&self) -> Result<aws_config::ConfigLoader, super::SecretError> {
        let mut loader = crate::aws::base();
        if let Some(region) = &self.region {
            loader = loader.region(aws_config::Region::new(region.clone()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        if let (Some(access), Some(secret)) = (&self.access_key, &self.secret_key) {
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
}
