//! Values that the source leaves out.

use super::engine::{Engine, Fate, partitioned};
use super::*;
use crate::state::{Backend, Item, Key, Revision};
use crate::watch::{Put, TeleportEvent, TeleportWatch, TeleportWatches, Value, Values, WatchParams};

struct Fetching {
    s: Setup,
    engine: Engine,
    backend: Backend,
}

async fn fetching() -> Fetching {
    let s = setup(1, 1, Duration::ZERO, &small());
    let engine = Engine::new();
    let backend = engine.backend("fetch", partitioned(1), &s.clock, 1).await;
    Fetching { s, engine, backend }
}

impl Fetching {
    async fn put(&self, key: &str, value: &str) {
        let lease = self.backend.put(&Item::new(key, value)).await.unwrap();
        self.omit(key, &lease.revision);
    }

    fn omit(&self, key: &str, revision: &Revision) {
        let operation = Operation::Put(Put {
            expires: None,
            revision: revision.clone(),
            value: Value::Omitted,
        });
        let event = Event {
            operation,
            ..script::delete(key, &self.s.clock)
        };
        self.s.script.append(0, event);
    }

    async fn watcher(&self) -> Watcher {
        let params = WatchParams {
            values: Values::Fetch(self.backend.clone()),
            ..WatchParams::default()
        };
        self.s.watches.watch(params).await.unwrap()
    }
}

fn value(event: &Event) -> Option<&[u8]> {
    match &event.operation {
        Operation::Put(put) => put.value.bytes(),
        _ => panic!("{event:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_read_once_for_all() {
    let f = fetching().await;
    let mut watchers = [f.watcher().await, f.watcher().await, f.watcher().await];
    let mut plain = f.s.watches.watch(WatchParams::default()).await.unwrap();
    f.put("/a", "1").await;
    f.engine.sent();
    let mut seen = Vec::new();
    for event in futures_util::future::join_all(watchers.iter_mut().map(event)).await {
        assert_eq!(value(&event), Some(&b"1"[..]));
        seen.push(event);
    }
    assert!(seen.iter().all(|event| Arc::ptr_eq(event, &seen[0])), "one copy");
    assert_eq!(value(&*event(&mut plain).await), None);
    assert_eq!(f.engine.operations(), ["GetItem"]);
}

#[tokio::test(start_paused = true)]
async fn another_writes_value_is_not_taken() {
    let f = fetching().await;
    let mut watcher = f.watcher().await;
    f.put("/a", "1").await;
    f.put("/a", "2").await;
    f.put("/b", "3").await;
    f.backend.delete(&Key::from("/b")).await.unwrap();
    assert_eq!(value(&*event(&mut watcher).await), None);
    assert_eq!(value(&*event(&mut watcher).await), Some(&b"2"[..]));
    assert_eq!(value(&*event(&mut watcher).await), None);
}

/// A call that is dropped while the value is read has not delivered it.
#[tokio::test(start_paused = true)]
async fn a_dropped_read_is_made_again() {
    let f = fetching().await;
    let mut watcher = f.watcher().await;
    f.put("/a", "1").await;
    let before = watcher.position();
    f.engine.plan(|_, _| Fate::Delayed {
        before: Duration::from_secs(1),
        after: Duration::from_secs(1),
    });
    for _ in 0..3 {
        let next =
            f.s.clock
                .timeout(Duration::from_millis(1500), watcher.next())
                .await;
        assert!(next.is_err());
        assert_eq!(watcher.position(), before);
    }
    assert_eq!(value(&*event(&mut watcher).await), Some(&b"1"[..]));
}

#[tokio::test(start_paused = true)]
async fn teleports_events_have_values() {
    let f = fetching().await;
    let over = |values| TeleportWatches::new(f.s.watches.clone(), values);
    let watches = over(Values::Fetch(f.backend.clone()));
    let mut watcher = watches.new_watcher(TeleportWatch::default()).await.unwrap();
    assert_eq!(watcher.next().await, Some(TeleportEvent::Init));
    f.put("/a", "1").await;
    f.put("/a", "2").await;
    let stored = f.backend.get(&Key::from("/a")).await.unwrap();
    assert_eq!(watcher.next().await, Some(TeleportEvent::Put(stored)));
    drop(watcher);
    let mut without = over(Values::AsTheyCome)
        .new_watcher(TeleportWatch::default())
        .await
        .unwrap();
    assert_eq!(without.next().await, Some(TeleportEvent::Init));
    f.put("/a", "3").await;
    assert_eq!(without.next().await, None);
}
