//! Every operation once, in both layouts.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::TryStreamExt;
use tidewatch::clock::Clock;
use tidewatch::state::{
    Condition, ConditionalAction, ErrorKind, Item, ItemsParams, Key, Layout, Lease, Range,
};

use crate::engine::{Engine, partitioned};

#[tokio::test(start_paused = true)]
async fn each_operation_does_what_it_says() {
    for layout in [Layout::Teleport, partitioned(1), partitioned(3)] {
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let clock = Clock::simulated(start);
        let engine = Engine::new();
        let backend = engine.backend("operations", layout, &clock, 1).await;
        let (a, b) = (Key::from("/a"), Key::from("/b"));

        let kind = backend.get(&a).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::NotFound);
        let created = backend.create(&Item::new(&a, "1")).await.unwrap();
        assert_eq!(
            backend.get(&a).await.unwrap(),
            Item::new(&a, "1").at(&created.revision)
        );
        let again = backend.create(&Item::new(&a, "2")).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let expected = Item::new(&a, "1");
        let swapped = backend
            .compare_and_swap(&expected, &Item::new(&a, "2"))
            .await
            .unwrap();
        let stale = backend
            .conditional_update(&Item::new(&a, "3").at(&created.revision))
            .await;
        assert_eq!(stale.unwrap_err().kind(), ErrorKind::IncorrectRevision);
        backend
            .conditional_update(&Item::new(&a, "3").at(&swapped.revision))
            .await
            .unwrap();
        assert_eq!(
            backend.update(&Item::new(&b, "1")).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let lease = backend
            .put(&Item::new(&b, "1").expiring(start + Duration::from_secs(5)))
            .await
            .unwrap();
        let all = backend.get_range(Range::prefix("/").into()).await.unwrap();
        assert_eq!(all.iter().map(|item| &item.key).collect::<Vec<_>>(), [&a, &b]);
        backend
            .keep_alive(&lease, start + Duration::from_secs(9))
            .await
            .unwrap();
        clock.sleep(Duration::from_secs(8)).await;
        assert_eq!(
            backend.get(&b).await.unwrap().expires,
            Some(start + Duration::from_secs(9))
        );
        clock.sleep(Duration::from_secs(2)).await;
        assert_eq!(backend.get(&b).await.unwrap_err().kind(), ErrorKind::NotFound);
        let late = backend.keep_alive(&lease, start + Duration::from_secs(99)).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(backend.delete(&b).await.unwrap_err().kind(), ErrorKind::NotFound);
        backend.create(&Item::new(&b, "2")).await.unwrap();

        let written = backend
            .atomic_write(&[
                ConditionalAction::put(Item::new("/c", "1"), Condition::NotExists),
                ConditionalAction::check("/b", Condition::Exists),
                ConditionalAction::delete("/a", Condition::Whatever),
            ])
            .await
            .unwrap();
        assert_eq!(
            Some(&backend.get(&Key::from("/c")).await.unwrap().revision),
            written.as_ref()
        );
        let lost = Lease {
            key: a.clone(),
            revision: created.revision,
        };
        assert_eq!(
            backend.keep_alive(&lost, start).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        let many: Vec<Item> = (0..60)
            .map(|n| Item::new(format!("/n/{n:03}").as_str(), "x"))
            .collect();
        assert_eq!(backend.put_batch(&many).await.all().unwrap().len(), 60);
        let params = ItemsParams::from(Range::prefix("/n/")).descending().limit(7);
        let last: Vec<Item> = backend.items(params).try_collect().await.unwrap();
        let last: Vec<String> = last.iter().map(|item| item.key.to_string()).collect();
        assert_eq!(
            last,
            (53..60).rev().map(|n| format!("/n/{n:03}")).collect::<Vec<_>>()
        );
        assert_eq!(backend.count(&Range::prefix("/n/")).await.unwrap(), 60);
        backend
            .delete_batch(&[Key::from("/n/000"), Key::from("/none")])
            .await
            .all()
            .unwrap();
        assert_eq!(backend.delete_range(&Range::prefix("/n/")).await.unwrap(), 59);
        assert_eq!(backend.count(&Range::all()).await.unwrap(), 2);
        backend.close();
        assert_eq!(backend.get(&a).await.unwrap_err().kind(), ErrorKind::Closed);
    }
}
