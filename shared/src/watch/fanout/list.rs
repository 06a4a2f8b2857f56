//! Listing, then watching, without a gap between the two and without going back.

use futures_util::TryStreamExt;

use super::listed::{Listed, Read};
use super::watcher::Watcher;
use super::watches::{Start, WatchParams, Watches};
use crate::state::{Backend, ErrorKind, Item, ItemsParams, Key, Range};
use crate::watch::error::WatchError;
use crate::watch::filter::{Filter, Prefix};

impl Watches {
    /// The live items that the filter takes, in order of the prefixes, and a watcher of everything that happens to them
    /// after. No change is lost between the two. `start` of the parameters is not looked at.
    ///
    /// Changes made before or while the list was read are left out if the list is known to show them. Where nobody can
    /// tell, the event is delivered with `may_precede_list`: it may be older than what was listed, and then the listed
    /// write is delivered after it again, so that whoever applies all events in order ends with what is stored. That
    /// concerns what was created within two seconds of a page's being read (and what the source rounds its times down by: a
    /// second, a minute), events without creation time, keys that were
    /// written and deleted during the list, and events that arrive more than ten minutes late. The backend's clock must
    /// be right to two seconds, or changes may be taken for shown that are not.
    ///
    /// Costs: the requests of [`watch`](Self::watch) and those of [`Backend::items`] for each prefix (two ranges for a
    /// prefix of whole components). Memory: the items, and in the watcher the key, revision and expiry of each until ten
    /// minutes after the list. The watcher is not read while the list is: it may have to read the source by itself after.
    ///
    /// # Errors
    /// Those of [`watch`](Self::watch); [`State`](WatchError::State) if listing fails.
    pub async fn list_and_watch(
        &self,
        backend: &Backend,
        params: WatchParams,
    ) -> Result<(Vec<Item>, Watcher), WatchError> {
        let filter = params.filter.clone();
        let params = WatchParams {
            start: Start::Now,
            ..params
        };
        let mut watcher = self.watch(params).await?;
        let asked = backend.clock().now();
        let read = list(backend, &filter).await?;
        let whole = Read {
            asked,
            answered: backend.clock().now(),
        };
        let mut listed = Listed::new(whole, self.shared().clock.instant());
        let mut items = Vec::with_capacity(read.len());
        for (item, read) in read {
            listed.add(&item, read);
            items.push(item);
        }
        watcher.set_listed(listed);
        Ok((items, watcher))
    }
}

/// What is stored for a filter, and when each was read.
async fn list(backend: &Backend, filter: &Filter) -> Result<Vec<(Item, Read)>, WatchError> {
    let mut found = Vec::new();
    let mut ranges = Vec::new();
    for prefix in filter.prefixes() {
        match prefix {
            Prefix::Plain(key) => ranges.push(key.clone()),
            Prefix::Component(key) if !ends(key) => {
                // The key itself, and what lies below it: what begins with it beside that is not read.
                let asked = backend.clock().now();
                match backend.get(key).await {
                    Ok(item) => {
                        let answered = backend.clock().now();
                        found.push((item, Read { asked, answered }));
                    }
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
                ranges.push(key.join(""));
            }
            Prefix::Component(key) => ranges.push(key.clone()),
        }
    }
    if filter.prefixes().is_empty() {
        ranges.push(Key::default());
    }
    for range in ranges {
        let items = backend.items_read(ItemsParams::from(Range::prefix(range)));
        let mut items = std::pin::pin!(items);
        while let Some((item, asked, answered)) = items.try_next().await? {
            found.push((item, Read { asked, answered }));
        }
    }
    Ok(found)
}

/// Whether a prefix ends a component itself.
fn ends(key: &Key) -> bool {
    key.as_bytes()
        .last()
        .is_none_or(|last| *last == Key::SEPARATOR as u8)
}
