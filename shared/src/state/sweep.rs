//! What a sweep asks of the table: what has expired, and its delete on exactly what was seen.
//!
//! Every call answers the capacity that it took, so that a sweep can keep to a rate.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};

use super::attempts::Attempts;
use super::backend::Backend;
use super::expression::{Expression, Parts};
use super::fault::{Attributes, Fault};
use super::item::seconds;
use super::record::{number, revision_of, size};
use super::{Entry, Error, ErrorKind, Key, Layout, Revision};

/// How many keys one BatchGetItem takes.
pub(crate) const KEYS: usize = 100;
/// The index in which everything that expires stands: of partitioned tables, and of others whose operator insisted on it.
const INDEX: &str = "expiry";
/// A write unit.
const KB: usize = 1024;

/// An item that expires, as a sweep saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expiring {
    pub(crate) key: Key,
    pub(crate) expires: SystemTime,
    pub(crate) revision: Revision,
}

/// What became of an item that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is gone by this delete, as far as anybody can tell.
    Deleted,
    /// It was not there any more.
    Gone,
    /// It expires at another time by now.
    Renewed,
    /// It is another one by now.
    Replaced,
}

/// A page of items that expire.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Expiring>,
    /// How many items were read for it.
    pub(crate) scanned: usize,
    /// Where the next one begins; none if this is the last.
    pub(crate) next: Option<Attributes>,
    /// Read units that it took.
    pub(crate) units: f64,
}

/// The last second that has passed by more than `margin` at `now`, fractions included.
pub(crate) fn last_past(now: SystemTime, margin: Duration) -> i64 {
    let margin = margin + Duration::from_nanos(1);
    now.checked_sub(margin).map_or(i64::MIN, seconds)
}

impl Entry {
    /// It, if it expires.
    pub(crate) fn expiring(self) -> Option<Expiring> {
        Some(Expiring {
            expires: self.expires?,
            key: self.key,
            revision: self.revision,
        })
    }
}

impl Backend {
    /// The last second that has passed by more than `margin`, whichever way this machine's clock is proven to be wrong.
    pub(crate) fn last_past(&self, margin: Duration) -> i64 {
        last_past(self.clock().now(), margin + self.skew().proven())
    }

    /// What is stored under some keys, expired or not, and the read units that it took. A request for 100 keys, a unit
    /// for each 4 KB of each item whatever is asked for of it, one where there is none.
    ///
    /// # Errors
    /// What any request may end with.
    pub(crate) async fn read_entries(&self, keys: &[Key]) -> Result<(Vec<Entry>, f64), Error> {
        let layout = self.layout();
        let mut attempts = Attempts::new(self, "read_entries", None);
        let (mut found, mut units) = (Vec::new(), 0.0);
        for keys in keys.chunks(KEYS) {
            // A key that cannot be stored is not there.
            let mut left: Vec<Attributes> = keys.iter().filter_map(|key| layout.primary(key).ok()).collect();
            while !left.is_empty() {
                let wanted = KeysAndAttributes::builder()
                    .set_keys(Some(left.clone()))
                    .consistent_read(true)
                    .projection_expression("#k, Expires, Revision")
                    .expression_attribute_names("#k", layout.sort_name());
                let wanted = wanted
                    .build()
                    .map_err(|error| attempts.error(ErrorKind::BadParameter, error.to_string()))?;
                let request = self
                    .client()
                    .batch_get_item()
                    .request_items(self.table(), wanted)
                    .return_consumed_capacity(ReturnConsumedCapacity::Total);
                let answer = attempts
                    .send(async move { request.send().await.map_err(Fault::of) })
                    .await;
                let fault = match answer {
                    Ok(answer) => {
                        units += self.charge("read_entries", answer.consumed_capacity());
                        let items = answer.responses.and_then(|mut all| all.remove(self.table()));
                        let items = items.unwrap_or_default();
                        if !items.is_empty() {
                            attempts.progressed();
                        }
                        found.extend(items.iter().filter_map(|stored| layout.entry(stored)));
                        let unread = answer
                            .unprocessed_keys
                            .and_then(|mut all| all.remove(self.table()));
                        left = unread.map(|unread| unread.keys).unwrap_or_default();
                        Fault::Throttled("DynamoDB left a part of the batch unread".to_owned())
                    }
                    Err(fault) => fault,
                };
                if !left.is_empty() {
                    attempts.again_read(&fault).await?;
                }
            }
        }
        Ok((found, units))
    }

    /// What the index holds with an expiry of `latest` or before, in one of its shards, oldest first. One request: half a
    /// read unit for each 4 KB of the page. The index is behind the table, and holds the items of the table's other
    /// namespaces too, which are left out.
    ///
    /// # Errors
    /// What any request may end with.
    pub(crate) async fn due_page(
        &self,
        shard: u64,
        latest: i64,
        from: Option<Attributes>,
        limit: usize,
    ) -> Result<Page, Error> {
        let layout = self.layout();
        let (attribute, shard) = match layout {
            Layout::Partitioned(_) => ("ExpiryShard", AttributeValue::N(shard.to_string())),
            Layout::Teleport => (
                layout.partition_name(),
                AttributeValue::S(layout.partition_value(0)),
            ),
        };
        let asked = Expression::empty()
            .name("#shard", attribute)
            .value(":shard", shard)
            .value(":latest", number(latest));
        self.expiring_page("due_page", asked.parts(), from, limit, |request| {
            request
                .index_name(INDEX)
                .key_condition_expression("#shard = :shard AND Expires <= :latest")
        })
        .await
    }

    /// What expires among the items of a partition that come behind the sort key `after`, by key. One request, eventually
    /// consistent: half a read unit for each 4 KB of what is read, which is everything.
    ///
    /// # Errors
    /// What any request may end with.
    pub(crate) async fn scan_page(
        &self,
        partition: u8,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Error> {
        let layout = self.layout();
        let hash = || AttributeValue::S(layout.partition_value(partition));
        let from = after.map(|after| {
            Attributes::from([
                (layout.partition_name().to_owned(), hash()),
                (layout.sort_name().to_owned(), AttributeValue::S(after.to_owned())),
            ])
        });
        let asked = Expression::empty()
            .name("#h", layout.partition_name())
            .name("#k", layout.sort_name())
            .value(":h", hash());
        self.expiring_page("scan_page", asked.parts(), from, limit, |request| {
            request
                .key_condition_expression("#h = :h")
                .filter_expression("attribute_exists(Expires)")
                .projection_expression("#h, #k, Expires, Revision")
        })
        .await
    }

    async fn expiring_page(
        &self,
        operation: &'static str,
        (_, names, values): Parts,
        from: Option<Attributes>,
        limit: usize,
        ask: impl Fn(Query) -> Query,
    ) -> Result<Page, Error> {
        let layout = self.layout();
        let mut attempts = Attempts::new(self, operation, None);
        loop {
            let request = self
                .client()
                .query()
                .table_name(self.table())
                .limit(i32::try_from(limit).unwrap_or(i32::MAX))
                .set_expression_attribute_names(names.clone())
                .set_expression_attribute_values(values.clone())
                .set_exclusive_start_key(from.clone())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let request = ask(request);
            let answer = attempts
                .send(async move { request.send().await.map_err(Fault::of) })
                .await;
            match answer {
                Ok(answer) => {
                    let units = self.charge(operation, answer.consumed_capacity());
                    let items = answer.items.unwrap_or_default();
                    let entries = items.iter().filter(|stored| layout.owns(stored));
                    let entries = entries.filter_map(|stored| layout.entry(stored)?.expiring());
                    return Ok(Page {
                        items: entries.collect(),
                        scanned: usize::try_from(answer.scanned_count).unwrap_or_default(),
                        next: answer.last_evaluated_key,
                        units,
                    });
                }
                Err(fault) => attempts.again_read(&fault).await?,
            }
        }
    }

    /// Deletes an item that has been expired for more than `margin`, if it is still in the revision and has the expiry
    /// that was seen; the clock is asked anew for each attempt. One request, priced as [`delete`](Self::delete); answers
    /// the write units too, by the size of the item where it was refused.
    ///
    /// An attempt whose answer was lost is repeated: the condition holds for that very item only. Found gone then, it
    /// counts as deleted. Whoever writes the item between the two keeps what he wrote.
    ///
    /// # Errors
    /// [`OutcomeUnknown`](ErrorKind::OutcomeUnknown), and what any request may end with.
    pub(crate) async fn remove_expired(
        &self,
        seen: &Expiring,
        margin: Duration,
    ) -> Result<(Removal, f64), Error> {
        let mut attempts = Attempts::new(self, "remove_expired", Some(&seen.key));
        self.conditions_hold(&attempts)?;
        let primary = self.primary(&attempts, &seen.key)?;
        let mut lost: Option<Fault> = None;
        loop {
            let latest = self.last_past(margin);
            let condition = Expression::seen(&seen.revision, seconds(seen.expires), latest);
            let request = self.delete_request("remove_expired", primary.clone(), condition);
            let fault = match attempts.send(request).await {
                Ok(units) => return Ok((Removal::Deleted, units)),
                Err(Fault::Refused(old)) => {
                    let removal = match (&old, &lost) {
                        (Some(old), _) if revision_of(old) == seen.revision => Removal::Renewed,
                        (Some(_), _) => Removal::Replaced,
                        (None, Some(_)) => Removal::Deleted,
                        (None, None) => Removal::Gone,
                    };
                    // An exception carries no capacity, and is charged all the same.
                    let units = old.map_or(1, |old| size(&old).div_ceil(KB));
                    return Ok((removal, f64::from(u32::try_from(units).unwrap_or(u32::MAX))));
                }
                Err(Fault::Unknown(said)) => {
                    lost = Some(Fault::Unknown(said.clone()));
                    Fault::NotSent(said)
                }
                Err(fault) => fault,
            };
            if let Err(error) = attempts.again_known(&fault).await {
                return Err(lost.map_or(error, |lost| attempts.gave_up(&lost)));
            }
        }
    }
}

type Query = aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;

impl Expiring {
    /// What follows it in order: the oldest first, and by key.
    pub(crate) fn order(&self) -> (SystemTime, &Key) {
        (self.expires, &self.key)
    }

    /// Whether it has expired by the second `latest`.
    pub(crate) fn is_past(&self, latest: i64) -> bool {
        seconds(self.expires) <= latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_count() {
        let at = |millis| {
            last_past(
                SystemTime::UNIX_EPOCH + Duration::from_millis(millis),
                Duration::from_secs(1),
            )
        };
        // An item that expires at 9 is due once the clock is past 10.
        assert_eq!(
            [at(10_000), at(10_001), at(10_999), at(11_000), at(11_001)],
            [8, 9, 9, 9, 10]
        );
    }
}
