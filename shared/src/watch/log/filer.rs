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
const BEHIND: Duration = Duration::from_secs(10);
/// The most keys that are remembered: 24 bytes each, and the table's room.
const MOST: usize = 100_000;

/// What a process filed, so that a lease that is renewed often is filed once. Forgetting costs an entry a key.
#[derive(Debug, Default)]
pub(super) struct Filer {
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// The log that the entries are of.
    id: String,
    keys: HashMap<u64, Entry>,
}

/// A key's pending entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    slot: u64,
    /// The last slot that a change of the key was seen to fall due in: a later check may have filed it there.
    last: u64,
}

impl Filer {
    /// Files the keys of a batch that expire, and those of which that cannot be read, unless an entry of theirs is pending
    /// that will be checked later than now and no later than they fall due. Safe to repeat.
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
        {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.id != control.id {
                *pending = Pending {
                    id: control.id.clone(),
                    keys: HashMap::new(),
                };
            }
            for record in batch.iter().filter_map(Incoming::record) {
                let hash = key_hash(record.event.key.as_bytes());
                keys.remove(&hash);
                let expires = match &record.event.operation {
                    Operation::Put(put) => put.expires,
                    Operation::Delete(_) => None,
                    // Whether it expires its check will find.
                    Operation::Unknown => Some(now),
                };
                if record.inserted || expires.is_none() {
                    // A check of what was there before may have ended with it.
                    pending.keys.remove(&hash);
                }
                if let Some(expires) = expires {
                    let key = record.event.key.clone();
                    let seen = now + BEHIND;
                    keys.insert(hash, DueKey { key, expires, seen });
                }
            }
            keys.retain(|hash, key| {
                let slot = DueChunk::slot_of(key.expires);
                let Some(entry) = pending.keys.get_mut(hash) else {
                    return true;
                };
                let stands = entry.slot <= slot && DueChunk::is_after(entry.slot, now) && entry.last <= slot;
                entry.last = entry.last.max(slot);
                !stands
            });
        }
        let (hashes, keys): (Vec<u64>, Vec<DueKey>) = keys.into_iter().unzip();
        file(log, control, &keys, stop).await?;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.keys.len() + keys.len() > MOST {
            pending.keys.clear();
        }
        for (hash, key) in hashes.into_iter().zip(&keys) {
            let slot = DueChunk::slot_of(key.expires);
            pending.keys.insert(hash, Entry { slot, last: slot });
        }
        Ok(())
    }
}
