//! What the fan-out reads from: the watch log, or a table's stream.

use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};

use super::Event;
use super::error::WatchError;
use super::filter::Filter;
use super::position::{Lane, Mark, Position};

/// A source of changes in lanes.
///
/// All of it is in this crate: what a third one would have to promise is written here so that both do.
pub(crate) trait Source: fmt::Debug + Send + Sync + 'static {
    /// A position from which every change is seen that is made after the call. Some made shortly before may be too.
    fn now(&self) -> BoxFuture<'_, Result<Position, WatchError>>;

    /// The oldest position from which nothing is missing.
    fn beginning(&self) -> BoxFuture<'_, Result<Position, WatchError>>;

    /// Which keys it tells of.
    fn covered(&self) -> BoxFuture<'_, Result<Filter, WatchError>> {
        std::future::ready(Ok(Filter::default())).boxed()
    }

    /// Reads on from a position by itself. What is wrong with the position the first [`Reader::next`] tells.
    fn reader(&self, from: Position) -> Box<dyn Reader>;
}

/// Reads a source from a position on.
pub(crate) trait Reader: Send {
    /// What comes next: waits until there is something, trying again after failures that may pass. Never empty, each lane's
    /// chunks in order. Cancel-safe: what a dropped call has read is read again, or kept for the next.
    ///
    /// # Errors
    /// What ends the reading: [`WatchError::Compacted`] if something behind the position is not there any more.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Arc<Chunk>>, WatchError>>;
}

/// Successive entries of a lane.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) lane: Lane,
    /// What they are, each with the position behind it.
    pub(crate) entries: Vec<(Mark, Entry)>,
    /// The position behind all of them; where there are no entries, how far there were none.
    pub(crate) end: Mark,
    /// Bytes that it takes in memory, roughly.
    pub(crate) bytes: usize,
}

impl Chunk {
    pub(crate) fn has_gap(&self) -> bool {
        self.entries
            .iter()
            .any(|(_, entry)| matches!(entry, Entry::Gap(_)))
    }
}

/// An entry of a lane.
#[derive(Debug)]
pub(crate) enum Entry {
    Event(Arc<Event>),
    /// Changes before here are missing, for this reason.
    Gap(Arc<str>),
}
