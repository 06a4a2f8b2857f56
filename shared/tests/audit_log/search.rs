//! What is found, in which order, at which price.

use serde_json::json;
use tidewatch::audit::log::{Order, Search};
use tidewatch::state::ErrorKind;

use crate::engine::Engine;
use crate::{DAY, all, at, follow, load, log, numbers, table, uid};

#[tokio::test]
async fn days_are_walked_inclusive_in_utc() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let log = log(&table);
    for (n, time) in [
        "2026-11-20T23:59:59.999Z",
        "2026-11-21T00:00:00Z",
        // The same as the next midnight but one second.
        "2026-11-22T01:59:59+02:00",
        "2026-11-22T00:00:00.5Z",
    ]
    .into_iter()
    .enumerate()
    {
        let event =
            json!({"event": "x", "code": "y", "uid": uid(u64::try_from(n).unwrap()), "n": n, "time": time});
        log.emit(&event.to_string()).await.unwrap();
    }
    let between = async |from: u64, to: u64| {
        let mut search = Search::new(at(DAY + from), at(DAY + to));
        let ascending = numbers(&follow(&table, search.clone(), |_| {}).await);
        search.order = Order::Descending;
        let mut descending = numbers(&follow(&table, search, |_| {}).await);
        descending.reverse();
        assert_eq!(ascending, descending);
        ascending
    };
    const D: u64 = 86_400;
    assert_eq!(between(0, 3 * D).await, [0, 1, 2, 3]);
    assert_eq!(between(D - 1, D).await, [0, 1]);
    assert_eq!(between(D, 2 * D - 1).await, [1, 2]);
    assert_eq!(between(2 * D, 2 * D).await, [3]);
    assert_eq!(between(D + 1, 2 * D - 2).await, Vec::<u64>::new());
    let backwards = table
        .search(&Search::new(at(DAY + 1), at(DAY)))
        .await
        .unwrap_err();
    assert_eq!(backwards.kind(), ErrorKind::BadParameter);
    assert!(backwards.to_string().contains("from date is after to date"));
}

#[tokio::test]
async fn four_thousand_rows_are_paged_in_both_orders_whatever_the_limit() {
    let engine = Engine::new();
    let table = table(&engine).await;
    // Two days, several a second.
    load(&engine, 4_000, 40, |_| json!({}));
    for (order, limit) in [
        (Order::Ascending, 0),
        (Order::Ascending, 333),
        (Order::Descending, 1_000),
        (Order::Descending, 7_000),
    ] {
        let search = Search {
            order,
            limit,
            ..all()
        };
        let mut pages = 0;
        let found = follow(&table, search, |answer| {
            pages += 1;
            assert!(limit == 0 || answer.events.len() <= limit);
        });
        let mut found = numbers(&found.await);
        if order == Order::Descending {
            found.reverse();
        }
        assert_eq!(found, (0..4_000).collect::<Vec<_>>(), "{order:?} {limit}");
        assert!(pages <= 4_000 / limit.clamp(333, 4_000) + 3, "{pages}");
    }
}

#[tokio::test]
async fn many_rows_of_one_second_are_paged_one_by_one() {
    let engine = Engine::new();
    let table = table(&engine).await;
    load(&engine, 60, 0, |_| json!({}));
    for order in [Order::Ascending, Order::Descending] {
        let search = Search {
            order,
            limit: 1,
            ..all()
        };
        let mut found = numbers(&follow(&table, search, |_| {}).await);
        found.sort_unstable();
        assert_eq!(found, (0..60).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn types_and_conditions_are_filtered_by_the_table() {
    let engine = Engine::new();
    let table = table(&engine).await;
    load(&engine, 3_000, 10, |n| {
        let event = if n % 1_000 == 999 {
            "session.end"
        } else {
            "session.start"
        };
        let users = json!([{"S": format!("user-{}", n % 7)}, {"S": "root"}]);
        json!({"event": {"S": event}, "participants": {"L": users}, "addr.remote": {"S": format!("192.0.2.{}", n % 100)},
            "ok": {"BOOL": n % 2 == 0}})
    });
    let expect = async |search: Search, keep: &dyn Fn(u64) -> bool| {
        let found = numbers(&follow(&table, search, |_| {}).await);
        assert_eq!(found, (0..3_000).filter(|n| keep(*n)).collect::<Vec<_>>());
    };
    let types = |types: &[&str]| Search {
        types: types.iter().map(|event_type| (*event_type).to_owned()).collect(),
        ..all()
    };
    let whose = |condition: &str| Search {
        condition: Some(condition.parse().unwrap()),
        ..all()
    };
    expect(types(&["session.end"]), &|n| n % 1_000 == 999).await;
    expect(types(&["session.end", "session.start"]), &|_| true).await;
    expect(
        Search {
            limit: 2,
            ..types(&["session.end"])
        },
        &|n| n % 1_000 == 999,
    )
    .await;
    let many: Vec<String> = (0..150)
        .map(|n| format!("t{n}"))
        .chain(["session.end".to_owned()])
        .collect();
    expect(Search { types: many, ..all() }, &|n| n % 1_000 == 999).await;
    expect(whose("contains(session.participants, \"user-3\")"), &|n| {
        n % 7 == 3
    })
    .await;
    expect(
        whose("equals(addr.remote, '192.0.2.5') && !equals(n, 105)"),
        &|n| n % 100 == 5 && n != 105,
    )
    .await;
    expect(
        whose("equals(ok, true) && (equals(n, 1) || equals(n, 2))"),
        &|n| n == 2,
    )
    .await;
    expect(
        Search {
            types: vec!["session.end".to_owned()],
            ..whose("equals(n, 1999)")
        },
        &|n| n == 1_999,
    )
    .await;
}

#[tokio::test]
async fn a_session_is_read_from_the_table_with_paging() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let rows = (0..2_000).map(|n| {
        let mut row =
            serde_json::to_value(crate::row(n, n, json!({"pad": {"S": "x".repeat(1_000)}}))).unwrap();
        row["SessionID"]["S"] = if n % 2 == 0 { "even" } else { "odd" }.into();
        // Far beyond what a float holds exactly.
        row["EventIndex"]["N"] = (1_795_170_931_001_230_000 + n).to_string().into();
        serde_json::from_value(row).unwrap()
    });
    let rows = rows.collect();
    engine
        .database
        .import_items(crate::TABLE, rows, dynoxide::ImportOptions::default())
        .unwrap();
    engine.sent();
    for (order, limit) in [
        (Order::Ascending, 0),
        (Order::Ascending, 77),
        (Order::Descending, 500),
    ] {
        let search = Search {
            order,
            limit,
            ..Search::session("even", at(DAY + 86_400))
        };
        let mut units = 0.0;
        let mut found = numbers(&follow(&table, search, |answer| units += answer.units).await);
        if order == Order::Descending {
            found.reverse();
        }
        assert_eq!(
            found,
            (0..2_000).step_by(2).collect::<Vec<_>>(),
            "{order:?} {limit}"
        );
        assert!((145.0..200.0).contains(&units), "{units}");
    }
    assert!(
        engine
            .sent()
            .iter()
            .all(|sent| sent.body.get("IndexName").is_none())
    );
    let narrow = Search {
        from: at(DAY + 10),
        condition: Some("!equals(n, 12)".parse().unwrap()),
        ..Search::session("even", at(DAY + 16))
    };
    assert_eq!(numbers(&follow(&table, narrow, |_| {}).await), [10, 14, 16]);
}

#[tokio::test]
async fn within_a_second_events_are_told_by_time_and_number() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let log = log(&table);
    for (n, ei, time) in [
        (2, 0, "10:00:00.300"),
        (0, 9, "10:00:00.100"),
        (1, 10, "10:00:00.1"),
        (3, 1, "10:00:01"),
    ] {
        let time = format!("2026-11-20T{time}Z");
        let event =
            json!({"event": "x", "code": "y", "sid": "s", "uid": uid(n), "n": n, "ei": ei, "time": time});
        log.emit(&event.to_string()).await.unwrap();
    }
    assert_eq!(numbers(&table.search(&all()).await.unwrap().events), [0, 1, 2, 3]);
    let back = Search {
        order: Order::Descending,
        ..all()
    };
    assert_eq!(numbers(&table.search(&back).await.unwrap().events), [3, 2, 1, 0]);
}

#[tokio::test]
async fn rows_that_are_no_events_hide_no_others() {
    let engine = Engine::new();
    let table = table(&engine).await;
    load(&engine, 3, 1, |_| json!({}));
    let put = |item: serde_json::Value| {
        let request = json!({"TableName": crate::TABLE, "Item": item});
        engine
            .database
            .put_item(serde_json::from_value(request).unwrap())
            .unwrap();
    };
    let keys = |id: &str| {
        json!({"SessionID": {"S": id}, "EventIndex": {"N": "0"}, "CreatedAt": {"N": (DAY + 1).to_string()},
            "CreatedAtDate": {"S": "2026-11-20"}})
    };
    let mut chunk = keys("CHUNK#0190");
    chunk["ChunkStatus"] = json!({"S": "OPEN"});
    put(chunk);
    let mut broken = keys("broken");
    broken["EventType"] = json!({"S": "x"});
    broken["FieldsMap"] = json!({"S": "no map"});
    put(broken);
    let answer = table.search(&all()).await.unwrap();
    assert_eq!((numbers(&answer.events), answer.unreadable), (vec![0, 1, 2], 1));
}

#[tokio::test]
async fn an_answer_ends_at_its_capacity_and_goes_on() {
    let engine = Engine::new();
    let table = table(&engine).await;
    load(&engine, 4_000, 1, |_| json!({"pad": {"S": "x".repeat(900)}}));
    let search = Search {
        condition: Some("equals(n, 3999)".parse().unwrap()),
        max_units: Some(130.0),
        limit: 5,
        ..all()
    };
    let mut answers = 0;
    let found = follow(&table, search, |answer| {
        answers += 1;
        assert!(answer.units <= 260.0, "{}", answer.units);
    });
    assert_eq!(numbers(&found.await), [3_999]);
    assert!(answers >= 3, "{answers}");
}

#[tokio::test]
async fn a_filter_that_few_pass_is_not_read_row_by_row() {
    let engine = Engine::new();
    let table = table(&engine).await;
    // Many at first, then none for long.
    load(&engine, 8_000, 1, |n| match n {
        n if n < 500 && n % 5 == 0 || n == 7_999 => json!({"event": {"S": "session.end"}}),
        _ => json!({}),
    });
    engine.sent();
    let search = Search {
        types: vec!["session.end".to_owned()],
        limit: 101,
        ..Search::new(at(DAY), at(DAY + 86_399))
    };
    let answer = table.search(&search).await.unwrap();
    assert_eq!(answer.events.len(), 101);
    let requests = engine.sent().len();
    assert!(requests <= 8, "{requests}");
}

#[tokio::test]
async fn a_time_that_is_no_whole_number_ends_a_search_instead_of_repeating_it() {
    let engine = Engine::new();
    let table = table(&engine).await;
    for n in 0..3 {
        let mut row = serde_json::to_value(crate::row(n, n, json!({}))).unwrap();
        row["CreatedAt"]["N"] = format!("{}.5", DAY + n).into();
        let request = json!({"TableName": crate::TABLE, "Item": row});
        let put = engine.database.put_item(serde_json::from_value(request).unwrap());
        put.unwrap();
    }
    let search = Search { limit: 1, ..all() };
    let error = table.search(&search).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongTable);
}

#[tokio::test]
async fn in_the_middle_of_a_page_such_a_row_is_left_out() {
    let engine = Engine::new();
    let table = table(&engine).await;
    load(&engine, 4, 1, |_| json!({}));
    let mut row = serde_json::to_value(crate::row(9, 1, json!({}))).unwrap();
    row["CreatedAt"]["N"] = format!("{}.5", DAY + 1).into();
    let request = json!({"TableName": crate::TABLE, "Item": row});
    let put = engine.database.put_item(serde_json::from_value(request).unwrap());
    put.unwrap();
    for order in [Order::Ascending, Order::Descending] {
        let search = Search {
            limit: 1,
            order,
            condition: Some("equals(code, \"T1000I\")".parse().unwrap()),
            ..all()
        };
        let mut unreadable = 0;
        let mut found = numbers(&follow(&table, search, |answer| unreadable += answer.unreadable).await);
        found.sort_unstable();
        assert_eq!((found, unreadable), (vec![0, 1, 2, 3], 1), "{order:?}");
    }
}
