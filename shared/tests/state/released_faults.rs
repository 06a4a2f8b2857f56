//! The task `locks`, held up, cut, refused, and beside others: what is alive is never lost.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use tidewatch::clock::Clock;
use tidewatch::maintain::{Report, locks};
use tidewatch::random::Random;
use tidewatch::state::{Backend, ErrorKind, Key, Layout, Lease};

use crate::engine::{Engine, Fate, config, refusal};
use crate::lock_faults::Dated;
use crate::locks::{TABLE, lock, millis, one, secs, start, stored};
use crate::released::{all, at, keys, mixed, put, released, run};

/// However a delete is held up, a lock that was renewed or acquired meanwhile stands.
#[tokio::test(start_paused = true)]
async fn a_lock_that_comes_alive_again_is_never_lost() {
    let (mut spared, mut gone) = (0, 0);
    let (engine, clock, backend) = one().await;
    // To its holder the lock is live: its clock is a minute behind.
    let behind = Clock::simulated(start() - secs(60));
    let holder = engine.backend(TABLE, Layout::Teleport, &behind, 2).await;
    for seed in 0..1_000 {
        let random = Random::seeded(seed);
        let guard = holder.acquire_lock(&lock(50)).await.unwrap();
        let lease = guard.lease().clone();
        let wire = random.clone();
        engine.plan(move |operation, _| match (operation, wire.below(3)) {
            ("DeleteItem" | "Query", 0) => Fate::Delayed {
                before: millis(wire.below(2_000)),
                after: millis(wire.below(500)),
            },
            ("DeleteItem", 1) => Fate::AnswerLost,
            _ => Fate::Served,
        });
        let other = async {
            clock.sleep(millis(random.below(1_500))).await;
            match random.below(3) {
                0 => {
                    let to = clock.now() + secs(100);
                    let kept = Box::pin(holder.keep_alive(&lease, to)).await;
                    kept.map(|()| lease.clone()).ok()
                }
                1 => {
                    let taken = Box::pin(backend.try_acquire_lock(&lock(100))).await.unwrap();
                    taken.map(|guard| guard.lease().clone())
                }
                _ => {
                    // As Teleport takes an expired lock over: the same revision would be none of its.
                    let far = json!({"Expires": {"N": at(100_000)}, "Revision": null});
                    put(&engine, ".locks/a/b", &far);
                    Some(Lease {
                        key: Key::from(".locks/a/b"),
                        revision: "00000000-0000-0000-0000-000000000000".into(),
                    })
                }
            }
        };
        let (report, live) = futures_util::join!(released(&backend), other);
        let now = stored(&engine, ".locks/a/b").await;
        if let Some(live) = live {
            let now = now.unwrap_or_else(|| panic!("seed {seed}: lost; {report:?}"));
            let revision = now
                .get("Revision")
                .map(|revision| revision.as_s().unwrap().as_str());
            let revision = revision.unwrap_or("00000000-0000-0000-0000-000000000000");
            assert_eq!(revision, live.revision.as_str(), "seed {seed}");
        }
        spared += report.spared;
        gone += report.released;
        engine.plan(|_, _| Fate::Served);
        let path = AttributeValue::S("teleport.locks/a/b".to_owned());
        let delete = engine.client().delete_item().table_name(TABLE);
        let delete = delete.key("HashKey", AttributeValue::S("teleport".to_owned()));
        delete.key("FullPath", path).send().await.unwrap();
        engine.sent();
    }
    println!("{spared} spared, {gone} released");
    assert!(spared > 100 && gone > 100, "{spared} spared, {gone} released");
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_raised_meanwhile_is_left_alone() {
    for delay in [0, 5, 20, 100] {
        let (engine, clock, backend) = one().await;
        put(
            &engine,
            ".fences/a/b",
            &json!({"Value": {"B": "Nw=="}, "Expires": {"N": at(600)}}),
        );
        engine.plan(move |operation, _| match operation {
            "UpdateItem" => Fate::Delayed {
                before: millis(50),
                after: Duration::ZERO,
            },
            _ => Fate::Served,
        });
        let acquire = async {
            clock.sleep(millis(delay)).await;
            backend.acquire_lock(&lock(10).fenced()).await.unwrap()
        };
        let (report, guard) = futures_util::join!(released(&backend), acquire);
        assert_eq!(guard.fence(), Some(8), "{delay}");
        let item = stored(&engine, ".fences/a/b").await.unwrap();
        assert!(!item.contains_key("Expires"));
        assert_eq!(item["Value"].as_b().unwrap().as_ref(), b"8");
        assert_eq!(report.fences_mended, usize::from(delay > 50), "{delay}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_cut_anywhere_and_run_again() {
    let (engine, _, backend) = one().await;
    mixed(&engine);
    released(&backend).await;
    let (due, requests) = (all(&engine), engine.operations().len());
    assert_eq!(requests, 8);
    for request in 0..requests {
        for after in [false, true] {
            let (engine, clock, backend) = one().await;
            mixed(&engine);
            let mut made = 0;
            engine.plan(move |_, _| {
                made += 1;
                let never = Duration::from_hours(1);
                match (made - 1 == request, after) {
                    (false, _) => Fate::Served,
                    (true, false) => Fate::Delayed {
                        before: never,
                        after: Duration::ZERO,
                    },
                    (true, true) => Fate::Delayed {
                        before: Duration::ZERO,
                        after: never,
                    },
                }
            });
            let cut = clock.timeout(millis(100), released(&backend)).await;
            assert!(cut.is_err(), "{request}");
            released(&backend).await;
            assert_eq!(all(&engine), due, "request {request}, after {after}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_at_once_do_no_harm() {
    let (engine, _, backend) = one().await;
    mixed(&engine);
    // Each has read before the other deletes.
    engine.plan(|operation, _| match operation {
        "Query" => Fate::Delayed {
            before: Duration::ZERO,
            after: millis(10),
        },
        _ => Fate::Served,
    });
    let (first, second) = futures_util::join!(released(&backend), released(&backend));
    assert_eq!(first.released + second.released, 4);
    assert_eq!(first.spared + second.spared, 4);
    assert_eq!(keys(&engine).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told() {
    let (engine, clock, backend) = one().await;
    mixed(&engine);
    engine.fates("DeleteItem", [Fate::AnswerLost, Fate::Dropped]);
    let report = released(&backend).await;
    assert_eq!(
        (report.released, report.error),
        (4, None),
        "lost answers are settled"
    );
    mixed(&engine);
    engine.plan(|operation, _| match operation {
        "DeleteItem" => refusal("AccessDeniedException"),
        _ => Fate::Served,
    });
    let report = released(&backend).await;
    assert!(
        report.error.as_ref().unwrap().contains("AccessDenied"),
        "{report:?}"
    );
    assert!(!report.is_complete() && report.held == 5 && report.fences == 6);
    engine.plan(|_, _| refusal("AccessDeniedException"));
    let error = locks(&backend, run(clock.instant())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied);
}

#[tokio::test]
async fn a_machine_whose_clock_is_wrong_releases_nothing() {
    let engine = Engine::new();
    let client = engine.client().config().to_builder();
    let wire = Dated(engine.clone(), Arc::new(AtomicI64::new(-10_000)));
    let client = Client::from_conf(client.http_client(wire).build());
    let clock = Clock::system();
    let backend = Backend::with_client(
        &client,
        config(TABLE, Layout::Teleport),
        clock.clone(),
        Random::seeded(1),
    )
    .await
    .unwrap();
    let now = clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    put(
        &engine,
        ".locks/a",
        &json!({"Expires": {"N": (now - 8).to_string()}}),
    );
    let report = released(&backend).await;
    assert!(report.error.as_ref().unwrap().contains("clock"), "{report:?}");
    assert_eq!((report.orphaned, report.released), (1, 0));
    assert_eq!(keys(&engine), [".locks/a"]);
}
