//! Many writers at once.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::check::{Checked, done, holds, same};
use super::store::{Failure, Store};
use crate::state::{Condition, ConditionalAction, ErrorKind, Item};

/// In ten rounds two writers swap the same value, and one of them only succeeds.
pub(super) async fn swap_races(s: &Store) -> Checked {
    let mut current = s.item("a", "start");
    done("create", s.create(&current).await)?;
    for round in 0..10 {
        let item = |who: &str| s.item("a", format!("{round} {who}"));
        let (left, right) = (item("left"), item("right"));
        let both = join(
            s.compare_and_swap(&current, &left),
            s.compare_and_swap(&current, &right),
        );
        let (winner, failure) = match Box::pin(both).await {
            (Ok(lease), Err(failure)) => (left.at(&lease.revision), failure),
            (Err(failure), Ok(lease)) => (right.at(&lease.revision), failure),
            (Ok(_), Ok(_)) => return Err(format!("round {round}: both swapped one value")),
            (Err(left), Err(right)) => {
                return Err(format!(
                    "round {round}: neither swapped: {}; {}",
                    left.text, right.text
                ));
            }
        };
        let kind = failure.kind;
        same("the other's refusal", &kind, &Some(ErrorKind::CompareFailed))?;
        let found = done("get", s.get("a").await)?;
        same("the winner's item", &found, &winner)?;
        holds("the winner's value", found.value == winner.value)?;
        current = winner;
    }
    Ok(())
}

/// Fifty times five operations on one key through two backends; each may be refused by the others, nothing else.
pub(super) async fn concurrent_operations(s: &Store) -> Checked {
    let Some(other) = s.other() else {
        return Err("there is no second backend".to_owned());
    };
    let (s, other) = (s, &other);
    let (a, b) = (s.item("key", "a"), s.item("key", "b"));
    let work = |n: usize| {
        let (a, b) = (&a, &b);
        async move {
            let (put, swap, create, get, delete) = futures_util::join!(
                s.put(a),
                other.compare_and_swap(a, b),
                other.create(b),
                s.get("key"),
                other.delete("key"),
            );
            may("put", put, &[])?;
            may("compare_and_swap", swap, &[ErrorKind::CompareFailed])?;
            may("create", create, &[ErrorKind::AlreadyExists])?;
            may("delete", delete, &[ErrorKind::NotFound])?;
            match get {
                Ok(item) if item.value == b"a" || item.value == b"b" => Ok(()),
                Ok(item) => Err(format!("get {n}: the value has become {:?}", item.value)),
                get => may("get", get, &[ErrorKind::NotFound]),
            }
        }
    };
    let all = join_all((0..50).map(work).map(Box::pin));
    // Against a deadlock. Teleport's suite says ten seconds, which a busy machine can need for the requests alone.
    let all = s.clock().timeout(Duration::from_secs(60), all).await;
    let all = all.map_err(|_| "not all were done within a minute".to_owned())?;
    all.into_iter().collect()
}

fn may<T>(what: &str, result: Result<T, Failure>, refusals: &[ErrorKind]) -> Checked {
    match result {
        Err(failure) if !failure.kind.is_some_and(|kind| refusals.contains(&kind)) => {
            Err(format!("{what}: {}", failure.text))
        }
        _ => Ok(()),
    }
}

/// Twenty writers count one number up to 200: each reads it, and writes the next on condition of what it read. A try
/// fails only if another succeeded in between, so 200 tries are enough for anyone.
pub(super) async fn concurrent(s: &Store) -> Checked {
    const WORKERS: usize = 20;
    const EACH: usize = 10;
    const TRIES: usize = 200;
    done("create", s.create(&s.item("count", "0")).await)?;
    let worker = || async {
        let mut counted = 0;
        for _ in 0..TRIES {
            let found = done("get", s.get("count").await)?;
            let next = number(&found)? + 1;
            let write = ConditionalAction::put(
                s.item("count", next.to_string()),
                Condition::Revision(found.revision),
            );
            match s.backend.atomic_write(&[write]).await {
                Ok(_) => counted += 1,
                Err(error) if error.kind() == ErrorKind::ConditionFailed => {}
                Err(error) => return Err(format!("{error:?}")),
            }
            if counted == EACH {
                return Ok(());
            }
        }
        Err(format!("a writer counted {counted} only in {TRIES} tries"))
    };
    let workers = join_all((0..WORKERS).map(|_| Box::pin(worker()))).await;
    workers.into_iter().collect::<Checked>()?;
    let counted = number(&done("get", s.get("count").await)?)?;
    same("what they counted", &counted, &(WORKERS * EACH))
}

fn number(item: &Item) -> Result<usize, String> {
    let text = String::from_utf8_lossy(&item.value);
    text.parse().map_err(|_| format!("the count has become {text:?}"))
}

/// Sixty writers at once, each of a key of its own, all of them on condition of one key that none of them writes: none
/// may fail, though DynamoDB calls them in conflict.
pub(super) async fn non_conflicting(s: &Store) -> Checked {
    done("put", s.put(&s.item("common", "1")).await)?;
    let write = |n: usize| {
        let own = s.item(&format!("own/{n:02}"), "1");
        async move {
            let actions = [
                ConditionalAction::check(s.key("common"), Condition::Exists),
                ConditionalAction::put(own, Condition::NotExists),
            ];
            done("atomic_write", s.backend.atomic_write(&actions).await)
        }
    };
    let all = join_all((0..60).map(write).map(Box::pin));
    let all = s.clock().timeout(Duration::from_secs(60), all).await;
    let all = all.map_err(|_| "not all were done within a minute".to_owned())?;
    for written in all {
        written?;
    }
    let count = done("count", s.backend.count(&s.all()).await)?;
    same("how many items there are", &count, &61)
}
