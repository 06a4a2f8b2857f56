//! What ends a watch.

use super::position::Position;
use crate::state;

/// Why a watcher gets nothing more, or why there is none.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Changes were missed: the position is older than what is kept, or the source has a gap. List again, and watch from
    /// there: [`list_and_watch`](super::Watches::list_and_watch) does both.
    #[error("changes were missed ({why}): list again, and go on from there")]
    Compacted {
        /// The oldest position from which nothing is missing, as far as the source can tell.
        floor: Box<Position>,
        /// What happened.
        why: String,
    },
    /// The call is wrong: a position of another source, a prefix that is not covered. Correct it.
    #[error("{0}")]
    BadParameter(String),
    /// The source is not what it must be: no stream, no watch log, or another one's. Nothing works before that is put
    /// right.
    #[error("{0}")]
    WrongSource(String),
    /// The credentials do not allow it. Allow it, or renew them.
    #[error("{0}")]
    AccessDenied(String),
    /// The source cannot be reached. The readers try again by themselves; a call that starts a watch does not.
    #[error("{0}")]
    Unavailable(String),
    /// Listing or reading a value failed.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The watches were closed.
    #[error("the watches were closed")]
    Closed,
}

impl WatchError {
    /// Whether changes were missed, and listing again is the remedy.
    pub fn is_compacted(&self) -> bool {
        matches!(self, Self::Compacted { .. })
    }
}
