//! A run that is cut at any of its requests: the next one comes to the same end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// How a run is cut at one request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// The request is lost.
    Before,
    /// Its answer is.
    After,
    /// The run is killed, and the request never sent.
    KilledBefore,
    /// The run is killed, and the request has taken effect.
    KilledAfter,
    /// The run is killed; the request arrives when the next run is done.
    KilledLate,
}

pub(super) const CUTS: [Cut; 5] = [
    Cut::Before,
    Cut::After,
    Cut::KilledBefore,
    Cut::KilledAfter,
    Cut::KilledLate,
];

/// Cuts a run at its request number `at`, and says whether it got there.
pub(super) async fn cut(world: &World, cut: Cut, at: u64) -> bool {
    let wire = world.engine.beside();
    let sent = AtomicU64::new(0);
    let reached = Arc::new(tokio::sync::Notify::new());
    let seen = Arc::clone(&reached);
    wire.plan(move |_, _| {
        if sent.fetch_add(1, Ordering::Relaxed) != at {
            return Fate::Served;
        }
        seen.notify_one();
        let far = secs(1000);
        match cut {
            Cut::Before => Fate::Dropped,
            Cut::After => Fate::AnswerLost,
            Cut::KilledBefore => Fate::Delayed {
                before: far,
                after: Duration::ZERO,
            },
            Cut::KilledAfter => Fate::Delayed {
                before: Duration::ZERO,
                after: far,
            },
            Cut::KilledLate => Fate::Late(secs(90)),
        }
    });
    let expire = world.expire(&wire, Settings::default());
    let run = expire.run(world.run(secs(60)));
    match cut {
        Cut::Before | Cut::After => {
            run.await.unwrap();
            world
                .clock
                .timeout(Duration::ZERO, reached.notified())
                .await
                .is_ok()
        }
        _ => tokio::select! {
            biased;
            () = reached.notified() => true,
            _ = run => false,
        },
    }
}

#[test]
fn a_run_is_cut_at_each_of_its_requests() {
    for by in [FoundBy::Index, FoundBy::List, FoundBy::Scan] {
        for how in CUTS {
            let mut requests = 0;
            while paused(at(by, how, requests)) {
                requests += 1;
            }
            println!("{by:?} {how:?}: cut at each of {requests} requests");
            assert!(requests > 6, "{requests}");
        }
    }
}

async fn at(by: FoundBy, how: Cut, number: u64) -> bool {
    let world = World::new(by, number).await;
    if by == FoundBy::List {
        // The fill of the list is cut as well.
        world.clock.sleep(secs(12 * 60)).await;
    }
    for n in 0..5 {
        world.put(&format!("/due/{n}"), Some(-3 - n)).await;
        world.put(&format!("/live/{n}"), Some(3000 + n)).await;
    }
    world.put("/never", None).await;
    if let Some(feed) = &world.feed {
        feed.deliver().await;
    }
    let reached = cut(&world, how, number).await;
    let left = |world: &World| {
        let due = |key: &String| key.starts_with("/due/");
        let stored = world.stored();
        (stored.keys().filter(|key| due(key)).count(), stored.len())
    };
    let report = world.sweep().await;
    assert!(report.complete, "{by:?} {how:?} at {number}: {report:?}");
    assert_eq!(left(&world), (0, 6), "{by:?} {how:?} at {number}");
    // A name of what was deleted is used again, and what is late arrives.
    world.put("/due/1", Some(5000)).await;
    world.clock.sleep(secs(100)).await;
    world.sweep().await;
    assert_eq!(left(&world), (1, 7), "{by:?} {how:?} at {number}, later");
    reached
}
