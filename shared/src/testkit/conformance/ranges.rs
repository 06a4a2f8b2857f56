//! Ranges: the cases 2, 3, 4, 13 and 14.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use super::check::{Checked, done, holds, same};
use super::store::Store;
use crate::state::{Item, ItemsParams, Key, Range};

/// How many requests are under way at a time while a case is set up.
const AT_ONCE: usize = 25;

/// Five items, one of them out of scope, with the revisions that they were stored in.
async fn five(s: &Store) -> Result<Vec<Item>, String> {
    let mut stored = Vec::new();
    for name in ["in/a", "in/b", "in/c/c1", "in/c/c2", "out"] {
        let item = s.item(name, format!("value of {name}"));
        let lease = done("create", s.create(&item).await)?;
        stored.push(item.at(&lease.revision));
    }
    stored.truncate(4);
    Ok(stored)
}

/// What is read, and the places in [`five`] of what is due.
type Fetch = (&'static str, Range, std::ops::Range<usize>);

/// Ranges of either shape.
fn fetches(s: &Store) -> Result<Vec<Fetch>, String> {
    let end = |key: &Key| key.range_end().ok_or("a key has no range end".to_owned());
    let key = |name: &str| s.key(name);
    let whole = key("in/");
    let sub = key("in/c/");
    Ok(vec![
        ("the prefix", Range::between(&whole, end(&whole)?), 0..4),
        ("the prefix, exactly", Range::prefix(&whole), 0..4),
        ("a prefix in it", Range::between(&sub, end(&sub)?), 2..4),
        ("a prefix in it, exactly", Range::prefix(&sub), 2..4),
        ("from an item", Range::between(key("in/b"), end(&whole)?), 1..4),
        (
            "to an item, which it includes",
            Range::between(&whole, key("in/b")),
            0..2,
        ),
        ("of one item", Range::between(key("in/b"), key("in/b")), 1..2),
        ("between items", Range::between(key("in/b0"), key("in/b9")), 2..2),
    ])
}

pub(super) async fn query_range(s: &Store) -> Checked {
    let stored = five(s).await?;
    for (what, range, due) in fetches(s)? {
        let found = done(what, s.backend.get_range(range.clone().into()).await)?;
        same(what, found.as_slice(), part(&stored, due.clone()))?;
        let count = done("count", s.backend.count(&range).await)?;
        same(
            "their number",
            &count,
            &u64::try_from(due.len()).unwrap_or_default(),
        )?;
    }
    // Page after page, the next one from the end of the last key.
    let end = s.key("in/").range_end().ok_or("the prefix has no end")?;
    let mut start = s.key("in/");
    for due in [0..2, 2..4, 4..4] {
        let page = ItemsParams::from(Range::between(&start, &end)).limit(2);
        let page = done("a page", s.backend.get_range(page).await)?;
        same("the page", page.as_slice(), part(&stored, due))?;
        if let Some(last) = page.last() {
            start = last.key.range_end().ok_or("a key has no range end")?;
        }
    }
    Ok(())
}

fn part(stored: &[Item], due: std::ops::Range<usize>) -> &[Item] {
    stored.get(due).unwrap_or_default()
}

pub(super) async fn items(s: &Store) -> Checked {
    let stored = five(s).await?;
    for (what, range, due) in fetches(s)? {
        for descending in [false, true] {
            let mut due = part(&stored, due.clone()).to_vec();
            let mut params = ItemsParams::from(range.clone());
            if descending {
                due.reverse();
                params = params.descending();
            }
            let all = s.backend.items(params.clone()).try_collect::<Vec<Item>>().await;
            same(what, &done(what, all)?, &due)?;
            let entries = s.backend.entries(params.clone());
            let entries = done(
                "entries",
                entries
                    .map_ok(|e| (e.key, e.revision))
                    .try_collect::<Vec<_>>()
                    .await,
            )?;
            let revisions: Vec<_> = due.iter().map(|i| (i.key.clone(), i.revision.clone())).collect();
            same("keys and revisions", &entries, &revisions)?;
            for limit in 1..=3 {
                // The caller ends it, or the limit does.
                let broken = s.backend.items(params.clone()).take(limit);
                let broken = done(what, broken.try_collect::<Vec<Item>>().await)?;
                let limited = s.backend.items(params.clone().limit(limit));
                let limited = done(what, limited.try_collect::<Vec<Item>>().await)?;
                due.truncate(due.len().min(3));
                let first = due.get(..limit.min(due.len())).unwrap_or_default();
                same("the first of them", broken.as_slice(), first)?;
                same("so many of them", limited.as_slice(), first)?;
            }
        }
    }
    Ok(())
}

/// 1,501 items: more than a query brings at a time.
pub(super) async fn items_over_pages(s: &Store) -> Checked {
    let name = |n: usize| format!("{n:05}");
    let put = |n: usize| async move { s.put(&s.item(&name(n), name(n))).await };
    let puts: Vec<_> = (0..1501).map(|n| put(n).boxed()).collect();
    let puts = stream::iter(puts).buffer_unordered(AT_ONCE);
    done("put", puts.try_collect::<Vec<_>>().await)?;
    let mut due: Vec<Key> = (0..1501).map(|n| s.key(&name(n))).collect();
    let all = ItemsParams::from(s.all());
    for params in [all.clone(), all.descending()] {
        let descending = params.descending;
        let found = s.backend.items(params).map_ok(|item| item.key);
        let found = done("items", found.try_collect::<Vec<Key>>().await)?;
        same("how many there are", &found.len(), &due.len())?;
        holds(
            &format!("they are in order (descending: {descending})"),
            found == due,
        )?;
        due.reverse();
    }
    Ok(())
}

/// 104 items, more than a batch deletes at a time; 102 of them in the range.
pub(super) async fn delete_range(s: &Store) -> Checked {
    let mut names = vec!["a".to_owned(), "b".to_owned()];
    names.extend((0..102).map(|n| format!("c/{n:03}")));
    for name in &names {
        done("create", s.create(&s.item(name, "value")).await)?;
    }
    let prefix = s.key("c/");
    let end = prefix.range_end().ok_or("the prefix has no end")?;
    let deleted = s.backend.delete_range(&Range::between(&prefix, end)).await;
    same("how many were deleted", &done("delete_range", deleted)?, &102)?;
    let left = done("get_range", s.backend.get_range(s.all().into()).await)?;
    let left: Vec<&Key> = left.iter().map(|item| &item.key).collect();
    same("what is left", &left, &vec![&s.key("a"), &s.key("b")])?;
    let again = s.backend.delete_range(&Range::prefix(&prefix)).await;
    same("how many are deleted again", &done("delete_range", again)?, &0)
}

/// More than a query answers in bytes.
pub(super) async fn fetch_limit(s: &Store) -> Checked {
    let mut due = Vec::new();
    for n in 0..20 {
        let item = s.item(&format!("{n:02}"), s.bytes(64 * 1024));
        let lease = done("put", s.put(&item).await)?;
        due.push(item.at(&lease.revision));
    }
    let (start, end) = s.ends()?;
    let found = s.backend.get_range(Range::between(start, end).into()).await;
    holds(
        "all of 20 items of 64 KiB come back",
        done("get_range", found)? == due,
    )
}

/// Expired items are in the way of a limited read, and do not count.
pub(super) async fn limit(s: &Store) -> Checked {
    let tail = s.item("z", "tail").expiring(s.after(Duration::from_secs(600)));
    done("put", s.put(&tail).await)?;
    for n in 0..10 {
        let soon = s.after(Duration::from_secs(3));
        let item = s.item(&format!("m/{n}"), "gone soon").expiring(soon);
        done("put", s.put(&item).await)?;
    }
    s.advance(Duration::from_secs(5)).await;
    done("put", s.put(&s.item("a", "head")).await)?;
    let (start, end) = s.ends()?;
    let params = ItemsParams::from(Range::between(start, end)).limit(2);
    for params in [params.clone(), params.descending()] {
        let descending = params.descending;
        let found = done("get_range", s.backend.get_range(params).await)?;
        let mut found: Vec<&Key> = found.iter().map(|item| &item.key).collect();
        if descending {
            found.reverse();
        }
        same("two of two live items", &found, &vec![&s.key("a"), &s.key("z")])?;
    }
    Ok(())
}
