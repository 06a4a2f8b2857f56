//! What became of a batch.

use std::time::Duration;

/// What became of a batch. Every record in, or message, is counted once under appended, repeats, gaps, skipped or
/// retried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records of the batch, or messages.
    pub records_in: usize,
    /// Changes that are in the log. Of a part of the batch that failed, what precedes the failure counts here, repeats
    /// included.
    pub appended: usize,
    /// Changes that stood there already.
    pub repeats: usize,
    /// Records in whose place a gap stands, and messages that broke the log.
    pub gaps: usize,
    /// Gaps written to the log, whatever for: each ends the watchers whose prefixes are in its bucket.
    pub breaks: usize,
    /// Segments written; those of a log that was broken are not counted.
    pub segments: usize,
    /// Items that are none of the layout's keys, or of keys that the log does not cover.
    pub skipped: usize,
    /// Reported to Lambda, which sends them again.
    pub retried: usize,
    /// Age of the oldest record that is done, where creation times are known.
    pub lag: Option<Duration>,
    /// Time the batch took.
    pub took: Duration,
    /// The last failure, if something is sent again.
    pub error: Option<String>,
}
