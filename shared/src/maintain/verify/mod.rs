//! The task `verify`: whether tables, streams, event source mappings, functions and buckets are what they must be, and
//! what follows where one is not: what is lost, late, or readable by whom.
//!
//! It reads descriptions and settings, never an item or an object, and writes nothing.
//!
//! | part | what it is compared with |
//! |---|---|
//! | tables | [`table::verify`](crate::table::verify()): keys, index, stream, time to live, recovery, protection; and the key, recovery and protection that the [`Spec`](crate::table::Spec) asks for |
//! | functions and their mappings (feature `lambda`) | that every record is read from the table's stream of today, tried for as long as the stream keeps it, in order, and kept somewhere when Lambda gives it up |
//! | buckets (feature `s3`) | that nothing which waits there expires, and that nobody reads it who should not |
//!
//! A [`Difference`](crate::table::Difference) here has one of these codes beside those of tables: `table`, `encryption`;
//! `function`, `function-state`, `time-out`; `no-mapping`, `old-stream`, `old-mapping`, `two-mappings`, `mapping-state`,
//! `mapping-result`, `starting-position`, `failure-reports`, `bisect`, `retries`, `record-age`, `parallelization`,
//! `tumbling-window`, `failure-destination`, `failure-bucket`, `failure-queue`, `filter`, `batch-size`, `window`; `bucket`, `versioning`,
//! `expiration`, `archive`, `public-access`, `tls`.

#[cfg(feature = "s3")]
mod bucket;
#[cfg(feature = "lambda")]
mod filter;
#[cfg(feature = "lambda")]
mod function;
#[cfg(feature = "lambda")]
mod judge;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "lambda")]
mod mapping;
#[cfg(feature = "s3")]
mod policy;
mod report;
#[cfg(feature = "s3")]
mod s3;
mod settings;
mod tables;
#[cfg(all(test, feature = "lambda", feature = "s3"))]
mod tests;

use std::future::Future;

#[cfg(feature = "lambda")]
pub use self::lambda::mappings;
#[cfg(feature = "lambda")]
pub use self::mapping::Mapping;
use self::report::Found;
pub use self::report::{Because, Drift, NotChecked, Verified};
pub use self::settings::{Function, Holds, Place, Reads, Settings, Source};
use super::Run;
use crate::clock::Clock;
use crate::table::Tables;

/// What is to be what, and the clients to look with.
#[derive(Debug, Clone)]
pub struct Verify {
    settings: Settings,
    tables: Tables,
    clock: Clock,
    #[cfg(feature = "lambda")]
    lambda: Option<aws_sdk_lambda::Client>,
    #[cfg(feature = "s3")]
    s3: Option<aws_config::SdkConfig>,
}

impl Verify {
    /// Compares what `settings` names, with the tables behind `tables`. Functions and buckets count as not checked until
    /// there is a client for them. Sends nothing.
    pub fn new(settings: Settings, tables: Tables, clock: Clock) -> Self {
        Self {
            settings,
            tables,
            clock,
            #[cfg(feature = "lambda")]
            lambda: None,
            #[cfg(feature = "s3")]
            s3: None,
        }
    }

    /// With Lambda's client, for functions and their mappings.
    #[cfg(feature = "lambda")]
    #[must_use]
    pub fn with_lambda(mut self, client: aws_sdk_lambda::Client) -> Self {
        self.lambda = Some(client);
        self
    }

    /// With the SDK's configuration, from which a client is made for each bucket: each may be in a region of its own.
    #[cfg(feature = "s3")]
    #[must_use]
    pub fn with_s3(mut self, sdk: aws_config::SdkConfig) -> Self {
        self.s3 = Some(sdk);
        self
    }

    /// Looks at everything once. It cannot fail: what could not be read, or not any more before `run.stop`, is in
    /// [`Verified::not_checked`]. A dry run is the same.
    ///
    /// Requests: three a table, five a bucket; a function three and one more for each mapping whose filter is encrypted. No
    /// capacity. Dropping it does no harm.
    pub async fn run(&self, run: Run) -> Verified {
        let mut verified = Verified::default();
        for spec in &self.settings.tables {
            let resource = format!("table {}", spec.name());
            let expiry_index = self.settings.expiry_index.as_deref() == Some(spec.name());
            let check = tables::check(&self.tables, spec, expiry_index, &resource);
            let check = Box::pin(check);
            verified.add(self.within(run, &resource, check).await);
        }
        for function in &self.settings.functions {
            let resource = format!("function {}", function.name);
            let check = Box::pin(self.function(function, &resource));
            verified.add(self.within(run, &resource, check).await);
        }
        for place in &self.settings.places {
            let resource = format!("bucket {}", place.location.bucket);
            let check = Box::pin(self.place(place, &resource));
            verified.add(self.within(run, &resource, check).await);
        }
        verified.sort();
        verified
    }

    async fn within(&self, run: Run, resource: &str, check: impl Future<Output = Found>) -> Found {
        let now = self.clock.instant();
        let found = if now < run.last_call {
            self.clock.timeout(run.stop - now, check).await.ok()
        } else {
            None
        };
        found.unwrap_or_else(|| Found::unread(NotChecked::late(resource)))
    }

    #[cfg(feature = "lambda")]
    async fn function(&self, function: &Function, resource: &str) -> Found {
        match &self.lambda {
            Some(client) => function::check(client, &self.tables, function, resource).await,
            None => Found::unread(NotChecked::no_client(resource, "lambda")),
        }
    }

    #[cfg(not(feature = "lambda"))]
    #[allow(clippy::unused_async)]
    async fn function(&self, _: &Function, resource: &str) -> Found {
        Found::unread(NotChecked::no_client(resource, "lambda"))
    }

    #[cfg(feature = "s3")]
    async fn place(&self, place: &Place, resource: &str) -> Found {
        match &self.s3 {
            Some(sdk) => {
                let client = crate::objects::s3_client(sdk, &place.location);
                s3::check(&client, place, resource).await
            }
            None => Found::unread(NotChecked::no_client(resource, "s3")),
        }
    }

    #[cfg(not(feature = "s3"))]
    #[allow(clippy::unused_async)]
    async fn place(&self, _: &Place, resource: &str) -> Found {
        Found::unread(NotChecked::no_client(resource, "s3"))
    }
}
