//! What a task is to those who run it: a name, the time it has, and what its report tells.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Instant;

/// A task, by the name that schedules, commands and leases know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Deletes what has expired from the state table.
    Expire,
    /// Releases locks and slots past their expiry, and reports on those that are held.
    Locks,
    /// Compacts the watch log, and appends the gaps that nobody reported.
    WatchLog,
    /// Files what is staged for the lake.
    Lake,
    /// Hands on what waits in the spool.
    Drain,
    /// Hands over again what Lambda gave up.
    Redrive,
    /// Compares what is there with what must be.
    Verify,
    /// Tells whether events still come out.
    Canary,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Expire,
        Self::Locks,
        Self::WatchLog,
        Self::Lake,
        Self::Drain,
        Self::Redrive,
        Self::Verify,
        Self::Canary,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expire => "expire",
            Self::Locks => "locks",
            Self::WatchLog => "watch-log",
            Self::Lake => "lake",
            Self::Drain => "drain",
            Self::Redrive => "redrive",
            Self::Verify => "verify",
            Self::Canary => "canary",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|task| task.name() == text)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
                format!("there is no such task: {} are due", names.join(", "))
            })
    }
}

/// What a run of a task is given.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Nothing is begun after this.
    pub last_call: Instant,
    /// Nothing goes on after this.
    pub stop: Instant,
    /// Look, and change nothing.
    pub dry_run: bool,
}

/// A figure of a run for an alarm to watch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metric {
    /// Its name, `<task>_<what>` in snake case.
    pub name: &'static str,
    /// CloudWatch's unit: `Count`, `Seconds`, `Milliseconds`, `Bytes` or `None`.
    pub unit: &'static str,
    /// How much.
    pub value: f64,
}

impl Metric {
    /// A number of things.
    pub fn count(name: &'static str, value: usize) -> Self {
        // Beyond 2^53 no count gets.
        #[allow(clippy::cast_precision_loss)]
        let value = value as f64;
        Self {
            name,
            unit: "Count",
            value,
        }
    }

    /// A time in seconds.
    pub fn seconds(name: &'static str, value: f64) -> Self {
        Self {
            name,
            unit: "Seconds",
            value,
        }
    }
}

/// What a run did, as JSON for machines.
pub trait Report: Serialize + fmt::Debug {
    /// The figures to alarm on; the same names in each run, but without one that this run could not tell.
    fn metrics(&self) -> Vec<Metric>;

    /// Whether nothing was left that this run should have done: neither for lack of time nor by a failure.
    fn is_complete(&self) -> bool;
}
