//! Locks: what is sent, what is stored, how long it may be relied on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{
    Backend, Condition, ConditionalAction, ErrorKind, Item, Layout, LockConfiguration, RunError,
};

use crate::engine::{Engine, Fate, partitioned, refusal};

pub(crate) const TABLE: &str = "locks";

/// Half-way through a second, so that rounding shows.
pub(crate) fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_800_000_000_500)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn lock(ttl: u64) -> LockConfiguration {
    LockConfiguration::new(["a", "b"], secs(ttl))
}

/// An engine, its clock and a backend with Teleport's layout.
pub(crate) async fn one() -> (Engine, Clock, Backend) {
    let (engine, clock) = (Engine::new(), Clock::simulated(start()));
    let backend = engine.backend(TABLE, Layout::Teleport, &clock, 1).await;
    (engine, clock, backend)
}

/// The raw item under a key.
pub(crate) async fn stored(
    engine: &Engine,
    key: &str,
) -> Option<std::collections::HashMap<String, AttributeValue>> {
    let request = engine.client().get_item().table_name(TABLE);
    let request = request.key("HashKey", AttributeValue::S("teleport".into()));
    let request = request.key("FullPath", AttributeValue::S(format!("teleport{key}")));
    let item = request.send().await.unwrap().item;
    engine.sent();
    item
}

pub(crate) async fn stored_expiry(engine: &Engine, key: &str) -> SystemTime {
    let item = stored(engine, key).await.unwrap();
    UNIX_EPOCH + secs(item["Expires"].as_n().unwrap().parse().unwrap())
}

/// A lock as Teleport writes it.
async fn teleports_lock(engine: &Engine, value: &[u8], expires: SystemTime) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |at: SystemTime| {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        AttributeValue::N(seconds.to_string())
    };
    let put = engine.client().put_item().table_name(TABLE);
    put.item("HashKey", text("teleport"))
        .item("FullPath", text("teleport.locks/a/b"))
        .item("Value", AttributeValue::B(Blob::new(value)))
        .item("Expires", number(expires))
        .item("Timestamp", number(start()))
        .item("Revision", text("7f8b16a5-6b32-4b6e-8a36-0b4b3bd4a1c3"))
        .send()
        .await
        .unwrap();
    engine.sent();
}

#[tokio::test(start_paused = true)]
async fn each_step_takes_its_requests_and_no_more() {
    for layout in [Layout::Teleport, partitioned(3)] {
        let (engine, clock) = (Engine::new(), Clock::simulated(start()));
        let backend = engine.backend(TABLE, layout, &clock, 1).await;
        let guard = backend.acquire_lock(&lock(30)).await.unwrap();
        assert_eq!(engine.operations(), ["PutItem"]);
        assert!(guard.is_held() && guard.fence().is_none());
        guard.refresh().await.unwrap();
        assert_eq!(engine.operations(), ["UpdateItem"]);
        assert!(backend.try_acquire_lock(&lock(30)).await.unwrap().is_none());
        assert_eq!(engine.operations(), ["PutItem"]);
        // Nobody else may write under it, and its holder may.
        let write = [
            ConditionalAction::check(guard.key(), Condition::Revision(guard.lease().revision.clone())),
            ConditionalAction::put(Item::new("/a", "1"), Condition::Whatever),
        ];
        backend.atomic_write(&write).await.unwrap();
        engine.sent();
        guard.release().await.unwrap();
        assert_eq!(engine.operations(), ["DeleteItem"]);
        let late = backend.atomic_write(&write).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::ConditionFailed);
        engine.sent();
        for number in 1..=2 {
            let guard = backend.acquire_lock(&lock(30).fenced()).await.unwrap();
            assert_eq!(engine.operations(), ["GetItem", "PutItem", "PutItem"]);
            assert_eq!(guard.fence(), Some(number));
            guard.release().await.unwrap();
            engine.sent();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_item_is_teleports_and_the_deadline_is_below_its_expiry() {
    let (engine, clock, backend) = one().await;
    let guard = backend.acquire_lock(&lock(30)).await.unwrap();
    let item = stored(&engine, ".locks/a/b").await.unwrap();
    assert_eq!(item["Value"].as_b().unwrap().as_ref().len(), 16);
    assert_eq!(item["Expires"].as_n().unwrap(), "1800000030", "rounded down");
    assert_eq!(item["Revision"].as_s().unwrap(), guard.lease().revision.as_str());
    let mut names: Vec<&String> = item.keys().collect();
    names.sort();
    assert_eq!(
        names,
        ["Expires", "FullPath", "HashKey", "Revision", "Timestamp", "Value"]
    );
    assert_eq!(guard.expires(), UNIX_EPOCH + secs(1_800_000_030));
    // Half a second is lost by rounding, one is the allowed skew.
    assert_eq!(guard.deadline() - clock.instant(), millis(28_500));
    clock.sleep(secs(10)).await;
    guard.refresh().await.unwrap();
    assert_eq!(stored_expiry(&engine, ".locks/a/b").await, guard.expires());
    assert_eq!(guard.deadline() - clock.instant(), millis(28_500));
    let again = stored(&engine, ".locks/a/b").await.unwrap();
    assert_eq!(
        (&again["Revision"], &again["Value"]),
        (&item["Revision"], &item["Value"])
    );
    guard.release().await.unwrap();
    let next = backend.acquire_lock(&lock(30)).await.unwrap();
    let item_of_next = stored(&engine, ".locks/a/b").await.unwrap();
    assert_ne!(item_of_next["Value"], item["Value"], "a token is used once");
    drop(next);
    assert!(
        stored(&engine, ".locks/a/b").await.is_some(),
        "a drop sends nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn teleports_locks_are_honoured_until_they_expire() {
    let (engine, clock, backend) = one().await;
    teleports_lock(&engine, &[7; 16], start() + secs(20)).await;
    assert!(backend.try_acquire_lock(&lock(10)).await.unwrap().is_none());
    engine.sent();
    let begun = clock.now();
    let guard = backend.acquire_lock(&lock(10)).await.unwrap();
    let waited = clock.now().duration_since(begun).unwrap();
    // It lives through the second that it names.
    assert!(waited >= millis(20_500) && waited < secs(22), "{waited:?}");
    // One refused, a read a look, one that succeeds.
    let sent = engine.operations();
    let reads = sent.iter().filter(|sent| *sent == "GetItem").count();
    assert_eq!(
        (sent.len() - reads, sent.first().unwrap()),
        (2, &"PutItem".to_owned())
    );
    assert!((8..=25).contains(&reads), "{reads} looks");
    // Teleport's release deletes whatever is there.
    engine
        .client()
        .delete_item()
        .table_name(TABLE)
        .key("HashKey", AttributeValue::S("teleport".into()))
        .key("FullPath", AttributeValue::S("teleport.locks/a/b".into()))
        .send()
        .await
        .unwrap();
    assert!(guard.is_held(), "nobody told us");
    assert_eq!(guard.refresh().await.unwrap_err().kind(), ErrorKind::Lost);
    assert!(!guard.is_held());
    let error = guard.release().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CompareFailed);
    assert!(error.to_string().contains("has expired"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_has_the_lock_soon_after_its_release_and_stops_at_its_deadline() {
    let (_, clock, backend) = one().await;
    let guard = backend.acquire_lock(&lock(60)).await.unwrap();
    let begun = clock.instant();
    let bounded = backend.with_deadline(begun + secs(5));
    let error = bounded.acquire_lock(&lock(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Contended);
    let waited = clock.instant() - begun;
    assert!(waited > secs(4) && waited <= secs(5), "{waited:?}");
    let waiter = backend.clone();
    let waiter = tokio::spawn(async move { waiter.acquire_lock(&lock(60)).await });
    clock.sleep(secs(10)).await;
    let released = clock.instant();
    guard.release().await.unwrap();
    let next = waiter.await.unwrap().unwrap();
    assert!(clock.instant() - released < secs(4));
    assert!(next.is_held());
}

#[tokio::test(start_paused = true)]
async fn loss_is_signalled_at_the_deadline_and_for_good() {
    let (engine, clock, backend) = one().await;
    let guard = backend.acquire_lock(&lock(10)).await.unwrap();
    let (scope, deadline) = (guard.scope().clone(), guard.deadline());
    scope.lost().await;
    let late = clock.instant() - deadline;
    assert!(late <= millis(1), "{late:?} after the deadline");
    assert!(!guard.is_held());
    // The item would still let it be refreshed, but the signal cannot be taken back.
    engine.sent();
    assert_eq!(guard.refresh().await.unwrap_err().kind(), ErrorKind::Lost);
    assert!(engine.sent().is_empty());
    clock.sleep(secs(3)).await;
    let next = backend.try_acquire_lock(&lock(10)).await.unwrap().unwrap();
    let error = guard.release().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CompareFailed);
    assert!(error.to_string().contains("ownership has changed"), "{error}");
    assert!(next.is_held());
    next.refresh().await.unwrap();
    // A release signals too.
    let scope = next.scope().clone();
    next.release().await.unwrap();
    scope.lost().await;
    assert!(!scope.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_cannot_work_is_refused() {
    let (engine, _, backend) = one().await;
    let day = secs(24 * 3600);
    for wrong in [
        LockConfiguration::new([""; 0], secs(30)),
        LockConfiguration::new(["a", ""], secs(30)),
        LockConfiguration::new(["a"], millis(2_999)),
        LockConfiguration::new(["a"], Duration::MAX),
        lock(30).with_retry_interval(Duration::ZERO),
        lock(30).with_retry_interval(Duration::MAX),
    ] {
        let error = backend.acquire_lock(&wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadParameter, "{wrong:?}");
    }
    assert!(engine.sent().is_empty());
    for right in [
        LockConfiguration::new(["a"], secs(3)),
        LockConfiguration::new(["b"], 365 * day),
    ] {
        assert!(backend.acquire_lock(&right).await.unwrap().is_held());
    }
}

#[tokio::test(start_paused = true)]
async fn work_runs_under_a_lock_that_is_refreshed() {
    let (engine, clock, backend) = one().await;
    for ttl in [3, 10] {
        engine.sent();
        let done: Result<_, RunError<_, &str>> = backend
            .run_while_locked(&lock(ttl), |scope| async move {
                let clock = Clock::system();
                for _ in 0..40 {
                    clock.sleep(secs(1)).await;
                    assert!(scope.is_held());
                }
                Ok(scope)
            })
            .await;
        assert!(!done.unwrap().is_held());
        let sent = engine.operations();
        assert_eq!(sent.first().unwrap(), "PutItem");
        assert_eq!(sent.last().unwrap(), "DeleteItem");
        let refreshes = sent.iter().filter(|sent| *sent == "UpdateItem").count();
        assert_eq!(refreshes, sent.len() - 2);
        // Every half of ten seconds; of three, some leave one.
        assert!(
            if ttl == 10 { refreshes == 7 } else { refreshes < 60 },
            "{refreshes}"
        );
    }
    let failed: Result<(), _> = backend.run_while_locked(&lock(10), |_| async { Err("no") }).await;
    assert!(matches!(
        failed,
        Err(RunError::Work {
            error: "no",
            release: None
        })
    ));
    assert!(stored(&engine, ".locks/a/b").await.is_none());
    let _held = backend.acquire_lock(&lock(60)).await.unwrap();
    let bounded = backend.with_deadline(clock.instant() + secs(2));
    let never: Result<(), RunError<(), &str>> = bounded
        .run_while_locked(&lock(10), |_| async { panic!("not locked") })
        .await;
    assert!(matches!(never, Err(RunError::Acquire(error)) if error.kind() == ErrorKind::Contended));
}

#[tokio::test(start_paused = true)]
async fn work_is_dropped_when_the_lock_is_lost() {
    let (engine, clock, backend) = one().await;
    // Another takes it away: the next refresh tells.
    let begun = clock.instant();
    let lost: Result<(), RunError<(), tidewatch::state::Error>> = backend
        .run_while_locked(&lock(10), |scope| {
            let backend = backend.clone();
            async move {
                backend.delete(scope.key()).await?;
                backend.put(&Item::new(scope.key(), "another's")).await?;
                std::future::pending().await
            }
        })
        .await;
    assert_eq!(clock.instant() - begun, secs(5));
    let Err(RunError::Lost { error, release }) = lost else {
        panic!("{lost:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert_eq!(release.unwrap().kind(), ErrorKind::CompareFailed);
    backend.delete(&lock(10).key()).await.unwrap();
    // No refresh gets through: dropped at the deadline, not later and not sooner.
    engine.plan(|operation, _| match operation {
        "UpdateItem" => refusal("ThrottlingException"),
        _ => Fate::Served,
    });
    let begun = clock.instant();
    let lost: Result<(), RunError<(), &str>> = backend
        .run_while_locked(&lock(10), |_| std::future::pending())
        .await;
    let took = clock.instant() - begun;
    assert!(took >= millis(8_000) && took < millis(9_100), "{took:?}");
    let Err(RunError::Lost { error, release: None }) = lost else {
        panic!("{lost:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Lost);
    assert!(stored(&engine, ".locks/a/b").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_acquisition_that_is_dropped_leaves_a_lock_that_expires() {
    let (engine, clock, backend) = one().await;
    let slow = Fate::Delayed {
        before: Duration::ZERO,
        after: secs(1),
    };
    engine.fates("PutItem", [slow]);
    let configuration = lock(10);
    let acquiring = backend.acquire_lock(&configuration);
    assert!(clock.timeout(millis(500), acquiring).await.is_err());
    assert!(stored(&engine, ".locks/a/b").await.is_some());
    assert!(backend.try_acquire_lock(&lock(10)).await.unwrap().is_none());
    clock.sleep(secs(12)).await;
    assert!(backend.try_acquire_lock(&lock(10)).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn another_randomness_draws_other_tokens() {
    let (engine, clock, _) = one().await;
    let config = crate::engine::config(TABLE, Layout::Teleport);
    let system = Backend::unverified(&engine.client(), config, clock, Random::system());
    let guard = system.acquire_lock(&lock(10)).await.unwrap();
    let item = stored(&engine, ".locks/a/b").await.unwrap();
    let token = item["Value"].as_b().unwrap().as_ref().to_vec();
    assert_eq!((token[6] >> 4, token[8] >> 6), (4, 2), "a UUIDv4");
    guard.release().await.unwrap();
}
