//! Locks whose requests are lost, late or refused, and machines whose clocks are wrong.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::date_time::{DateTime, Format};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, ErrorKind, Item, Layout};

use crate::engine::{Engine, Fate, config, refusal};
use crate::locks::{TABLE, lock, millis, one, secs, stored, stored_expiry};

const KEY: &str = ".locks/a/b";

/// Fates by operation and by how many requests of it were made before.
fn plan(engine: &Engine, mut fate: impl FnMut(&str, usize) -> Fate + Send + 'static) {
    let mut made = std::collections::HashMap::new();
    engine.plan(move |operation, _| {
        let count: &mut usize = made.entry(operation.to_owned()).or_default();
        *count += 1;
        fate(operation, *count - 1)
    });
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_an_earlier_attempt_is_adopted_with_the_expiry_it_has() {
    for waits in [true, false] {
        let (engine, clock, backend) = one().await;
        // Created, and nobody can be asked whether it was, for longer than the create goes on.
        let begun = clock.instant();
        let time = clock.clone();
        plan(&engine, move |operation, made| match (operation, made) {
            ("PutItem", 0) => Fate::AnswerLost,
            ("GetItem", _) if time.instant() - begun < secs(6) => Fate::Dropped,
            _ => Fate::Served,
        });
        let guard = match waits {
            true => backend.acquire_lock(&lock(10)).await.unwrap(),
            false => backend.try_acquire_lock(&lock(10)).await.unwrap().unwrap(),
        };
        assert!(clock.instant() - begun >= secs(6), "adopted late");
        let item = stored(&engine, KEY).await.unwrap();
        assert_eq!(item["Revision"].as_s().unwrap(), guard.lease().revision.as_str());
        assert_eq!(guard.expires(), stored_expiry(&engine, KEY).await);
        assert_eq!(guard.deadline() - begun, millis(8_500), "of the first attempt");
        guard.refresh().await.unwrap();
        guard.release().await.unwrap();
        assert!(stored(&engine, KEY).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_arrives_late_is_never_taken_for_anothers() {
    for late in [1, 50, 120, 130, 200, 1000] {
        for waits in [true, false] {
            let (engine, _, backend) = one().await;
            plan(&engine, move |operation, made| match (operation, made) {
                ("PutItem", 0) => Fate::Late(millis(late)),
                _ => Fate::Served,
            });
            let guard = match waits {
                true => backend.acquire_lock(&lock(10)).await.unwrap(),
                false => backend.try_acquire_lock(&lock(10)).await.unwrap().unwrap(),
            };
            let item = stored(&engine, KEY).await.unwrap();
            assert_eq!(item["Revision"].as_s().unwrap(), guard.lease().revision.as_str());
            Clock::system().sleep(secs(2)).await;
            guard.refresh().await.unwrap();
            guard.release().await.unwrap();
            assert!(stored(&engine, KEY).await.is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_unknown_and_taken_back() {
    for waits in [true, false] {
        let (engine, clock, backend) = one().await;
        plan(&engine, |operation, _| match operation {
            "PutItem" => Fate::AnswerLost,
            "GetItem" => Fate::Dropped,
            _ => Fate::Served,
        });
        let bounded = backend.with_deadline(clock.instant() + secs(5));
        let error = match waits {
            true => bounded.acquire_lock(&lock(60)).await.unwrap_err(),
            false => bounded.try_acquire_lock(&lock(60)).await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
        assert_eq!(engine.operations().last().unwrap(), "DeleteItem");
        plan(&engine, |_, _| Fate::Served);
        assert!(stored(&engine, KEY).await.is_none(), "taken back by its token");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_never_born_expired() {
    let (engine, clock, backend) = one().await;
    let begun = clock.instant();
    let time = clock.clone();
    engine.plan(move |operation, _| match operation {
        "PutItem" if time.instant() - begun < secs(12) => refusal("ThrottlingException"),
        _ => Fate::Served,
    });
    let guard = backend.acquire_lock(&lock(4)).await.unwrap();
    let left = guard.deadline() - clock.instant();
    assert!(left > millis(900), "{left:?}");
    // The same when it is only slow: what was created is given up, and another acquired.
    guard.release().await.unwrap();
    let slow = Fate::Delayed {
        before: Duration::ZERO,
        after: secs(4),
    };
    engine.fates("PutItem", [slow]);
    let guard = backend.acquire_lock(&lock(4)).await.unwrap();
    let left = guard.deadline() - clock.instant();
    assert!(left > millis(900) && guard.is_held(), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_of_unknown_outcome_leaves_the_old_deadline() {
    let (engine, clock, backend) = one().await;
    let guard = backend.acquire_lock(&lock(20)).await.unwrap();
    let deadline = guard.deadline();
    clock.sleep(secs(5)).await;
    engine.sent();
    // An answer that is lost is settled by a read.
    engine.fates("UpdateItem", [Fate::AnswerLost]);
    guard.refresh().await.unwrap();
    assert_eq!(engine.operations(), ["UpdateItem", "GetItem"]);
    assert_eq!(guard.deadline() - deadline, secs(5));
    // If that is lost too nobody knows, although the expiry did move.
    let guard = {
        guard.release().await.unwrap();
        backend.acquire_lock(&lock(60)).await.unwrap()
    };
    let (deadline, expires) = (guard.deadline(), guard.expires());
    clock.sleep(secs(5)).await;
    plan(&engine, |operation, _| match operation {
        "UpdateItem" => Fate::AnswerLost,
        _ => Fate::Dropped,
    });
    let error = guard.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!((guard.deadline(), guard.expires()), (deadline, expires));
    assert!(guard.is_held());
    plan(&engine, |_, _| Fate::Served);
    assert!(stored_expiry(&engine, KEY).await > expires);
    guard.refresh().await.unwrap();
    assert!(guard.deadline() > deadline);
    // One that is under way as the deadline passes is of no use, and not waited for.
    clock.sleep(secs(50)).await;
    let deadline = guard.deadline();
    engine.plan(|_, _| Fate::Dropped);
    guard.refresh().await.unwrap_err();
    assert!(clock.instant() <= deadline + millis(1));
    guard.lost().await;
    assert_eq!(guard.refresh().await.unwrap_err().kind(), ErrorKind::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_release_is_repeated_until_it_is_known() {
    let cases: [(&[Fate], usize); 3] = [
        (&[Fate::AnswerLost], 2),
        (&[Fate::Dropped, Fate::Dropped], 3),
        (&[Fate::Late(millis(1))], 2),
    ];
    for (fates, requests) in cases {
        let (engine, clock, backend) = one().await;
        let guard = backend.acquire_lock(&lock(20)).await.unwrap();
        engine.sent();
        engine.fates("DeleteItem", fates.to_vec());
        guard.release().await.unwrap();
        assert_eq!(engine.operations(), vec!["DeleteItem"; requests]);
        // A late one finds nobody else's.
        let next = backend.acquire_lock(&lock(20)).await.unwrap();
        clock.sleep(secs(1)).await;
        next.refresh().await.unwrap();
    }
    let (engine, clock, backend) = one().await;
    let guard = backend.acquire_lock(&lock(60)).await.unwrap();
    engine.plan(|_, _| Fate::Dropped);
    let begun = clock.instant();
    let error = guard.release().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(clock.instant() - begun <= secs(30));
    // Expired or not, it is deleted by its token.
    let (engine, clock, backend) = one().await;
    let guard = backend.acquire_lock(&lock(10)).await.unwrap();
    clock.sleep(secs(60)).await;
    guard.release().await.unwrap();
    assert!(stored(&engine, KEY).await.is_none());
}

/// The engine, dating its answers so many milliseconds beside this machine's clock.
#[derive(Debug, Clone)]
pub(crate) struct Dated(pub(crate) Engine, pub(crate) Arc<AtomicI64>);

impl HttpConnector for Dated {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answer, beside) = (self.0.call(request), self.1.load(Ordering::Relaxed));
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let now = Clock::system().now();
            let by = millis(beside.unsigned_abs());
            let date = DateTime::from(if beside < 0 { now - by } else { now + by });
            let date = date.fmt(Format::HttpDate).unwrap();
            answer.headers_mut().insert("date", date);
            Ok(answer)
        })
    }
}

impl HttpClient for Dated {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

#[tokio::test]
async fn a_clock_that_is_proven_wrong_holds_no_lock() {
    let engine = Engine::new();
    let beside = Arc::new(AtomicI64::new(0));
    let client = engine.client().config().to_builder();
    let client = Client::from_conf(
        client
            .http_client(Dated(engine.clone(), Arc::clone(&beside)))
            .build(),
    );
    let backend = Backend::with_client(
        &client,
        config(TABLE, Layout::Teleport),
        Clock::system(),
        Random::seeded(1),
    )
    .await
    .unwrap();
    for wrong in [-10_000, 10_000] {
        beside.store(0, Ordering::Relaxed);
        let _ = backend.get(&KEY.into()).await;
        let guard = backend.acquire_lock(&lock(10)).await.unwrap();
        guard.refresh().await.unwrap();
        // Below the allowance nothing is said.
        beside.store(wrong / 20, Ordering::Relaxed);
        guard.refresh().await.unwrap();
        beside.store(wrong, Ordering::Relaxed);
        engine.sent();
        let error = guard.refresh().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
        assert!(error.to_string().contains("clock"), "{error}");
        assert!(!guard.is_held());
        guard.release().await.unwrap();
        // By what is known already: not a request.
        engine.sent();
        let error = backend.acquire_lock(&lock(10)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(engine.sent().is_empty());
        // By the answer to the create itself: released at once.
        beside.store(0, Ordering::Relaxed);
        let _ = backend.get(&KEY.into()).await;
        beside.store(wrong, Ordering::Relaxed);
        let error = backend.acquire_lock(&lock(10)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(stored(&engine, KEY).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_machine_learns_from_the_wall_clock() {
    // A clock that is moved without tokio's: what a freeze does to those who sleep.
    let engine = Engine::new();
    let clock = Clock::manual(UNIX_EPOCH + secs(1_800_000_000));
    let backend = engine.backend(TABLE, Layout::Teleport, &clock, 1).await;
    let guard = backend.acquire_lock(&lock(10)).await.unwrap();
    let scope = guard.scope().clone();
    let seen = Arc::new(Mutex::new(None::<SystemTime>));
    let (noted, time) = (Arc::clone(&seen), clock.clone());
    let waiting = tokio::spawn(async move {
        scope.lost().await;
        *noted.lock().unwrap() = Some(time.now());
    });
    tokio::task::yield_now().await;
    clock.advance(millis(8_900));
    tokio::task::yield_now().await;
    assert!(guard.is_held() && seen.lock().unwrap().is_none());
    clock.advance(secs(100));
    waiting.await.unwrap();
    assert!(!guard.is_held());
    let taken = Item::new(guard.key(), "another's");
    backend.create(&taken).await.unwrap();
    assert_eq!(guard.refresh().await.unwrap_err().kind(), ErrorKind::Lost);
}
