//! Teleport's contract.

use super::*;
use crate::state::{Item, Key};
use crate::watch::{TeleportEvent, TeleportWatch, TeleportWatcher, TeleportWatches, Values};

fn over(s: &Setup) -> TeleportWatches {
    TeleportWatches::new(s.watches.clone(), Values::AsTheyCome)
}

async fn begun(watches: &TeleportWatches, prefixes: &[&str], queue_size: usize) -> TeleportWatcher {
    let watch = TeleportWatch {
        name: "test".to_owned(),
        prefixes: prefixes.iter().map(|prefix| Key::from(*prefix)).collect(),
        queue_size,
    };
    let mut watcher = watches.new_watcher(watch).await.unwrap();
    assert_eq!(watcher.next().await, Some(TeleportEvent::Init));
    watcher
}

#[tokio::test(start_paused = true)]
async fn events_come_behind_init() {
    let s = setup(1, 1, Duration::ZERO, &small());
    let watches = over(&s);
    let mut all = begun(&watches, &[], 0).await;
    let mut some = begun(&watches, &["/a", "/ab"], 0).await;
    let stored = Item::new("/ab", "1").at("1");
    s.script.append(0, script::put("/b", "0", &s.clock));
    s.script.append(0, script::put("/ab", "1", &s.clock));
    s.script.append(0, script::delete("/ab", &s.clock));
    assert!(matches!(all.next().await, Some(TeleportEvent::Put(item)) if item.key == Key::from("/b")));
    for watcher in [&mut all, &mut some] {
        assert_eq!(watcher.next().await, Some(TeleportEvent::Put(stored.clone())));
        assert_eq!(
            watcher.next().await,
            Some(TeleportEvent::Delete(Key::from("/ab")))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn closing_is_told() {
    let s = setup(2, 1, Duration::ZERO, &small());
    let watches = over(&s);
    let mut first = begun(&watches, &[], 0).await;
    let mut second = begun(&watches, &[], 0).await;
    let mut plain = s.watches.watch(plain("/a").into()).await.unwrap();
    let done = first.done();
    assert!(s.clock.timeout(SECOND, first.done()).await.is_err() && !first.is_done());
    first.close();
    s.clock.timeout(SECOND, done).await.unwrap();
    assert_eq!(first.next().await, None);
    assert!(!second.is_done());
    watches.close_watchers();
    s.clock.timeout(SECOND, second.done()).await.unwrap();
    assert_eq!(second.next().await, None);
    // Others are not touched, and new ones may come.
    let third = begun(&watches, &[], 0).await;
    s.script.append(0, script::put("/a", "1", &s.clock));
    assert_eq!(tag(&*event(&mut plain).await), "1");
    let done = third.done();
    drop(third);
    s.clock.timeout(SECOND, done).await.unwrap();
}

/// Whoever was told of a loss reads everything again, and nobody is left with what was before it.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_closes_all() {
    type Cause = fn(&Setup);
    let causes: [(&str, Cause); 3] = [
        ("a gap", |s| s.script.gap(0)),
        ("an unknown operation", |s| {
            let unknown = Event {
                operation: Operation::Unknown,
                ..script::delete("/a", &s.clock)
            };
            s.script.append(0, unknown);
        }),
        ("a broken reader", |s| {
            s.script.fail_next_read(crate::watch::WatchError::Compacted {
                floor: Box::new(crate::watch::Position::new(script::NAME.into())),
                why: "trimmed".to_owned(),
            });
        }),
    ];
    for (what, cause) in causes {
        let s = setup(3, 1, Duration::ZERO, &small());
        let watches = over(&s);
        let first = begun(&watches, &["/a"], 0).await;
        let mut second = begun(&watches, &["/b"], 0).await;
        s.clock.sleep(SECOND).await;
        cause(&s);
        // Nobody asks for events: being closed is told all the same.
        for watcher in [&first, &second] {
            s.clock.timeout(SECOND, watcher.done()).await.expect(what);
        }
        assert_eq!(second.next().await, None, "{what}");
        let mut next = begun(&watches, &["/a"], 0).await;
        s.script.append(0, script::put("/a", "1", &s.clock));
        assert!(matches!(next.next().await, Some(TeleportEvent::Put(_))), "{what}");
    }
}

/// Behind by more than its queue for 59 s, once it is 177 s old: closed. What it is behind is not in memory.
#[tokio::test(start_paused = true)]
async fn a_slow_watcher_has_its_grace() {
    let s = setup(4, 1, Duration::ZERO, &small());
    let watches = over(&s);
    let write =
        |n: usize| (0..n).for_each(|n| s.script.append(0, script::put("/a", &n.to_string(), &s.clock)));
    let mut young = begun(&watches, &[], 10).await;
    let mut within = begun(&watches, &[], 1000).await;
    write(100);
    s.clock.sleep(100 * SECOND).await;
    write(1);
    s.clock.sleep(SECOND).await;
    assert!(!young.is_done(), "too young to be closed");
    // It catches up, and its grace begins anew when it is behind again.
    for _ in 0..101 {
        assert!(matches!(young.next().await, Some(TeleportEvent::Put(_))));
    }
    s.clock.sleep(100 * SECOND).await;
    write(11);
    s.clock.sleep(58 * SECOND).await;
    write(1);
    s.clock.sleep(SECOND).await;
    assert!(!young.is_done() && s.script.held() <= 16);
    s.clock.sleep(SECOND).await;
    write(1);
    s.clock.timeout(SECOND, young.done()).await.unwrap();
    assert_eq!(young.next().await, None);
    // The other one's queue holds it all, in the source.
    for _ in 0..114 {
        assert!(matches!(within.next().await, Some(TeleportEvent::Put(_))));
    }
}
