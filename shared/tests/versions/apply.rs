//! Applying a version over what is there, damage and rivals included.

use std::sync::Mutex;
use std::time::Duration;

use tidewatch::config::{Applied, Candidate, LEAD, Versions, VersionsError};
use tidewatch::objects::Objects;

use super::engine::Fate;
use super::store::{self, Store};
use super::{apply, apply_over, candidate, clock, sinks};

/// A version that is damaged is passed over if that is said: it could not be mended otherwise.
#[tokio::test]
async fn one_is_applied_over_a_damaged_one() {
    let store = Store::new();
    let objects = store.objects("");
    let clock = clock();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    let now = clock.now();
    let damage = async |applied: &Applied, body: &[u8]| {
        let name = format!("versions/{}.json", applied.version);
        objects.replace(&name, body.to_vec()).await.unwrap();
    };
    let first = apply(&versions, &["a"], now).await.unwrap();
    let second = apply(&versions, &["b"], now + LEAD).await.unwrap();
    // A request that fails by itself damages nothing.
    let version = format!("versions/{}.json", second.version);
    let mut fails = 1;
    store.plan(move |method, key| match (method, key == version, fails) {
        ("GET", true, 1) => {
            fails -= 1;
            Fate::Dropped
        }
        _ => Fate::Served,
    });
    let third = apply(&versions, &["c"], now + 2 * LEAD).await.unwrap();
    assert_eq!(
        (&third.before, &third.unusable),
        (&Some(second.version.clone()), &None)
    );
    assert_eq!(third.draining, ["a", "b"]);
    store.plan(|_, _| Fate::Served);

    let faulty = br#"{"number":3,"effective_from":"2026-11-20T00:00:00Z","before":null,"document":"?"}"#;
    let mut damaged = third;
    for (body, sink) in [(&b"{}"[..], "d"), (faulty, "d"), (b"", "e")] {
        damage(&damaged, body).await;
        let refused = apply(&versions, &[sink], now + 3 * LEAD).await;
        assert!(
            matches!(&refused, Err(VersionsError::Unusable { version, .. }) if *version == damaged.version),
            "{refused:?}"
        );
        // Also the very same again.
        let applied = apply_over(&versions, &[sink], now + 3 * LEAD).await.unwrap();
        assert_eq!(applied.unusable, Some(damaged.version));
        assert_eq!(applied.before, Some(second.version.clone()));
        assert_eq!(applied.draining, ["a", "b"]);
        let fresh = Versions::new(store.objects(""), clock.clone(), []);
        let chain = fresh.read().await.unwrap();
        assert_eq!(
            (sinks(&chain, now + 4 * LEAD), chain.passed_over()),
            (sink.to_owned(), None)
        );
        assert_eq!(sinks(&chain, now + 2 * LEAD), "b");
        damaged = applied;
    }
    // Neither that one nor the one before it: nobody knows what was.
    damage(&damaged, b"").await;
    damage(&second, b"").await;
    let refused = apply_over(&versions, &["f"], now + 5 * LEAD).await;
    assert!(
        matches!(refused, Err(VersionsError::Damaged { .. })),
        "{refused:?}"
    );
    // The first of all has none before it.
    let versions = Versions::new(store.objects("other"), clock.clone(), []);
    let only = apply(&versions, &["a"], now).await.unwrap();
    let name = format!("other/versions/{}.json", only.version);
    store.plan(move |method, key| match (method, key == name) {
        ("GET", true) => Fate::Dropped,
        _ => Fate::Served,
    });
    let refused = apply_over(&versions, &["b"], now).await;
    assert!(matches!(refused, Err(VersionsError::Objects(_))), "{refused:?}");
    store.plan(|_, _| Fate::Served);
    let name = format!("versions/{}.json", only.version);
    store.objects("other").replace(&name, Vec::new()).await.unwrap();
    let applied = apply_over(&versions, &["b"], now).await.unwrap();
    assert_eq!((applied.before, applied.unusable), (None, Some(only.version)));
    assert_eq!(sinks(&versions.read().await.unwrap(), now), "b");
    assert_eq!(first.before, None);
}

/// Environments must have read the pointer by then; what comes before it moves may take long.
#[tokio::test]
async fn the_lead_is_there_when_the_pointer_moves() {
    let store = Store::new();
    let clock = clock();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    let now = clock.now();
    let first = apply(&versions, &["a"], now).await.unwrap();
    let slow = clock.clone();
    store.plan(move |method, key| {
        if method == "PUT" && key.starts_with("versions/") {
            slow.advance(Duration::from_secs(2));
        }
        Fate::Served
    });
    let late = apply(&versions, &["b"], now + LEAD + Duration::from_secs(1)).await;
    assert!(matches!(late, Err(VersionsError::TooSoon { .. })), "{late:?}");
    let chain = versions.read().await.unwrap();
    assert_eq!(
        (chain.versions().len(), &chain.versions()[0].name),
        (1, &first.version)
    );
    apply(&versions, &["b"], now + LEAD + Duration::from_secs(4))
        .await
        .unwrap();
}

/// The pointer has moved, and the answer that says so was lost: what was sent again is refused, and it is applied.
#[tokio::test]
async fn a_version_that_is_applied_twice_by_the_sdk_is_applied() {
    let store = Store::new();
    let clock = clock();
    let retrying = store.client().config().to_builder();
    let retry = aws_sdk_s3::config::retry::RetryConfig::standard();
    let client = aws_sdk_s3::Client::from_conf(retrying.retry_config(retry).build());
    let location = tidewatch::config::S3Location {
        bucket: store::BUCKET.to_owned(),
        ..Default::default()
    };
    let versions = Versions::new(Objects::s3(client, location), clock.clone(), []);
    let mut lost = 0;
    store.plan(move |method, key| {
        lost += usize::from(method == "PUT" && key == "pointer");
        match (method, key, lost) {
            ("PUT", "pointer", 1 | 3) => Fate::AnswerLost,
            _ => Fate::Served,
        }
    });
    for (sink, lead) in [("a", 1), ("b", 2)] {
        apply(&versions, &[sink], clock.now() + LEAD * lead)
            .await
            .unwrap();
    }
    let chain = versions.read().await.unwrap();
    assert_eq!(sinks(&chain, clock.now() + LEAD * 3), "b");
}

/// Of two who apply at once one is told to look again.
#[tokio::test(start_paused = true)]
async fn nobody_applies_over_what_he_has_not_seen() {
    let store = Store::new();
    let clock = clock();
    let now = clock.now();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    apply(&versions, &["a"], now).await.unwrap();
    // Both have read the pointer before either moves it.
    store.plan(|method, key| match (method, key.starts_with("versions/")) {
        ("PUT", true) => Fate::Delayed {
            before: Duration::from_secs(1),
            after: Duration::ZERO,
        },
        _ => Fate::Served,
    });
    let first = Versions::new(store.objects(""), clock.clone(), []);
    let second = Versions::new(store.objects(""), clock.clone(), []);
    let (first, second) = futures_util::join!(
        apply(&first, &["b"], now + LEAD),
        apply(&second, &["c"], now + LEAD),
    );
    let overtaken =
        |applied: &Result<Applied, VersionsError>| matches!(applied, Err(VersionsError::Overtaken));
    assert!(overtaken(&first) ^ overtaken(&second), "{first:?} {second:?}");
}

/// What waits in a spool would be overtaken, or stay there for good.
#[tokio::test]
async fn the_spool_moves_only_if_it_is_said_to() {
    let store = Store::new();
    let clock = clock();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    let at = Mutex::new(clock.now());
    let apply = async |settings: &str, sinks: &str, move_spool: bool| {
        let effective_from = {
            let mut at = at.lock().unwrap();
            *at += LEAD;
            *at
        };
        let document = format!("quarantine: file:///q\n{settings}\nsinks: {{ {sinks} }}");
        let candidate = Candidate {
            move_spool,
            ..candidate(&document, effective_from)
        };
        versions.apply(candidate).await
    };
    let (a, retried) = (
        "a: { uri: 'stdout://' }",
        "a: { uri: 'stdout://', on_failure: retry }",
    );
    apply("", a, false).await.unwrap();
    apply("spool: file:///one", a, false).await.unwrap();
    for settings in ["spool: file:///two", ""] {
        let refused = apply(settings, a, false).await;
        assert!(
            matches!(refused, Err(VersionsError::SpoolMoved(_))),
            "{refused:?}"
        );
    }
    apply("spool: file:///one", "b: { uri: 'stdout://' }", false)
        .await
        .unwrap();
    // Nor may a sink leave it, whether it is there or drains, nor the spool go once no sink uses it.
    for sinks in [
        "b: { uri: 'stdout://', on_failure: retry }",
        "b: { uri: 'stdout://' }, a: { uri: 'stdout://', on_failure: retry }",
    ] {
        let refused = apply("spool: file:///one", sinks, false).await;
        assert!(
            matches!(refused, Err(VersionsError::SpoolLeft { .. })),
            "{refused:?}"
        );
    }
    let retried_b = "b: { uri: 'stdout://', on_failure: retry }";
    apply("spool: file:///one", retried_b, true).await.unwrap();
    let refused = apply("spool: file:///two", a, false).await;
    assert!(
        matches!(refused, Err(VersionsError::SpoolMoved(_))),
        "{refused:?}"
    );
    apply("spool: file:///two", retried, true).await.unwrap();
}

/// Whoever may not read the newest version must not make as if it were not there.
#[tokio::test]
async fn a_version_that_only_we_cannot_read_is_not_passed_over() {
    let store = Store::new();
    let clock = clock();
    let versions = Versions::new(store.objects(""), clock.clone(), []);
    let now = clock.now();
    apply(&versions, &["a"], now).await.unwrap();
    let newest = apply(&versions, &["b"], now + LEAD).await.unwrap();
    let name = format!("versions/{}.json", newest.version);
    store.plan(move |method, key| match (method, key == name) {
        ("GET", true) => Fate::Answered(403, String::new()),
        _ => Fate::Served,
    });
    let fresh = Versions::new(store.objects(""), clock.clone(), []);
    let refused = apply_over(&fresh, &["c"], now + 2 * LEAD).await;
    assert!(matches!(refused, Err(VersionsError::Objects(_))), "{refused:?}");
}
