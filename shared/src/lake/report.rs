//! What a run did.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a run did. After a cut the next run reads some of it again, and counts it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing was written; `outputs` are what one plan would come to.
    pub dry_run: bool,
    /// Nothing is left that this could file. Otherwise time ran out.
    pub complete: bool,
    /// Plans that another run, or an earlier one, had left.
    pub plans_found: u64,
    /// Plans that were made.
    pub plans_created: u64,
    /// Plans that were carried out to the end.
    pub plans_done: u64,
    /// Staged objects that were read.
    pub inputs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Staged objects of a plan that had been consumed already.
    pub inputs_missing: u64,
    /// Staged objects that are larger than a plan may be. They stay where they are: split them.
    pub inputs_too_large: u64,
    /// Lines that were read.
    pub lines: u64,
    /// Rows that are in a file already.
    pub repeats: u64,
    /// Rows whose uid was made.
    pub uids_made: u64,
    /// Lines that went to the quarantine, by reason.
    pub quarantined: BTreeMap<&'static str, u64>,
    /// Rows in `outputs`.
    pub rows: usize,
    /// Files that were written.
    pub outputs: Vec<Output>,
    /// Files that a plan wanted and that were there.
    pub outputs_found: u64,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Its name under the lake's prefix.
    pub name: String,
    /// Its rows.
    pub rows: usize,
    /// Its size.
    pub bytes: usize,
}
