//! What ends watchers: gaps, what is not kept, errors of the reader, closing.

use super::*;
use crate::watch::position::Position;
use crate::watch::{Start, WatchError, WatchParams};

async fn error(watcher: &mut Watcher) -> WatchError {
    for _ in 0..1000 {
        if let Err(error) = watcher.next().await {
            return error;
        }
    }
    panic!("no error came");
}

fn floor(error: &WatchError) -> Position {
    match error {
        WatchError::Compacted { floor, .. } => (**floor).clone(),
        other => panic!("{other:?}"),
    }
}

fn at(position: Position) -> WatchParams {
    WatchParams {
        start: Start::At(position),
        ..WatchParams::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_ends_those_before_it() {
    for fallen in [false, true] {
        let s = setup(1, 2, Duration::ZERO, &small());
        let mut before = s.watches.watch(WatchParams::default()).await.unwrap();
        // A gap is for everybody, whatever is asked for.
        let mut other = s.watches.watch(plain("/none").into()).await.unwrap();
        s.script.append(0, script::put("/a", "1", &s.clock));
        s.script.append(1, script::put("/b", "2", &s.clock));
        s.script.gap(0);
        s.script.gap(0);
        s.clock.sleep(SECOND).await;
        let mut behind = s.watches.watch(WatchParams::default()).await.unwrap();
        s.script.append(0, script::put("/a", "3", &s.clock));
        if fallen {
            (0..100).for_each(|n| s.script.append(1, script::put("/b", &format!("b{n}"), &s.clock)));
            s.clock.sleep(SECOND).await;
        }
        let ended = error(&mut before).await;
        // Both gaps count once, and the other lane goes on where it was.
        let floor = floor(&ended);
        assert_eq!(floor.lanes[&script::lane(0)], script::mark(3));
        assert!(floor.lanes[&script::lane(1)] <= script::mark(1));
        assert_eq!(
            error(&mut before).await.to_string(),
            ended.to_string(),
            "it stays ended"
        );
        assert!(error(&mut other).await.is_compacted());
        assert_eq!(tag(&*event(&mut behind).await), "3");
        let mut again = s.watches.watch(at(floor)).await.unwrap();
        let mut seen = Vec::new();
        while seen.len() < 2 {
            seen.push(tag(&*event(&mut again).await));
        }
        assert!(seen.contains(&"3".to_owned()) || fallen, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_kept_ends_who_needs_it() {
    let s = setup(2, 2, Duration::ZERO, &small());
    let mut slow = s.watches.watch(WatchParams::default()).await.unwrap();
    let start = slow.position();
    let mut quick = s.watches.watch(WatchParams::default()).await.unwrap();
    for n in 0..100 {
        s.script
            .append(n % 2, script::put("/a", &n.to_string(), &s.clock));
        event(&mut quick).await;
    }
    s.script.trim();
    assert_eq!(floor(&error(&mut slow).await), quick.position());
    let mut late = s.watches.watch(at(start)).await.unwrap();
    assert!(error(&mut late).await.is_compacted());
    // Positions of another source, and from beyond the end of this one.
    for (source, seen) in [("another", 100), (script::NAME, 1000)] {
        let mut wrong = Position::new(source.into());
        wrong.advance(&script::lane(0), script::mark(seen));
        wrong.advance(&script::lane(1), script::mark(seen));
        let mut wrong = s.watches.watch(at(wrong)).await.unwrap();
        assert!(error(&mut wrong).await.is_compacted(), "{source}");
    }
    s.script.append(0, script::put("/a", "last", &s.clock));
    assert_eq!(tag(&*event(&mut quick).await), "last");
}

/// Two presents of a source that names them cannot be compared: what lies between is read.
#[test]
fn names_of_the_present_are_not_compared() {
    use crate::watch::fanout::ring::{Bounds, Ring};
    use crate::watch::position::Mark;
    let position = |mark: Mark| {
        let mut position = Position::new("stream".into());
        position.advance(&"shard".into(), mark);
        position
    };
    let named = |name: u32| position(Mark::At(0.into(), name));
    let bounds = Bounds { events: 1, bytes: 1 };
    let ring = Ring::new(named(5), bounds);
    assert!(ring.holds_on_from(&named(5)) && ring.knows(&named(5)));
    assert!(!ring.holds_on_from(&named(7)) && !ring.holds_on_from(&named(3)));
    assert!(!ring.knows(&named(3)));
    assert!(ring.holds_on_from(&position(Mark::At(1.into(), 0))));
    let mut more = named(5);
    more.advance(&"unknown".into(), Mark::Start);
    assert!(!ring.holds_on_from(&more), "a lane that may have been done with");
}

#[tokio::test(start_paused = true)]
async fn the_readers_end_is_everybodys_and_the_next_watcher_starts_anew() {
    let s = setup(3, 2, Duration::ZERO, &small());
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(s.watches.watch(WatchParams::default()).await.unwrap());
    }
    s.clock.sleep(SECOND).await;
    s.script
        .fail_next_read(WatchError::AccessDenied("no more".to_owned()));
    for watcher in &mut watchers[1..] {
        assert!(matches!(error(watcher).await, WatchError::AccessDenied(_)));
    }
    let mut next = s.watches.watch(WatchParams::default()).await.unwrap();
    s.script.append(0, script::put("/a", "1", &s.clock));
    assert_eq!(tag(&*event(&mut next).await), "1");
    assert!(matches!(
        error(&mut watchers[0]).await,
        WatchError::AccessDenied(_)
    ));
    assert_eq!(s.script.asked(), 2);
}

/// A watcher that reads by itself goes on when the hub ends, and starts it again.
#[tokio::test(start_paused = true)]
async fn who_reads_by_itself_outlives_the_hub() {
    let s = setup(4, 2, Duration::ZERO, &small());
    let mut slow = s.watches.watch(WatchParams::default()).await.unwrap();
    for n in 0..100 {
        s.script
            .append(n % 2, script::put("/a", &n.to_string(), &s.clock));
    }
    s.clock.sleep(SECOND).await;
    event(&mut slow).await;
    // The hub is the only one who reads now.
    s.script
        .fail_next_read(WatchError::WrongSource("gone".to_owned()));
    s.clock.sleep(SECOND).await;
    assert_eq!(s.script.readers(), 0);
    s.script
        .fail_next_now(WatchError::Unavailable("not now".to_owned()));
    for _ in 1..100 {
        event(&mut slow).await;
    }
    s.script.append(0, script::put("/a", "last", &s.clock));
    assert_eq!(tag(&*event(&mut slow).await), "last");
    assert_eq!(s.script.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_everybody_at_once() {
    let s = setup(5, 2, Duration::from_secs(20), &small());
    let mut waiting = s.watches.watch(WatchParams::default()).await.unwrap();
    let mut reading = s
        .watches
        .watch(WatchParams {
            start: Start::Beginning,
            ..WatchParams::default()
        })
        .await
        .unwrap();
    let watches = s.watches.clone();
    let clock = s.clock.clone();
    let close = async {
        clock.sleep(SECOND).await;
        watches.close();
    };
    let before = s.clock.instant();
    let (first, second, ()) = tokio::join!(waiting.next(), reading.next(), close);
    assert!(matches!(first, Err(WatchError::Closed)) && matches!(second, Err(WatchError::Closed)));
    assert!(s.clock.instant() - before < 2 * SECOND);
    let refused = s.watches.watch(WatchParams::default()).await;
    assert!(matches!(refused, Err(WatchError::Closed)));
    s.clock.sleep(SECOND).await;
    assert_eq!(s.script.readers(), 0);
}

#[test]
fn a_runtime_that_ends_ends_its_watchers() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let (s, mut watcher) = first.block_on(async {
        let s = setup(6, 1, Duration::ZERO, &small());
        let watcher = s.watches.watch(WatchParams::default()).await.unwrap();
        s.clock.sleep(SECOND).await;
        (s, watcher)
    });
    drop(first);
    second.block_on(async {
        assert!(matches!(watcher.next().await, Err(WatchError::Unavailable(_))));
        let mut next = s.watches.watch(WatchParams::default()).await.unwrap();
        s.script.append(0, script::put("/a", "1", &s.clock));
        assert_eq!(tag(&*event(&mut next).await), "1");
    });
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_cannot_start_leaves_nothing_behind() {
    let s = setup(7, 1, Duration::from_secs(5), &small());
    s.script
        .fail_next_now(WatchError::Unavailable("not now".to_owned()));
    let refused = s.watches.watch(WatchParams::default()).await;
    assert!(matches!(refused, Err(WatchError::Unavailable(_))));
    let dropped = s
        .clock
        .timeout(SECOND, s.watches.watch(WatchParams::default()))
        .await;
    assert!(dropped.is_err());
    let zero = WatchParams {
        progress: Some(Duration::ZERO),
        ..WatchParams::default()
    };
    assert!(matches!(
        s.watches.watch(zero).await,
        Err(WatchError::BadParameter(_))
    ));
    s.clock.sleep(10 * SECOND).await;
    assert_eq!(s.script.readers(), 0);
    assert!(s.watches.shared().held().is_none());
}
