//! Between an [`Item`] and what stands in the table.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | partition and sort key | S | as the [`Layout`] says |
//! | `Value` | B | the bytes; NULL or absent in items that Go wrote without a value |
//! | `Expires` | N | unix seconds, rounded down; absent for never. DynamoDB's TTL attribute |
//! | `Timestamp` | N | unix seconds of the write, by the wall clock; nothing reads it |
//! | `Revision` | S | which write it was; absent in items from before there were revisions |
//! | `ExpiryShard` | N | partitioned layout: present with `Expires`, the partition key of the index `expiry` |

use std::time::SystemTime;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::fault::Attributes;
use super::item::{seconds, time_of};
use super::{Entry, Item, Key, Layout, Partitioned, Revision};

/// The longest sort key of DynamoDB, in bytes.
const MAX_SORT_KEY: usize = 1024;
/// The largest item of DynamoDB, in bytes, names of attributes included.
pub(crate) const MAX_ITEM: usize = 400 * 1024;

/// Teleport's constant: the partition of every item, and what precedes every key.
const TELEPORT: &str = "teleport";

impl Layout {
    /// The name of the partition key.
    pub(crate) fn partition_name(&self) -> &'static str {
        match self {
            Self::Teleport => "HashKey",
            Self::Partitioned(_) => "Part",
        }
    }

    /// The name of the sort key.
    pub(crate) fn sort_name(&self) -> &'static str {
        match self {
            Self::Teleport => "FullPath",
            Self::Partitioned(_) => "Key",
        }
    }

    /// What precedes a key in the sort key.
    pub(super) fn sort_prefix(&self) -> &'static str {
        match self {
            Self::Teleport => TELEPORT,
            Self::Partitioned(_) => "",
        }
    }

    /// How many partitions a range is spread over.
    pub(crate) fn partitions(&self) -> u8 {
        match self {
            Self::Teleport => 1,
            Self::Partitioned(spread) => spread.partitions(),
        }
    }

    /// The value of the partition key, for a partition below [`partitions`](Self::partitions).
    pub(crate) fn partition_value(&self, partition: u8) -> String {
        match self {
            Self::Teleport => TELEPORT.to_owned(),
            Self::Partitioned(spread) => spread.part(partition),
        }
    }

    /// The key as it is stored, if it can be.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn sort_value(&self, key: &Key) -> Result<String, String> {
        if key.is_zero() {
            return Err("the key is missing".to_owned());
        }
        let text = key
            .as_str()
            .ok_or("the key is not UTF-8, which DynamoDB cannot store")?;
        let value = format!("{}{text}", self.sort_prefix());
        if value.len() > MAX_SORT_KEY {
            let most = MAX_SORT_KEY - self.sort_prefix().len();
            return Err(format!(
                "the key has {} bytes; at most {most} can be stored",
                text.len()
            ));
        }
        Ok(value)
    }

    /// The primary key of an item.
    pub(crate) fn primary(&self, key: &Key) -> Result<Attributes, String> {
        let sort = self.sort_value(key)?;
        let partition = match self {
            Self::Teleport => 0,
            Self::Partitioned(spread) => spread.partition(key.as_bytes()),
        };
        Ok(Attributes::from([
            (
                self.partition_name().to_owned(),
                AttributeValue::S(self.partition_value(partition)),
            ),
            (self.sort_name().to_owned(), AttributeValue::S(sort)),
        ]))
    }

    /// The whole item, without `Timestamp`, which is that of the attempt.
    pub(super) fn marshal(&self, item: &Item, revision: &Revision) -> Result<Attributes, String> {
        let mut all = self.primary(&item.key)?;
        all.insert(
            "Value".to_owned(),
            AttributeValue::B(Blob::new(item.value.as_slice())),
        );
        all.insert(
            "Revision".to_owned(),
            AttributeValue::S(revision.as_str().to_owned()),
        );
        if let Some(at) = item.expires {
            all.extend(self.expiry(&item.key, at));
        }
        Ok(all)
    }

    /// The attributes of an expiry.
    pub(super) fn expiry(&self, key: &Key, at: SystemTime) -> Vec<(String, AttributeValue)> {
        let mut all = vec![("Expires".to_owned(), number(seconds(at)))];
        if let Self::Partitioned(_) = self {
            let shard = Partitioned::expiry_shard(key.as_bytes());
            all.push(("ExpiryShard".to_owned(), AttributeValue::N(shard.to_string())));
        }
        all
    }

    /// The key of a stored item; none if it is not one of this layout.
    pub(crate) fn key_of(&self, stored: &Attributes) -> Option<Key> {
        let text = stored.get(self.sort_name())?.as_s().ok()?;
        text.strip_prefix(self.sort_prefix()).map(Key::from)
    }

    /// Whether an item of this primary key is one of the layout's: Teleport's partition, or one of the namespace's.
    pub(crate) fn owns(&self, keys: &Attributes) -> bool {
        let partition = keys
            .get(self.partition_name())
            .and_then(|value| value.as_s().ok());
        match (self, partition) {
            (_, None) => false,
            (Self::Teleport, Some(partition)) => partition == TELEPORT,
            (Self::Partitioned(spread), Some(partition)) => partition
                .rsplit_once('#')
                .is_some_and(|(namespace, _)| namespace == spread.namespace()),
        }
    }

    /// A stored item, expired or not.
    pub(crate) fn unmarshal(&self, mut stored: Attributes) -> Option<Item> {
        let Entry {
            key,
            expires,
            revision,
        } = self.entry(&stored)?;
        let value = match stored.remove("Value") {
            Some(AttributeValue::B(bytes)) => bytes.into_inner(),
            _ => Vec::new(),
        };
        Some(Item {
            key,
            value,
            expires,
            revision,
        })
    }

    /// A stored item without its value.
    pub(crate) fn entry(&self, stored: &Attributes) -> Option<Entry> {
        Some(Entry {
            key: self.key_of(stored)?,
            expires: stored.get("Expires").and_then(expiry_seconds).and_then(time_of),
            revision: revision_of(stored),
        })
    }
}

pub(super) fn revision_of(stored: &Attributes) -> Revision {
    Revision::stored(stored.get("Revision").and_then(|revision| revision.as_s().ok()))
}

/// Whether an item exists at the second `now`: it has no expiry, or one not past. An `Expires` that is no number is
/// past, as it is for the conditions that the table checks.
pub(super) fn is_live(stored: &Attributes, now: i64) -> bool {
    match stored.get("Expires") {
        None => true,
        Some(expires) => expiry_seconds(expires).is_some_and(|expires| expires >= now),
    }
}

/// An expiry in whole seconds. Fractions, which nobody writes, are cut.
pub(super) fn expiry_seconds(value: &AttributeValue) -> Option<i64> {
    let digits = value.as_n().ok()?;
    digits.parse().ok().or_else(|| {
        let number: f64 = digits.parse().ok()?;
        // Beyond any clock, and `as` saturates.
        number.is_finite().then(|| number.floor() as i64)
    })
}

pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The bytes of an item as DynamoDB counts them: names and values.
pub(crate) fn size(item: &Attributes) -> usize {
    item.iter()
        .map(|(name, value)| name.len() + value_size(value))
        .sum()
}

/// A map and a list cost three bytes, and one more for each of their members.
fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::N(digits) => number_size(digits),
        AttributeValue::M(members) => {
            let member = |(name, value): (&String, &AttributeValue)| name.len() + 1 + value_size(value);
            3 + members.iter().map(member).sum::<usize>()
        }
        AttributeValue::L(elements) => 3 + elements.iter().map(|value| 1 + value_size(value)).sum::<usize>(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|digits| number_size(digits)).sum(),
        AttributeValue::Bs(blobs) => blobs.iter().map(|bytes| bytes.as_ref().len()).sum(),
        _ => 1,
    }
}

/// A byte, one for each two digits that count before and behind the point, and one for a minus.
fn number_size(digits: &str) -> usize {
    let unsigned = digits.strip_prefix('-').unwrap_or(digits);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let (mut whole, mut fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if fraction.is_empty() {
        whole = whole.trim_end_matches('0');
    } else if whole.is_empty() {
        fraction = fraction.trim_start_matches('0');
    }
    whole.len().div_ceil(2) + fraction.len().div_ceil(2) + 1 + usize::from(unsigned.len() < digits.len())
}
