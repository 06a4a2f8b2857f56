//! Items and what identifies a write of one.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Key;
use crate::random::Random;

/// A key and what is stored under it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// Its key.
    pub key: Key,
    /// Its bytes.
    pub value: Vec<u8>,
    /// When it ceases to exist; none for never. Stored in whole seconds, rounded down.
    pub expires: Option<SystemTime>,
    /// Which write made it; read by the conditional operations only.
    pub revision: Revision,
}

impl Item {
    /// An item that never expires.
    pub fn new(key: impl Into<Key>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            ..Self::default()
        }
    }

    /// With an expiry.
    pub fn expiring(mut self, at: SystemTime) -> Self {
        self.expires = Some(at);
        self
    }

    /// With the revision that a conditional operation is to find.
    pub fn at(mut self, revision: impl Into<Revision>) -> Self {
        self.revision = revision.into();
        self
    }
}

/// Without the value, which may be a secret.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item")
            .field("key", &self.key)
            .field("value", &format_args!("({} bytes)", self.value.len()))
            .field("expires", &self.expires)
            .field("revision", &self.revision)
            .finish()
    }
}

/// What is read of an item without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// When it ceases to exist; none for never.
    pub expires: Option<SystemTime>,
    /// Which write made it.
    pub revision: Revision,
}

/// What a write of one item answers: enough to condition the next one on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The item's key.
    pub key: Key,
    /// The revision that was written.
    pub revision: Revision,
}

/// Which write made an item: a lower-case UUIDv4, new with each write of the item and unchanged by keep-alives.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Revision(String);

impl Revision {
    /// The revision of items from before there were revisions: `00000000-0000-0000-0000-000000000000`.
    pub const BLANK: &'static str = "00000000-0000-0000-0000-000000000000";

    pub(super) fn draw(random: &Random) -> Self {
        Self(random.uuid().hyphenated().to_string())
    }

    /// Of a stored item: what it has, or [`BLANK`](Self::BLANK).
    pub(super) fn stored(text: Option<&String>) -> Self {
        let text = text.filter(|text| !text.is_empty());
        Self(text.cloned().unwrap_or_else(|| Self::BLANK.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is no revision at all, which no stored item has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is that of an item from before there were revisions.
    pub fn is_blank(&self) -> bool {
        self.0 == Self::BLANK
    }
}

impl From<&str> for Revision {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<&Self> for Revision {
    fn from(revision: &Self) -> Self {
        revision.clone()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({})", self.0)
    }
}

/// Whole seconds since 1970, rounded down: what `Expires` and `:now` hold.
pub(crate) fn seconds(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -whole - i64::from(before.subsec_nanos() > 0)
        }
    }
}

/// The time of a number of seconds since 1970; none if no clock can show it.
pub(crate) fn time_of(seconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_down() {
        let at = |millis: i64| match millis {
            0.. => UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs()),
            _ => UNIX_EPOCH - Duration::from_millis(millis.unsigned_abs()),
        };
        let rounded = [-1001, -1000, -1, 0, 999, 1000, 1999].map(|millis| seconds(at(millis)));
        assert_eq!(rounded, [-2, -1, -1, 0, 0, 1, 1]);
        assert_eq!(time_of(-1), Some(at(-1000)));
    }

    #[test]
    fn a_value_is_not_shown() {
        let shown = format!("{:?}", Item::new("/a", "secret").at("r"));
        assert!(!shown.contains("secret") && shown.contains("6 bytes"), "{shown}");
    }
}
