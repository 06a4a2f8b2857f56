//! The watch, over its sources on engines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[cfg(all(feature = "testkit", feature = "streams"))]
mod conformance;
#[allow(dead_code)] // The state tests use the rest.
#[path = "../state/engine.rs"]
mod engine;
mod feed;
#[cfg(feature = "streams")]
mod list;
#[cfg(all(feature = "testkit", feature = "streams"))]
mod pump;

#[cfg(feature = "streams")]
use aws_sdk_dynamodbstreams::Client;
#[cfg(feature = "streams")]
use aws_sdk_dynamodbstreams::config::{Credentials, Region};
#[cfg(feature = "streams")]
use aws_smithy_runtime_api::client::http::HttpClient;

/// A client of the streams API over a wire.
#[cfg(feature = "streams")]
fn streams(wire: impl HttpClient + 'static) -> Client {
    let config = aws_sdk_dynamodbstreams::Config::builder()
        .behavior_version_latest()
        .endpoint_url("http://streams.invalid")
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(wire)
        .build();
    Client::from_conf(config)
}
