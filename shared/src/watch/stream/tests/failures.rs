//! What breaks while reading: nobody starts over for what passes, and what was lost is told.

use std::time::Duration;

use super::fake::{Fake, TABLE};
use super::{Follower, all, sorted};
use crate::engine::{Fate, refusal};
use crate::random::Random;
use crate::watch::position::Mark;
use crate::watch::source::Source;
use crate::watch::{Position, WatchError};

fn floor(lost: WatchError) -> Position {
    match lost {
        WatchError::Compacted { floor, .. } => *floor,
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_iterator_goes_on_behind_the_last_record() {
    for padded in [false, true] {
        let fake = Fake::new();
        fake.world().padded = padded;
        fake.shard("a", None, 10);
        let source = fake.source(1).await;
        let mut follower = Follower::new(&source, source.beginning().await.unwrap());
        while follower.seen.len() < 10 {
            fake.expire();
            follower.follow(Duration::from_millis(150)).await.unwrap();
        }
        follower.secs(10).await;
        assert_eq!(follower.seen, all(1..=10));
        let places: Vec<(String, String)> = fake
            .calls()
            .iter()
            .filter(|call| call.operation == "GetShardIterator")
            .map(|call| {
                let text = |name: &str| call.body[name].as_str().unwrap_or_default().to_owned();
                (text("ShardIteratorType"), text("SequenceNumber"))
            })
            .collect();
        assert_eq!(places[0], ("TRIM_HORIZON".to_owned(), String::new()));
        assert!(places.len() > 2);
        for (kind, number) in &places[1..] {
            assert!(
                kind == "AFTER_SEQUENCE_NUMBER" || kind == "TRIM_HORIZON",
                "{kind}"
            );
            // As it was written.
            assert!(number.is_empty() || number.len() == 21 && number.starts_with('0') == padded);
        }
    }
}

/// Any failure that may pass, at any request.
pub(super) fn trouble(seed: u64, percent: u64) -> impl FnMut(&str, &serde_json::Value) -> Fate + Send {
    let random = Random::seeded(seed);
    move |_, _| {
        if random.below(100) >= percent {
            return Fate::Served;
        }
        match random.below(6) {
            0 => refusal("LimitExceededException"),
            1 => refusal("ExpiredIteratorException"),
            2 => Fate::Answered(500, "{\"__type\":\"InternalServerError\"}".to_owned()),
            3 => Fate::AnswerLost,
            4 => Fate::Delayed {
                before: Duration::from_secs(random.below(8)),
                after: Duration::ZERO,
            },
            _ => Fate::Dropped,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_out() {
    for seed in 0..8 {
        let fake = Fake::new();
        fake.shard("a", None, 10);
        let source = fake.source(seed).await;
        let mut follower = Follower::new(&source, source.beginning().await.unwrap());
        fake.plan(trouble(seed, 60));
        follower.secs(20).await;
        fake.put("a", 10);
        fake.close("a");
        fake.shard("b", Some("a"), 10);
        follower.secs(120).await;
        fake.serve();
        follower.secs(30).await;
        assert_eq!(follower.seen, all(1..=30), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_loses_nothing() {
    let fake = Fake::new();
    for shard in ["a", "b", "c"] {
        fake.shard(shard, None, 20);
    }
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    let random = Random::seeded(7);
    fake.plan(move |_, _| Fate::Delayed {
        before: Duration::from_millis(random.below(300)),
        after: Duration::from_millis(random.below(300)),
    });
    for step in 0..4000 {
        follower
            .follow(Duration::from_millis(1 + step % 17))
            .await
            .unwrap();
    }
    assert_eq!(sorted(&follower.seen), all(1..=60));
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_is_told_with_where_to_go_on() {
    let fake = Fake::new();
    fake.shard("a", None, 10);
    let source = fake.source(1).await;
    let mut position = Position::new(source.0.current());
    position.advance(&"a".into(), Mark::behind(3.into()));
    for trimmed in [4, 10] {
        fake.with("a", |shard| shard.trimmed = trimmed);
        let lost = Follower::new(&source, position.clone()).end().await;
        let mut follower = Follower::new(&source, floor(lost));
        follower.secs(5).await;
        assert_eq!(follower.seen, all(trimmed as u64 + 1..=10));
    }
    // The shard itself, whether it was being read or not.
    let mut reading = Follower::new(&source, source.now().await.unwrap());
    reading.secs(1).await;
    fake.shard("b", Some("a"), 2);
    fake.forget("a");
    assert!(reading.end().await.is_compacted());
    let again = reading.reader.next().await.unwrap_err();
    assert!(again.is_compacted(), "it stays so");
    let lost = Follower::new(&source, position.clone()).end().await;
    let mut follower = Follower::new(&source, floor(lost));
    follower.secs(5).await;
    assert_eq!(follower.seen, [11, 12]);
    // Done, or a parent of what the position has: nothing is missed.
    position.advance(&"a".into(), Mark::Done);
    let mut follower = Follower::new(&source, position);
    follower.secs(5).await;
    assert_eq!(follower.seen, [11, 12]);
}

#[tokio::test(start_paused = true)]
async fn a_child_whose_first_records_were_trimmed_before_anybody_came_is_told() {
    let fake = Fake::new();
    fake.shard("a", None, 1);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    follower.secs(1).await;
    fake.close("a");
    fake.shard("b", Some("a"), 6);
    follower.secs(5).await;
    assert_eq!(follower.seen, all(1..=7));
    let (_, before) = follower
        .positions
        .iter()
        .find(|(_, position)| position.lanes.contains_key("b") && !position.lanes.contains_key("a"))
        .unwrap();
    let mut whole = Follower::new(&source, before.clone());
    whole.secs(5).await;
    assert_eq!(whole.seen, all(2..=7));
    fake.with("b", |shard| shard.trimmed = 2);
    assert!(Follower::new(&source, before.clone()).end().await.is_compacted());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_replaced_is_read_to_its_end() {
    for status in ["DISABLED", "GONE"] {
        let fake = Fake::new();
        fake.shard("a", None, 2);
        let source = fake.source(1).await;
        let mut follower = Follower::new(&source, source.now().await.unwrap());
        follower.secs(5).await;
        let old = follower.position.clone();
        fake.put("a", 7);
        fake.close("a");
        let arn = format!("{TABLE}/stream/2");
        (fake.world().arn, fake.world().status) = (arn.clone(), status);
        let lost = follower.end().await;
        assert_eq!(follower.seen, all(3..=9), "{status}");
        assert_eq!(&*floor(lost).source, arn);
        // For whoever comes later too, and a new position is one of the new stream.
        fake.world().status = "ENABLED";
        let lost = Follower::new(&source, old.clone()).end().await;
        assert_eq!(&*floor(lost).source, arn);
        let other = fake.source(2).await;
        assert!(Follower::new(&other, old).end().await.is_compacted());
        assert_eq!(&*source.now().await.unwrap().source, arn);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_turned_off_ends_the_reading() {
    let fake = Fake::new();
    fake.shard("a", None, 2);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    follower.secs(5).await;
    fake.put("a", 2);
    fake.close("a");
    (fake.world().on, fake.world().status) = (false, "DISABLED");
    assert!(follower.end().await.is_compacted());
    assert_eq!(follower.seen, all(1..=4));
    assert!(matches!(source.now().await, Err(WatchError::WrongSource(_))));
}

#[tokio::test(start_paused = true)]
async fn nothing_after_now_is_lost_though_its_iterator_expires() {
    let fake = Fake::new();
    fake.shard("a", None, 5);
    let source = fake.source(1).await;
    let now = source.now().await.unwrap();
    fake.put("a", 3);
    // Still young: exactly what came after.
    let mut follower = Follower::new(&source, now.clone());
    follower.secs(3).await;
    assert_eq!(follower.seen, all(6..=8));
    // Gone, or in another process: what was before is seen too.
    let elsewhere = fake.source(2).await;
    let token: Position = now.to_string().parse().unwrap();
    let mut follower = Follower::new(&elsewhere, token);
    follower.secs(3).await;
    assert_eq!(follower.seen, all(1..=8));
    fake.expire();
    let mut follower = Follower::new(&source, now);
    follower.secs(3).await;
    assert_eq!(follower.seen, all(1..=8));
}

#[tokio::test(start_paused = true)]
async fn while_there_are_no_records_the_iterator_of_now_stays_young() {
    let fake = Fake::new();
    fake.shard("a", None, 5);
    let source = fake.source(1).await;
    let now = source.now().await.unwrap();
    let mut first = Follower::new(&source, now.clone());
    first.secs(1200).await;
    assert!(first.seen.is_empty());
    fake.expire_but_last();
    fake.put("a", 2);
    let mut second = Follower::new(&source, now);
    second.secs(3).await;
    assert_eq!(second.seen, [6, 7]);
    // Two calls of now are two positions.
    let third = source.now().await.unwrap();
    fake.put("a", 1);
    let fourth = source.now().await.unwrap();
    assert_ne!(third, fourth);
    let mut third = Follower::new(&source, third);
    third.secs(3).await;
    assert_eq!(third.seen, [8]);
}

#[tokio::test(start_paused = true)]
async fn who_is_denied_is_told_and_may_go_on_when_allowed() {
    let fake = Fake::new();
    fake.shard("a", None, 2);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    for operation in ["GetRecords", "GetShardIterator", "DescribeStream"] {
        fake.expire();
        let before = fake.put("a", 2);
        fake.plan(move |sent, _| {
            if sent == operation {
                refusal("AccessDeniedException")
            } else {
                Fate::Served
            }
        });
        let denied = follower.end().await;
        assert!(matches!(denied, WatchError::AccessDenied(_)), "{denied}");
        fake.serve();
        follower.secs(60).await;
        assert_eq!(follower.seen, all(1..=before), "{operation}");
    }
    // Credentials may be renewed; for ever they are not waited for.
    fake.plan(|_, _| refusal("ExpiredTokenException"));
    follower.secs(1).await;
    assert!(matches!(follower.end().await, WatchError::AccessDenied(_)));
}

/// It could be told neither from a repeat nor from what follows: nobody passes it in silence.
#[tokio::test(start_paused = true)]
async fn a_record_without_a_number_ends_the_watch() {
    let fake = Fake::new();
    fake.world().nameless = 2;
    fake.shard("a", None, 3);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    let ended = follower.end().await;
    assert!(matches!(ended, WatchError::Compacted { .. }), "{ended}");
    assert!(ended.to_string().contains("SequenceNumber"), "{ended}");
    assert_eq!(follower.seen, [1]);
}
