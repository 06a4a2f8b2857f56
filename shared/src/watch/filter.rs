//! Which changes a watcher asks for.

use super::Event;
use super::event::Operation;
use crate::state::Key;

/// Which keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefix {
    /// The key itself and what lies below it: `/a` takes `/a` and `/a/b`, never `/ab`.
    Component(Key),
    /// All keys that begin with these bytes, as Teleport's watchers match: `/a` takes `/ab` too.
    Plain(Key),
}

impl Prefix {
    /// The key itself and what lies below it.
    pub fn component(key: impl Into<Key>) -> Self {
        Self::Component(key.into())
    }

    /// All keys that begin with these bytes.
    pub fn plain(key: impl Into<Key>) -> Self {
        Self::Plain(key.into())
    }

    /// What keys begin with to be taken.
    pub fn key(&self) -> &Key {
        match self {
            Self::Component(key) | Self::Plain(key) => key,
        }
    }

    /// Whether it takes `key`.
    pub fn contains(&self, key: &Key) -> bool {
        match self {
            Self::Plain(prefix) => key.has_prefix(prefix),
            Self::Component(prefix) => {
                let separator = Key::SEPARATOR as u8;
                let rest = key.as_bytes().strip_prefix(prefix.as_bytes());
                // An empty prefix, or one that ends with the separator, ends a component itself.
                let ended = prefix.as_bytes().last().is_none_or(|last| *last == separator);
                rest.is_some_and(|rest| ended || rest.first().is_none_or(|next| *next == separator))
            }
        }
    }

    /// Whether it takes every key that `other` takes.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Component(_), Self::Plain(prefix)) => {
                self.contains(prefix)
                    && (prefix != self.key()
                        || prefix
                            .as_bytes()
                            .last()
                            .is_none_or(|last| *last == Key::SEPARATOR as u8))
            }
            _ => self.contains(other.key()),
        }
    }
}

/// Which operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operations {
    /// All.
    #[default]
    All,
    /// Puts only.
    Puts,
    /// Deletes only.
    Deletes,
}

/// What a watcher asks for: prefixes (none for every key) and operations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    prefixes: Vec<Prefix>,
    operations: Operations,
}

impl Filter {
    /// These prefixes, none for every key. Those that another one covers are left out.
    pub fn new(prefixes: impl IntoIterator<Item = Prefix>, operations: Operations) -> Self {
        let mut kept: Vec<Prefix> = Vec::new();
        for prefix in prefixes {
            if !kept.iter().any(|other| other.covers(&prefix)) {
                kept.retain(|other| !prefix.covers(other));
                kept.push(prefix);
            }
        }
        Self {
            prefixes: kept,
            operations,
        }
    }

    /// The prefixes; none for every key.
    pub fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    /// Whether it takes every key that `other` takes.
    pub fn covers(&self, other: &Self) -> bool {
        let all = self.prefixes.is_empty();
        let each = |prefix: &Prefix| self.prefixes.iter().any(|own| own.covers(prefix));
        all || !other.prefixes.is_empty() && other.prefixes.iter().all(each)
    }

    /// Whether it takes `key`.
    pub fn takes_key(&self, key: &Key) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| prefix.contains(key))
    }

    /// Whether it takes `event`. What cannot be read may be anything, and is taken.
    pub fn takes(&self, event: &Event) -> bool {
        let operation = match (&event.operation, self.operations) {
            (Operation::Put(_), operations) => operations != Operations::Deletes,
            (Operation::Delete(_), operations) => operations != Operations::Puts,
            (Operation::Unknown, _) => true,
        };
        operation && self.takes_key(&event.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_ends_at_the_separator() {
        let takes = |prefix: &str, key: &str| Prefix::component(prefix).contains(&Key::from(key));
        assert!(takes("/a", "/a") && takes("/a", "/a/b") && takes("/a/", "/a/b"));
        assert!(!takes("/a", "/ab") && !takes("/a/", "/a") && !takes("/a/", "/ab"));
        assert!(takes("", "/ab") && takes("", ".locks/x") && takes(".locks", ".locks/x"));
        assert!(Prefix::plain("/a").contains(&Key::from("/ab")));
    }

    #[test]
    fn a_filter_covers_what_all_of_its_prefixes_together_take() {
        let filter =
            |keys: &[&str]| Filter::new(keys.iter().map(|key| Prefix::component(*key)), Operations::All);
        assert!(
            filter(&[]).covers(&filter(&["/a"])) && filter(&["/a", "/b"]).covers(&filter(&["/b/c", "/a"]))
        );
        assert!(!filter(&["/a"]).covers(&filter(&[])) && !filter(&["/a"]).covers(&filter(&["/a", "/ab"])));
    }

    #[test]
    fn redundant_prefixes_are_left_out() {
        let kept = |prefixes: Vec<Prefix>| Filter::new(prefixes, Operations::All).prefixes;
        let component = |key: &str| Prefix::component(key);
        let plain = |key: &str| Prefix::plain(key);
        assert_eq!(kept(vec![component("/a/b"), component("/a")]), [component("/a")]);
        assert_eq!(
            kept(vec![plain("/a"), component("/a"), plain("/ab")]),
            [plain("/a")]
        );
        assert_eq!(kept(vec![component("/a"), plain("/a")]), [plain("/a")]);
        assert_eq!(kept(vec![component("/a"), plain("/ab")]).len(), 2);
        assert_eq!(kept(vec![component("/a"), plain("/a/")]), [component("/a")]);
    }
}
