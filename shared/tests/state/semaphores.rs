//! Semaphores and elections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use futures_util::future::join_all;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, ErrorKind, Item, Layout, Leader, LockConfiguration};

use crate::engine::{Engine, Fate, config, partitioned};
use crate::locks::{TABLE, millis, one, secs, start, stored};

fn slots() -> LockConfiguration {
    LockConfiguration::new(["pool"], secs(10))
}

#[tokio::test(start_paused = true)]
async fn a_slot_takes_a_query_and_a_lock() {
    for layout in [Layout::Teleport, partitioned(3)] {
        let (engine, clock) = (Engine::new(), Clock::simulated(start()));
        let queries = if layout == Layout::Teleport { 1 } else { 3 };
        let backend = engine.backend(TABLE, layout, &clock, 1).await;
        let pool = backend.semaphore(slots(), 2);
        let first = pool.try_acquire().await.unwrap().unwrap();
        let sent = engine.operations();
        assert_eq!(sent[..queries], vec!["Query"; queries]);
        assert_eq!(sent[queries..], ["PutItem"]);
        let second = pool.acquire().await.unwrap();
        let mut keys = [first.key().to_string(), second.key().to_string()];
        keys.sort();
        assert_eq!(keys, [".locks/pool/0", ".locks/pool/1"]);
        engine.sent();
        assert!(pool.try_acquire().await.unwrap().is_none());
        assert_eq!(engine.operations(), vec!["Query"; queries]);
        // A lock that happens to lie below, or is named like a slot that there is not, is none.
        for other in [
            ".locks/pool/0/x",
            ".locks/pool/7",
            ".locks/pool/00",
            ".locks/pool/-1",
        ] {
            backend.put(&Item::new(other, "x")).await.unwrap();
        }
        let gone = second.key().clone();
        second.release().await.unwrap();
        let third = pool.acquire().await.unwrap();
        assert_eq!(third.key(), &gone);
        // A waiter has a slot soon after one expires.
        let begun = clock.instant();
        let fourth = pool.acquire().await.unwrap();
        let waited = clock.instant() - begun;
        assert!(waited >= secs(9) && waited < secs(12), "{waited:?}");
        assert!(fourth.is_held() && !first.is_held());
        let bounded = backend.with_deadline(clock.instant() + secs(3));
        let (a, b) = (pool.acquire().await.unwrap(), fourth);
        let error = bounded.semaphore(slots(), 2).acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Contended, "{error}");
        assert!(a.is_held() && b.is_held());
        for wrong in [0, 1001] {
            let error = backend.semaphore(slots(), wrong).try_acquire().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadParameter);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_holders_than_slots() {
    for seed in 1..=4 {
        let (engine, clock) = (Engine::new(), Clock::simulated(start()));
        engine.backend(TABLE, Layout::Teleport, &clock, seed).await;
        let random = Random::seeded(seed);
        let wire = random.clone();
        engine.plan(move |_, _| match wire.below(20) {
            0 => Fate::AnswerLost,
            1 => Fate::Dropped,
            2 => Fate::Late(millis(wire.below(4_000))),
            3..=10 => Fate::Delayed {
                before: millis(wire.below(1_000)),
                after: millis(wire.below(1_000)),
            },
            _ => Fate::Served,
        });
        let (now, most, turns) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let until = clock.instant() + secs(60);
        let clients = (0..6).map(|who| {
            let own = Random::seeded(seed * 100 + who);
            let clock = Clock::simulated(start() + millis(own.below(1_000)));
            let config = config(TABLE, Layout::Teleport);
            let backend = Backend::unverified(&engine.client(), config, clock.clone(), own.clone());
            let (now, most, turns) = (&now, &most, &turns);
            async move {
                while clock.instant() < until {
                    let bounded = backend.with_deadline(clock.instant() + secs(20));
                    let Ok(guard) = bounded.semaphore(slots(), 3).acquire().await else {
                        continue;
                    };
                    most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    turns.fetch_add(1, Ordering::Relaxed);
                    let _ = clock.timeout(millis(own.below(12_000)), guard.lost()).await;
                    now.fetch_sub(1, Ordering::Relaxed);
                    if own.below(4) > 0 {
                        let _ = guard.release().await;
                    }
                }
            }
        });
        join_all(clients).await;
        let (most, turns) = (most.into_inner(), turns.into_inner());
        println!("seed {seed}: {turns} turns, {most} at a time");
        assert_eq!(most, 3, "seed {seed}");
        assert!(turns > 15, "seed {seed}: {turns}");
    }
}

fn shown(leader: &Option<Leader>) -> Option<&str> {
    leader
        .as_ref()
        .map(|leader| std::str::from_utf8(&leader.value).unwrap())
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_all_see_what_it_publishes() {
    let (engine, clock, backend) = one().await;
    let election = backend.election(LockConfiguration::new(["leader"], secs(10)).fenced());
    assert_eq!(election.leader().await.unwrap(), None);
    assert_eq!(engine.operations(), ["GetItem"]);
    let seen: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let (noted, observed) = (Arc::clone(&seen), election.clone());
    let observer = tokio::spawn(async move {
        let mut changes = std::pin::pin!(observed.observe());
        while let Some(change) = changes.next().await {
            noted
                .lock()
                .unwrap()
                .push(shown(&change.unwrap()).map(str::to_owned));
        }
    });
    clock.sleep(millis(100)).await;
    engine.sent();
    let first = election.campaign(b"a:1").await.unwrap();
    assert_eq!(engine.operations(), ["GetItem", "PutItem", "PutItem"]);
    assert!(first.is_leader());
    let leader = election.leader().await.unwrap().unwrap();
    assert_eq!(leader.value, b"a:1");
    assert_eq!(leader.revision, first.guard().lease().revision);
    assert_eq!(leader.expires, Some(first.guard().expires()));
    let item = stored(&engine, ".locks/leader").await.unwrap();
    assert_eq!(item["Value"].as_b().unwrap().as_ref().len(), 16 + 3);
    // A plain lock of the same name is another's, and the other way round.
    let plain = LockConfiguration::new(["leader"], secs(10));
    assert!(backend.try_acquire_lock(&plain).await.unwrap().is_none());
    // It goes on as long as it is kept.
    let kept = clock.timeout(secs(30), first.guard().keep()).await;
    assert!(kept.is_err() && first.is_leader());
    let next = election.clone();
    let next = tokio::spawn(async move { next.campaign(b"b:2").await });
    clock.sleep(secs(3)).await;
    first.resign().await.unwrap();
    let second = next.await.unwrap().unwrap();
    assert_eq!(second.guard().fence(), Some(2));
    clock.sleep(secs(1)).await;
    // A leader that crashes is gone with its value.
    second.lost().await;
    assert!(!second.is_leader());
    drop(second);
    clock.sleep(secs(3)).await;
    assert_eq!(election.leader().await.unwrap(), None);
    let silent = backend.acquire_lock(&plain).await.unwrap();
    clock.sleep(secs(1)).await;
    let mut seen_now = seen.lock().unwrap().clone();
    let changes = seen_now.windows(2).all(|two| two[0] != two[1]);
    assert!(changes, "only changes: {seen_now:?}");
    // Whether the moment between two leaders is seen depends on the looks.
    seen_now.retain(Option::is_some);
    assert_eq!(
        seen_now,
        [Some("a:1".into()), Some("b:2".into()), Some(String::new())]
    );
    assert_eq!(seen.lock().unwrap().first(), Some(&None));
    silent.release().await.unwrap();
    // A look a retry interval, and an error in its place.
    engine.sent();
    clock.sleep(secs(10)).await;
    let looks = engine.operations().len();
    assert!((39..=41).contains(&looks), "{looks}");
    backend.close();
    clock.sleep(secs(1)).await;
    assert!(observer.is_finished());
}
