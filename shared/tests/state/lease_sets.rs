//! Leases over several keys.

use tidewatch::state::{ErrorKind, Item, Key, LeaseSet};

use crate::engine::{Fate, refusal};
use crate::locks::{millis, one, secs, stored_expiry};

fn failed(outcome: &tidewatch::state::BatchOutcome<()>) -> Vec<(String, ErrorKind)> {
    let failed = outcome.results.iter().filter_map(|(key, result)| {
        let kind = result.as_ref().err()?.kind();
        Some((key.to_string(), kind))
    });
    failed.collect()
}

#[tokio::test(start_paused = true)]
async fn keys_live_together_and_are_revoked_together() {
    let (engine, clock, backend) = one().await;
    let set = backend.lease_set(secs(10)).unwrap();
    for n in 0..LeaseSet::MAX_KEYS {
        set.put(format!("/s/{n:02}"), "x").await.unwrap();
    }
    assert_eq!(engine.operations(), vec!["PutItem"; 64]);
    let error = set.put("/s/one-too-many", "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadParameter);
    assert!(engine.sent().is_empty());
    // Its own value it may replace, under another revision.
    let before = set.leases()[0].clone();
    let after = set.put("/s/00", "y").await.unwrap();
    assert!(after.revision != before.revision && set.leases()[0] == after);
    engine.sent();
    clock.sleep(secs(5)).await;
    assert!(set.keep_alive_all().await.all().is_ok());
    assert_eq!(
        engine.operations(),
        vec!["UpdateItem"; 64],
        "one each, and no more"
    );
    let expires = clock.now() + secs(10) - millis(500);
    assert_eq!(stored_expiry(&engine, "/s/00").await, expires);
    assert_eq!(stored_expiry(&engine, "/s/63").await, expires);
    let kept = clock.timeout(secs(60), set.keep()).await;
    assert!(kept.is_err() && set.lost_keys().is_empty());
    assert_eq!(backend.get(&Key::from("/s/00")).await.unwrap().value, b"y");
    // One was replaced, one deleted by others: neither is touched.
    backend.put(&Item::new("/s/01", "another's")).await.unwrap();
    backend.delete(&Key::from("/s/02")).await.unwrap();
    engine.sent();
    let mut left = set.revoke().await;
    left.sort_by(|a, b| a.0.cmp(&b.0));
    let left: Vec<_> = left
        .iter()
        .map(|(key, error)| (key.to_string(), error.kind()))
        .collect();
    let incorrect = ErrorKind::IncorrectRevision;
    assert_eq!(
        left,
        [("/s/01".to_owned(), incorrect), ("/s/02".to_owned(), incorrect)]
    );
    assert_eq!(engine.operations(), vec!["DeleteItem"; 64]);
    assert_eq!(
        backend.get(&Key::from("/s/01")).await.unwrap().value,
        b"another's"
    );
    assert_eq!(
        backend.get(&Key::from("/s/03")).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test(start_paused = true)]
async fn losing_one_signals_the_whole() {
    let (_, clock, backend) = one().await;
    let set = std::sync::Arc::new(backend.lease_set(secs(10)).unwrap());
    for key in ["/a", "/b", "/c"] {
        set.put(key, "x").await.unwrap();
    }
    let waiting = std::sync::Arc::clone(&set);
    let waiting = tokio::spawn(async move { waiting.lost().await });
    let keeping = std::sync::Arc::clone(&set);
    let keeping = tokio::spawn(async move { keeping.keep().await });
    clock.sleep(secs(22)).await;
    assert!(!waiting.is_finished() && !keeping.is_finished());
    backend.put(&Item::new("/b", "another's")).await.unwrap();
    let taken = clock.instant();
    assert_eq!(waiting.await.unwrap(), [Key::from("/b")]);
    // By the next renewal, not only by the deadline.
    assert!(clock.instant() - taken <= secs(4));
    assert_eq!(keeping.await.unwrap(), [Key::from("/b")]);
    assert_eq!(set.put("/b", "y").await.unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(backend.get(&Key::from("/b")).await.unwrap().value, b"another's");
    // The others are still held, and kept by whoever wants them kept.
    assert_eq!(set.leases().len(), 2);
    assert!(set.keep_alive_all().await.all().is_ok());
    // Left alone they are lost at their deadlines: stored expiry less the skew.
    let expires = clock.now() + secs(10);
    while set.lost_keys().len() < 3 && clock.now() < expires {
        clock.sleep(millis(10)).await;
    }
    let early = expires.duration_since(clock.now()).unwrap();
    assert!(early >= millis(980) && early < millis(2_000), "{early:?}");
    assert_eq!(failed(&set.keep_alive_all().await), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_not_believed() {
    let (engine, clock, backend) = one().await;
    let set = backend.lease_set(secs(10)).unwrap();
    // A put that nobody can tell of does not belong to the set.
    engine.plan(|operation, _| match operation {
        "PutItem" => Fate::AnswerLost,
        _ => Fate::Dropped,
    });
    let error = set.put("/a", "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert!(set.leases().is_empty());
    engine.plan(|_, _| Fate::Served);
    set.put("/a", "x").await.unwrap();
    set.put("/b", "x").await.unwrap();
    // A renewal that fails keeps the deadline; the others are renewed.
    clock.sleep(secs(5)).await;
    engine.plan(|operation, body| match operation {
        "UpdateItem" if body["Key"]["FullPath"]["S"] == "teleport/a" => refusal("ThrottlingException"),
        _ => Fate::Served,
    });
    let begun = clock.instant();
    let outcome = set.keep_alive_all().await;
    let (key, kind) = failed(&outcome).remove(0);
    assert!(
        key == "/a" && matches!(kind, ErrorKind::Throttled | ErrorKind::Lost),
        "{outcome:?}"
    );
    assert!(clock.instant() - begun <= secs(4), "no longer than it is of use");
    clock.sleep(secs(1)).await;
    assert_eq!(set.lost().await, [Key::from("/a")]);
    let left: Vec<_> = set.leases().into_iter().map(|lease| lease.key).collect();
    assert_eq!(left, [Key::from("/b")]);
    engine.plan(|_, _| Fate::Served);
    // A rewrite of unknown outcome is found out by the next renewal.
    engine.plan(|operation, _| match operation {
        "PutItem" => Fate::AnswerLost,
        "GetItem" => Fate::Dropped,
        _ => Fate::Served,
    });
    let set = backend.lease_set(secs(10)).unwrap();
    engine.plan(|_, _| Fate::Served);
    set.put("/c", "x").await.unwrap();
    engine.plan(|operation, _| match operation {
        "PutItem" => Fate::AnswerLost,
        "GetItem" => Fate::Dropped,
        _ => Fate::Served,
    });
    let bounded = clock.timeout(secs(2), Box::pin(set.put("/c", "y"))).await;
    assert!(bounded.is_err(), "cancelled");
    engine.plan(|_, _| Fate::Served);
    assert!(set.lost_keys().is_empty());
    // The write is under way no more, and what it left is in no revision that the set knows.
    assert_eq!(
        failed(&set.keep_alive_all().await),
        [("/c".to_owned(), ErrorKind::Lost)]
    );
    assert_eq!(set.lost().await, [Key::from("/c")]);
    for wrong in [millis(2_999), std::time::Duration::MAX] {
        assert_eq!(
            backend.lease_set(wrong).unwrap_err().kind(),
            ErrorKind::BadParameter
        );
    }
}
