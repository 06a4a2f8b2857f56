//! What a run did.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Error;
use crate::maintain::{Metric, Report as Told};

/// How what is due was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// By the index `expiry`: of a partitioned table, or one that was insisted on.
    Index,
    /// By the due list that the watch log keeps.
    List,
    /// By reading the whole table.
    Scan,
}

/// How far the due list can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum List {
    /// Everything that expires is in it.
    Ready,
    /// What was written before it was kept, or before a gap, is being filed: what of it falls due meanwhile is deleted late.
    Filling,
}

/// Capacity units of the state table.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Units {
    /// Read units.
    pub read: f64,
    /// Write units.
    pub write: f64,
}

/// What a run did. In a dry run: what it would have done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Nothing was written.
    pub dry_run: bool,
    /// Nothing is left that was due when it was last looked for, and all of that could be found.
    pub complete: bool,
    /// How what is due was found.
    pub found_by: FoundBy,
    /// Why so, and what to do for a better way, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
    /// How far the due list can be relied on, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<List>,
    /// How often it was looked for.
    pub passes: u64,
    /// Items found expired.
    pub due: u64,
    /// Items deleted.
    pub deleted: u64,
    /// Items that were gone already.
    pub gone: u64,
    /// Items that expire later than the list said, and were filed again.
    pub renewed: u64,
    /// Items that were renewed just before their delete, which was refused.
    pub refused: u64,
    /// Items of the table that were looked at for the list.
    pub checks: u64,
    /// Items of the table that a scan read.
    pub scanned: u64,
    /// Items that a scan filed in the list.
    pub filled: u64,
    /// Capacity that this took of the state table, its refused requests by estimate.
    pub units: Units,
    /// By how much the oldest item that was due had been due, in seconds.
    pub overdue_seconds: f64,
    /// What failed, by kind. It is tried again in the next pass or run.
    pub errors: BTreeMap<String, u64>,
    /// One of the failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
}

impl Report {
    pub(super) fn new(found_by: FoundBy, dry_run: bool) -> Self {
        let advice = (found_by == FoundBy::Scan).then_some(
            "another program writes this table, and there is no watch log of it: so the whole table is read, at the \
             pace that is set, and what expires is deleted as late as that takes. Name the watch log that `forward` keeps, \
             and what falls due is known without",
        );
        Self {
            dry_run,
            complete: false,
            found_by,
            advice,
            list: None,
            passes: 0,
            due: 0,
            deleted: 0,
            gone: 0,
            renewed: 0,
            refused: 0,
            checks: 0,
            scanned: 0,
            filled: 0,
            units: Units::default(),
            overdue_seconds: 0.0,
            errors: BTreeMap::new(),
            sample: None,
        }
    }

    /// Counts a failure that a later pass or run makes good.
    pub(super) fn failed(&mut self, error: &Error) {
        *self.errors.entry(error.kind()).or_default() += 1;
        self.sample.get_or_insert_with(|| error.to_string());
    }

    /// Notes an item that is due, past the first second in which a read finds it absent.
    pub(super) fn found(&mut self, expires: SystemTime, now: SystemTime) {
        self.due += 1;
        let absent = expires + Duration::from_secs(1);
        let overdue = now.duration_since(absent).unwrap_or_default().as_secs_f64();
        self.overdue_seconds = self.overdue_seconds.max(overdue);
    }
}

impl Told for Report {
    fn metrics(&self) -> Vec<Metric> {
        let count = |name, value: u64| Metric::count(name, usize::try_from(value).unwrap_or(usize::MAX));
        vec![
            count("expire_deleted", self.deleted),
            Metric::seconds("expire_overdue_seconds", self.overdue_seconds),
            count("expire_failed", self.errors.values().sum()),
            count("expire_checks", self.checks),
            count("expire_filling", u64::from(self.list == Some(List::Filling))),
        ]
    }

    fn is_complete(&self) -> bool {
        self.complete
    }
}
