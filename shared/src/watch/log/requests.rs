//! The requests that the log's table gets, and how one is tried again.

use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity};

use super::segment::Segment;
use super::{Log, LogError, LogErrorKind};
use crate::clock::Instant;
use crate::state::ErrorKind;
use crate::state::fault::{Attributes, Fault};

/// The longest time for one request.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The first pause between attempts; it doubles up to [`LONGEST_PAUSE`], with full jitter.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The tries of one piece of work, until a time.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    log: &'a Log,
    stop: Instant,
    pause: Duration,
}

impl<'a> Tries<'a> {
    pub(super) fn new(log: &'a Log, stop: Instant) -> Self {
        Self {
            log,
            stop,
            pause: PAUSE,
        }
    }

    /// One request, for as long as it may take. What has no answer by then is unknown: it may take effect yet.
    pub(super) async fn send<T>(&self, request: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let clock = &self.log.inner.clock;
        let left = self.stop.saturating_duration_since(clock.instant());
        if left.is_zero() {
            return Err(Fault::NotSent("no time was left for a request".to_owned()));
        }
        // On the heap: the SDK's futures are large, and callers hold this one across theirs.
        let answer = clock.timeout(ATTEMPT.min(left), Box::pin(request)).await;
        answer.unwrap_or_else(|_| Err(Fault::Unknown("no answer in time".to_owned())))
    }

    /// Waits before the next try, with full jitter.
    ///
    /// # Errors
    /// That of `fault`, if there is no use or no time left for another.
    pub(super) async fn again(&mut self, fault: &Fault) -> Result<(), LogError> {
        let clock = &self.log.inner.clock;
        let wait = self
            .log
            .inner
            .random
            .jitter(self.pause)
            .max(Duration::from_millis(1));
        let left = self.stop.saturating_duration_since(clock.instant());
        if matches!(fault, Fault::Final(..)) || wait >= left {
            return Err(self.log.failed(fault));
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        clock.sleep(wait).await;
        Ok(())
    }

    pub(super) fn log(&self) -> &'a Log {
        self.log
    }

    pub(super) fn stop(&self) -> Instant {
        self.stop
    }

    /// The work got further: the next pause is a short one again.
    pub(super) fn progressed(&mut self) {
        self.pause = PAUSE;
    }

    /// A read, tried until it succeeds.
    ///
    /// # Errors
    /// That of the last try.
    pub(super) async fn read<T, F: Future<Output = Result<T, Fault>>>(
        &mut self,
        request: impl Fn() -> F,
    ) -> Result<T, LogError> {
        loop {
            match self.send(request()).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => self.again(&fault).await?,
            }
        }
    }
}

impl Tries<'_> {
    /// The items that there are of these, as they are now: 100 at most. A request, and more while DynamoDB is short of
    /// capacity.
    pub(super) async fn get_all(&mut self, mut keys: Vec<Attributes>) -> Result<Vec<Attributes>, LogError> {
        let mut found = Vec::new();
        while !keys.is_empty() {
            let (items, left) = self.read(|| self.log.get_batch(keys.clone())).await?;
            found.extend(items);
            if left.len() == keys.len() {
                self.again(&Fault::Throttled("none of a batch was read".to_owned()))
                    .await?;
            }
            keys = left;
        }
        Ok(found)
    }
}

impl Log {
    /// Segments from number `from` down (from the newest if none), as the table has them now. One request.
    pub(super) async fn below(
        &self,
        bucket: &str,
        from: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Segment>, Fault> {
        let mut request = self
            .inner
            .client
            .query()
            .table_name(&self.inner.table)
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .key_condition_expression("#l = :l AND #s > :zero")
            .expression_attribute_names("#l", "Log")
            .expression_attribute_names("#s", "Segment")
            .expression_attribute_values(":l", AttributeValue::S(bucket.to_owned()))
            .expression_attribute_values(":zero", AttributeValue::N("0".to_owned()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Some(from) = from {
            request = request
                .key_condition_expression("#l = :l AND #s BETWEEN :one AND :from")
                .set_expression_attribute_values(Some(Attributes::from([
                    (":l".to_owned(), AttributeValue::S(bucket.to_owned())),
                    (":one".to_owned(), AttributeValue::N("1".to_owned())),
                    (":from".to_owned(), AttributeValue::N(from.to_string())),
                ])));
        }
        let answer = request.send().await.map_err(Fault::of);
        self.note("below", answer.as_ref().map(|answer| answer.consumed_capacity()));
        read_all(answer?.items.unwrap_or_default())
    }

    /// Segments above number `last`, ascending, up to 1 MB or `limit`, and whether there may be more. One request.
    pub(super) async fn above(
        &self,
        bucket: &str,
        last: u64,
        limit: u32,
        consistent: bool,
    ) -> Result<(Vec<Segment>, bool), Fault> {
        let request = self
            .inner
            .client
            .query()
            .table_name(&self.inner.table)
            .consistent_read(consistent)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .key_condition_expression("#l = :l AND #s > :last")
            .expression_attribute_names("#l", "Log")
            .expression_attribute_names("#s", "Segment")
            .expression_attribute_values(":l", AttributeValue::S(bucket.to_owned()))
            .expression_attribute_values(":last", AttributeValue::N(last.to_string()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(Fault::of);
        self.note("above", answer.as_ref().map(|answer| answer.consumed_capacity()));
        let answer = answer?;
        let more = answer.last_evaluated_key.is_some();
        Ok((read_all(answer.items.unwrap_or_default())?, more))
    }

    /// The numbers of the first items of a partition. One request.
    pub(super) async fn numbers(&self, partition: &str) -> Result<Vec<u64>, Fault> {
        let request = self
            .inner
            .client
            .query()
            .table_name(&self.inner.table)
            .key_condition_expression("#l = :l")
            .projection_expression("#s")
            .expression_attribute_names("#l", "Log")
            .expression_attribute_names("#s", "Segment")
            .expression_attribute_values(":l", AttributeValue::S(partition.to_owned()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(Fault::of);
        self.note(
            "numbers",
            answer.as_ref().map(|answer| answer.consumed_capacity()),
        );
        let items = answer?.items.unwrap_or_default();
        let number = |item: &Attributes| item.get("Segment")?.as_n().ok()?.parse().ok();
        Ok(items.iter().filter_map(number).collect())
    }

    /// Items of a partition between two numbers, ascending, up to 1 MB, as they are now. One request.
    pub(super) async fn between(
        &self,
        partition: &str,
        from: u128,
        to: u128,
    ) -> Result<Vec<Attributes>, Fault> {
        let request = self
            .inner
            .client
            .query()
            .table_name(&self.inner.table)
            .consistent_read(true)
            .key_condition_expression("#l = :l AND #s BETWEEN :from AND :to")
            .expression_attribute_names("#l", "Log")
            .expression_attribute_names("#s", "Segment")
            .expression_attribute_values(":l", AttributeValue::S(partition.to_owned()))
            .expression_attribute_values(":from", AttributeValue::N(from.to_string()))
            .expression_attribute_values(":to", AttributeValue::N(to.to_string()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(Fault::of);
        self.note(
            "between",
            answer.as_ref().map(|answer| answer.consumed_capacity()),
        );
        Ok(answer?.items.unwrap_or_default())
    }

    /// The items of some primary keys, as they are now, and the keys that were not looked at. One request.
    async fn get_batch(&self, keys: Vec<Attributes>) -> Result<(Vec<Attributes>, Vec<Attributes>), Fault> {
        let table = &self.inner.table;
        let some = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(true)
            .build();
        let some = some.map_err(|error| Fault::Final(ErrorKind::BadParameter, error.to_string()))?;
        let request = self
            .inner
            .client
            .batch_get_item()
            .request_items(table, some)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(Fault::of);
        self.note(
            "batch_get",
            answer.as_ref().map(|answer| answer.consumed_capacity().first()),
        );
        let answer = answer?;
        let found = answer.responses.and_then(|mut found| found.remove(table));
        let left = answer.unprocessed_keys.and_then(|mut left| left.remove(table));
        Ok((
            found.unwrap_or_default(),
            left.map(|left| left.keys).unwrap_or_default(),
        ))
    }

    /// An item of the log's table, as it is now. One request.
    pub(super) async fn item(&self, partition: &str, number: u64) -> Result<Option<Attributes>, Fault> {
        let request = self
            .inner
            .client
            .get_item()
            .table_name(&self.inner.table)
            .consistent_read(true)
            .set_key(Some(primary(partition, number.into())))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(Fault::of);
        self.note("get", answer.as_ref().map(|answer| answer.consumed_capacity()));
        Ok(answer?.item)
    }

    /// Writes an item, if there is none of its key or if `condition` holds. One request, not repeated.
    pub(super) async fn put(
        &self,
        item: Attributes,
        condition: Option<(&str, Attributes)>,
    ) -> Result<(), Fault> {
        let request = self
            .inner
            .client
            .put_item()
            .table_name(&self.inner.table)
            .set_item(Some(item))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let request = match condition {
            Some((condition, values)) => request
                .condition_expression(condition)
                .set_expression_attribute_values(Some(values)),
            None => request
                .condition_expression("attribute_not_exists(#s)")
                .expression_attribute_names("#s", "Segment"),
        };
        let answer = request.send().await.map_err(Fault::of);
        self.note("put", answer.as_ref().map(|answer| answer.consumed_capacity()));
        answer.map(drop)
    }

    /// Writes an item, whatever stands there. One request, not repeated.
    pub(super) async fn overwrite(&self, item: Attributes) -> Result<(), Fault> {
        let request = self
            .inner
            .client
            .put_item()
            .table_name(&self.inner.table)
            .set_item(Some(item))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(Fault::of);
        self.note("put", answer.as_ref().map(|answer| answer.consumed_capacity()));
        answer.map(drop)
    }

    /// Deletes an item. One request.
    pub(super) async fn remove(&self, partition: &str, number: impl Into<u128>) -> Result<(), Fault> {
        let request = self
            .inner
            .client
            .delete_item()
            .table_name(&self.inner.table)
            .set_key(Some(primary(partition, number.into())))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = request.send().await.map_err(Fault::of);
        self.note("delete", answer.as_ref().map(|answer| answer.consumed_capacity()));
        answer.map(drop)
    }

    /// Counts a request through the facade of the crate `metrics`.
    fn note(&self, operation: &'static str, answer: Result<Option<&ConsumedCapacity>, &Fault>) {
        let table = || self.inner.table.clone();
        let outcome = match answer {
            Ok(consumed) => {
                let units = consumed
                    .and_then(ConsumedCapacity::capacity_units)
                    .unwrap_or_default();
                metrics::histogram!("tidewatch_watch_log_capacity_units", "table" => table(), "operation" => operation)
                    .record(units);
                "ok"
            }
            Err(fault) => fault.label(),
        };
        metrics::counter!("tidewatch_watch_log_requests_total", "table" => table(), "operation" => operation, "outcome" => outcome)
            .increment(1);
    }

    /// The error of a request that is not tried again.
    pub(super) fn failed(&self, fault: &Fault) -> LogError {
        let kind = match fault.kind() {
            ErrorKind::AccessDenied => LogErrorKind::AccessDenied,
            ErrorKind::WrongTable => LogErrorKind::WrongLog,
            ErrorKind::BadParameter | ErrorKind::TooLarge => LogErrorKind::BadParameter,
            _ => LogErrorKind::Unavailable,
        };
        self.error(kind, fault.said())
    }

    pub(super) fn error(&self, kind: LogErrorKind, message: impl Into<String>) -> LogError {
        LogError::new(kind, &self.inner.table, &self.inner.name, message)
    }
}

/// What stands in the log's table and cannot be read was written by another version or another program.
fn read_all(items: Vec<Attributes>) -> Result<Vec<Segment>, Fault> {
    items.iter().map(read_one).collect()
}

pub(super) fn read_one(item: &Attributes) -> Result<Segment, Fault> {
    Segment::unmarshal(item).map_err(|what| Fault::Final(ErrorKind::WrongTable, what))
}

pub(super) fn primary(partition: &str, number: u128) -> Attributes {
    Attributes::from([
        ("Log".to_owned(), AttributeValue::S(partition.to_owned())),
        ("Segment".to_owned(), AttributeValue::N(number.to_string())),
    ])
}
