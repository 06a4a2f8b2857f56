//! Spreads the engine's only shard over several, one of which splits in the middle of the run.
//!
//! A record goes by the hash of its partition key, so that a session stays in one shard, or in its parent and then
//! in one of its children. Where the split falls depends only on the order of the stream: after a restart all
//! records are routed again from the beginning, and each to the same shard as before.

use std::sync::Arc;

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
    routed: usize,
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
            routed: 0,
        }
    }

    /// Puts a record into its shard.
    ///
    /// # Errors
    /// [`RouteError`], which says why not.
    pub fn route(&mut self, record: &Value) -> Result<(), RouteError> {
        if self.routed == self.split_after {
            self.stream.open(LOWER, Some(SPLITS));
            self.stream.open(UPPER, Some(SPLITS));
            self.stream.close(SPLITS);
        }
        let key = record
            .pointer("/dynamodb/Keys/SessionID/S")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let hash = fnv(key);
        let shard = match (hash % 2, self.routed < self.split_after, hash / 2 % 2) {
            (0, ..) => STAYS,
            (_, true, _) => SPLITS,
            (_, false, 0) => LOWER,
            (_, false, _) => UPPER,
        };
        self.routed += 1;
        Ok(self.stream.append(shard, Record::new(record)?)?)
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
        let late = json!({"dynamodb": {"ApproximateCreationDateTime": 1, "SequenceNumber": "1", "Keys": {}}});
        assert!(stream.append(SPLITS, Record::new(&late).unwrap()).is_err());
    }
}
