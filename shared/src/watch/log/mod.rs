//! The watch log: a table of its own, buckets of numbered segments.
//!
//! A key's bucket is chosen by its hash. A segment holds the changes of one chunk of one invocation, in stream order;
//! appending is one conditional put of the next number. The table has the partition key `Log` (S) and the sort key
//! `Segment` (N); the modules `segment` and `control` say what stands in it.
//!
//! | part | concept |
//! |---|---|
//! | [`Log`] | a log: created, sealed, compacted, examined, [described](Log::describe) |
//! | [`Appender`] | what `forward` appends a stream's changes with |
//! | [`Watches::over_log`](super::Watches::over_log) | what watchers read it with |
//! | [`Sweeps`] | the due list, and what tells an expired item from a deleted one |
//!
//! # What an append costs
//! A put a bucket and invocation: 0.2 to 0.3 write units an event from about five events a segment on, one unit below
//! that. The newest segment is remembered between invocations, so that a read comes only after another appender.
//!
//! # Gaps
//! What Lambda gives up and a stream that is replaced put a gap into every bucket; so does a mapping that was off for too
//! long, once [`Log::examine`] or [`Log::break_all`] is called. Every watcher that meets it ends with [`Compacted`](super::WatchError::Compacted) and lists again.

mod append;
mod chunk;
mod compact;
mod control;
mod due;
mod error;
mod examine;
mod filer;
mod gap;
mod moment;
mod plant;
mod read;
mod requests;
mod seal;
mod segment;
mod status;
mod swept;
#[cfg(test)]
mod tests;
mod view;

pub use append::{Appended, Appender, Inline};
pub(crate) use append::{Failed, Incoming};
pub use compact::{Compacted, MIN_RETENTION};
pub use control::{LogSpec, Transport};
pub use due::{DueChunk, DueKey, Sweeps, Unchecked};
pub use error::{LogError, LogErrorKind};
pub use examine::{Facts, Finding, MappingFacts};
#[cfg(test)]
pub(crate) use plant::Plant;
pub(crate) use read::LogSource;
pub use read::Pace;
pub use status::{BucketStatus, Description, GapStatus, SegmentStatus};
pub use swept::Swept;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;

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
    /// Gaps that this process wrote, until somebody asks.
    breaks: AtomicUsize,
    #[cfg(test)]
    plant: Option<plant::Plant>,
}

impl Log {
    /// The log `name` in `table`, over this client; the SDK's retries are replaced by ours. No request.
    pub fn new(client: &Client, table: &str, name: &str, clock: Clock, random: Random) -> Self {
        let settings = client.config().to_builder().retry_config(RetryConfig::disabled());
        Self {
            inner: Arc::new(Inner {
                client: Client::from_conf(settings.build()),
                table: table.to_owned(),
                name: name.to_owned(),
                clock,
                random,
                breaks: AtomicUsize::new(0),
                #[cfg(test)]
                plant: None,
            }),
        }
    }

    /// Gaps that this process wrote since it was asked last.
    pub(crate) fn take_breaks(&self) -> usize {
        self.inner.breaks.swap(0, Ordering::Relaxed)
    }

    fn broke(&self, gaps: usize) {
        self.inner.breaks.fetch_add(gaps, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub(crate) fn random(&self) -> &Random {
        &self.inner.random
    }
}
