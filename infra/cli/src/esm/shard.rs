//! The shards of a stream: lineage, records, and how far each has been answered.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::record::{Record, SequenceNumber};

/// How far a shard has been answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last record answered; all before it are answered too.
    pub after: Option<SequenceNumber>,
    /// Whether the shard was closed and has been answered to its end.
    pub finished: bool,
}

/// The checkpoints of a stream by shard: what a mapping needs to go on after a restart.
pub type Checkpoints = BTreeMap<String, Checkpoint>;

/// A shard that was never opened, or is closed already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shard {0} is not open")]
pub struct UnknownShard(pub String);

/// A stream's shards, fed by its owner and read by one mapping.
///
/// Records are kept until they are answered. After a restart with [`Stream::restored`] the owner may feed all
/// records again: those answered already are dropped.
#[derive(Debug)]
pub struct Stream {
    arn: String,
    shards: Mutex<BTreeMap<String, Shard>>,
    restored: Checkpoints,
    /// Counts changes, so that a reader that looked before a change is woken by it.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Shard {
    parent: Option<String>,
    closed: bool,
    claimed: bool,
    checkpoint: Checkpoint,
    /// What is not yet answered in full, in order.
    records: VecDeque<Arc<Record>>,
    /// Position of the first of `records`, counted from the shard's beginning.
    base: u64,
    /// For each lane, the position below which all of its records are answered.
    answered: Vec<u64>,
}

/// A record and its position in its shard.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) position: u64,
    pub(super) record: Arc<Record>,
}

/// What a lane could take.
#[derive(Debug)]
pub(super) struct Peek {
    pub(super) records: Vec<Placed>,
    /// No more fit into the batch.
    pub(super) full: bool,
    /// No more will come.
    pub(super) closed: bool,
}

impl Stream {
    /// An empty stream.
    pub fn new(arn: &str) -> Self {
        Self::restored(arn, Checkpoints::new())
    }

    /// A stream whose shards were answered up to these checkpoints.
    pub fn restored(arn: &str, checkpoints: Checkpoints) -> Self {
        Self {
            arn: arn.to_owned(),
            shards: Mutex::default(),
            restored: checkpoints,
            changes: watch::Sender::new(0),
        }
    }

    /// The stream's name.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Opens a shard; one that is open already stays as it is.
    pub fn open(&self, id: &str, parent: Option<&str>) {
        self.shards().entry(id.to_owned()).or_insert_with(|| Shard {
            parent: parent.map(str::to_owned),
            checkpoint: self.restored.get(id).cloned().unwrap_or_default(),
            ..Shard::default()
        });
        self.changed();
    }

    /// Adds a record at the end of an open shard, unless its checkpoint says that it was answered.
    ///
    /// # Errors
    /// [`UnknownShard`] if the shard is closed or was never opened.
    pub fn append(&self, id: &str, record: Record) -> Result<(), UnknownShard> {
        {
            let mut shards = self.shards();
            let shard = shards.get_mut(id).filter(|shard| !shard.closed);
            let shard = shard.ok_or_else(|| UnknownShard(id.to_owned()))?;
            let answered = shard.checkpoint.finished
                || shard
                    .checkpoint
                    .after
                    .as_ref()
                    .is_some_and(|after| record.sequence <= *after);
            if answered {
                return Ok(());
            }
            shard.records.push_back(Arc::new(record));
        }
        self.changed();
        Ok(())
    }

    /// Closes a shard: no more records will come.
    pub fn close(&self, id: &str) {
        if let Some(shard) = self.shards().get_mut(id) {
            shard.closed = true;
        }
        self.changed();
    }

    /// Closes all shards.
    pub fn end(&self) {
        self.shards().values_mut().for_each(|shard| shard.closed = true);
        self.changed();
    }

    /// How far each shard has been answered.
    pub fn checkpoints(&self) -> Checkpoints {
        self.shards()
            .iter()
            .map(|(id, shard)| (id.clone(), shard.checkpoint.clone()))
            .collect()
    }

    /// Records not yet answered.
    pub fn waiting(&self) -> usize {
        self.shards().values().map(|shard| shard.records.len()).sum()
    }

    /// Claims the shards that may be read now: not yet claimed, not finished, parent absent or finished.
    pub(super) fn claim(&self, lanes: u32) -> Vec<String> {
        let mut shards = self.shards();
        let ready = |shard: &Shard, all: &BTreeMap<String, Shard>| {
            let parent = shard.parent.as_ref().and_then(|parent| all.get(parent));
            !shard.claimed
                && !shard.checkpoint.finished
                && parent.is_none_or(|parent| parent.checkpoint.finished)
        };
        let ids: Vec<String> = shards
            .iter()
            .filter(|(_, shard)| ready(shard, &shards))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &ids {
            if let Some(shard) = shards.get_mut(id) {
                shard.claimed = true;
                shard.answered = vec![shard.base; lanes as usize];
            }
        }
        ids
    }

    /// Whether every shard is finished.
    pub(super) fn finished(&self) -> bool {
        let shards = self.shards();
        !shards.is_empty() && shards.values().all(|shard| shard.checkpoint.finished)
    }

    /// What a lane could take from `position` on.
    pub(super) fn peek(&self, id: &str, lane: u32, position: u64, most: usize, most_bytes: usize) -> Peek {
        let shards = self.shards();
        let Some(shard) = shards.get(id) else {
            return Peek {
                records: Vec::new(),
                full: false,
                closed: true,
            };
        };
        let skip = usize::try_from(position.saturating_sub(shard.base)).unwrap_or(usize::MAX);
        let lanes = shard.answered.len();
        let mine = shard
            .records
            .iter()
            .zip(shard.base..)
            .skip(skip)
            .filter(|(record, _)| lane_of(record, lanes) == lane);
        let mut bytes = r#"{"Records":[]}"#.len();
        let mut records = Vec::new();
        let mut full = false;
        for (record, position) in mine {
            bytes += record.json.len() + 1;
            if !records.is_empty() && bytes > most_bytes {
                full = true;
                break;
            }
            records.push(Placed {
                position,
                record: Arc::clone(record),
            });
            if records.len() == most {
                full = true;
                break;
            }
        }
        Peek {
            records,
            full,
            closed: shard.closed,
        }
    }

    /// All of a lane's records up to and including `position` are answered.
    pub(super) fn answered(&self, id: &str, lane: u32, position: u64) {
        let mut shards = self.shards();
        let Some(shard) = shards.get_mut(id) else { return };
        if let Some(answered) = shard.answered.get_mut(lane as usize) {
            *answered = position + 1;
        }
        shard.trim();
    }

    /// The mapping has read a closed shard to its end and answered all.
    pub(super) fn finish(&self, id: &str) {
        if let Some(shard) = self.shards().get_mut(id) {
            shard.checkpoint.finished = true;
        }
        self.changed();
    }

    /// A view of the changes; one made before looking misses none.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<String, Shard>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Moves the checkpoint over all leading records that are answered in their lanes.
    fn trim(&mut self) {
        let lanes = self.answered.len();
        while let Some(record) = self.records.front() {
            let answered = self
                .answered
                .get(lane_of(record, lanes) as usize)
                .copied()
                .unwrap_or(0);
            if answered <= self.base {
                break;
            }
            self.checkpoint.after = Some(record.sequence.clone());
            self.records.pop_front();
            self.base += 1;
        }
    }
}

/// Lambda spreads a shard's records over its lanes by the whole item key.
fn lane_of(record: &Record, lanes: usize) -> u32 {
    let mut hasher = DefaultHasher::new();
    record.item.hash(&mut hasher);
    u32::try_from(hasher.finish() % lanes.max(1) as u64).unwrap_or_default()
}
