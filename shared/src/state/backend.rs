//! The backend: a client, a table and its layout.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::ConsumedCapacity;

use super::departure::Departures;
use super::skew::Skew;
use super::{Config, Layout};
use crate::clock::{Clock, Instant};
use crate::random::Random;

/// A key-value backend on one DynamoDB table.
///
/// Cheap to clone; clones share everything, [`close`](Self::close) too. All reads are consistent. Each call is bounded
/// by the configuration's `operation_timeout` or by [`with_deadline`](Self::with_deadline), its retries included; of a
/// stream each page is.
/// On an eventually consistent global table every operation with a condition, `delete` too, is refused as
/// [`WrongTable`](super::ErrorKind::WrongTable) unless the configuration says that only this region writes.
/// Calls are safe to cancel in that nothing is left half-done; a write that is cancelled may have been applied, or be
/// applied yet.
#[derive(Clone)]
pub struct Backend {
    inner: Arc<Inner>,
    deadline: Option<Instant>,
    at_least_once: bool,
}

struct Inner {
    client: Client,
    config: Config,
    clock: Clock,
    random: Random,
    skew: Skew,
    replication: Replication,
    closed: AtomicBool,
}

/// The longest that a call may take, whatever the configuration says: sums of times have an end.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What a table's replicas in other regions allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Replication {
    /// Nobody else writes it.
    #[default]
    Alone,
    /// Replicas that take writes of their own: the last one wins, so no condition holds across regions.
    Eventual,
    /// Consistent replicas: no transactions, no TTL.
    Strong,
}

impl Backend {
    /// A backend on a table that is known to be right: for a process that starts often, on a table that was opened by
    /// [`with_client`](Self::with_client) before. No request.
    pub fn unverified(client: &Client, config: Config, clock: Clock, random: Random) -> Self {
        Self::build(client, config, clock, random, Replication::default())
    }

    pub(super) fn build(
        client: &Client,
        config: Config,
        clock: Clock,
        random: Random,
        replication: Replication,
    ) -> Self {
        let skew = Skew::default();
        let mut settings = client
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .interceptor(Departures);
        // Where time is injected it is not that of other machines.
        if clock.is_system() {
            settings = settings.interceptor(skew.clone());
        }
        Self {
            inner: Arc::new(Inner {
                client: Client::from_conf(settings.build()),
                config,
                clock,
                random,
                skew,
                replication,
                closed: AtomicBool::new(false),
            }),
            deadline: None,
            at_least_once: false,
        }
    }

    /// The same backend, just made, with another layout. What its client has seen of the clocks stays.
    pub(super) fn with_layout(mut self, layout: Layout) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.config.layout = layout;
        }
        self
    }

    /// Teleport's name of this backend: `dynamodb`.
    pub fn get_name(&self) -> &'static str {
        super::BACKEND_NAME
    }

    /// The clock by which it judges expiry.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The table.
    pub fn table(&self) -> &str {
        &self.inner.config.table_name
    }

    /// Where its keys are.
    pub fn layout(&self) -> &Layout {
        &self.inner.config.layout
    }

    /// What it was opened with.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The same backend, whose calls end by `deadline` with what they know then.
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        Self {
            deadline: Some(deadline),
            ..self.clone()
        }
    }

    /// The same backend, whose `put` and `delete` are sent again after an unknown outcome instead of ending as
    /// [`OutcomeUnknown`](super::ErrorKind::OutcomeUnknown). A put so repeated can undo somebody's later write, a delete
    /// can take it away, and after a lost answer delete succeeds also if nothing was there: only for keys that one process
    /// writes.
    #[must_use]
    pub fn at_least_once(&self) -> Self {
        Self {
            at_least_once: true,
            ..self.clone()
        }
    }

    /// Ends the backend and all its clones: calls from now on are refused as [`Closed`](super::ErrorKind::Closed), those
    /// under way go on to their end, but streams and `delete_range`, which end at the page they are at.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn random(&self) -> &Random {
        &self.inner.random
    }

    pub(super) fn skew(&self) -> &Skew {
        &self.inner.skew
    }

    pub(super) fn replication(&self) -> Replication {
        self.inner.replication
    }

    pub(super) fn repeats(&self) -> bool {
        self.at_least_once
    }

    pub(super) fn attempt_timeout(&self) -> Duration {
        self.inner.config.attempt_timeout
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
            .unwrap_or_else(|| self.clock().instant() + self.inner.config.operation_timeout.min(LONGEST))
    }

    /// Counts a request through the facade of the crate `metrics`.
    pub(super) fn note(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        let table = self.table().to_owned();
        metrics::counter!("tidewatch_state_requests_total", "table" => table.clone(), "operation" => operation, "outcome" => outcome)
            .increment(1);
        metrics::histogram!("tidewatch_state_request_seconds", "table" => table, "operation" => operation)
            .record(took);
    }

    /// Notes the capacity that an answer says it took, and answers it.
    pub(super) fn charge<'a>(
        &self,
        operation: &'static str,
        consumed: impl IntoIterator<Item = &'a ConsumedCapacity>,
    ) -> f64 {
        let units: f64 = consumed
            .into_iter()
            .filter_map(ConsumedCapacity::capacity_units)
            .sum();
        metrics::histogram!("tidewatch_state_capacity_units", "table" => self.table().to_owned(), "operation" => operation)
            .record(units);
        units
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("table", &self.table())
            .field("layout", &self.layout().name())
            .finish_non_exhaustive()
    }
}
