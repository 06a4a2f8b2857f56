//! Days that are read before their turn: faster where there is little, and paid for once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tidewatch::audit::log::{Dynamo, Order, Search};
use tidewatch::clock::Clock;

use crate::engine::{Engine, Fate, Sent};
use crate::{DAY, TABLE, at, follow, numbers, row, simulated};

const D: u64 = 86_400;
const TAKES: Duration = Duration::from_millis(100);

/// A table whose queries take a while, by a simulated clock.
async fn slow(engine: &Engine) -> (Dynamo, Clock) {
    let table = simulated(engine).await;
    engine.plan(|_, _| Fate::Delayed {
        before: TAKES / 2,
        after: TAKES / 2,
    });
    let clock = table.clock().clone();
    (table, clock)
}

/// So many events of so many bytes on each of these days.
fn load(engine: &Engine, days: impl Iterator<Item = u64>, events: u64, bytes: usize) {
    let pad = json!({"pad": {"S": "x".repeat(bytes)}});
    let rows = days.flat_map(|day| (0..events).map(move |n| (day * 1_000 + n, day * D + n)));
    let rows = rows.map(|(n, second)| row(n, second, pad.clone())).collect();
    let imported = engine
        .database
        .import_items(TABLE, rows, dynoxide::ImportOptions::default());
    imported.unwrap();
}

/// What the engine counted since the last look.
fn told(engine: &Engine) -> f64 {
    let units = |sent: &Sent| sent.answer["ConsumedCapacity"]["CapacityUnits"].as_f64().unwrap();
    engine.sent().iter().map(units).sum()
}

/// How often each day was asked for.
fn asked(engine: &Engine) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for sent in engine.sent() {
        let day = sent.body["ExpressionAttributeValues"][":date"]["S"]
            .as_str()
            .unwrap();
        *asked.entry(day.to_owned()).or_default() += 1;
    }
    asked
}

#[tokio::test(start_paused = true)]
async fn a_year_with_few_events_is_read_eight_days_at_a_time_and_no_day_twice() {
    let engine = Engine::new();
    let (table, clock) = slow(&engine).await;
    load(&engine, [0, 100, 200, 364].into_iter(), 3, 100);
    for order in [Order::Ascending, Order::Descending] {
        let begun = clock.instant();
        let search = Search {
            order,
            ..Search::new(at(DAY), at(DAY + 365 * D - 1))
        };
        let answer = table.search(&search).await.unwrap();
        let took = (clock.instant() - begun).as_secs_f64() / TAKES.as_secs_f64();
        assert!(answer.cursor.is_none());
        assert_eq!(answer.events.len(), 12);
        let asked = asked(&engine);
        assert_eq!(asked.len(), 365);
        assert!(asked.values().all(|times| *times == 1), "{asked:?}");
        assert_eq!(answer.units, 365.0 / 2.0);
        assert!(
            (365.0 / 8.0..365.0 / 8.0 + 10.0).contains(&took),
            "{took} times a request's time"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn days_that_fill_an_answer_are_not_read_ahead_of_it() {
    // 0.6 MB a day, and 40 KB a day.
    for (days, events) in [(6, 300), (80, 20)] {
        let engine = Engine::new();
        let (table, _) = slow(&engine).await;
        load(&engine, 0..days, events, 2_000);
        let mut units = 0.0;
        let search = Search::new(at(DAY), at(DAY + days * D - 1));
        let found = numbers(&follow(&table, search, |answer| units += answer.units).await);
        let due = (0..days).flat_map(|day| (0..events).map(move |n| day * 1_000 + n));
        assert_eq!(found, due.collect::<Vec<_>>());
        // What the rows have, and what was cut off at the ends of answers.
        let told = told(&engine);
        let least = (days * events) as f64 * 2_240.0 / 8_192.0;
        assert!(
            (least * 0.98..least * 1.15).contains(&told),
            "{told} units, not {least}"
        );
        assert_eq!(units, told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bound_of_capacity_bounds_what_is_read_ahead() {
    let engine = Engine::new();
    let (table, _) = slow(&engine).await;
    load(&engine, 0..80, 20, 1_000);
    let search = Search {
        condition: Some("equals(n, 79019)".parse().unwrap()),
        max_units: Some(40.0),
        ..Search::new(at(DAY), at(DAY + 80 * D - 1))
    };
    let mut answers = 0;
    let found = follow(&table, search, |answer| {
        answers += 1;
        // A day has 3.5.
        assert!(answer.units < 40.0 + 3.5, "{}", answer.units);
        assert!(told(&engine) < 40.0 + 3.5);
    });
    assert_eq!(numbers(&found.await), [79_019]);
    assert!((6..=8).contains(&answers), "{answers}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_bounds_what_is_read_ahead() {
    let engine = Engine::new();
    let (table, _) = slow(&engine).await;
    load(&engine, 0..40, 5, 100);
    let search = Search {
        limit: 23,
        ..Search::new(at(DAY), at(DAY + 40 * D - 1))
    };
    let answer = table.search(&search).await.unwrap();
    assert_eq!(answer.events.len(), 23);
    let asked = asked(&engine);
    assert!(asked.len() <= 5, "{asked:?}");
    assert!(asked.values().all(|times| *times == 1), "{asked:?}");
}
