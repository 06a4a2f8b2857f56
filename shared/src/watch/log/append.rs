//! Appending: one conditional put of the next segment.

use std::time::SystemTime;

use super::{Log, LogError, LogErrorKind};
use crate::clock::Instant;
use crate::watch::Prefix;
use crate::watch::record::Record;

/// Which values the log carries beside keys and revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inline {
    /// None: for tables whose values are their owner's secrets. Watchers read them under their own permissions.
    None,
    /// All.
    All,
    /// Those of keys below these prefixes.
    Below(Vec<Prefix>),
}

/// Something of a batch of the stream, in its order.
#[derive(Debug, Clone)]
pub(crate) enum Incoming {
    /// A change.
    Record(Record),
    /// A record whose key cannot be read: a gap is due in its place.
    Unreadable { created: Option<SystemTime> },
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Changes appended now.
    pub appended: usize,
    /// Changes that stood there already.
    pub repeats: usize,
    /// Changes in whose place a gap stands, with those of an older stream, which are dropped.
    pub gaps: usize,
    /// Segments written.
    pub segments: usize,
}

/// A batch that could not be appended in whole: everything before `first` is in the log.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) first: usize,
    pub(crate) error: LogError,
}

/// Appends the changes of a table's stream to its log. One is made at start and serves every batch of the process.
#[derive(Debug)]
pub struct Appender {
    log: Log,
    inline: Inline,
}

impl Appender {
    /// An appender to `log`.
    pub fn new(log: Log, inline: Inline) -> Self {
        Self { log, inline }
    }

    /// Appends a batch, trying again until `stop`. `stream` is the ARN of the stream that it is of, or for Kinesis the
    /// name of the table.
    pub(crate) async fn append(
        &self,
        stream: &str,
        batch: &[Incoming],
        stop: Instant,
    ) -> Result<Appended, Failed> {
        let _ = (stream, batch, stop, &self.inline);
        Err(Failed {
            first: 0,
            error: LogError::new(
                LogErrorKind::Unavailable,
                &self.log.inner.table,
                &self.log.inner.name,
                "",
            ),
        })
    }

    /// Appends a gap to every bucket, trying again until `stop`: changes were lost, and nobody knows which. `id` names
    /// the report of the loss, so that one that comes twice makes one gap. `lost_until`, where known, is when the last
    /// of the lost changes was made: where a gap stands that was appended later, none is added.
    ///
    /// # Errors
    /// [`LogError`]; some buckets may have theirs.
    pub async fn break_all(
        &self,
        why: &str,
        id: &str,
        lost_until: Option<SystemTime>,
        stop: Instant,
    ) -> Result<(), LogError> {
        let _ = (why, id, lost_until, stop);
        Err(LogError::new(
            LogErrorKind::Unavailable,
            &self.log.inner.table,
            &self.log.inner.name,
            "",
        ))
    }
}
