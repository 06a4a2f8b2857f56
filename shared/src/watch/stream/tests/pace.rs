//! How often the service is asked.

use std::time::Duration;

use super::engine::{Fate, refusal};
use super::fake::{Call, Fake};
use super::{Follower, all, sorted};
use crate::random::Random;
use crate::watch::source::Source;

fn of<'a>(calls: &'a [Call], operation: &str) -> Vec<&'a Call> {
    calls.iter().filter(|call| call.operation == operation).collect()
}

/// The least time between two of them.
fn gap(calls: &[&Call]) -> Duration {
    let gaps = calls.windows(2).map(|two| two[1].at - two[0].at);
    gaps.min().unwrap()
}

const PACE: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn listings_are_never_sent_within_200_ms() {
    let fake = Fake::new();
    fake.world().listing = 3;
    for shard in 0..20 {
        fake.shard(&format!("s{shard}"), None, 2);
    }
    let source = fake.source(1).await;
    let mut one = Follower::new(&source, source.beginning().await.unwrap());
    let mut two = Follower::new(&source, source.now().await.unwrap());
    let random = Random::seeded(3);
    fake.plan(move |operation, _| {
        if operation == "DescribeStream" && random.below(2) == 0 {
            refusal("LimitExceededException")
        } else {
            Fate::Served
        }
    });
    for round in 0..20 {
        for shard in 0..20 {
            let id = format!("s{shard}{}", "x".repeat(round));
            fake.close(&id);
            fake.shard(&format!("{id}x"), Some(&id), 1);
        }
        tokio::join!(one.secs(20), two.secs(20));
    }
    fake.serve();
    tokio::join!(one.secs(60), two.secs(60), async {
        source.beginning().await.unwrap()
    });
    assert_eq!(sorted(&one.seen), all(1..=440));
    let calls = fake.calls();
    let listings = of(&calls, "DescribeStream");
    assert!(listings.len() > 200, "{}", listings.len());
    assert!(gap(&listings) >= PACE, "{:?}", gap(&listings));
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_is_asked_seldom() {
    let fake = Fake::new();
    fake.shard("a", None, 3);
    fake.shard("b", None, 3);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.now().await.unwrap());
    follower.secs(10).await;
    fake.calls();
    follower.secs(600).await;
    let calls = fake.calls();
    let asked = |operation: &str| of(&calls, operation).len();
    // Two shards, each after 0.5 to 1 s; one listing after 10 to 15 s; nothing else.
    assert_eq!(
        (asked("GetRecords"), asked("DescribeStream"), calls.len()),
        (1609, 48, 1609 + 48)
    );
    for shard in ["a", "b"] {
        let one: Vec<&Call> = of(&calls, "GetRecords")
            .into_iter()
            .filter(|call| {
                call.body["ShardIterator"]
                    .as_str()
                    .unwrap()
                    .contains(&format!("|{shard}|"))
            })
            .collect();
        let longest = one.windows(2).map(|two| two[1].at - two[0].at).max().unwrap();
        assert!(gap(&one) >= Duration::from_millis(500), "{:?}", gap(&one));
        assert!(longest <= Duration::from_millis(1001), "{longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_shard_is_asked_five_times_a_second() {
    let fake = Fake::new();
    fake.shard("a", None, 300);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    fake.calls();
    // A hundred pages of three.
    follower.secs(20).await;
    assert_eq!(follower.seen, all(1..=300));
    let calls = fake.calls();
    let gap = gap(&of(&calls, "GetRecords"));
    assert!(gap >= PACE && gap < Duration::from_millis(210), "{gap:?}");
    // What comes while it is idle is told within the period.
    follower.secs(60).await;
    for _ in 0..20 {
        fake.put("a", 1);
        follower.follow(Duration::from_millis(1001)).await.unwrap();
        assert_eq!(follower.seen.last(), Some(&fake.world().number));
        follower.secs(7).await;
    }
}

#[tokio::test(start_paused = true)]
async fn empty_pages_of_a_closed_shard_are_passed_quickly() {
    let fake = Fake::new();
    fake.world().empty = 40;
    fake.shard("a", None, 6);
    fake.close("a");
    fake.shard("b", Some("a"), 0);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    // 82 pages.
    follower.secs(17).await;
    assert_eq!(follower.seen, all(1..=6));
}

#[tokio::test(start_paused = true)]
async fn at_most_sixteen_shards_are_asked_at_a_time() {
    let fake = Fake::new();
    for shard in 0..50 {
        fake.shard(&format!("s{shard}"), None, 4);
    }
    let source = fake.source(1).await;
    fake.plan(|_, _| Fate::Delayed {
        before: Duration::from_millis(100),
        after: Duration::ZERO,
    });
    let mut follower = Follower::new(&source, source.beginning().await.unwrap());
    follower.secs(60).await;
    assert_eq!(sorted(&follower.seen), all(1..=200));
    assert_eq!(fake.world().under_way.1, 16);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_is_asked_no_more_often() {
    let fake = Fake::new();
    fake.shard("a", None, 1);
    let source = fake.source(1).await;
    let mut follower = Follower::new(&source, source.now().await.unwrap());
    follower.secs(5).await;
    fake.calls();
    fake.plan(|_, _| Fate::Dropped);
    follower.secs(3600).await;
    // Full jitter up to 10 s, for the shard and for the listing.
    let asked = fake.calls().len();
    assert!((1000..2000).contains(&asked), "{asked}");
    fake.serve();
    fake.put("a", 1);
    follower.secs(11).await;
    assert_eq!(follower.seen, [2]);
}
