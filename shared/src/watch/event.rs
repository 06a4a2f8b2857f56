//! What a watcher is told of a change.

use std::fmt;
use std::time::SystemTime;

use crate::state::{Key, Revision};

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The key.
    pub key: Key,
    /// What became of it.
    pub operation: Operation,
    /// When the table took it, as coarsely as the source tells: DynamoDB's streams round to seconds.
    pub created: Option<SystemTime>,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// It was written: created, replaced or kept alive.
    Put(Put),
    /// It was deleted.
    Delete(Delete),
    /// It changed, but the record of the change cannot be read. Read the key.
    Unknown,
}

/// A written item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// When it ceases to exist; none for never.
    pub expires: Option<SystemTime>,
    /// Which write it was. A keep-alive leaves it as it is.
    pub revision: Revision,
    /// What was written.
    pub value: Value,
}

/// A deleted item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Why.
    pub cause: Cause,
    /// The item as it was, where the stream's view has it.
    pub previous: Option<Put>,
}

/// Why an item was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It had expired: deleted by DynamoDB's TTL, by a sweep of ours, or by whoever met it.
    Expired,
    /// Somebody deleted it while it was live.
    Deleted,
    /// The source cannot tell.
    Unknown,
}

/// The bytes of an item, or why they are not there.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// The bytes.
    Inline(Vec<u8>),
    /// The source does not carry it: values of an attached table, or too large. Read the key: it may have changed since.
    Omitted,
}

/// Without the value, which may be a secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => write!(f, "({} bytes)", bytes.len()),
            Self::Omitted => f.write_str("(omitted)"),
        }
    }
}

impl Value {
    /// The bytes, if they are there.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Omitted => None,
        }
    }
}

impl Operation {
    /// `put`, `delete` or `unknown`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Delete(_) => "delete",
            Self::Unknown => "unknown",
        }
    }
}

impl Cause {
    /// `expired`, `deleted` or `unknown`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Unknown => "unknown",
        }
    }
}
