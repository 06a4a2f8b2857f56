//! Objects in a directory and in a bucket (s3s-fs in this process) behave alike.

#![cfg(all(feature = "s3", feature = "dynamodb"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/endpoint.rs"]
mod endpoint;
#[path = "state/engine.rs"]
#[allow(dead_code)]
mod engine;
#[path = "support/store.rs"]
mod store;

use endpoint::Bucket;
use engine::Fate;
use store::Store;
use tidewatch::objects::{Objects, PAGE};
use tidewatch::random::Random;

/// A directory, a bucket's prefix, a whole bucket, and an S3 that the environment names.
async fn places() -> (tempfile::TempDir, Vec<(&'static str, Objects)>) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("objects");
    let mut places = vec![
        ("directory", Objects::dir(at, Random::seeded(1))),
        ("prefix", Store::new().objects("some/prefix")),
        ("bucket", Store::new().objects("")),
    ];
    if let Some(bucket) = Bucket::new().await {
        places.push(("endpoint", bucket.objects("some/prefix")));
    }
    (dir, places)
}

async fn names(objects: &Objects, prefix: &str, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
    let page = objects.list(prefix, after, limit).await.unwrap();
    (
        page.objects.into_iter().map(|object| object.name).collect(),
        page.more,
    )
}

#[tokio::test]
async fn what_is_put_is_read_listed_and_deleted() {
    let (_dir, places) = places().await;
    for (place, objects) in places {
        assert_eq!(objects.get("a/1").await.unwrap(), None, "{place}");
        assert_eq!(names(&objects, "", None, 10).await, (vec![], false), "{place}");
        objects.delete("a/1").await.unwrap();
        for name in ["b/2", "a/2", "a/1", "a0", "a/b/c"] {
            assert!(
                objects.create(name, name.as_bytes().to_vec()).await.unwrap(),
                "{place}"
            );
        }
        assert!(
            !objects.create("a/1", b"other".to_vec()).await.unwrap(),
            "{place}"
        );
        objects.put("a/1", b"other".to_vec()).await.unwrap();
        assert_eq!(objects.get("a/1").await.unwrap().unwrap().body, b"a/1", "{place}");
        objects.replace("a/1", b"other".to_vec()).await.unwrap();
        assert_eq!(
            objects.get("a/1").await.unwrap().unwrap().body,
            b"other",
            "{place}"
        );
        let all = ["a/1", "a/2", "a/b/c", "a0", "b/2"].map(str::to_owned);
        assert_eq!(
            names(&objects, "", None, 10).await,
            (all.to_vec(), false),
            "{place}"
        );
        assert_eq!(
            names(&objects, "a/", None, 1).await,
            (all[..1].to_vec(), true),
            "{place}"
        );
        assert_eq!(
            names(&objects, "a/", Some("a/1"), PAGE).await,
            (all[1..3].to_vec(), false),
            "{place}"
        );
        assert_eq!(names(&objects, "a/b", None, 5).await.0, all[2..3], "{place}");
        assert_eq!(names(&objects, "a", None, 5).await.0, all[..4], "{place}");
        let page = objects.list("a0", None, 1).await.unwrap();
        assert_eq!(page.objects[0].size, 2, "{place}");
        objects.delete("a/1").await.unwrap();
        assert_eq!(names(&objects, "a/", None, 10).await.0, all[1..3], "{place}");
    }
}

/// A plan is deleted by its tag: not one that another has written meanwhile.
#[tokio::test]
async fn deleted_only_if_it_is_the_one_that_was_read() {
    let (_dir, places) = places().await;
    for (place, objects) in places {
        objects.create("plan", b"one".to_vec()).await.unwrap();
        let one = objects.get("plan").await.unwrap().unwrap();
        objects.delete("plan").await.unwrap();
        assert!(
            objects.delete_if("plan", &one.tag).await.unwrap(),
            "{place}: nothing is left"
        );
        objects.create("plan", b"two".to_vec()).await.unwrap();
        assert!(!objects.delete_if("plan", &one.tag).await.unwrap(), "{place}");
        let two = objects.get("plan").await.unwrap().unwrap();
        assert_eq!(two.body, b"two", "{place}");
        assert!(objects.delete_if("plan", &two.tag).await.unwrap(), "{place}");
        assert_eq!(objects.get("plan").await.unwrap(), None, "{place}");
    }
}

/// A pointer is moved by whoever has read where it points.
#[tokio::test]
async fn replaced_only_if_it_is_the_one_that_was_read() {
    let (_dir, places) = places().await;
    for (place, objects) in places {
        objects.create("pointer", b"one".to_vec()).await.unwrap();
        let one = objects.get("pointer").await.unwrap().unwrap().tag;
        assert!(
            objects
                .replace_if("pointer", &one, b"two".to_vec())
                .await
                .unwrap(),
            "{place}"
        );
        assert!(
            !objects
                .replace_if("pointer", &one, b"three".to_vec())
                .await
                .unwrap(),
            "{place}"
        );
        assert_eq!(
            objects.get("pointer").await.unwrap().unwrap().body,
            b"two",
            "{place}"
        );
        objects.delete("pointer").await.unwrap();
        assert!(
            !objects
                .replace_if("pointer", &one, b"four".to_vec())
                .await
                .unwrap(),
            "{place}"
        );
        assert_eq!(objects.get("pointer").await.unwrap(), None, "{place}");
    }
}

#[tokio::test]
async fn no_name_leaves_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::dir(dir.path().join("inner"), Random::seeded(1));
    for name in ["../out", "/out", "a/../../out"] {
        assert!(objects.put(name, vec![1]).await.is_err(), "{name}");
        assert!(objects.get(name).await.is_err(), "{name}");
        assert!(objects.delete(name).await.is_err(), "{name}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A request whose answer is lost has been applied; one that is dropped has not; the caller is told of a failure.
#[tokio::test]
async fn failures_are_told_with_the_place() {
    let store = Store::new();
    let objects = store.objects("p");
    let mut fates = vec![Fate::Dropped, Fate::AnswerLost];
    store.plan(move |_, _| fates.pop().unwrap_or(Fate::Served));
    let error = objects.create("x", vec![1]).await.unwrap_err().to_string();
    assert!(error.starts_with("s3://audit-bucket/p/x: "), "{error}");
    assert!(objects.delete("x").await.is_err());
    assert!(objects.get("x").await.unwrap().is_some());
    let sent: Vec<(String, String)> = store.sent();
    let sent: Vec<(&str, &str)> = sent
        .iter()
        .map(|(method, key)| (method.as_str(), key.as_str()))
        .collect();
    assert_eq!(sent, [("PUT", "p/x"), ("DELETE", "p/x"), ("GET", "p/x")]);
}
