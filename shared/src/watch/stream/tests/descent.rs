//! Shards that split, merge, end and are trimmed: everything is read, parents before children.

use super::fake::Fake;
use super::{Follower, all, sorted};
use crate::watch::position::Mark;
use crate::watch::source::Source;

/// Nothing twice, nothing missing, and no record before those of its shard's ancestors.
pub(super) fn in_descent(fake: &Fake, seen: &[u64]) {
    for (at, number) in seen.iter().enumerate() {
        let (shard, mut parent) = fake.descent(*number);
        for later in &seen[at + 1..] {
            let (other, _) = fake.descent(*later);
            assert!(other != shard || later > number, "{number} after {later}");
        }
        while let Some(ancestor) = parent {
            let later = seen[at + 1..]
                .iter()
                .find(|later| fake.descent(**later).0 == ancestor);
            assert_eq!(later, None, "{number} of {shard} before one of {ancestor}");
            parent = fake.parent(&ancestor);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closed_shards_are_read_to_their_ends_parents_first() {
    let fake = Fake::new();
    // Listed youngest first.
    fake.shard("d", Some("c"), 4);
    fake.shard("c", Some("b"), 5);
    fake.shard("b", Some("a"), 3);
    fake.shard("a", None, 7);
    for closed in ["a", "b", "c"] {
        fake.close(closed);
    }
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    assert_eq!(follower.position.lanes.len(), 4);
    follower.secs(10).await;
    assert_eq!(sorted(&follower.seen), all(1..=19));
    in_descent(&fake, &follower.seen);
    let done: Vec<&str> = follower
        .marks
        .iter()
        .filter(|(_, mark)| *mark == Mark::Done)
        .map(|(lane, _)| &**lane)
        .collect();
    assert_eq!(done, ["a", "b", "c"]);
    assert_eq!(follower.position.lanes.len(), 1, "only what is open is left");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_born_and_closed_between_two_looks_is_read() {
    let fake = Fake::new();
    fake.shard("a", None, 2);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.now().await.unwrap());
    follower.secs(1).await;
    assert_eq!(follower.seen, [0; 0], "what was before now");
    fake.put("a", 2);
    fake.close("a");
    fake.shard("b", Some("a"), 5);
    fake.close("b");
    fake.shard("c", Some("b"), 0);
    fake.close("c");
    fake.shard("d", Some("c"), 4);
    follower.secs(5).await;
    assert_eq!(follower.seen, all(3..=13));
}

#[tokio::test(start_paused = true)]
async fn splits_and_merges_lose_nothing() {
    let fake = Fake::new();
    fake.shard("a", None, 2);
    fake.shard("x", None, 2);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.now().await.unwrap());
    fake.put("a", 4);
    fake.put("x", 5);
    fake.close("a");
    fake.shard("left", Some("a"), 4);
    fake.shard("right", Some("a"), 4);
    follower.secs(5).await;
    // The other parent is never named.
    fake.put("x", 2);
    fake.close("x");
    fake.close("left");
    fake.shard("merged", Some("left"), 3);
    follower.secs(60).await;
    assert_eq!(sorted(&follower.seen), all(5..=26));
    in_descent(&fake, &follower.seen);
    // It is not done before it has gone: a position without it would begin with it again.
    assert!(follower.position.lanes.contains_key("x"));
    let resumed = &mut Follower::new(&fake.source(2).await, follower.position.clone());
    resumed.secs(60).await;
    assert_eq!(resumed.seen, [0; 0]);
    fake.forget("x");
    follower.secs(60).await;
    assert!(!follower.position.lanes.contains_key("x"));
    fake.put("merged", 1);
    follower.secs(5).await;
    assert_eq!(follower.seen.last(), Some(&27));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_listed_late_is_read_from_its_first_record() {
    let fake = Fake::new();
    fake.shard("a", None, 1);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.now().await.unwrap());
    fake.put("a", 4);
    fake.close("a");
    fake.shard("b", Some("a"), 3);
    fake.with("b", |shard| shard.hidden = true);
    follower.secs(20).await;
    assert_eq!(follower.seen, all(2..=5));
    assert!(follower.marks.is_empty(), "not done while nothing follows");
    fake.with("b", |shard| shard.hidden = false);
    follower.secs(30).await;
    assert_eq!(follower.seen, all(2..=8));
    // A second child that is listed later still.
    fake.shard("c", Some("a"), 2);
    follower.secs(30).await;
    assert_eq!(follower.seen, all(2..=10));
    for (_, position) in follower.positions.split_off(1) {
        assert!(!position.lanes.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_trimmed_holds_up_nobody() {
    let fake = Fake::new();
    fake.shard("b", Some("a"), 3);
    fake.shard("c", Some("b"), 3);
    fake.close("b");
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    follower.secs(3).await;
    assert_eq!(follower.seen, all(1..=6));
}

#[tokio::test(start_paused = true)]
async fn now_is_behind_closed_shards_and_their_children_are_read_whole() {
    let fake = Fake::new();
    fake.shard("a", None, 3);
    fake.close("a");
    fake.shard("b", Some("a"), 3);
    fake.shard("alone", None, 2);
    fake.close("alone");
    let source = fake.source(1).await;
    let now = source.now().await.unwrap();
    assert_eq!(
        now.lanes.keys().map(|lane| &**lane).collect::<Vec<_>>(),
        ["alone", "b"]
    );
    fake.put("b", 1);
    fake.close("b");
    fake.shard("c", Some("b"), 2);
    let mut follower = Follower::new(&source, now);
    follower.secs(5).await;
    assert_eq!(follower.seen, all(9..=11));
}

#[tokio::test(start_paused = true)]
async fn a_listing_over_several_pages_is_one() {
    let fake = Fake::new();
    fake.world().listing = 2;
    fake.shard("s0", None, 2);
    for child in 1..7 {
        fake.close(&format!("s{}", child - 1));
        fake.shard(&format!("s{child}"), Some(&format!("s{}", child - 1)), 2);
    }
    let source = fake.source(1).await;
    let now = source.now().await.unwrap();
    assert_eq!(now.lanes.len(), 1);
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    follower.secs(20).await;
    assert_eq!(follower.seen, all(1..=14));
}
