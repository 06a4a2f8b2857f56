//! The watch log: a table of its own, buckets of numbered segments.

mod append;
mod error;

pub use append::{Appended, Appender, Inline};
pub(crate) use append::{Failed, Incoming};
pub use error::{LogError, LogErrorKind};

use std::sync::Arc;

use aws_sdk_dynamodb::Client;

use crate::clock::Clock;
use crate::random::Random;

/// A watch log: a name in a table of logs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    table: String,
    name: String,
    clock: Clock,
    random: Random,
}

impl Log {
    /// The log `name` in `table`, over this client; the SDK's retries are replaced by ours. No request.
    pub fn new(client: &Client, table: &str, name: &str, clock: Clock, random: Random) -> Self {
        let settings = client
            .config()
            .to_builder()
            .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled());
        Self {
            inner: Arc::new(Inner {
                client: Client::from_conf(settings.build()),
                table: table.to_owned(),
                name: name.to_owned(),
                clock,
                random,
            }),
        }
    }
}
