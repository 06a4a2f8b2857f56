//! Many watchers, slow ones and idle ones: memory, readers, wake-ups.

use super::*;
use crate::watch::{Start, WatchParams};

#[tokio::test(start_paused = true)]
async fn a_thousand_slow_watchers_hold_nothing() {
    let settings = Settings {
        buffer_size: 64,
        readers: 3,
        ..Settings::default()
    };
    let s = setup(1, 2, Duration::from_millis(5), &settings);
    let mut watchers = Vec::new();
    for _ in 0..1000 {
        watchers.push(s.watches.watch(plain("/a").into()).await.unwrap());
    }
    assert_eq!(s.script.asked(), 1, "the source was asked once for its present");
    for n in 0..2000 {
        s.script
            .append(n % 2, script::put("/a", &n.to_string(), &s.clock));
    }
    s.clock.sleep(20 * SECOND).await;
    let (_, events, bytes) = s.watches.shared().held().unwrap();
    assert!(
        (62..=64).contains(&events) && bytes < 64 * 512,
        "{events} {bytes}"
    );
    assert_eq!(s.script.held(), events, "nothing else is held");
    assert_eq!(s.script.opened(), 1);
    // All at once take one event each, and stop again.
    let firsts = watchers
        .iter_mut()
        .map(|watcher| async move { tag(&*event(watcher).await) });
    let firsts = futures_util::future::join_all(firsts).await;
    assert!(
        firsts.iter().all(|first| first == "0" || first == "1"),
        "{firsts:?}"
    );
    assert_eq!(s.script.most_readers(), 4, "the hub's, and three at once");
    assert_eq!(s.script.readers(), 1);
    for watcher in &mut watchers[..5] {
        let mut seen = 1;
        while seen < 2000 {
            event(watcher).await;
            seen += 1;
        }
        // The end of what it read by itself is behind the last event.
        assert!(s.clock.timeout(SECOND, watcher.next()).await.is_err());
        let id = watcher.id();
        assert!(s.watches.shared().joined(id), "back in the ring");
    }
    drop(watchers);
    assert_eq!(s.script.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_passes_by_an_idle_watcher_costs_it_nothing() {
    let s = setup(2, 2, Duration::ZERO, &small());
    let mut idle = s.watches.watch(plain("/idle").into()).await.unwrap();
    let mut unasked = s.watches.watch(plain("/idle").into()).await.unwrap();
    let (mut polls, mut polled) = (0, 0);
    {
        // A waiting call is not polled for what is not for it.
        let mut next = std::pin::pin!(idle.next());
        let counting = std::future::poll_fn(|context| {
            polls += 1;
            next.as_mut().poll(context)
        });
        let mut counting = std::pin::pin!(counting);
        for n in 0..5000 {
            s.script
                .append(n % 2, script::put("/busy", &n.to_string(), &s.clock));
            if n % 10 == 0 {
                let nap = s.clock.sleep(Duration::from_millis(20));
                tokio::select! { biased; () = nap => {}, _ = &mut counting => panic!("nothing is due") }
                polled += 1;
            }
        }
    }
    // `select!` polls it once a round by itself.
    assert!(polls <= 2 * polled + 2, "{polls} for {polled}");
    s.script.append(0, script::put("/idle", "at last", &s.clock));
    assert_eq!(tag(&*event(&mut idle).await), "at last");
    assert_eq!(tag(&*event(&mut unasked).await), "at last");
    assert_eq!(s.script.opened(), 1, "neither read the source by itself");
}

/// What an idle watcher lets pass is behind it, even if what is for it is evicted before it looks.
#[tokio::test(start_paused = true)]
async fn falling_behind_begins_at_what_is_missed() {
    let s = setup(3, 2, Duration::ZERO, &small());
    let mut watcher = s.watches.watch(plain("/idle").into()).await.unwrap();
    let busy = |n: usize| {
        s.script
            .append(n % 2, script::put("/busy", &n.to_string(), &s.clock))
    };
    (0..500).for_each(busy);
    s.clock.sleep(SECOND).await;
    // Nobody has these any more, and nobody needs them.
    s.script.trim();
    s.script.append(0, script::put("/idle", "1", &s.clock));
    (0..500).for_each(busy);
    s.clock.sleep(SECOND).await;
    assert_eq!(tag(&*event(&mut watcher).await), "1");
    assert!(s.script.opened() > 1, "it had to read by itself");
}

#[tokio::test(start_paused = true)]
async fn an_idle_watcher_is_small() {
    let s = setup(4, 4, Duration::ZERO, &small());
    let watcher = s.watches.watch(plain("/a").into()).await.unwrap();
    // The entry in the hub and in the index, the filter, the position's map of up to eleven lanes.
    let apart = 512 + 11 * (size_of::<(Arc<str>, crate::watch::position::Mark)>() + 8);
    assert!(
        size_of_val(&watcher) + apart < 2048,
        "{}",
        size_of_val(&watcher) + apart
    );
}

#[tokio::test(start_paused = true)]
async fn watchers_of_the_past_come_to_the_present() {
    let s = setup(5, 3, Duration::from_millis(30), &small());
    for n in 0..300 {
        s.script
            .append(n % 3, script::put("/a", &n.to_string(), &s.clock));
    }
    let params = WatchParams {
        start: Start::Beginning,
        ..plain("/a").into()
    };
    let mut watcher = s.watches.watch(params).await.unwrap();
    for _ in 0..300 {
        event(&mut watcher).await;
    }
    s.script.append(0, script::put("/a", "last", &s.clock));
    assert_eq!(tag(&*event(&mut watcher).await), "last");
    assert!(s.watches.shared().joined(watcher.id()));
}
