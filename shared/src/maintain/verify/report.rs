//! What a run found, and what it could not look at.

use serde::Serialize;

use super::super::{Metric, Report};
use crate::table::{Difference, Error};

/// What a run found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verified {
    /// Tables, functions and buckets that were looked at, in whole or in part.
    pub checked: usize,
    /// What is not as it must, or should, be: worst first.
    pub drifts: Vec<Drift>,
    /// What was not looked at, and so may be anything.
    pub not_checked: Vec<NotChecked>,
}

/// One way in which something is not what it must, or should, be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// What: `table teleport`, `function forward`, `mapping <uuid>` or `bucket audit`.
    pub resource: String,
    /// In which way, with its consequence and what to do.
    #[serde(flatten)]
    pub difference: Difference,
}

/// Something that was not looked at: neither good nor bad is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    /// Of what.
    pub resource: String,
    /// What of it, by the permission that reading it takes.
    pub what: &'static str,
    /// What kind of reason.
    pub because: Because,
    /// The reason, and what to do.
    pub reason: String,
}

/// Why something was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Because {
    /// The engine has no such operation, as local ones have not all.
    Lacking,
    /// The permission is missing.
    Denied,
    /// The request failed otherwise.
    Failed,
    /// There was no time left.
    Late,
    /// This program has no client for it.
    Unable,
}

impl Because {
    /// By the service's code and its HTTP status.
    pub(super) fn of(code: Option<&str>, status: Option<u16>) -> Self {
        match (code, status) {
            (
                Some(
                    "UnknownOperationException"
                    | "NotImplemented"
                    | "NotImplementedException"
                    | "MethodNotAllowed",
                ),
                _,
            )
            | (_, Some(405 | 501)) => Self::Lacking,
            (Some("AccessDenied" | "AccessDeniedException"), _) | (None, Some(403)) => Self::Denied,
            _ => Self::Failed,
        }
    }
}

impl NotChecked {
    /// A reading of which came nothing; `text` tells what the service, or the way to it, said.
    pub(super) fn new(resource: &str, what: &'static str, because: Because, text: String) -> Self {
        let reason = match because {
            Because::Denied => format!("allow {what} on it: {text}"),
            Because::Lacking => format!("this engine has no such operation: {text}"),
            _ => text,
        };
        Self {
            resource: resource.to_owned(),
            what,
            because,
            reason,
        }
    }

    pub(super) fn late(resource: &str) -> Self {
        let reason = "no time was left; the next run looks again".to_owned();
        Self::new(resource, "anything", Because::Late, reason)
    }

    pub(super) fn no_client(resource: &str, feature: &str) -> Self {
        let reason = format!("this program was built, or started, without a client of `{feature}`");
        Self::new(resource, "anything", Because::Unable, reason)
    }

    /// A table's reading; `what` if the error does not name the operation.
    pub(super) fn table(resource: &str, error: &Error) -> Self {
        let Error::Request {
            operation, source, ..
        } = error
        else {
            return Self::new(
                resource,
                "dynamodb:DescribeTable",
                Because::Failed,
                error.to_string(),
            );
        };
        let what = match *operation {
            "DescribeTimeToLive" => "dynamodb:DescribeTimeToLive",
            "DescribeContinuousBackups" => "dynamodb:DescribeContinuousBackups",
            _ => "dynamodb:DescribeTable",
        };
        let because = Because::of(source.code(), None);
        Self::new(resource, what, because, source.to_string())
    }
}

/// What looking at one thing came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) drifts: Vec<Drift>,
    pub(super) not_checked: Vec<NotChecked>,
    looked: bool,
}

impl Found {
    /// Something was read.
    pub(super) fn looked() -> Self {
        Self {
            looked: true,
            ..Self::default()
        }
    }

    /// Nothing was.
    pub(super) fn unread(not_checked: NotChecked) -> Self {
        Self {
            not_checked: vec![not_checked],
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, resource: &str, differences: impl IntoIterator<Item = Difference>) {
        self.drifts
            .extend(differences.into_iter().map(|difference| Drift {
                resource: resource.to_owned(),
                difference,
            }));
    }

    /// What was read, or else a note that it was not.
    #[cfg(any(feature = "lambda", feature = "s3"))]
    pub(super) fn take<T>(&mut self, read: Result<T, NotChecked>) -> Option<T> {
        match read {
            Ok(read) => {
                self.looked = true;
                Some(read)
            }
            Err(not_checked) => {
                self.not_checked.push(not_checked);
                None
            }
        }
    }
}

impl Verified {
    /// Drifts that are more than a note or an advice: the metric `verify_drifts`.
    pub fn failing(&self) -> usize {
        let fails = |drift: &&Drift| drift.difference.severity.fails();
        self.drifts.iter().filter(fails).count()
    }

    pub(super) fn add(&mut self, found: Found) {
        self.checked += usize::from(found.looked);
        self.drifts.extend(found.drifts);
        self.not_checked.extend(found.not_checked);
    }

    pub(super) fn sort(&mut self) {
        self.drifts
            .sort_by_key(|drift| std::cmp::Reverse(drift.difference.severity));
    }
}

impl Report for Verified {
    fn metrics(&self) -> Vec<Metric> {
        vec![
            Metric::count("verify_drifts", self.failing()),
            Metric::count("verify_not_checked", self.not_checked.len()),
        ]
    }

    /// What an engine lacks is left for good, and nothing that a run could do.
    fn is_complete(&self) -> bool {
        self.not_checked
            .iter()
            .all(|not_checked| not_checked.because == Because::Lacking)
    }
}
