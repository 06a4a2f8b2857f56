//! Fencing numbers, one step broken at a time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewatch::clock::Clock;
use tidewatch::state::{ErrorKind, Item, Key, Layout, LockGuard};

use crate::engine::{Engine, Fate, refusal};
use crate::locks::{lock, millis, one, secs, start, stored};

const FENCE: &str = ".fences/a/b";

/// What each request was, in short.
fn steps(engine: &Engine) -> Vec<String> {
    let of = |sent: crate::engine::Sent| {
        let place = sent.body.get("Key").or(sent.body.get("Item")).unwrap();
        let path = place["FullPath"]["S"].as_str().unwrap();
        let what = if path.contains(".fences") { "fence" } else { "lock" };
        format!("{} {what}", sent.operation.trim_end_matches("Item"))
    };
    engine.sent().into_iter().map(of).collect()
}

async fn released(guard: LockGuard) -> u64 {
    let fence = guard.fence().unwrap();
    guard.release().await.unwrap();
    fence
}

#[tokio::test(start_paused = true)]
async fn the_item_is_decimal_text_that_stays() {
    let (engine, clock, backend) = one().await;
    let configuration = lock(10).fenced();
    assert_eq!(
        released(backend.acquire_lock(&configuration).await.unwrap()).await,
        1
    );
    let item = stored(&engine, FENCE).await.unwrap();
    assert_eq!(item["Value"].as_b().unwrap().as_ref(), b"1");
    assert!(!item.contains_key("Expires"));
    assert_eq!(configuration.fence_key(), Key::from(FENCE));
    // A holder that only lets it expire has had its number all the same.
    backend.put(&Item::new(FENCE, "99")).await.unwrap();
    assert_eq!(
        backend.acquire_lock(&configuration).await.unwrap().fence(),
        Some(100)
    );
    clock.sleep(secs(20)).await;
    assert_eq!(
        released(backend.acquire_lock(&configuration).await.unwrap()).await,
        101
    );
    // A waiter reads the number when it sees the lock free, not before it waits.
    let held = backend.acquire_lock(&configuration).await.unwrap();
    engine.sent();
    let waiter = backend.clone();
    let waiter = tokio::spawn(async move { waiter.acquire_lock(&lock(10).fenced()).await });
    clock.sleep(secs(3)).await;
    assert_eq!(released(held).await, 102);
    assert_eq!(waiter.await.unwrap().unwrap().fence(), Some(103));
    let steps = steps(&engine);
    assert_eq!(steps[..2], ["Get fence", "Put lock"]);
    assert_eq!(steps[steps.len() - 3..], ["Get fence", "Put lock", "Put fence"]);
    for wrong in ["", "x", "-1", "18446744073709551615"] {
        backend.delete(&configuration.key()).await.ok();
        backend.put(&Item::new(FENCE, wrong)).await.unwrap();
        let error = backend.acquire_lock(&configuration).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongTable, "{error}");
        assert!(
            stored(&engine, ".locks/a/b").await.is_none(),
            "nothing is left held"
        );
    }
}

/// What each of the three requests may meet.
fn breaks() -> Vec<(&'static str, Vec<Fate>)> {
    let hour = secs(3600);
    vec![
        ("answer lost", vec![Fate::AnswerLost]),
        ("dropped", vec![Fate::Dropped]),
        ("late", vec![Fate::Late(millis(200))]),
        ("very late", vec![Fate::Late(secs(15))]),
        ("throttled", vec![refusal("ThrottlingException"); 3]),
        (
            "never arrives",
            vec![Fate::Delayed {
                before: hour,
                after: Duration::ZERO,
            }],
        ),
        (
            "never answered",
            vec![Fate::Delayed {
                before: Duration::ZERO,
                after: hour,
            }],
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn numbers_grow_whichever_step_breaks() {
    for step in 0..3 {
        for (name, fates) in breaks() {
            for (crash, unsettled) in [(false, false), (false, true), (true, false)] {
                let (engine, clock, backend) = one().await;
                let configuration = lock(10).fenced();
                let mut numbers = vec![released(backend.acquire_lock(&configuration).await.unwrap()).await];
                let (mut made, mut left) = (0, fates.clone());
                let (time, mut broken) = (clock.clone(), None);
                engine.plan(move |operation, _| {
                    made += 1;
                    if made > step && !left.is_empty() {
                        broken = Some(time.instant());
                        return left.remove(0);
                    }
                    // The reads that would settle it do not either, for as long as the lock lasts.
                    let settles = broken.is_some_and(|since| time.instant() - since < secs(12));
                    if settles && unsettled && operation == "GetItem" {
                        return Fate::Dropped;
                    }
                    Fate::Served
                });
                let limit = if crash { millis(100) } else { secs(60) };
                let acquiring = Box::pin(backend.acquire_lock(&configuration));
                if let Ok(acquired) = clock.timeout(limit, acquiring).await {
                    let guard = acquired.unwrap_or_else(|error| panic!("{step} {name}: {error}"));
                    assert!(guard.is_held(), "{step} {name}");
                    numbers.push(released(guard).await);
                }
                for _ in 0..2 {
                    let guard = backend.acquire_lock(&configuration).await.unwrap();
                    clock.sleep(secs(4)).await;
                    numbers.push(released(guard).await);
                }
                let grow = numbers.windows(2).all(|two| two[0] < two[1]);
                assert!(grow, "step {step}, {name}, crash {crash}: {numbers:?}");
            }
        }
    }
}

/// A holder that is stopped between its lock and its number, until others have had theirs, and whose clock does not tell
/// it that its lock has expired, must not number after them.
#[tokio::test(start_paused = true)]
async fn a_holder_that_was_stopped_before_its_number_gets_a_greater_one_or_none() {
    for fate in ["number waits", "number is throttled"] {
        let (engine, clock, backend) = one().await;
        // Its time goes a minute behind: it believes in a lock that for the others expired long ago.
        let behind = Clock::simulated(start() - secs(60));
        let slow = engine.backend("locks", Layout::Teleport, &behind, 2).await;
        let stopped = Arc::new(Mutex::new(0_u32));
        let seen = Arc::clone(&stopped);
        engine.plan(move |operation, body| {
            let item = &body["Item"]["FullPath"]["S"];
            if operation == "PutItem" && item.as_str().is_some_and(|item| item.contains(".fences")) {
                *seen.lock().unwrap() += 1;
                if *seen.lock().unwrap() == 1 {
                    return match fate {
                        "number waits" => Fate::Delayed {
                            before: millis(1_500),
                            after: Duration::ZERO,
                        },
                        _ => refusal("ThrottlingException"),
                    };
                }
            }
            Fate::Served
        });
        let slow_turn = tokio::spawn(async move { slow.acquire_lock(&lock(10).fenced()).await });
        clock.sleep(millis(1)).await;
        // The slow one's lock is in the table, its number is not. To the others it is long expired.
        let others = backend.acquire_lock(&lock(10).fenced()).await.unwrap();
        let theirs = others.fence().unwrap();
        clock.sleep(secs(2)).await;
        others.release().await.unwrap();
        let bounded = clock.timeout(secs(100), slow_turn).await;
        let slow = bounded.unwrap().unwrap().unwrap();
        assert!(slow.fence().unwrap() > theirs, "{fate}");
        // And it had to take the lock anew for that.
        let item = stored(&engine, ".locks/a/b").await.unwrap();
        assert_eq!(item["Revision"].as_s().unwrap(), slow.lease().revision.as_str());
    }
}
