//! What a delay between reading the clock and being applied allows, and clocks that are apart.
//!
//! Expiry is judged by the clock of the caller, so an item is seen to expire once by each of them. With clocks at most
//! `s` apart and requests at most `d` on their way, what one has found expired may be found alive by another, and be
//! renewed by it, for at most `s + d` more. Revisions and values are compared by the table and do not depend on either:
//! in everything but expiry the order stays one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tidewatch::clock::Clock;
use tidewatch::state::{Backend, ErrorKind, Item, Key, Layout};

use super::checker::{Rules, is_linearizable};
use super::clients::Setting;
use super::{histories, seed};
use crate::engine::{Engine, Fate};

const APART: Duration = Duration::from_secs(2);
const DELAY: Duration = Duration::from_millis(350);

async fn is_alive(backend: &Backend, key: &Key) -> bool {
    match backend.get(key).await {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn linearizable_but_for_expiry_between_clocks_that_are_apart() {
    let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let engine = Engine::new();
    let (behind, ahead) = (Clock::simulated(start), Clock::simulated(start + APART));
    let behind = engine.backend("state", Layout::Teleport, &behind, 1).await;
    let ahead = engine.backend("state", Layout::Teleport, &ahead, 2).await;
    let item = Item::new("/lease", "1").expiring(start + Duration::from_secs(5));
    behind.put(&item).await.unwrap();
    let mut disagreed = Vec::new();
    for quarter in 0..40_u32 {
        let (first, second) = (
            is_alive(&ahead, &item.key).await,
            is_alive(&behind, &item.key).await,
        );
        assert!(
            second || !first,
            "the clock that is ahead never sees it for longer"
        );
        if first != second {
            disagreed.push(quarter);
        }
        behind.clock().sleep(Duration::from_millis(250)).await;
    }
    // The item lives through its second 5: until 4 s by the one clock, until 6 s by the other.
    assert_eq!(disagreed, (16..24).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn linearizable_but_for_a_renewal_that_was_on_its_way() {
    let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let (engine, clock) = (Engine::new(), Clock::simulated(start));
    let backend = engine.backend("state", Layout::Teleport, &clock, 1).await;
    let item = Item::new("/lease", "1").expiring(start + Duration::from_secs(1));
    let lease = backend.put(&item).await.unwrap();
    let delayed = Fate::Delayed {
        before: DELAY,
        after: Duration::ZERO,
    };
    engine.fates("UpdateItem", [delayed]);
    clock.sleep(Duration::from_millis(1900)).await;
    let renewed = backend.keep_alive(&lease, start + Duration::from_secs(9));
    let watched = async {
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push(is_alive(&backend, &item.key).await);
            clock.sleep(Duration::from_millis(100)).await;
        }
        seen
    };
    let (renewed, seen) = tokio::join!(renewed, watched);
    renewed.unwrap();
    // At 1.9 s, expired from 2.0 s on, alive again once the renewal arrived at 2.25 s.
    assert_eq!(seen, [true, false, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn linearizable_as_an_expiry_in_the_past_proves_no_renewal() {
    let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let (engine, clock) = (Engine::new(), Clock::simulated(start));
    let backend = engine.backend("state", Layout::Teleport, &clock, 1).await;
    let end = start + Duration::from_secs(1);
    let lease = backend
        .put(&Item::new("/lease", "1").expiring(end))
        .await
        .unwrap();
    clock.sleep(Duration::from_millis(2500)).await;
    engine.fates("UpdateItem", [Fate::Dropped]);
    let renewed = backend.keep_alive(&lease, end).await;
    assert_eq!(renewed.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
}

#[test]
fn linearizable_within_the_bound_of_skew_and_delay() {
    let (inexact, unbounded) = (AtomicU64::new(0), AtomicU64::new(0));
    let setting = Setting {
        delay: DELAY,
        skew: APART,
        ..Setting::default()
    };
    let seed = seed();
    histories(seed..seed + 60, setting, |history| {
        assert!(is_linearizable(&history, Rules::Within(DELAY)), "{history}");
        let count = |counter: &AtomicU64, rules| {
            if !is_linearizable(&history, rules) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        };
        count(&inexact, Rules::Exact);
        count(&unbounded, Rules::Within(Duration::ZERO));
        true
    });
    println!("of 60 histories {inexact:?} need the skew or the delay, {unbounded:?} the delay");
    assert!(inexact.into_inner() > 0 && unbounded.into_inner() > 0);
}
