//! Watching: the cases 7 to 9, 17 and 18 as far as they are about events, and the volume test.
//!
//! Teleport's suite expects the events of a batch in the order of the keys; that is so where the stream has one shard.
//! Here they may come in any order, those of a key excepted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use futures_util::future::join_all;

use super::check::{Checked, done, holds, refused, same};
use super::expiry::near;
use super::store::Store;
use crate::state::{ErrorKind, Item, ItemsParams, Key, Revision};
use crate::watch::{TeleportEvent, TeleportWatch, TeleportWatcher};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A watcher of the case's keys, past its first event.
async fn watcher(s: &Store) -> Result<TeleportWatcher, String> {
    let watches = s.watches.as_ref().ok_or("the harness has no watcher")?;
    let watch = TeleportWatch {
        name: "conformance".to_owned(),
        prefixes: vec![s.key("")],
        queue_size: 0,
    };
    let new = watches.new_watcher(watch).await;
    let mut watcher = new.map_err(|error| format!("new_watcher: {error}"))?;
    let first = event(s, &mut watcher, secs(10)).await?;
    holds("the first event is Init", first == TeleportEvent::Init)?;
    Ok(watcher)
}

async fn event(s: &Store, watcher: &mut TeleportWatcher, limit: Duration) -> Result<TeleportEvent, String> {
    match s.clock().timeout(limit, watcher.next()).await {
        Ok(Some(event)) => Ok(event),
        Ok(None) => Err("the watcher was closed".to_owned()),
        Err(_) => Err(format!("no event came for {limit:?}")),
    }
}

async fn put(s: &Store, watcher: &mut TeleportWatcher) -> Result<Item, String> {
    match event(s, watcher, secs(10)).await? {
        TeleportEvent::Put(item) => Ok(item),
        other => Err(format!("{other:?} was seen, a put is due")),
    }
}

async fn deletion(s: &Store, watcher: &mut TeleportWatcher) -> Result<Key, String> {
    match event(s, watcher, secs(10)).await? {
        TeleportEvent::Delete(key) => Ok(key),
        other => Err(format!("{other:?} was seen, a delete is due")),
    }
}

pub(super) async fn keep_alive(s: &Store) -> Checked {
    let mut watcher = watcher(s).await?;
    let expires = s.after(secs(11));
    let item = s.item("a", s.bytes(16 * 1024)).expiring(expires);
    let lease = done("put", s.put(&item).await)?;
    let seen = put(s, &mut watcher).await?;
    same("its key", &seen.key, &item.key)?;
    holds("its value is whole", seen.value == item.value)?;
    near("its expiry", seen.expires, expires)?;
    same(
        "its revision",
        &seen.revision,
        &done("get", s.get("a").await)?.revision,
    )?;

    s.advance(secs(2)).await;
    let later = s.after(secs(60));
    done("keep_alive", s.backend.keep_alive(&lease, later).await)?;
    let seen = put(s, &mut watcher).await?;
    holds(
        "the value of what was kept alive is whole",
        seen.value == item.value,
    )?;
    near("its new expiry", seen.expires, later)?;
    same(
        "its revision",
        &seen.revision,
        &done("get", s.get("a").await)?.revision,
    )?;

    done("delete", s.delete("a").await)?;
    refused("get of what is deleted", s.get("a").await, ErrorKind::NotFound)?;
    let gone = s.backend.keep_alive(&lease, s.after(secs(60))).await;
    refused("keep_alive of what is deleted", gone, ErrorKind::NotFound)
}

pub(super) async fn events(s: &Store) -> Checked {
    let mut watcher = watcher(s).await?;
    let item = s.item("b", "1");
    done("put", s.put(&item).await)?;
    let stored = done("get", s.get("b").await)?;
    same("what was put", &put(s, &mut watcher).await?, &stored)?;
    done("delete", s.delete("b").await)?;
    same("what was deleted", &deletion(s, &mut watcher).await?, &item.key)?;
    // Not below the watcher's prefix.
    let aside = Item::new(Key::from(format!("{}0", s.key("")).as_str()), "1");
    done("put beside", s.put(&aside).await)?;
    done("put", s.put(&item).await)?;
    same("what was put", &put(s, &mut watcher).await?.key, &item.key)?;
    done("delete", s.backend.delete(&aside.key).await)
}

/// An expired item is told of as deleted once somebody deletes it.
pub(super) async fn expiry(s: &Store) -> Checked {
    let mut watcher = watcher(s).await?;
    let item = s.item("c", "1").expiring(s.after(secs(1)));
    done("put", s.put(&item).await)?;
    done("get while it lives", s.get("c").await)?;
    same("what was put", &put(s, &mut watcher).await?.key, &item.key)?;
    s.advance(secs(3)).await;
    refused("get of what expired", s.get("c").await, ErrorKind::NotFound)?;
    s.sweep().await?;
    same("what expired", &deletion(s, &mut watcher).await?, &item.key)
}

pub(super) async fn close(s: &Store) -> Checked {
    let watches = s.watches.as_ref().ok_or("the harness has no watcher")?;
    let mut first = watcher(s).await?;
    let mut second = watcher(s).await?;
    holds("new watchers are open", !first.is_done() && !second.is_done())?;
    first.close();
    let closed = s.clock().timeout(secs(1), first.done()).await;
    holds("a watcher that is closed is done", closed.is_ok())?;
    holds("it has no events more", first.next().await.is_none())?;
    holds("another one goes on", !second.is_done())?;
    let done = second.done();
    watches.close_watchers();
    let closed = s.clock().timeout(secs(1), done).await;
    holds("all watchers that are closed are done", closed.is_ok())?;
    holds("they have no events more", second.next().await.is_none())
}

pub(super) async fn put_batch(s: &Store) -> Checked {
    let mut watcher = watcher(s).await?;
    let expires = s.after(secs(600));
    let items: Vec<Item> = ["a", "b", "c"]
        .iter()
        .map(|name| s.item(name, *name).expiring(expires))
        .collect();
    let mut before: BTreeSet<String> = BTreeSet::new();
    for round in ["put_batch", "put_batch again"] {
        let revisions = done(round, s.backend.put_batch(&items).await.all())?;
        let mut due: BTreeMap<&Key, (&Item, &Revision)> = items
            .iter()
            .zip(&revisions)
            .map(|(item, revision)| (&item.key, (item, revision)))
            .collect();
        while !due.is_empty() {
            let seen = put(s, &mut watcher).await?;
            let Some((item, revision)) = due.remove(&seen.key) else {
                return Err(format!("{} was seen twice, or is not of the batch", seen.key));
            };
            same("its revision", &seen.revision, revision)?;
            holds("the revision is new", before.insert(seen.revision.to_string()))?;
            holds("its value", seen.value == item.value)?;
            within_a_second("its expiry", seen.expires, expires)?;
        }
    }
    Ok(())
}

fn within_a_second(what: &str, stored: Option<SystemTime>, asked: SystemTime) -> Checked {
    let apart = stored.and_then(|stored| asked.duration_since(stored).ok());
    holds(what, apart.is_some_and(|apart| apart < secs(1)))
}

pub(super) async fn delete_batch(s: &Store) -> Checked {
    let names = ["a", "b", "c", "d"];
    for name in names {
        done("create", s.create(&s.item(name, "1")).await)?;
    }
    let mut watcher = watcher(s).await?;
    let mut due: BTreeSet<Key> = names.iter().take(3).map(|name| s.key(name)).collect();
    let keys: Vec<Key> = due.iter().cloned().chain([s.key("not there")]).collect();
    done("delete_batch", s.backend.delete_batch(&keys).await.all())?;
    done("a delete behind it", s.delete("d").await)?;
    due.insert(s.key("d"));
    while !due.is_empty() {
        // What was made before the watcher may be told of too.
        match event(s, &mut watcher, secs(10)).await? {
            TeleportEvent::Delete(key) if due.remove(&key) => {}
            TeleportEvent::Put(_) => {}
            other => return Err(format!("{other:?} was seen, deletes of {due:?} are due")),
        }
    }
    Ok(())
}

/// 300 MB in one call.
pub(super) async fn put_batch_of_1000(s: &Store) -> Checked {
    let mut watcher = watcher(s).await?;
    let items: Vec<Item> = (0..1000)
        .map(|n| s.item(&format!("{n:04}"), s.bytes(300 * 1024)))
        .collect();
    let limit = s.clock().instant() + secs(600);
    let backend = s.backend.with_deadline(limit);
    done("put_batch", backend.put_batch(&items).await.all())?;
    let mut due: BTreeSet<&Key> = items.iter().map(|item| &item.key).collect();
    while !due.is_empty() {
        let seen = put(s, &mut watcher).await?;
        holds("each is seen once", due.remove(&seen.key))?;
    }
    let mut stored = std::pin::pin!(backend.items(ItemsParams::from(s.all())));
    for item in &items {
        let found = done("items", stored.try_next().await)?.ok_or("an item is missing")?;
        holds(
            "what is stored",
            found.key == item.key && found.value == item.value,
        )?;
    }
    let deleted = done("delete_range", backend.delete_range(&s.all()).await)?;
    same("how many were deleted", &deleted, &1000)
}

/// Ten writers, a hundred items of 300 KiB: each is seen, once.
pub(super) async fn volume(s: &Store) -> Checked {
    const WRITERS: usize = 10;
    const EACH: usize = 10;
    let mut watcher = watcher(s).await?;
    let writers = (0..WRITERS).map(|writer| async move {
        let mut keys = Vec::new();
        for n in 0..EACH {
            let item = s.item(&format!("{writer}/{n}"), s.bytes(300 * 1024));
            done("put", s.put(&item).await)?;
            keys.push(item.key);
        }
        Ok::<_, String>(keys)
    });
    let written = async {
        let written: Result<Vec<_>, String> = join_all(writers).await.into_iter().collect();
        written.map(|keys| keys.into_iter().flatten().collect::<BTreeSet<Key>>())
    };
    let read = async {
        let mut seen = BTreeSet::new();
        while seen.len() < WRITERS * EACH {
            let item = match event(s, &mut watcher, secs(30)).await? {
                TeleportEvent::Put(item) => item,
                other => return Err(format!("{other:?} was seen, a put is due")),
            };
            holds("its value is whole", item.value.len() == 300 * 1024)?;
            if !seen.insert(item.key.clone()) {
                return Err(format!("{} was seen twice", item.key));
            }
        }
        Ok(seen)
    };
    let (written, seen) = futures_util::join!(written, read);
    holds("what was seen is what was written", written? == seen?)?;
    let more = s.clock().timeout(secs(3), watcher.next()).await;
    holds("nothing comes behind it", more.is_err())
}
