//! AWS configuration from the global options and the document.

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{ConfigLoader, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use tidewatch::config::{AwsConfig, Config, LoadError, SecretError, overrides, read_text, read_text_with};
use tidewatch::state;

use super::{Failure, Global};

/// What `--config` may name.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // One a process.
pub enum Document {
    /// Tidewatch's own.
    Tidewatch(Config),
    /// Teleport's own file, known by its top-level `teleport:`.
    Teleport(state::Config),
}

/// Configuration for every AWS client of a command: `--region`, `--profile` and `--endpoint-url` over the section
/// `aws` of the document that `--config` names (the storage section of Teleport's own file), over the usual environment
/// variables and files.
///
/// An endpoint on this machine over plain HTTP (a local engine) needs nothing else: without credentials it gets
/// placeholders, without a region us-east-1, and no proxy is used.
///
/// # Errors
/// [`Failure`] if the document or a key that it refers to cannot be read, or with every fault of the document.
pub async fn aws_config(global: &Global) -> Result<SdkConfig, Failure> {
    let (mut settings, mut fips) = (options(global), false);
    if named(global).is_some() {
        let read = document(global).await;
        let document = match read.map_err(|error| Failure::usage(error.to_string()))? {
            Document::Tidewatch(config) => config.aws,
            Document::Teleport(config) => {
                // A FIPS endpoint is AWS's: one that is named goes before it.
                fips = config.fips && settings.endpoint_url.is_none();
                config.aws()
            }
        };
        settings = over(settings, document);
    }
    let loaded = load(&settings).await;
    let sdk = loaded.map_err(|error| Failure::usage(error.to_string()))?;
    // Saying no would override the environment's yes.
    Ok(if fips {
        sdk.into_builder().use_fips(true).build()
    } else {
        sdk
    })
}

/// The options over the document.
pub(super) fn over(options: AwsConfig, document: AwsConfig) -> AwsConfig {
    let mut settings = options;
    // Keys are the document's way to say who acts, as a profile is: an option overrides all of it.
    if settings.profile.is_none() {
        settings.profile = document.profile;
        settings.access_key = document.access_key;
        settings.secret_key = document.secret_key;
    }
    settings.region = settings.region.or(document.region);
    settings.endpoint_url = settings.endpoint_url.or(document.endpoint_url);
    settings
}

/// The document that `--config` names, with the overrides of the environment unless it is Teleport's; without one,
/// these alone. A document in S3 or SSM is read by the global options.
///
/// # Errors
/// [`LoadError`].
pub async fn document(global: &Global) -> Result<Document, LoadError> {
    let Some(uri) = named(global) else {
        return Ok(Document::Tidewatch(Config::load(None).await?));
    };
    let text = text(global, uri).await?;
    Ok(if state::Config::is_teleport(&text) {
        Document::Teleport(state::Config::parse_teleport(&text, uri)?)
    } else {
        Document::Tidewatch(Config::parse(&text, uri, overrides())?)
    })
}

/// The text of a document; one in S3 or SSM is read by the global options.
pub(super) async fn text(global: &Global, uri: &str) -> Result<String, LoadError> {
    if uri.starts_with("s3:") || uri.starts_with("ssm:") {
        let sdk = load(&options(global)).await.map_err(|error| LoadError::Read {
            uri: uri.to_owned(),
            reason: error.to_string(),
        })?;
        return read_text_with(uri, &sdk).await;
    }
    read_text(uri).await
}

/// A variable that is set to nothing names no document.
pub(super) fn named(global: &Global) -> Option<&str> {
    global.config.as_deref().filter(|uri| !uri.is_empty())
}

pub(super) fn options(global: &Global) -> AwsConfig {
    AwsConfig {
        region: global.region.clone(),
        profile: global.profile.clone(),
        endpoint_url: global.endpoint_url.clone(),
        access_key: None,
        secret_key: None,
    }
}

pub(super) async fn load(settings: &AwsConfig) -> Result<SdkConfig, SecretError> {
    let loader = settings.loader().await?;
    if settings.endpoint_url.as_deref().is_some_and(is_local) {
        return Ok(local(loader, settings).load().await);
    }
    let sdk = loader.load().await;
    match &settings.profile {
        // The SDK's chain would let keys in the environment go before a profile that somebody named.
        Some(_) if settings.access_key.is_none() => {
            let region = ProviderConfig::default().with_region(sdk.region().cloned());
            let files = SharedCredentialsProvider::new(files(settings).configure(&region).build());
            Ok(sdk.into_builder().credentials_provider(files).build())
        }
        _ => Ok(sdk),
    }
}

fn files(settings: &AwsConfig) -> aws_config::profile::credentials::Builder {
    let files = ProfileFileCredentialsProvider::builder();
    match &settings.profile {
        Some(profile) => files.profile_name(profile),
        None => files,
    }
}

fn local(loader: ConfigLoader, settings: &AwsConfig) -> ConfigLoader {
    let mut region = ProfileFileRegionProvider::builder();
    if let Some(profile) = &settings.profile {
        region = region.profile_name(profile);
    }
    let region = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(region.build())
        .or_else(Region::new("us-east-1"));
    let loader = loader
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(region);
    if settings.access_key.is_some() {
        return loader;
    }
    let (files, variables) = (
        files(settings).build(),
        EnvironmentVariableCredentialsProvider::new(),
    );
    let found = if settings.profile.is_some() {
        CredentialsProviderChain::first_try("Profile", files).or_else("Environment", variables)
    } else {
        CredentialsProviderChain::first_try("Environment", variables).or_else("Profile", files)
    };
    let placeholder = Credentials::new("local", "local", None, None, "placeholder for a local endpoint");
    loader.credentials_provider(found.or_else("Placeholder", placeholder))
}

/// Whether `url` is plain HTTP to this machine.
fn is_local(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_plain_http_to_this_machine_is_local() {
        for url in [
            "http://127.0.0.1:8000",
            "http://localhost",
            "http://[::1]:8000/x",
            "http://127.9.9.9/",
        ] {
            assert!(is_local(url), "{url}");
        }
        for url in [
            "https://127.0.0.1",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1:80@example.com",
        ] {
            assert!(!is_local(url), "{url}");
        }
    }
}
