//! `expire`: deletes what has expired, soon after it did.
//!
//! DynamoDB's TTL deletes hours to days late, and a watcher learns of it as late. This task looks for what is due, and
//! deletes it on exactly the revision and the expiry that it saw: what is renewed a moment before survives.
//!
//! | table | found by | what tells watchers that it expired |
//! |---|---|---|
//! | partitioned (owned) | its index `expiry`: what is read is what is due | the old image in its stream |
//! | Teleport's layout (attached), with a watch log | the log's due list ([`Sweeps`](crate::watch::log::Sweeps)), and a read of each key | a note in the log's table, put before the delete |
//! | Teleport's layout, without | a scan, at the pace that is set; it goes on where the last run was | nothing: `unknown` |
//! | Teleport's layout, without, but with [`Settings::index`] | an index `expiry` that its operator insisted on | nothing: `unknown` |
//!
//! An owned table needs no notes, nor a transaction with a marker: we create it with a stream of new and old images, and
//! the image of an item that was deleted after its expiry says so itself. A plain delete is half the price.
//!
//! # What is due
//! What has been expired for more than a second by this machine's clock, fractions included, and for as long again as
//! DynamoDB's answers prove that clock to be wrong: somebody whose clock is behind may still take the item for live. Below
//! `.locks/` it is five seconds, or the allowed skew of locks where that is more: there a holder's clock decides whether
//! work goes on, and an early delete would let the next holder in. Fencing numbers (`.fences/`) are never deleted. An
//! `Expires` that is no number is left to its owner.
//!
//! # The due list and its fill
//! The list holds what the log's appenders filed since sweeps were announced. What was written before that, or before a gap
//! in the log, is filed by a paced scan, which keeps its place in the item `.tidewatch/maintain/expire` of the state table
//! and goes on between passes. Meanwhile the report says `filling`, and what the list holds is swept all the same.
//!
//! # Two at once
//! do no harm: deletes are conditional, entries of the list are removed after what they are about is settled, and the
//! place of a scan is moved on the revision that was read.

mod index;
mod list;
mod progress;
mod report;
mod scan;
mod sweep;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

pub use self::report::{FoundBy, List, Report, Units};
use self::sweep::Sweep;
use crate::maintain::{Line, Run};
use crate::state::{self, Backend, ErrorKind, Layout};
use crate::watch::log::{Log, LogError, LogErrorKind};
use crate::watch::{Filter, Operations, Prefix};

/// What is deleted, and at which pace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Keys that are swept; none for all. A scan reads the others too, and so does each pass over the index of a
    /// partitioned table as long as they stand there expired.
    pub prefixes: Vec<Prefix>,
    /// Capacity units of the state table, read and written, that may be taken in a second; none for no limit. Default 100,
    /// a tenth of what a partition writes.
    pub units_per_second: Option<NonZeroU32>,
    /// Begins a pass so often, until the last call; none for one pass.
    pub every: Option<Duration>,
    /// A table in Teleport's layout has the index `expiry` too ([`Tables::add_index`](crate::table::Tables::add_index)). The
    /// due list of a watch log is used all the same if there is one: it costs the owner's writes nothing.
    pub index: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefixes: Vec::new(),
            units_per_second: NonZeroU32::new(100),
            every: None,
            index: false,
        }
    }
}

/// The task: a state table, and the watch log of it if there is one.
#[derive(Debug)]
pub struct Expire {
    backend: Backend,
    log: Option<Log>,
    filter: Filter,
    settings: Settings,
    line: Line,
}

/// Why a run could not do its work, nor will the next one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of the state table.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Of the watch log.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Error {
    /// Whether it stays until somebody does something about it.
    fn is_lasting(&self) -> bool {
        match self {
            Self::State(error) => matches!(
                error.kind(),
                ErrorKind::AccessDenied | ErrorKind::WrongTable | ErrorKind::BadParameter | ErrorKind::Closed
            ),
            Self::Log(error) => error.kind() != LogErrorKind::Unavailable,
        }
    }

    fn kind(&self) -> String {
        match self {
            Self::State(error) => format!("{:?}", error.kind()),
            Self::Log(error) => format!("{:?}", error.kind()),
        }
    }
}

impl Expire {
    /// A task over a table, and over its watch log if it has one: of a partitioned table that is not needed. No request.
    pub fn new(backend: Backend, log: Option<Log>, settings: Settings) -> Self {
        Self {
            backend,
            log,
            filter: Filter::new(settings.prefixes.iter().cloned(), Operations::All),
            settings,
            line: Line::default(),
        }
    }

    /// Ends its repetition once somebody is in line to take over.
    #[must_use]
    pub fn giving_way(mut self, line: Line) -> Self {
        self.line = line;
        self
    }

    fn found_by(&self) -> FoundBy {
        match (self.backend.layout(), &self.log) {
            (Layout::Partitioned(_), _) => FoundBy::Index,
            (Layout::Teleport, Some(_)) => FoundBy::List,
            (Layout::Teleport, None) if self.settings.index => FoundBy::Index,
            (Layout::Teleport, None) => FoundBy::Scan,
        }
    }

    /// Looks for what is due and deletes it, once or again and again until `run.last_call`, and fills the due list between
    /// passes as far as time allows; as long as a fill takes, a run of one pass makes another each 30 seconds. What fails for
    /// now is in the report, and is done by the next pass or run.
    ///
    /// Requests of a pass: over an index one a shard (16; one in Teleport's layout) and one for each 100 items of it; over a
    /// list one, and one for each page of it, two for each 100 keys that fall due, and a note each; then one delete an item,
    /// 16 at once. A scan reads the table for half a unit each 4 KB.
    ///
    /// Cancel-safe: what was under way is found again by the next run.
    ///
    /// # Errors
    /// [`Error`] for what is wrong with the table, the log or the permissions; nothing goes on then.
    pub async fn run(&self, run: Run) -> Result<Report, Error> {
        let clock = self.backend.clock().clone();
        let mut sweep = Sweep::new(self, run);
        let left = run.stop.saturating_duration_since(clock.instant());
        // Dropped at the stop, but for what hangs it has ended before.
        match clock.timeout(left, Box::pin(sweep.run())).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Ok(sweep.report()),
            Err(_) => {
                let mut report = sweep.report();
                report.complete = false;
                Ok(report)
            }
        }
    }
}
