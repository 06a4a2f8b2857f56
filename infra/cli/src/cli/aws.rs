//! AWS configuration from the global options.

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::{ConfigLoader, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;

use super::Global;

/// Configuration for every AWS client of a command: `--region`, `--profile` and `--endpoint-url` over the usual
/// environment variables and files.
///
/// An endpoint on this machine over plain HTTP (a local engine) needs nothing else: without credentials it gets
/// placeholders, without a region us-east-1, and no proxy is used.
pub async fn aws_config(global: &Global) -> SdkConfig {
    let mut loader = aws_config::from_env();
    if let Some(profile) = &global.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &global.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some(region) = &global.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if global.endpoint_url.as_deref().is_some_and(is_local) {
        loader = local(loader, global);
    }
    loader.load().await
}

fn local(loader: ConfigLoader, global: &Global) -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let mut files = ProfileFileCredentialsProvider::builder();
    let mut region = aws_config::profile::ProfileFileRegionProvider::builder();
    if let Some(profile) = &global.profile {
        files = files.profile_name(profile);
        region = region.profile_name(profile);
    }
    let placeholder = Credentials::new("local", "local", None, None, "placeholder for a local endpoint");
    let credentials =
        CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("Profile", files.build())
            .or_else("Placeholder", placeholder);
    let region = RegionProviderChain::first_try(global.region.clone().map(Region::new))
        .or_else(aws_config::environment::EnvironmentVariableRegionProvider::new())
        .or_else(region.build())
        .or_else(Region::new("us-east-1"));
    loader
        .http_client(http)
        .credentials_provider(credentials)
        .region(region)
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
