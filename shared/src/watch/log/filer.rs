//! Filing what falls due, as changes come by.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::control::Control;
use super::due::{DueChunk, DueKey, file};
use super::segment::key_hash;
use super::{Incoming, Log, LogError};
use crate::clock::Instant;
use crate::watch::event::Operation;

/// How far the clocks of whoever sweeps may be behind.
const BEHIND: Duration = Duration::from_secs(5);
/// The most keys that are remembered: 16 bytes each, and the table's room.
const MOST: usize = 100_000;

/// What a process filed, so that a lease that is renewed often is filed once. Forgetting costs an entry a key.
#[derive(Debug, Default)]
pub(super) struct Filer {
    /// The slot of a key's pending entry.
    pending: Mutex<HashMap<u64, u64>>,
}

impl Filer {
    /// Files the keys of a batch that expire, unless an entry of theirs is pending that will be checked later than now and
    /// no later than they fall due. Safe to repeat.
    ///
    /// # Errors
    /// [`LogError`]; the batch must come again.
    pub(super) async fn file(
        &self,
        log: &Log,
        control: &Control,
        batch: &[Incoming],
        stop: Instant,
    ) -> Result<(), LogError> {
        let now = log.inner.clock.now();
        // The last change of a key is what its check will find.
        let mut keys: HashMap<u64, DueKey> = HashMap::new();
        for record in batch.iter().filter_map(Incoming::record) {
            let hash = key_hash(record.event.key.as_bytes());
            keys.remove(&hash);
            if let Operation::Put(put) = &record.event.operation
                && let Some(expires) = put.expires
            {
                let key = DueKey {
                    key: record.event.key.clone(),
                    expires,
                    seen: now + BEHIND,
                };
                keys.insert(hash, key);
            }
        }
        {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            keys.retain(|hash, key| {
                let slot = DueChunk::slot_of(key.expires);
                let stands = |pending: &u64| *pending <= slot && DueChunk::is_after(*pending, now);
                !pending.get(hash).is_some_and(stands)
            });
        }
        let (hashes, keys): (Vec<u64>, Vec<DueKey>) = keys.into_iter().unzip();
        file(log, control, &keys, stop).await?;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() + keys.len() > MOST {
            pending.clear();
        }
        let slots = keys.iter().map(|key| DueChunk::slot_of(key.expires));
        pending.extend(hashes.into_iter().zip(slots));
        Ok(())
    }
}
