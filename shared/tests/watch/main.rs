//! The watch, over its sources on engines.
#![cfg(feature = "streams")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[cfg(feature = "testkit")]
mod conformance;
#[path = "../state/engine.rs"]
#[allow(dead_code)]
mod engine;
mod list;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::{Credentials, Region};
use aws_smithy_runtime_api::client::http::HttpClient;

/// A client of the streams API over a wire.
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
