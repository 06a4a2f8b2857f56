//! Versions of the configuration, in a directory and on S3 (s3s-fs in this process).

#![cfg(all(feature = "s3", feature = "dynamodb"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "versions/apply.rs"]
mod apply;
#[path = "state/engine.rs"]
#[allow(dead_code)]
mod engine;
#[path = "support/store.rs"]
mod store;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use engine::Fate;
use store::Store;
use tidewatch::clock::Clock;
use tidewatch::config::{Applied, Candidate, KEPT, LEAD, Versions, VersionsError};
use tidewatch::objects::Objects;
use tidewatch::random::Random;

fn clock() -> Clock {
    Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000))
}

fn document(sinks: &[&str]) -> String {
    let sinks: Vec<String> = sinks
        .iter()
        .map(|sink| format!("{sink}: {{ uri: file:///out/{sink} }}"))
        .collect();
    format!("quarantine: file:///q\nsinks: {{ {} }}\n", sinks.join(", "))
}

async fn apply(versions: &Versions, sinks: &[&str], at: SystemTime) -> Result<Applied, VersionsError> {
    forget(versions, sinks, at, &[]).await
}

/// The same, over a version that is of no use.
async fn apply_over(versions: &Versions, sinks: &[&str], at: SystemTime) -> Result<Applied, VersionsError> {
    let document = document(sinks);
    let candidate = Candidate {
        pass_over: true,
        ..candidate(&document, at)
    };
    versions.apply(candidate).await
}

/// A document from a time on, and nothing else said.
fn candidate(document: &str, at: SystemTime) -> Candidate<'_> {
    Candidate {
        document,
        place: "test",
        effective_from: at,
        forget: const { &BTreeSet::new() },
        move_spool: false,
        pass_over: false,
        dry_run: false,
    }
}

async fn forget(
    versions: &Versions,
    sinks: &[&str],
    at: SystemTime,
    forget: &[&str],
) -> Result<Applied, VersionsError> {
    let forget: BTreeSet<String> = forget.iter().map(ToString::to_string).collect();
    let document = document(sinks);
    let candidate = Candidate {
        forget: &forget,
        ..candidate(&document, at)
    };
    versions.apply(candidate).await
}

fn sinks(chain: &tidewatch::config::Chain, at: SystemTime) -> String {
    let version = &chain.versions()[chain.in_force(at)];
    version.config.sinks.keys().cloned().collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_record_gets_the_version_in_force_when_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new();
    let places = [
        Objects::dir(dir.path().join("config"), Random::seeded(1)),
        store.objects("config"),
    ];
    for objects in places {
        let clock = clock();
        let versions = Versions::new(objects, clock.clone(), []);
        assert!(matches!(versions.read().await, Err(VersionsError::Empty(_))));
        let start = clock.now();
        // The first may be in force at once: records that are older have no other.
        apply(&versions, &["a"], start).await.unwrap();
        let chain = versions.read().await.unwrap();
        assert_eq!(sinks(&chain, start - Duration::from_secs(9)), "a");

        let soon = apply(&versions, &["b"], start + LEAD - Duration::from_secs(1)).await;
        assert!(matches!(soon, Err(VersionsError::TooSoon { .. })), "{soon:?}");
        apply(&versions, &["b"], start + LEAD).await.unwrap();
        let soon = apply(&versions, &["c"], start + LEAD).await;
        assert!(matches!(soon, Err(VersionsError::TooSoon { .. })), "{soon:?}");
        let chain = versions.read().await.unwrap();
        assert_eq!(sinks(&chain, start + LEAD - Duration::from_millis(1)), "a");
        assert_eq!(sinks(&chain, start + LEAD), "b");

        // What 48 hours and more ago was in force is forgotten, the one of then is not.
        clock.advance(KEPT + LEAD + Duration::from_secs(1));
        apply(&versions, &["c"], clock.now() + LEAD).await.unwrap();
        let chain = versions.read().await.unwrap();
        assert_eq!(chain.versions().len(), 2);
        assert_eq!(sinks(&chain, start), "b");
    }
}

#[tokio::test]
async fn a_removed_sink_drains_until_it_is_forgotten() {
    let store = Store::new();
    let clock = clock();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    let mut at = clock.now();
    let mut next = || {
        at += LEAD;
        at
    };
    apply(&versions, &["a", "b"], next()).await.unwrap();
    let applied = apply(&versions, &["a"], next()).await.unwrap();
    assert_eq!(applied.draining, ["b"]);
    // Also over versions that never had it.
    let applied = apply(&versions, &["a", "c"], next()).await.unwrap();
    assert_eq!(applied.draining, ["b"]);
    let newest = Versions::new(store.objects(""), clock.clone(), [])
        .read()
        .await
        .unwrap();
    assert_eq!(
        newest.versions()[0].draining["b"]
            .config
            .as_ref()
            .unwrap()
            .timeout,
        Duration::from_secs(10)
    );
    let applied = apply(&versions, &["c"], next()).await.unwrap();
    assert_eq!(applied.draining, ["a", "b"]);
    let applied = forget(&versions, &["a", "c"], next(), &["b"]).await.unwrap();
    assert_eq!(applied.draining, [""; 0]);
}

/// A new environment has only so much time.
#[tokio::test]
async fn a_hundred_versions_are_walked_back() {
    let dir = tempfile::tempdir().unwrap();
    let objects = || Objects::dir(dir.path().to_owned(), Random::seeded(1));
    let clock = clock();
    let versions = Versions::new(objects(), clock.clone(), []);
    for n in 1..=101 {
        apply(&versions, &["a"], clock.now() + LEAD * n).await.unwrap();
    }
    let chain = Versions::new(objects(), clock.clone(), []).read().await.unwrap();
    assert_eq!(chain.versions().len(), 100);
    assert!(chain.versions()[99].name.starts_with("000002-"));
}

/// Environments read the pointer, and nothing else unless it has moved.
#[tokio::test]
async fn a_batch_costs_one_request() {
    let store = Store::new();
    let clock = clock();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    apply(&versions, &["a"], clock.now()).await.unwrap();
    versions.read().await.unwrap();
    store.sent();
    versions.read().await.unwrap();
    assert_eq!(store.sent(), [("GET".to_owned(), "pointer".to_owned())]);
    apply(&versions, &["b"], clock.now() + LEAD).await.unwrap();
    store.sent();
    versions.read().await.unwrap();
    let sent = store.sent();
    assert_eq!(sent.len(), 2, "{sent:?}");
}

#[tokio::test]
async fn a_version_that_is_of_no_use_leaves_the_one_before_in_force() {
    let store = Store::new();
    let clock = clock();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    let now = clock.now();
    apply(&versions, &["a"], now).await.unwrap();
    let bad = candidate("sinks: { a: { uri: gopher://x } }", now + LEAD);
    let bad = versions.apply(bad).await;
    assert!(
        matches!(&bad, Err(VersionsError::Faults(faults)) if faults.0.len() == 2),
        "{bad:?}"
    );
    let applied = apply(&versions, &["b"], now + LEAD).await.unwrap();
    let objects = store.objects("");
    let name = format!("versions/{}.json", applied.version);
    let good = objects.get(&name).await.unwrap().unwrap();
    objects.replace(&name, b"{}".to_vec()).await.unwrap();
    // What is good is read once.
    for gets in [3, 2] {
        store.sent();
        let chain = versions.read().await.unwrap();
        assert_eq!(
            (sinks(&chain, now + 2 * LEAD), chain.passed_over()),
            ("a".to_owned(), Some(applied.version.as_str()))
        );
        let sent = store.sent();
        assert_eq!(sent.len(), gets, "{sent:?}");
    }
    // Mended, it is used.
    objects.replace(&name, good.body).await.unwrap();
    let chain = versions.read().await.unwrap();
    assert_eq!(
        (sinks(&chain, now + 2 * LEAD), chain.passed_over()),
        ("b".to_owned(), None)
    );
    // Nothing at all to use: the invocation must fail.
    for name in [applied.before.unwrap(), applied.version] {
        let name = format!("versions/{name}.json");
        objects.delete(&name).await.unwrap();
    }
    let fresh = Versions::new(store.objects(""), clock.clone(), []);
    assert!(matches!(fresh.read().await, Err(VersionsError::Damaged { .. })));
    objects.replace("pointer", b"?".to_vec()).await.unwrap();
    assert!(matches!(
        versions.read().await,
        Err(VersionsError::Damaged { .. })
    ));
    store.plan(|_, _| Fate::Dropped);
    assert!(matches!(versions.read().await, Err(VersionsError::Objects(_))));
}

/// Where a removed sink goes stands in an old version; without that one nothing else stops.
#[tokio::test]
async fn a_removed_sink_whose_version_is_gone_is_not_forgotten() {
    let store = Store::new();
    let clock = clock();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    let now = clock.now();
    let first = apply(&versions, &["a", "b"], now).await.unwrap();
    apply(&versions, &["b"], now + LEAD).await.unwrap();
    let name = format!("versions/{}.json", first.version);
    store.objects("").delete(&name).await.unwrap();
    let fresh = Versions::new(store.objects(""), clock.clone(), []);
    let chain = fresh.read().await.unwrap();
    assert_eq!((chain.passed_over(), sinks(&chain, now)), (None, "b".to_owned()));
    assert!(chain.versions()[0].draining["a"].config.is_none());
    // It may have used the spool.
    let without = document(&["a"]).replace("/out/a", "/out/a, on_failure: retry");
    let refused = fresh.apply(candidate(&without, now + 2 * LEAD)).await;
    assert!(
        matches!(refused, Err(VersionsError::SpoolLeft { .. })),
        "{refused:?}"
    );
    let applied = apply(&fresh, &["c"], now + 2 * LEAD).await.unwrap();
    assert_eq!(applied.draining, ["a", "b"]);
    let applied = forget(&fresh, &["c"], now + 3 * LEAD, &["a"]).await.unwrap();
    assert_eq!(applied.draining, ["b"]);
}
