//! Following the log.

use std::time::Duration;

use serde_json::json;
use tidewatch::audit::log::{Search, Tail};

use crate::engine::{Engine, Fate, refusal};
use crate::{DAY, at, event, log, numbers, table, uid};

#[tokio::test]
async fn each_event_is_told_once_also_one_that_comes_late() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let log = log(&table);
    let now = 36 * 3600;
    let emit = async |n: u64, second: u64| {
        let event = event(second, "x", json!({"uid": uid(n), "n": n}));
        log.emit(&event).await.unwrap();
    };
    let mut tail = Tail::new(
        &table,
        at(DAY + now - 100),
        Search {
            limit: 2,
            ..Search::new(at(0), at(0))
        },
    );
    let look = async |tail: &mut Tail| {
        let mut all = Vec::new();
        loop {
            let (events, more) = tail.next().await.unwrap();
            all.extend(numbers(&events));
            if !more {
                return all;
            }
        }
    };
    emit(0, now - 200).await;
    for n in 1..6 {
        emit(n, now - 50 + n).await;
    }
    assert_eq!(look(&mut tail).await, [1, 2, 3, 4, 5]);
    assert_eq!(look(&mut tail).await, Vec::<u64>::new());
    table.clock().advance(Duration::from_secs(60));
    emit(6, now + 60).await;
    // Written now, with an older time; and with one that is ahead.
    emit(7, now - 80).await;
    emit(8, now + 200).await;
    assert_eq!(look(&mut tail).await, [7, 6, 8]);
    table.clock().advance(Duration::from_secs(3_600));
    // Written while nobody looked.
    emit(9, now + 300).await;
    assert_eq!(look(&mut tail).await, [9]);
    assert_eq!(look(&mut tail).await, Vec::<u64>::new());
}

#[tokio::test]
async fn what_was_written_during_an_outage_is_told_after_it() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let log = log(&table);
    let now = 36 * 3600;
    let emit = async |n: u64, second: u64| {
        let event = event(second, "x", json!({"uid": uid(n), "n": n}));
        log.emit(&event).await.unwrap();
    };
    let mut tail = Tail::new(&table, at(DAY + now), Search::new(at(0), at(0)));
    emit(0, now).await;
    assert_eq!(numbers(&tail.next().await.unwrap().0), [0]);
    table.clock().advance(Duration::from_secs(60));
    emit(1, now + 60).await;
    // Looks fail for much longer than one goes back.
    engine.plan(|_, _| refusal("AccessDeniedException"));
    for _ in 0..3 {
        table.clock().advance(Duration::from_secs(1_200));
        tail.next().await.unwrap_err();
    }
    engine.plan(|_, _| Fate::Served);
    emit(2, now + 3_660).await;
    assert_eq!(numbers(&tail.next().await.unwrap().0), [1, 2]);
    assert_eq!(numbers(&tail.next().await.unwrap().0), Vec::<u64>::new());
}
