//! What comes of a run.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{Metric, Report, Task};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// It ran, to its end or its error.
    Ran,
    /// Another was running the task, and it was left to that one.
    Held,
    /// The lease was lost while it ran, and it was stopped where it was.
    Lost,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The task.
    pub task: Task,
    /// It only looked.
    pub dry_run: bool,
    /// How it ended.
    pub state: Ended,
    /// Nothing was left that it should have done.
    pub complete: bool,
    /// It found what somebody must look at: a loss, or what leads to one.
    pub found: bool,
    /// Why it failed; the next run goes on where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The task's own report; null if it was not begun, or failed before there was one.
    pub report: Value,
    /// The figures to alarm on.
    pub metrics: Vec<Metric>,
}

/// What a task's turn came to.
pub(super) struct Done {
    pub(super) report: Value,
    pub(super) metrics: Vec<Metric>,
    pub(super) complete: bool,
    pub(super) found: bool,
    pub(super) error: Option<String>,
}

impl Done {
    pub(super) fn of(report: &impl Report, error: Option<String>) -> Self {
        let (metrics, complete) = (report.metrics(), report.is_complete() && error.is_none());
        match serde_json::to_value(report) {
            Ok(report) => Self {
                report,
                metrics,
                complete,
                found: false,
                error,
            },
            Err(wrong) => Self {
                report: Value::Null,
                metrics,
                complete: false,
                found: false,
                error: error.or_else(|| Some(wrong.to_string())),
            },
        }
    }

    pub(super) fn failed(error: impl fmt::Display) -> Self {
        Self {
            report: Value::Null,
            metrics: Vec::new(),
            complete: false,
            found: false,
            error: Some(error.to_string()),
        }
    }

    pub(super) fn finding(mut self, found: bool) -> Self {
        self.found = found;
        self
    }

    /// Something is not configured that the task needs.
    pub(super) fn lacking(task: Task, settings: &str) -> Self {
        Self::failed(format!("{task} needs {settings} of the configuration"))
    }
}
