//! Batches: what of the cases 17 and 18 needs no watcher, and a range beyond Teleport's cap.

use std::collections::HashSet;
use std::time::Duration;

use super::check::{Checked, done, holds, refused, same};
use super::store::Store;
use crate::state::{ErrorKind, Item, Key};

/// Teleport gives up a range at this number.
const CAP: usize = 20_000;

pub(super) async fn put_batch(s: &Store) -> Checked {
    let expires = s.after(Duration::from_secs(600));
    let items: Vec<Item> = ["a", "b", "c"]
        .iter()
        .map(|name| s.item(name, *name).expiring(expires))
        .collect();
    let mut seen = HashSet::new();
    for round in ["put_batch", "put_batch again"] {
        let revisions = done(round, s.backend.put_batch(&items).await.all())?;
        same("a revision an item", &revisions.len(), &items.len())?;
        for (item, revision) in items.iter().zip(&revisions) {
            holds("each revision is new", seen.insert(revision.clone()))?;
            let found = done("get", s.backend.get(&item.key).await)?;
            same("the stored revision", &found.revision, revision)?;
            holds("the value is stored", found.value == item.value)?;
            let apart = found.expires.and_then(|at| expires.duration_since(at).ok());
            let near = apart.is_some_and(|apart| apart < Duration::from_secs(1));
            holds("the expiry is that second", near)?;
        }
    }
    let twice = [s.item("d", "first"), s.item("d", "last")];
    let revisions = done("a key given twice", s.backend.put_batch(&twice).await.all())?;
    let found = done("get", s.get("d").await)?;
    holds("the last one counts", found.value == b"last")?;
    same("its revision", &Some(&found.revision), &revisions.last())?;
    let none = done("an empty batch", s.backend.put_batch(&[]).await.all())?;
    same("its revisions", &none.len(), &0)?;

    let mixed = [s.item("e", "1"), Item::new(Key::default(), "2"), s.item("f", "3")];
    let outcome = s.backend.put_batch(&mixed).await;
    for ((key, result), item) in outcome.results.into_iter().zip(&mixed) {
        same("the order of the outcome", &key, &item.key)?;
        if key.is_zero() {
            refused("an item without a key", result, ErrorKind::BadParameter)?;
        } else {
            done("an item beside it", result)?;
            done("get of it", s.backend.get(&key).await)?;
        }
    }
    Ok(())
}

/// More than one request takes, and more than one query answers.
pub(super) async fn large_items(s: &Store) -> Checked {
    let items: Vec<Item> = (0..30)
        .map(|n| s.item(&format!("{n:02}"), s.bytes(300 * 1024)))
        .collect();
    let revisions = done("put_batch", s.backend.put_batch(&items).await.all())?;
    let due: Vec<Item> = items
        .into_iter()
        .zip(&revisions)
        .map(|(item, revision)| item.at(revision))
        .collect();
    let found = done("get_range", s.backend.get_range(s.all().into()).await)?;
    holds("all of 30 items of 300 KiB come back", found == due)?;
    let deleted = done("delete_range", s.backend.delete_range(&s.all()).await)?;
    same("how many were deleted", &deleted, &30)
}

pub(super) async fn delete_batch(s: &Store) -> Checked {
    let names: Vec<String> = (0..60).map(|n| format!("{n:02}")).collect();
    for name in &names {
        done("create", s.create(&s.item(name, "1")).await)?;
    }
    let keys: Vec<Key> = names.iter().map(|name| s.key(name)).collect();
    let (first, rest) = keys.split_at(50);
    done("delete_batch", s.backend.delete_batch(first).await.all())?;
    let count = done("count", s.backend.count(&s.all()).await)?;
    same("what is left", &count, &10)?;
    let missing = [s.key("no"), s.key("nor")];
    done(
        "keys that are not there",
        s.backend.delete_batch(&missing).await.all(),
    )?;
    done("no keys", s.backend.delete_batch(&[]).await.all())?;
    let mixed: Vec<Key> = rest.iter().take(3).chain(first.iter().take(3)).cloned().collect();
    done("keys there and not", s.backend.delete_batch(&mixed).await.all())?;
    let left = done("get_range", s.backend.get_range(s.all().into()).await)?;
    let left: Vec<&Key> = left.iter().map(|item| &item.key).collect();
    same("what is left", &left, &rest.iter().skip(3).collect())
}

/// Ours: a range of any size is deleted, and expired items with it.
pub(super) async fn delete_range_has_no_cap(s: &Store) -> Checked {
    let limit = s.clock().instant() + Duration::from_secs(600);
    let backend = s.backend.with_deadline(limit);
    let soon = s.after(Duration::from_secs(60));
    let items: Vec<Item> = (0..=CAP)
        .map(|n| {
            let item = s.item(&format!("{n:05}"), "1");
            if n % 2 == 0 { item.expiring(soon) } else { item }
        })
        .collect();
    done("put_batch", backend.put_batch(&items).await.all())?;
    s.advance(Duration::from_secs(62)).await;
    let live = done("count", backend.count(&s.all()).await)?;
    same("how many are live", &live, &10_000)?;
    let deleted = done("delete_range", backend.delete_range(&s.all()).await)?;
    same("how many were deleted", &deleted, &20_001)?;
    let left = done("delete_range", backend.delete_range(&s.all()).await)?;
    same("how many were left", &left, &0)
}
