//! Expiry and keeping alive: the case 6, and what of 7 and 8 needs no watcher. Expired means gone, at once and for
//! every operation, whether DynamoDB has deleted the item or not.

use std::time::{Duration, SystemTime};

use super::check::{Checked, done, holds, refused, same};
use super::store::Store;
use crate::state::{ErrorKind, Item, Lease};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) async fn expiration(s: &Store) -> Checked {
    let long = s.item("a", "1").expiring(s.after(secs(3600)));
    let short = s.item("b", "2").expiring(s.after(secs(1)));
    done("put", s.put(&long).await)?;
    done("put", s.put(&short).await)?;
    s.advance(secs(4)).await;
    let found = done("get_range", s.backend.get_range(s.all().into()).await)?;
    let keys: Vec<_> = found.iter().map(|item| &item.key).collect();
    same("what is left", &keys, &vec![&long.key])?;
    same(
        "their number",
        &done("count", s.backend.count(&s.all()).await)?,
        &1,
    )?;
    refused("get of what expired", s.get("b").await, ErrorKind::NotFound)
}

/// Within two seconds: whole seconds are stored, rounded down.
pub(super) fn near(what: &str, stored: Option<SystemTime>, asked: SystemTime) -> Checked {
    let stored = stored.ok_or_else(|| format!("{what}: there is no expiry"))?;
    let apart = match stored.duration_since(asked) {
        Ok(later) => later,
        Err(earlier) => earlier.duration(),
    };
    if apart <= secs(2) {
        Ok(())
    } else {
        Err(format!("{what}: it is {apart:?} from what was asked for"))
    }
}

pub(super) async fn keep_alive(s: &Store) -> Checked {
    let first = s.after(secs(11));
    let item = s.item("a", s.bytes(16 * 1024)).expiring(first);
    let lease = done("put", s.put(&item).await)?;
    let before = done("get", s.get("a").await)?;
    near("the expiry that was put", before.expires, first)?;
    s.advance(secs(2)).await;
    let later = s.after(secs(60));
    done("keep_alive", s.backend.keep_alive(&lease, later).await)?;
    let after = done("get", s.get("a").await)?;
    near("the expiry after keep_alive", after.expires, later)?;
    holds("the value stays", after.value == item.value)?;
    same("the revision stays", &after.revision, &lease.revision)?;
    s.advance(secs(30)).await;
    done("get after the first expiry", s.get("a").await)?;
    let same_again = after.expires.ok_or("there is no expiry")?;
    done(
        "keep_alive to the same second",
        s.backend.keep_alive(&lease, same_again).await,
    )?;
    done("delete", s.delete("a").await)?;
    refused("get of what is deleted", s.get("a").await, ErrorKind::NotFound)?;
    let gone = s.backend.keep_alive(&lease, s.after(secs(60))).await;
    refused("keep_alive of what is deleted", gone, ErrorKind::NotFound)?;
    let gone = s
        .backend
        .keep_alive_unchecked(&lease.key, s.after(secs(60)))
        .await;
    refused("keep_alive_unchecked of it", gone, ErrorKind::NotFound)
}

/// Ours: it is about the lease's own write only, and never shortens.
pub(super) async fn keep_alive_refusals(s: &Store) -> Checked {
    let lease = done("put", s.put(&s.item("a", "1").expiring(s.after(secs(60)))).await)?;
    let sooner = s.backend.keep_alive(&lease, s.after(secs(30))).await;
    refused("a shorter expiry", sooner, ErrorKind::BadParameter)?;
    let newer = done(
        "put by another",
        s.put(&s.item("a", "2").expiring(s.after(secs(60)))).await,
    )?;
    let other = s.backend.keep_alive(&lease, s.after(secs(90))).await;
    refused("another's item", other, ErrorKind::IncorrectRevision)?;
    done(
        "one's own item",
        s.backend.keep_alive(&newer, s.after(secs(90))).await,
    )?;

    let permanent = done("put", s.put(&s.item("b", "1")).await)?;
    let given = s.backend.keep_alive(&permanent, s.after(secs(60))).await;
    refused("an item that never expires", given, ErrorKind::BadParameter)?;
    same("its expiry", &done("get", s.get("b").await)?.expires, &None)?;
    let expires = s.after(secs(60));
    done(
        "keep_alive_unchecked, which gives one",
        s.backend.keep_alive_unchecked(&permanent.key, expires).await,
    )?;
    near("its expiry", done("get", s.get("b").await)?.expires, expires)?;

    let short = done("put", s.put(&s.item("c", "1").expiring(s.after(secs(1)))).await)?;
    s.advance(secs(3)).await;
    let late = s.backend.keep_alive(&short, s.after(secs(60))).await;
    refused("what expired", late, ErrorKind::NotFound)?;
    let late = s
        .backend
        .keep_alive_unchecked(&short.key, s.after(secs(60)))
        .await;
    refused("what expired, unchecked", late, ErrorKind::NotFound)?;
    let none = Lease {
        key: crate::state::Key::default(),
        revision: short.revision,
    };
    let none = s.backend.keep_alive(&none, s.after(secs(60))).await;
    refused("no key", none, ErrorKind::BadParameter)
}

/// What expired is absent for every condition, and a new item takes its place.
pub(super) async fn written_again(s: &Store) -> Checked {
    let expired = |name: &str| s.item(name, "old").expiring(s.after(secs(1)));
    let (mut leases, names) = (Vec::new(), ["create", "update", "swap", "revision", "delete"]);
    for name in names {
        leases.push(done("put", s.put(&expired(name)).await)?);
        done("get while it lives", s.get(name).await)?;
    }
    s.advance(secs(3)).await;
    for name in names {
        refused("get", s.get(name).await, ErrorKind::NotFound)?;
    }
    let new = |name: &str| -> Item { s.item(name, "new") };
    refused("update", s.update(&new("update")).await, ErrorKind::NotFound)?;
    let swap = s.compare_and_swap(&s.item("swap", "old"), &new("swap")).await;
    refused("compare_and_swap", swap, ErrorKind::CompareFailed)?;
    for lease in &leases {
        let item = Item::new(&lease.key, "new").at(&lease.revision);
        let update = s.conditional_update(&item).await;
        refused("conditional_update", update, ErrorKind::IncorrectRevision)?;
    }
    for (name, lease) in names.iter().zip(&leases) {
        let delete = s.conditional_delete(name, &lease.revision).await;
        refused("conditional_delete", delete, ErrorKind::IncorrectRevision)?;
        refused("delete", s.delete(name).await, ErrorKind::NotFound)?;
    }
    for name in names {
        let lease = done("create in place of what expired", s.create(&new(name)).await)?;
        let found = done("get", s.get(name).await)?;
        same("the new item", &found, &new(name).at(&lease.revision))?;
    }
    Ok(())
}
