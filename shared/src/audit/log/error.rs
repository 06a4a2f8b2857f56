//! What can go wrong with the audit log. The kind says what to do; no message holds contents of an event.

use std::fmt;

use crate::state::ErrorKind;
use crate::state::fault::Fault;

/// An error of one backend of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit log {backend}: {message}")]
pub struct LogError {
    kind: ErrorKind,
    backend: String,
    message: String,
}

impl LogError {
    pub(super) fn new(kind: ErrorKind, backend: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            backend: backend.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn of(backend: &str, fault: &Fault) -> Self {
        Self::new(fault.kind(), backend, fault.said())
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The backend: `dynamodb://table`, `file:///dir` or `stdout://`.
    pub fn backend(&self) -> &str {
        &self.backend
    }
}

/// An event with whatever was missing filled in, as canonical JSON. Its contents are not in its `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Completed(String);

impl Completed {
    pub(super) fn new(line: &[u8]) -> Self {
        Self(String::from_utf8_lossy(line).into_owned())
    }

    /// The JSON, to emit it again.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Completed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Completed({} bytes)", self.0.len())
    }
}

/// Why an event is not in every backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The event itself cannot be stored, by any backend; nothing was sent. Sending it again is of no use.
    #[error("the event is refused: {0}")]
    Refused(String),
    /// Some backends failed. Emit `event` again: the tables that have it drop it. What was given to `emit` is the same
    /// event only if it had a `time`.
    #[error("event {uid} of type {event_type}: {}{}", list(.failed), also(.stored))]
    Failed {
        /// The event's uid as it was stored.
        uid: String,
        /// The event's type.
        event_type: String,
        /// The event, whatever was missing filled in: emit this again.
        event: Completed,
        /// The backends that failed, and why.
        failed: Vec<LogError>,
        /// The backends that have it.
        stored: Vec<String>,
    },
}

fn list(failed: &[LogError]) -> String {
    let all: Vec<String> = failed.iter().map(ToString::to_string).collect();
    all.join("; ")
}

fn also(stored: &[String]) -> String {
    if stored.is_empty() {
        String::new()
    } else {
        format!("; it is in {}", stored.join(", "))
    }
}
