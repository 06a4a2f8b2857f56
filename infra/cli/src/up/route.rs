//! Spreads the engine's only shard over several, one of which splits in the middle of the run.
//!
//! A record goes by the hash of its partition key, so that a session stays in one shard, or in its parent and then
//! in one of its children. Where the split falls depends only on the order of the stream: after a restart all
//! records are routed again from the beginning, and each to the same shard as before.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::esm::{InvalidRecord, Record, Stream, UnknownShard};

const STAYS: &str = "shardId-00000001795000000001-stays0000";
const SPLITS: &str = "shardId-00000001795000000002-splits000";
const LOWER: &str = "shardId-00000001795000000003-lower0000";
const UPPER: &str = "shardId-00000001795000000004-upper0000";

/// Routes records into the shards of a [`Stream`].
#[derive(Debug)]
pub struct Router {
    stream: Arc<Stream>,
    /// The split comes after so many records.
    split_after: usize,
    records: usize,
    routed: Routed,
}

/// What went through a [`Router`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Routed {
    /// Rows that were changed.
    pub modified: usize,
    /// Records by shard since the split, for each shard then open; empty if there was none.
    pub since_split: BTreeMap<&'static str, usize>,
}

/// A record that cannot be routed.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// It is no stream record.
    #[error(transparent)]
    Invalid(#[from] InvalidRecord),
    /// The stream was ended.
    #[error(transparent)]
    Closed(#[from] UnknownShard),
}

impl Router {
    /// Opens the first two shards.
    pub fn new(stream: Arc<Stream>, split_after: usize) -> Self {
        stream.open(STAYS, None);
        stream.open(SPLITS, None);
        Self {
            stream,
            split_after,
            records: 0,
            routed: Routed::default(),
        }
    }

    /// What went through so far.
    pub fn routed(&self) -> Routed {
        self.routed.clone()
    }

    /// Puts a record into its shard.
    ///
    /// # Errors
    /// [`RouteError`], which says why not.
    pub fn route(&mut self, record: &Value) -> Result<(), RouteError> {
        if self.records == self.split_after {
            self.stream.open(LOWER, Some(SPLITS));
            self.stream.open(UPPER, Some(SPLITS));
            self.stream.close(SPLITS);
            self.routed.since_split = BTreeMap::from([(STAYS, 0), (LOWER, 0), (UPPER, 0)]);
        }
        let key = record
            .pointer("/dynamodb/Keys/SessionID/S")
            // Of a state table the keys themselves: all items have the same partition key.
            .or_else(|| record.pointer("/dynamodb/Keys/FullPath/S"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let hash = fnv(key);
        let shard = match (hash % 2, self.records < self.split_after, hash / 2 % 2) {
            (0, ..) => STAYS,
            (_, true, _) => SPLITS,
            (_, false, 0) => LOWER,
            (_, false, _) => UPPER,
        };
        self.stream.append(shard, Record::new(record)?)?;
        self.records += 1;
        if let Some(rows) = self.routed.since_split.get_mut(shard) {
            *rows += 1;
        }
        if record.get("eventName").and_then(Value::as_str) == Some("MODIFY") {
            self.routed.modified += 1;
        }
        Ok(())
    }
}

/// FNV-1a, mixed once more because its low bits are weak: a hash that no release of Rust changes.
fn fnv(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_shards_are_used_and_the_split_one_is_closed() {
        let stream = Arc::new(Stream::new("arn"));
        let mut router = Router::new(Arc::clone(&stream), 100);
        for number in 0..200 {
            let record = json!({"dynamodb": {"ApproximateCreationDateTime": 1, "SequenceNumber": number.to_string(),
                "Keys": {"SessionID": {"S": format!("session-{number}")}}}});
            router.route(&record).unwrap();
        }
        assert_eq!(stream.checkpoints().len(), 4);
        assert_eq!(stream.waiting(), 200);
        let routed = router.routed();
        assert_eq!(routed.modified, 0);
        assert_eq!(routed.since_split.values().sum::<usize>(), 100);
        assert!(routed.since_split.len() == 3 && routed.since_split.values().all(|rows| *rows > 0));
        let late = json!({"dynamodb": {"ApproximateCreationDateTime": 1, "SequenceNumber": "1", "Keys": {}}});
        assert!(stream.append(SPLITS, Record::new(&late).unwrap()).is_err());
    }
}
