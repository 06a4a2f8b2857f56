//! Single items: the cases 1, 5, 15 and 16.

use super::check::{Checked, done, holds, refused, same};
use super::store::Store;
use crate::state::{ErrorKind, Range, Revision};

/// What no backend ever wrote as a revision.
const GARBAGE: &str = "not a revision";

pub(super) async fn crud(s: &Store) -> Checked {
    let mut item = s.item("a", "hello");
    refused("update of nothing", s.update(&item).await, ErrorKind::NotFound)?;

    let created = done("create", s.create(&item).await)?;
    same("the lease's key", &created.key, &item.key)?;
    refused("create again", s.create(&item).await, ErrorKind::AlreadyExists)?;
    let found = done("get", s.get("a").await)?;
    same("the value", &found.value, &item.value)?;
    same("the revision", &found.revision, &created.revision)?;
    same("the expiry", &found.expires, &None)?;

    let end = item.key.range_end().ok_or("the key has no range end")?;
    let range = Range::between(&item.key, end);
    let range = done("get_range", s.backend.get_range(range.into()).await)?;
    same("the range from the key to its end", &range, &vec![found])?;

    item.value = b"updated".to_vec();
    let updated = done("update", s.update(&item).await)?;
    holds(
        "an update has a new revision",
        updated.revision != created.revision,
    )?;
    let found = done("get", s.get("a").await)?;
    same("the value after the update", &found.value, &item.value)?;
    same("its revision", &found.revision, &updated.revision)?;

    done("delete", s.delete("a").await)?;
    refused("get of what is deleted", s.get("a").await, ErrorKind::NotFound)?;
    refused("delete again", s.delete("a").await, ErrorKind::NotFound)?;

    let put = done("put", s.put(&item).await)?;
    let again = done("put again", s.put(&item).await)?;
    holds("a put has a new revision", put.revision != again.revision)?;
    let found = done("get", s.get("a").await)?;
    same("what was put", &found, &item.at(&again.revision))
}

/// A key near the longest that Teleport's layout takes.
pub(super) async fn long_key(s: &Store) -> Checked {
    let hex: String = s.bytes(485).iter().map(|byte| format!("{byte:02x}")).collect();
    same("the length of the name", &hex.len(), &970)?;
    let item = s.item(&hex, s.bytes(1024));
    let put = done("put", s.put(&item).await)?;
    let found = done("get", s.get(&hex).await)?;
    holds("its bytes come back", found.value == item.value)?;
    same("the item", &found, &item.at(&put.revision))
}

pub(super) async fn compare_and_swap(s: &Store) -> Checked {
    let (first, second, third) = (s.item("a", "1"), s.item("a", "2"), s.item("a", "3"));
    let missing = s.compare_and_swap(&first, &second).await;
    refused("a swap of nothing", missing, ErrorKind::CompareFailed)?;

    let created = done("create", s.create(&first).await)?;
    let swapped = done("a swap", s.compare_and_swap(&first, &second).await)?;
    holds("a swap has a new revision", swapped.revision != created.revision)?;
    let found = done("get", s.get("a").await)?;
    same(
        "what was swapped in",
        &found,
        &second.clone().at(&swapped.revision),
    )?;

    let stale = s.compare_and_swap(&first, &third).await;
    refused("a swap of a stale value", stale, ErrorKind::CompareFailed)?;
    let found = done("get", s.get("a").await)?;
    same(
        "what a refused swap leaves",
        &found,
        &second.at(&swapped.revision),
    )
}

pub(super) async fn conditional_update(s: &Store) -> Checked {
    let item = |value: &str| s.item("a", value);
    let missing = s.conditional_update(&item("0").at(GARBAGE)).await;
    refused("an update of nothing", missing, ErrorKind::IncorrectRevision)?;

    let put = done("put", s.put(&item("1")).await)?;
    let first = done("update", s.conditional_update(&item("2").at(&put.revision)).await)?;
    holds("the update has a new revision", first.revision != put.revision)?;
    for stale in [&put.revision, &Revision::from(GARBAGE), &Revision::default()] {
        let refusal = s.conditional_update(&item("x").at(stale)).await;
        refused(
            &format!("an update at {stale:?}"),
            refusal,
            ErrorKind::IncorrectRevision,
        )?;
    }
    let found = done("get", s.get("a").await)?;
    same(
        "what refused updates leave",
        &found,
        &item("2").at(&first.revision),
    )?;
    let second = done(
        "update again",
        s.conditional_update(&item("3").at(&first.revision)).await,
    )?;
    holds("it has a new revision", second.revision != first.revision)?;
    let found = done("get", s.get("a").await)?;
    same("the second update", &found, &item("3").at(&second.revision))
}

pub(super) async fn conditional_delete(s: &Store) -> Checked {
    let missing = s.conditional_delete("a", &Revision::from(GARBAGE)).await;
    refused("a delete of nothing", missing, ErrorKind::IncorrectRevision)?;

    let put = done("put", s.put(&s.item("a", "1")).await)?;
    let update = s.item("a", "2").at(&put.revision);
    let updated = done("update", s.conditional_update(&update).await)?;
    for stale in [&put.revision, &Revision::from(GARBAGE), &Revision::default()] {
        let refusal = s.conditional_delete("a", stale).await;
        refused(
            &format!("a delete at {stale:?}"),
            refusal,
            ErrorKind::IncorrectRevision,
        )?;
    }
    done("get of what refused deletes leave", s.get("a").await)?;
    done("delete", s.conditional_delete("a", &updated.revision).await)?;
    refused("get of what is deleted", s.get("a").await, ErrorKind::NotFound)?;
    let again = s.conditional_delete("a", &updated.revision).await;
    refused("delete again", again, ErrorKind::IncorrectRevision)
}
