//! The audit table: opened, verified, written.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use sha2::{Digest, Sha256};

use super::error::LogError;
use super::prepare::{Prepared, canonical, shown};
use super::tries::Tries;
use super::trim;
use crate::audit::canonical::Canonical;
use crate::audit::item;
use crate::clock::Clock;
use crate::random::Random;
use crate::state::ErrorKind;
use crate::state::fault::{Attributes, Fault};
use crate::table::{self, Kind, Live, Spec, Tables, verify};

/// What makes a table unusable for events, by the codes of [`table::Difference`].
const FATAL: [&str; 4] = ["layout", "keys", "key-type", "ttl-attribute"];
/// What makes it unusable for a search beside that.
const FATAL_TO_READERS: [&str; 4] = ["index", "index-keys", "index-type", "index-projection"];
/// Bytes by which an event is cut further if it is refused as too large all the same: should DynamoDB count otherwise.
const SPARE: usize = 4096;
/// How often an event that collides with others is given another index.
const PLACES: u8 = 8;

/// An audit table. Clones share it.
#[derive(Debug, Clone)]
pub struct Dynamo(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    client: Client,
    table: String,
    name: String,
    retention: Duration,
    conflict_check: bool,
    clock: Clock,
    random: Random,
}

/// What became of an event in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored.
    Stored,
    /// The same event was stored before; nothing was written.
    Repeated,
    /// Another event had its key; it is stored under the index that is made from its payload.
    Moved,
}

impl Dynamo {
    /// How long events are kept if nothing else is said: 365 days.
    pub const RETENTION: Duration = Duration::from_hours(365 * 24);

    /// Opens the table with this client (its endpoint, region and credentials; its retries are replaced by ours). A
    /// missing table is created, billed on demand, with stream and time to live; one that is there is verified and not
    /// changed, and what is wrong without being fatal is logged as a warning. `retention` 0 keeps events for ever.
    ///
    /// Requests: four to describe the table, six or more to create it.
    ///
    /// # Errors
    /// [`WrongTable`](ErrorKind::WrongTable) if it is no audit table; what a request may end with.
    pub async fn open(
        client: &Client,
        table: &str,
        retention: Duration,
        clock: Clock,
        random: Random,
    ) -> Result<Self, LogError> {
        let dynamo = Self::unverified(client, table, retention, clock, random);
        let tables = dynamo.tables();
        let failed = |error: table::Error| dynamo.failed(&error);
        let spec = Spec::new(Kind::Audit, table).map_err(failed)?;
        let ensured = tables.ensure(&spec, &|_| {}).await.map_err(failed)?;
        dynamo.verified(&ensured.live, &FATAL)?;
        Ok(dynamo)
    }

    /// Opens a table for those who search it: it must be there, with its index. Requests: three to describe it.
    ///
    /// # Errors
    /// As [`open`](Self::open); also if there is no such table, or its index is not as it must be.
    pub async fn existing(
        client: &Client,
        table: &str,
        clock: Clock,
        random: Random,
    ) -> Result<Self, LogError> {
        let dynamo = Self::unverified(client, table, Self::RETENTION, clock, random);
        let live = dynamo.tables().read(table).await;
        let live = live.map_err(|error| dynamo.failed(&error))?;
        dynamo.verified(&live, &[FATAL, FATAL_TO_READERS].concat())?;
        Ok(dynamo)
    }

    /// As [`open`](Self::open), without a look at the table. No request.
    pub fn unverified(
        client: &Client,
        table: &str,
        retention: Duration,
        clock: Clock,
        random: Random,
    ) -> Self {
        let settings = client.config().to_builder().retry_config(RetryConfig::disabled());
        Self(Arc::new(Inner {
            client: Client::from_conf(settings.build()),
            table: table.to_owned(),
            name: format!("dynamodb://{table}"),
            retention,
            conflict_check: true,
            clock,
            random,
        }))
    }

    /// The same table, where an event replaces another one with the same key: `disable_conflict_check`.
    #[must_use]
    pub fn without_conflict_check(&self) -> Self {
        Self(Arc::new(Inner {
            conflict_check: false,
            ..Inner::clone(&self.0)
        }))
    }

    /// The same table, where events are kept for so long.
    #[must_use]
    pub(crate) fn with_retention(&self, retention: Duration) -> Self {
        Self(Arc::new(Inner {
            retention,
            ..Inner::clone(&self.0)
        }))
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.0.table
    }

    /// As URIs and errors name it.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// The read capacity of the index that searches and exports read; none if it is billed on demand. One request.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn index_read_units(&self) -> Result<Option<u32>, LogError> {
        let mut tries = Tries::new(self);
        loop {
            let request = self.0.client.describe_table().table_name(self.table());
            let answer = async move { request.send().await.map_err(Fault::of) };
            match tries.send("describe", answer).await {
                Ok(answer) => {
                    let indexes = answer.table.and_then(|table| table.global_secondary_indexes);
                    let index = indexes.into_iter().flatten();
                    let units = index
                        .filter(|index| index.index_name() == Some("timesearchV2"))
                        .find_map(|index| index.provisioned_throughput?.read_capacity_units);
                    return Ok(units
                        .and_then(|units| u32::try_from(units).ok())
                        .filter(|units| *units > 0));
                }
                Err(fault) => tries.again_read(fault).await?,
            }
        }
    }

    /// The clock by which events expire.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn random(&self) -> &Random {
        &self.0.random
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    fn tables(&self) -> Tables {
        Tables::new(self.0.client.clone(), self.0.clock.clone(), Tables::WAIT)
    }

    fn failed(&self, error: &table::Error) -> LogError {
        let kind = match error {
            table::Error::Invalid { .. } => ErrorKind::BadParameter,
            table::Error::Request { .. } | table::Error::StillWaiting { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::WrongTable,
        };
        self.error(kind, error.to_string())
    }

    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> LogError {
        LogError::new(kind, self.name(), message)
    }

    fn verified(&self, live: &Live, fatal: &[&str]) -> Result<(), LogError> {
        let mut wrong = Vec::new();
        for difference in verify(Kind::Audit, live) {
            let text = format!(
                "{}: {}; {}",
                difference.found, difference.consequence, difference.remedy
            );
            if fatal.contains(&difference.code) {
                wrong.push(text);
            } else if difference.severity.fails() {
                tracing::warn!(table = self.table(), "{text}");
            }
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(self.error(ErrorKind::WrongTable, wrong.join("; "))),
        }
    }

    /// Stores an event under its key if nothing is there; see [`Log::emit`](super::Log::emit).
    pub(super) async fn put(&self, event: &Prepared) -> Result<Outcome, LogError> {
        let expires = self.expires();
        let mut spare = 0;
        let (mut row, mut payload) = self.fitted(event, expires, None, spare)?;
        let mut tries = Tries::new(self);
        let mut outcome = Outcome::Stored;
        // A try whose answer was lost may be what the next one finds.
        let mut ours = false;
        let mut place = 0;
        loop {
            match tries.send("put", self.put_once(row.clone())).await {
                Ok(()) => return Ok(outcome),
                Err(Fault::Refused(there)) => {
                    let there = match there {
                        Some(there) => Some(there),
                        None => self.read(&row, &mut tries).await?,
                    };
                    match there {
                        // Expired and deleted meanwhile.
                        None => {
                            tries
                                .again(&Fault::Contended("the key was freed".to_owned()))
                                .await?
                        }
                        Some(there) if same(&there, &payload) => {
                            return Ok(if ours { outcome } else { Outcome::Repeated });
                        }
                        Some(_) if place == PLACES => {
                            let what = format!(
                                "event {} found {PLACES} places taken by other events",
                                shown(&event.uid)
                            );
                            return Err(self.error(ErrorKind::AlreadyExists, what));
                        }
                        Some(_) => {
                            let index = index(&payload, place);
                            row.insert("EventIndex".to_owned(), index);
                            (outcome, ours) = (Outcome::Moved, false);
                            place += 1;
                        }
                    }
                }
                Err(Fault::Final(ErrorKind::TooLarge, _)) if spare == 0 => {
                    spare = SPARE;
                    let index = row.get("EventIndex").cloned();
                    (row, payload) = self.fitted(event, expires, index, spare)?;
                }
                Err(fault) => {
                    ours |= matches!(fault, Fault::Unknown(_));
                    tries.again(&fault).await?;
                }
            }
        }
    }

    /// The row of an event and its payload, cut until it is stored; under another index than its own if one is given.
    fn fitted(
        &self,
        event: &Prepared,
        expires: Option<u64>,
        index: Option<AttributeValue>,
        spare: usize,
    ) -> Result<(Attributes, Vec<u8>), LogError> {
        let mut row = event.row(expires);
        if let Some(index) = index {
            row.insert("EventIndex".to_owned(), index);
        }
        let trimmed = trim::fit(&mut row, spare).map_err(|what| {
            let (uid, event_type) = (shown(&event.uid), shown(&event.event_type));
            self.error(
                ErrorKind::TooLarge,
                format!("event {uid} of type {event_type} is too large: {what}"),
            )
        })?;
        if trimmed {
            metrics::counter!("tidewatch_audit_log_trimmed_total", "table" => self.table().to_owned())
                .increment(1);
        }
        let payload = match row.get("FieldsMap") {
            Some(AttributeValue::M(fields)) => canonical(fields),
            _ => Vec::new(),
        };
        Ok((row, payload))
    }

    async fn put_once(&self, row: Attributes) -> Result<(), Fault> {
        let mut request = self
            .0
            .client
            .put_item()
            .table_name(self.table())
            .set_item(Some(row))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if self.0.conflict_check {
            request = request
                .condition_expression("attribute_not_exists(SessionID) AND attribute_not_exists(EventIndex)")
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        }
        let answer = request.send().await.map_err(Fault::of)?;
        self.charge("put", answer.consumed_capacity());
        Ok(())
    }

    /// What is under the row's key, for an engine that does not say it with its refusal.
    async fn read(&self, row: &Attributes, tries: &mut Tries<'_>) -> Result<Option<Attributes>, LogError> {
        let key = ["SessionID", "EventIndex"].map(|name| {
            let value = row.get(name).cloned();
            (name.to_owned(), value.unwrap_or(AttributeValue::Null(true)))
        });
        loop {
            let request = self
                .0
                .client
                .get_item()
                .table_name(self.table())
                .consistent_read(true)
                .set_key(Some(Attributes::from(key.clone())));
            let read = async move { request.send().await.map_err(Fault::of) };
            match tries.send("get", read).await {
                Ok(answer) => return Ok(answer.item),
                Err(fault) => tries.again_read(fault).await?,
            }
        }
    }

    /// When an event that is stored now is to be deleted.
    fn expires(&self) -> Option<u64> {
        let now = self.0.clock.now().duration_since(std::time::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let keep = self.0.retention.as_secs();
        (keep > 0).then(|| now.saturating_add(keep))
    }

    /// Counts a request through the facade of the crate `metrics`.
    pub(super) fn note(&self, operation: &'static str, fault: Option<&Fault>) {
        let outcome = fault.map_or("ok", Fault::label);
        metrics::counter!("tidewatch_audit_log_requests_total", "table" => self.table().to_owned(), "operation" => operation, "outcome" => outcome)
            .increment(1);
    }

    /// Notes the capacity that an answer says it took, and answers it.
    pub(super) fn charge(&self, operation: &'static str, consumed: Option<&ConsumedCapacity>) -> f64 {
        let units = consumed
            .and_then(ConsumedCapacity::capacity_units)
            .unwrap_or_default();
        metrics::histogram!("tidewatch_audit_log_capacity_units", "table" => self.table().to_owned(), "operation" => operation)
            .record(units);
        units
    }
}

impl Prepared {
    /// The row as Teleport writes it.
    fn row(&self, expires: Option<u64>) -> Attributes {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: String| AttributeValue::N(number);
        let mut row = Attributes::from([
            ("SessionID".to_owned(), text(&self.session_id)),
            ("EventIndex".to_owned(), number(self.event_index.clone())),
            ("EventType".to_owned(), text(&self.event_type)),
            ("EventNamespace".to_owned(), text("default")),
            ("CreatedAt".to_owned(), number(self.created_at.to_string())),
            ("CreatedAtDate".to_owned(), text(&self.date)),
            ("FieldsMap".to_owned(), AttributeValue::M(self.fields.clone())),
        ]);
        if let Some(expires) = expires {
            row.insert("Expires".to_owned(), number(expires.to_string()));
        }
        row
    }
}

/// Whether a stored row holds this payload.
fn same(row: &Attributes, payload: &[u8]) -> bool {
    let mut out = Canonical::with_capacity(payload.len());
    let Ok(row) = item::row(row, &mut out) else {
        return false;
    };
    row.payload.is_some_and(|stored| out.get(stored.range) == payload)
}

/// The index of an event whose own is taken: 62 bits of its payload's SHA-256, so that it finds its place again.
fn index(payload: &[u8], place: u8) -> AttributeValue {
    let mut hash = Sha256::new_with_prefix(payload);
    if place > 0 {
        hash.update([place]);
    }
    let hash = hash.finalize();
    let word = hash
        .iter()
        .take(8)
        .fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    AttributeValue::N((word >> 2).to_string())
}
