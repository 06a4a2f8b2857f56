//! Where searches go on: ours, and Teleport's in both forms.

use serde_json::json;
use tidewatch::audit::log::{Cursor, Order, Search};

use crate::engine::Engine;
use crate::{DAY, all, at, event, follow, load, log, numbers, table, uid};

#[tokio::test]
async fn new_writes_between_pages_neither_repeat_nor_hide_events() {
    for order in [Order::Ascending, Order::Descending] {
        let engine = Engine::new();
        let table = table(&engine).await;
        load(&engine, 500, 20, |_| json!({}));
        let log = log(&table);
        let mut search = Search {
            order,
            limit: 50,
            ..all()
        };
        let mut found = Vec::new();
        for page in 0.. {
            let answer = table.search(&search).await.unwrap();
            found.extend(numbers(&answer.events));
            // Before, in and behind what was read, also in the very second of the cursor.
            for second in [0, 5_000, 9_999, 20 * 50 * (page + 1)] {
                let n = 10_000 + page * 100_000 + second;
                let new = event(second, "x", json!({"uid": uid(n), "n": n}));
                log.emit(&new).await.unwrap();
            }
            let Some(cursor) = answer.cursor else { break };
            search.cursor = Some(cursor.to_string().parse().unwrap());
            assert!(page < 100);
        }
        let mut once = found.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), found.len(), "repeats");
        found.retain(|n| *n < 10_000);
        found.sort_unstable();
        assert_eq!(found, (0..500).collect::<Vec<_>>());
    }
}

/// A cursor that stands after row `n`, as Teleport writes it.
fn teleports(n: u64, index: &str, old: bool) -> String {
    let (at, id) = (DAY + n * 160, uid(n));
    let date = if n * 160 < 86_400 {
        "2026-11-20"
    } else {
        "2026-11-21"
    };
    if old {
        let value = |tag: &str, text: &str| {
            let mut all = json!({"B": null, "BOOL": null, "BS": null, "L": null, "M": null, "N": null, "NS": null, "NULL": null,
                "S": null, "SS": null});
            all[tag] = text.into();
            all
        };
        let iterator = json!({"CreatedAt": value("N", &at.to_string()), "CreatedAtDate": value("S", date),
            "EventIndex": value("N", index), "SessionID": value("S", &id)});
        return json!({"date": date, "iterator": iterator}).to_string();
    }
    let iterator = format!(
        "{{\"CreatedAt\":{at},\"CreatedAtDate\":\"{date}\",\"EventIndex\":{index},\"SessionID\":\"{id}\"}}"
    );
    json!({"date": date, "iterator": iterator}).to_string()
}

#[tokio::test]
async fn cursors_of_teleport_are_gone_on_from() {
    let engine = Engine::new();
    let table = table(&engine).await;
    load(&engine, 1_000, 160, |_| json!({}));
    let on = async |cursor: &str, order| {
        let cursor = Some(cursor.parse::<Cursor>().unwrap());
        numbers(
            &follow(
                &table,
                Search {
                    cursor,
                    order,
                    limit: 250,
                    ..all()
                },
                |_| {},
            )
            .await,
        )
    };
    let (up, down) = (Order::Ascending, Order::Descending);
    for old in [false, true] {
        for n in [0, 300, 539, 540, 999] {
            let cursor = teleports(n, "0", old);
            assert_eq!(on(&cursor, up).await, (n + 1..1_000).collect::<Vec<_>>());
            assert_eq!(on(&cursor, down).await, (0..n).rev().collect::<Vec<_>>());
        }
    }
    // With the hash of an event, the page is read again from where its iterator says.
    let with_key = teleports(400, "0", false).replace("{\"date\"", "{\"event_key\":\"9f86d081\",\"date\"");
    assert_eq!(on(&with_key, up).await, (401..1_000).collect::<Vec<_>>());
    let page = r#"{"date":"2026-11-21","iterator":"","event_key":"9f86d081"}"#;
    assert_eq!(on(page, up).await, (540..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_index_beyond_floats_is_exact_and_a_rounded_one_skips_nothing() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let log = log(&table);
    // One session, one second, indexes that are the same to a float.
    let index = |n: u64| 1_795_170_931_001_234_500 + n * 7;
    for n in 0..40 {
        let event = event(100, "session.command", json!({"sid": "s", "uid": uid(n), "n": n}));
        let event = event.replace("\"ei\":0", &format!("\"ei\":{}", index(n)));
        log.emit(&event).await.unwrap();
    }
    for order in [Order::Ascending, Order::Descending] {
        let search = Search {
            limit: 3,
            order,
            ..all()
        };
        let mut found = numbers(&follow(&table, search, |_| {}).await);
        found.sort_unstable();
        assert_eq!(found, (0..40).collect::<Vec<_>>());
    }
    let cursor = |index: &str| {
        let iterator = format!(
            "{{\"CreatedAt\":{},\"CreatedAtDate\":\"2026-11-20\",\"EventIndex\":{index},\"SessionID\":\"s\"}}",
            DAY + 100
        );
        json!({"date": "2026-11-20", "iterator": iterator})
            .to_string()
            .parse::<Cursor>()
            .unwrap()
    };
    let on = async |cursor| {
        let search = Search {
            cursor: Some(cursor),
            limit: 3,
            ..all()
        };
        let mut found = numbers(&follow(&table, search, |_| {}).await);
        found.sort_unstable();
        found
    };
    assert_eq!(
        on(cursor(&index(20).to_string())).await,
        (21..40).collect::<Vec<_>>()
    );
    // 1795170931001234640 as a float prints; where it stands nobody knows, so its second is read again.
    #[allow(clippy::cast_precision_loss)]
    let rounded = (index(20) as f64).to_string();
    assert_eq!(on(cursor(&rounded)).await, (0..40).collect::<Vec<_>>());
    assert_eq!(
        on(cursor("1.7951709310012347e+18")).await,
        (0..40).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_cursor_outside_the_window_ends_or_begins_it() {
    let engine = Engine::new();
    let table = table(&engine).await;
    load(&engine, 1_000, 160, |_| json!({}));
    // The second day alone, from its second minute.
    let window = |order, cursor: &str| Search {
        order,
        cursor: Some(cursor.parse().unwrap()),
        ..Search::new(at(DAY + 86_460), at(DAY + 100_000))
    };
    let on = async |order, n: u64| {
        numbers(&follow(&table, window(order, &teleports(n, "0", false)), |_| {}).await)
    };
    let whole: Vec<u64> = (541..=625).collect();
    let (up, down) = (Order::Ascending, Order::Descending);
    assert_eq!(on(up, 5).await, whole);
    assert_eq!(on(up, 540).await, whole);
    assert_eq!(on(up, 800).await, Vec::<u64>::new());
    assert_eq!(on(down, 5).await, Vec::<u64>::new());
    assert_eq!(on(down, 540).await, Vec::<u64>::new());
    let back: Vec<u64> = whole.iter().rev().copied().collect();
    assert_eq!(on(down, 800).await, back);
    let late = r#"{"date":"2027-01-01","iterator":""}"#;
    assert_eq!(
        numbers(&follow(&table, window(up, late), |_| {}).await),
        Vec::<u64>::new()
    );
    assert_eq!(numbers(&follow(&table, window(down, late), |_| {}).await), back);
}
