//! Atomic writes by one writer.

use std::time::Duration;

use super::check::{Checked, done, holds, refused, same};
use super::store::Store;
use crate::state::{
    Action, Condition, ConditionalAction as Act, ErrorKind, Item, Key, MAX_ATOMIC_WRITE_SIZE, Revision,
};

use Condition::{Exists, NotExists, Whatever};

fn at(revision: &Revision) -> Condition {
    Condition::Revision(revision.clone())
}

async fn write(s: &Store, actions: &[Act]) -> Result<Revision, String> {
    let revision = done("atomic_write", s.backend.atomic_write(actions).await)?;
    revision.ok_or_else(|| "an atomic write with a put answers no revision".to_owned())
}

async fn fails(s: &Store, what: &str, actions: &[Act]) -> Checked {
    refused(
        what,
        s.backend.atomic_write(actions).await,
        ErrorKind::ConditionFailed,
    )
}

/// The item must be this one, in this revision.
async fn stored(s: &Store, name: &str, value: &str, revision: &Revision) -> Checked {
    let found = done(name, s.get(name).await)?;
    same(name, &found, &s.item(name, value).at(revision))?;
    holds(
        &format!("the value of {name} is {value}"),
        found.value == value.as_bytes(),
    )
}

pub(super) async fn moves(s: &Store) -> Checked {
    let from = done("put", s.put(&s.item("from", "x")).await)?;
    let moving = [
        Act::delete(s.key("from"), at(&from.revision)),
        Act::put(s.item("to", "x"), NotExists),
    ];
    let moved = write(s, &moving).await?;
    refused("get of what was moved", s.get("from").await, ErrorKind::NotFound)?;
    stored(s, "to", "x", &moved).await?;
    fails(s, "the same again", &moving).await?;
    stored(s, "to", "x", &moved).await
}

/// A key that is only checked guards another that is written.
pub(super) async fn lock(s: &Store) -> Checked {
    let put = |value: &str| Act::put(s.item("value", value), Whatever);
    let check = |condition| Act::check(s.key("lock"), condition);
    let first = write(s, &[check(NotExists), put("i1")]).await?;
    stored(s, "value", "i1", &first).await?;
    fails(s, "a lock that is not there", &[check(Exists), put("i2")]).await?;

    let taken = done("put", s.put(&s.item("lock", "1")).await)?.revision;
    fails(s, "a lock that is there", &[check(NotExists), put("i3")]).await?;
    stored(s, "value", "i1", &first).await?;
    let second = write(s, &[check(at(&taken)), put("i4")]).await?;
    stored(s, "value", "i4", &second).await?;

    let retaken = done("put", s.put(&s.item("lock", "1")).await)?.revision;
    fails(
        s,
        "a lock taken by another since",
        &[check(at(&taken)), put("i5")],
    )
    .await?;
    stored(s, "value", "i4", &second).await?;
    let third = write(s, &[check(at(&retaken)), put("i6")]).await?;
    stored(s, "value", "i6", &third).await?;
    stored(s, "lock", "1", &retaken).await
}

pub(super) async fn max(s: &Store) -> Checked {
    let puts = |count: usize, value: &str, condition: &Condition| -> Vec<Act> {
        let item = |n| s.item(&format!("{n:02}"), value);
        (0..count).map(|n| Act::put(item(n), condition.clone())).collect()
    };
    let many = s
        .backend
        .atomic_write(&puts(MAX_ATOMIC_WRITE_SIZE + 1, "0", &NotExists))
        .await;
    refused("65 actions", many, ErrorKind::BadParameter)?;
    let count = done("count", s.backend.count(&s.all()).await)?;
    same("what it left", &count, &0)?;

    let first = write(s, &puts(MAX_ATOMIC_WRITE_SIZE, "1", &NotExists)).await?;
    all(s, "1", &first).await?;
    fails(s, "the same again", &puts(MAX_ATOMIC_WRITE_SIZE, "2", &NotExists)).await?;
    all(s, "1", &first).await?;
    let second = write(s, &puts(MAX_ATOMIC_WRITE_SIZE, "3", &at(&first))).await?;
    holds("the revision is new", second != first)?;
    all(s, "3", &second).await
}

/// All 64 items are these.
async fn all(s: &Store, value: &str, revision: &Revision) -> Checked {
    let found = done("get_range", s.backend.get_range(s.all().into()).await)?;
    same("how many there are", &found.len(), &MAX_ATOMIC_WRITE_SIZE)?;
    let are = |item: &Item| item.value == value.as_bytes() && item.revision == *revision;
    holds(
        &format!("all have the value {value} and one revision"),
        found.iter().all(are),
    )
}

pub(super) async fn other(s: &Store) -> Checked {
    let mut named = Act::put(Item::new("/conformance/elsewhere", "1"), NotExists);
    named.key = s.key("a");
    let first = write(s, &[named]).await?;
    stored(s, "a", "1", &first).await?;
    let elsewhere = s.backend.get(&Key::from("/conformance/elsewhere")).await;
    refused("the key in the item itself", elsewhere, ErrorKind::NotFound)?;

    let both = [
        Act::put(s.item("a", "1"), at(&first)),
        Act::put(s.item("b", "1"), NotExists),
    ];
    let second = write(s, &both).await?;
    holds("the same value again has a new revision", second != first)?;
    stored(s, "a", "1", &second).await?;
    stored(s, "b", "1", &second).await?;
    let third = write(
        s,
        &[
            Act::put(s.item("a", "1"), at(&second)),
            Act::put(s.item("b", "2"), Exists),
        ],
    )
    .await?;
    stored(s, "a", "1", &third).await?;
    stored(s, "b", "2", &third).await?;

    let mixed = [
        Act::put(s.item("c", "1"), Whatever),
        Act::delete(s.key("a"), Exists),
    ];
    let fourth = write(s, &mixed).await?;
    stored(s, "c", "1", &fourth).await?;
    refused(
        "what was deleted beside it",
        s.get("a").await,
        ErrorKind::NotFound,
    )?;
    let fifth = write(
        s,
        &[
            Act::put(s.item("d", "1"), Whatever),
            Act::check(s.key("a"), NotExists),
        ],
    )
    .await?;
    stored(s, "d", "1", &fifth).await?;
    let deleted = s
        .backend
        .atomic_write(&[
            Act::delete(s.key("d"), Whatever),
            Act::delete(s.key("none"), Whatever),
        ])
        .await;
    same(
        "the revision of deletions",
        &done("atomic_write", deleted)?,
        &None,
    )?;
    refused("get of what was deleted", s.get("d").await, ErrorKind::NotFound)
}

pub(super) async fn refusals(s: &Store) -> Checked {
    let put = |name: &str| Act::put(s.item(name, "1"), Whatever);
    let cases = [
        ("no actions", vec![]),
        ("no key", vec![put("a"), Act::delete(Key::default(), Whatever)]),
        ("a put without value", vec![Act::put(s.item("a", ""), Whatever)]),
        (
            "an action without effect",
            vec![put("a"), Act::check(s.key("b"), Whatever)],
        ),
        (
            "a key given twice",
            vec![put("a"), Act::delete(s.key("a"), Exists)],
        ),
        ("no write", vec![Act::check(s.key("a"), NotExists)]),
    ];
    for (what, actions) in cases {
        let refusal = s.backend.atomic_write(&actions).await;
        refused(what, refusal, ErrorKind::BadParameter)?;
    }
    let large = |n| Act::put(s.item(&format!("{n:02}"), s.bytes(300 * 1024)), Whatever);
    let large: Vec<Act> = (0..15).map(large).collect();
    refused(
        "more than 4 MB",
        s.backend.atomic_write(&large).await,
        ErrorKind::TooLarge,
    )?;
    fails(
        s,
        "an empty revision",
        &[put("a"), Act::delete(s.key("b"), at(&Revision::default()))],
    )
    .await?;
    let count = done("count", s.backend.count(&s.all()).await)?;
    same("what was written", &count, &0)
}

/// Ours: what expired is absent for conditions too.
pub(super) async fn expiry(s: &Store) -> Checked {
    let expires = s.after(Duration::from_secs(1));
    let old = Act::put(s.item("a", "old").expiring(expires), NotExists);
    let old = write(s, &[old]).await?;
    s.advance(Duration::from_secs(3)).await;
    let new = |condition| Act::put(s.item("a", "new"), condition);
    fails(s, "an expired item that is to exist", &[new(Exists)]).await?;
    fails(s, "an expired item in its revision", &[new(at(&old))]).await?;
    let guard = |condition| Act::check(s.key("a"), condition);
    let other = Act::put(s.item("b", "1"), Whatever);
    fails(s, "an expired item as a guard", &[guard(Exists), other.clone()]).await?;
    write(s, &[guard(NotExists), other]).await?;
    let new = write(s, &[new(NotExists)]).await?;
    let found = done("get", s.get("a").await)?;
    same("the new item", &found, &s.item("a", "new").at(&new))?;
    let put = Act {
        key: s.key("c"),
        condition: NotExists,
        action: Action::Put(s.item("c", "1").expiring(s.after(Duration::from_secs(60)))),
    };
    write(s, &[put]).await?;
    let expires = done("get", s.get("c").await)?.expires;
    holds("an expiry is stored", expires.is_some())
}
