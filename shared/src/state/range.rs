//! Ranges of keys.

use super::Key;

/// Which keys a read or delete is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// All keys that begin with these bytes. Exact, and the one to use.
    Prefix(Key),
    /// Keys from `start` to `end`, both included: Teleport's call shape, with [`Key::range_end`] for the end.
    Between {
        /// The first key.
        start: Key,
        /// The last key.
        end: Key,
    },
}

impl Range {
    /// All keys that begin with `prefix`. Mind the separator: `/a` takes `/ab`, `/a/` does not.
    pub fn prefix(prefix: impl Into<Key>) -> Self {
        Self::Prefix(prefix.into())
    }

    /// Keys from `start` to `end`, both included.
    pub fn between(start: impl Into<Key>, end: impl Into<Key>) -> Self {
        Self::Between {
            start: start.into(),
            end: end.into(),
        }
    }

    /// Every key, internal ones (`.locks/…`) too.
    pub fn all() -> Self {
        Self::Prefix(Key::default())
    }

    /// Whether it takes `key`.
    pub fn contains(&self, key: &Key) -> bool {
        match self {
            Self::Prefix(prefix) => key.has_prefix(prefix),
            Self::Between { start, end } => start <= key && key <= end,
        }
    }
}

/// What to read of a range, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemsParams {
    /// Which keys.
    pub range: Range,
    /// From the last key to the first.
    pub descending: bool,
    /// How many items at most; 0 for all.
    pub limit: usize,
}

impl From<Range> for ItemsParams {
    /// All of the range, ascending.
    fn from(range: Range) -> Self {
        Self {
            range,
            descending: false,
            limit: 0,
        }
    }
}

impl ItemsParams {
    /// From the last key to the first.
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// At most so many items; 0 for all.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}
