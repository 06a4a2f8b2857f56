//! What can go wrong with a watch log.

/// What to do about a [`LogError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogErrorKind {
    /// The log could not be reached, or had no capacity, until the deadline. Try again; nothing was done in part that a
    /// repetition would double.
    Unavailable,
    /// The credentials do not allow it. Allow it, or renew them.
    AccessDenied,
    /// There is no such table or log, or it is another one's. Create it, or correct the configuration.
    WrongLog,
    /// The call is wrong. Correct it.
    BadParameter,
}

/// An error of the watch log. Never holds a value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("watch log {log} in table {table}: {message}")]
pub struct LogError {
    kind: LogErrorKind,
    table: String,
    log: String,
    message: String,
}

impl LogError {
    pub(super) fn new(kind: LogErrorKind, table: &str, log: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            table: table.to_owned(),
            log: log.to_owned(),
            message: message.into(),
        }
    }

    /// What to do about it.
    pub fn kind(&self) -> LogErrorKind {
        self.kind
    }
}
