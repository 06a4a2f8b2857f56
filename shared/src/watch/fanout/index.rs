//! From a key to the watchers that ask for it.

use std::collections::{BTreeMap, HashMap};

use crate::state::Key;
use crate::watch::filter::Filter;

/// A watcher's number.
pub(super) type Id = u64;

/// The prefixes of all watchers, by length: a key is looked up once for each length that there is, which is few, however
/// many watchers there are.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<usize, HashMap<Box<[u8]>, Vec<Id>>>);

impl Index {
    pub(super) fn add(&mut self, id: Id, filter: &Filter) {
        for prefix in prefixes(filter) {
            let ids = self
                .0
                .entry(prefix.len())
                .or_default()
                .entry(prefix.into())
                .or_default();
            ids.push(id);
        }
    }

    pub(super) fn remove(&mut self, id: Id, filter: &Filter) {
        for prefix in prefixes(filter) {
            let Some(same_length) = self.0.get_mut(&prefix.len()) else {
                continue;
            };
            if let Some(ids) = same_length.get_mut(prefix) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    same_length.remove(prefix);
                }
            }
            if same_length.is_empty() {
                self.0.remove(&prefix.len());
            }
        }
    }

    /// The watchers that may ask for `key`: those whose prefix it begins with. The filter itself decides.
    pub(super) fn candidates<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = Id> + 'a {
        let key = key.as_bytes();
        self.0
            .range(..=key.len())
            .filter_map(|(length, same_length)| same_length.get(key.get(..*length)?))
            .flatten()
            .copied()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The bytes that keys begin with; no prefixes are the empty one.
fn prefixes(filter: &Filter) -> impl Iterator<Item = &[u8]> {
    let all = filter.prefixes().is_empty().then_some(&[][..]);
    filter
        .prefixes()
        .iter()
        .map(|prefix| prefix.key().as_bytes())
        .chain(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::filter::{Operations, Prefix};

    #[test]
    fn a_key_finds_the_prefixes_that_it_begins_with() {
        let mut index = Index::default();
        let filter = |prefixes: &[&str]| {
            Filter::new(
                prefixes.iter().map(|prefix| Prefix::plain(*prefix)),
                Operations::All,
            )
        };
        let filters = [
            filter(&["/a", "/b"]),
            filter(&["/ab"]),
            filter(&[]),
            filter(&["/a"]),
        ];
        for (id, filter) in filters.iter().enumerate() {
            index.add(id as Id, filter);
        }
        let found = |index: &Index, key: &str| {
            let mut found: Vec<Id> = index.candidates(&Key::from(key)).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found(&index, "/abc"), [0, 1, 2, 3]);
        assert_eq!(found(&index, "/a"), [0, 2, 3]);
        assert_eq!(found(&index, "/b/c"), [0, 2]);
        assert_eq!(found(&index, "/"), [2]);
        index.remove(0, &filters[0]);
        assert_eq!(found(&index, "/a"), [2, 3]);
        assert_eq!(found(&index, "/b/c"), [2]);
        for (id, filter) in filters.iter().enumerate().skip(1) {
            index.remove(id as Id, filter);
        }
        assert!(index.is_empty());
    }
}
