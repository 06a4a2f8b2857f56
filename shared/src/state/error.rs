//! What can go wrong with a key. The kind says what to do; the message says what happened, with key and table.

use std::fmt;

use super::Key;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such item, or it has expired. Create it, or go on without it.
    NotFound,
    /// There is such an item. Use it, or update it.
    AlreadyExists,
    /// The stored value is not the expected one, or there is none. Read again and decide anew.
    CompareFailed,
    /// The stored revision is not the expected one, or there is none. Read again and decide anew.
    IncorrectRevision,
    /// A condition of an atomic write did not hold; nothing was written. Read again and decide anew.
    ConditionFailed,
    /// The call itself is wrong. Nothing was sent; correct the call.
    BadParameter,
    /// Larger than DynamoDB stores. Store less, or split it.
    TooLarge,
    /// DynamoDB refused for lack of capacity until the deadline; nothing was done. Slow down, or add capacity.
    Throttled,
    /// Other writes were in the way until the deadline; nothing was done. Try again.
    Contended,
    /// DynamoDB could not be reached or did not answer until the deadline; nothing was done. Try again.
    Unavailable,
    /// Nobody knows whether it was done, and it may yet be done. Read, and decide by what is there.
    OutcomeUnknown,
    /// Done in part; the message says how far. Call again to go on.
    Unfinished,
    /// The credentials do not allow it. Allow it, or renew them.
    AccessDenied,
    /// The table is not what it must be, or there is none. Nothing works before that is put right.
    WrongTable,
    /// A lock or lease is held no longer, or cannot be trusted. Stop what it guards.
    Lost,
    /// The backend was closed.
    Closed,
}

/// An error of the state backend. Never holds a value.
#[derive(Clone, thiserror::Error)]
#[error("{}", .0.text())]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    table: String,
    key: Option<Key>,
    attempts: u32,
    message: String,
}

impl Inner {
    fn text(&self) -> String {
        let mut text = self.operation.to_owned();
        if let Some(key) = &self.key {
            text.push_str(&format!(" \"{key}\""));
        }
        text.push_str(&format!(" in table {}: {}", self.table, self.message));
        if self.attempts > 1 {
            text.push_str(&format!(" ({} attempts)", self.attempts));
        }
        text
    }
}

impl Error {
    pub(super) fn new(
        kind: ErrorKind,
        operation: &'static str,
        table: &str,
        key: Option<&Key>,
        message: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            table: table.to_owned(),
            key: key.cloned(),
            attempts: 0,
            message: message.into(),
        }))
    }

    pub(super) fn after(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    /// The same about another key.
    pub(super) fn about(&self, key: &Key) -> Self {
        let mut about = self.clone();
        about.0.key = Some(key.clone());
        about
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation, by its name in this crate.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The table.
    pub fn table(&self) -> &str {
        &self.0.table
    }

    /// The key, if it is about one.
    pub fn key(&self) -> Option<&Key> {
        self.0.key.as_ref()
    }

    /// How many requests were made for it; 0 if it was refused before the first.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether an expectation did not hold: by value, by revision or in an atomic write. Teleport's `CompareFailed`.
    pub fn is_compare_failed(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::CompareFailed | ErrorKind::IncorrectRevision | ErrorKind::ConditionFailed
        )
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind())
    }
}
