//! The pipeline: what is delivered, quarantined and answered, with sinks that fail in every way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

#[cfg(all(feature = "s3", feature = "dynamodb"))]
#[path = "state/engine.rs"]
#[allow(dead_code)]
mod engine;
#[path = "forward/handed.rs"]
mod handed;
#[path = "forward/records.rs"]
mod records;
#[path = "forward/spool.rs"]
mod spool;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
#[path = "support/store.rs"]
mod store;
mod support;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
#[path = "forward/unusable.rs"]
mod unusable;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
#[path = "forward/versions.rs"]
mod versions;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Behaviour, Setup, event_line, insert, payload};
use tidewatch::forward::HandleError;

const POISON: &str = r#"{"eventID":"bad","eventName":"INSERT","dynamodb":{"SequenceNumber":"%N%","NewImage":{"SessionID":{"S":"s"},"EventIndex":{"N":"1"},"EventType":{"S":"x"},"FieldsMap":{"S":"no map"}}}}"#;

fn poison(number: u32) -> String {
    POISON.replace("%N%", &number.to_string())
}

#[tokio::test(start_paused = true)]
async fn events_are_delivered_in_order_and_all_is_answered() {
    let setup = Setup::new().await;
    let batch: Vec<String> = (1..=5).map(|n| insert("s", n, n)).collect();
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.first_failed, None);
    assert_eq!(
        setup.lines("a"),
        (1..=5).map(|n| event_line("s", n)).collect::<Vec<_>>()
    );
    assert_eq!(
        (
            handled.report.records_in,
            handled.report.delivered,
            handled.report.retried
        ),
        (5, 5, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn poison_is_quarantined_wherever_it_stands() {
    for poisoned in [vec![1], vec![3], vec![5], vec![1, 2, 3, 4, 5]] {
        let setup = Setup::new().await;
        let batch: Vec<String> = (1..=5)
            .map(|n| {
                if poisoned.contains(&n) {
                    poison(n)
                } else {
                    insert("s", n, n)
                }
            })
            .collect();
        let handled = setup.handle(&payload(&batch)).await.unwrap();
        assert_eq!(handled.first_failed, None, "{poisoned:?}");
        let good: Vec<String> = (1..=5)
            .filter(|n| !poisoned.contains(n))
            .map(|n| event_line("s", n))
            .collect();
        assert_eq!(setup.lines("a"), good, "{poisoned:?}");
        let quarantined = setup.quarantined();
        let numbers: Vec<&str> = quarantined
            .iter()
            .map(|line| line["sequence_number"].as_str().unwrap())
            .collect();
        assert_eq!(
            numbers,
            poisoned.iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        for (line, n) in quarantined.iter().zip(&poisoned) {
            assert_eq!(line["kind"], "malformed");
            let reason = line["reason"].as_str().unwrap();
            assert!(
                reason.contains("dynamodb.NewImage.FieldsMap") || reason.contains("NewImage.FieldsMap"),
                "{reason}"
            );
            assert_eq!(
                line["record"],
                serde_json::from_str::<serde_json::Value>(&poison(*n)).unwrap()
            );
        }
        assert_eq!(handled.report.quarantined, poisoned.len());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_first_failure_and_the_answer_names_it() {
    let setup = Setup::new().await;
    // The sink takes two records of each call, and fails after three.
    setup.fake("a").set(Behaviour::FailAfter(3));
    let batch: Vec<String> = (1..=5).map(|n| insert("s", n, n)).collect();
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("4"));
    assert_eq!(
        setup.lines("a"),
        (1..=3).map(|n| event_line("s", n)).collect::<Vec<_>>()
    );
    assert_eq!((handled.report.delivered, handled.report.retried), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_down_neither_stops_nor_repeats_the_others() {
    let setup = Setup::with(&["a", "b"]).await;
    setup.fake("a").set(Behaviour::Fail);
    let batch: Vec<String> = (1..=3).map(|n| insert("s", n, n)).collect();
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("1"));
    assert_eq!(setup.lines("b").len(), 3);
    setup.fake("a").set(Behaviour::Work);
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!((handled.first_failed, handled.report.repeats), (None, 3));
    assert_eq!(setup.lines("a").len(), 3);
    assert_eq!(setup.lines("b").len(), 3);
}

/// The answer names the lowest record over all sinks, whichever sink it is of.
#[tokio::test(start_paused = true)]
async fn of_two_failing_sinks_the_one_that_is_further_behind_is_answered() {
    for (a, b) in [(3, 1), (1, 3)] {
        let setup = Setup::with(&["a", "b"]).await;
        setup.fake("a").set(Behaviour::FailAfter(a));
        setup.fake("b").set(Behaviour::FailAfter(b));
        let batch: Vec<String> = (1..=5).map(|n| insert("s", n, n)).collect();
        let handled = setup.handle(&payload(&batch)).await.unwrap();
        assert_eq!(handled.first_failed.as_deref(), Some("2"), "{a} {b}");
        assert_eq!((handled.report.delivered, handled.report.retried), (1, 4));
    }
}

/// A count that cannot be true is a failure: nothing counts as delivered for it.
#[tokio::test(start_paused = true)]
async fn a_sink_that_tells_an_impossible_count_is_not_believed() {
    for count in [0, 3] {
        let setup = Setup::new().await;
        setup.fake("a").set(Behaviour::Claim(count));
        let batch = [insert("s", 1, 1), insert("s", 2, 2)];
        let handled = setup.handle(&payload(&batch)).await.unwrap();
        assert_eq!(handled.first_failed.as_deref(), Some("1"), "{count}");
        let report = &handled.report.sinks["a"];
        assert!(report.error.as_deref().unwrap().contains("count"), "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_sink_is_given_up_in_time_for_the_deadline() {
    let setup = Setup::new().await;
    setup.fake("a").set(Behaviour::Hang);
    let begun = tokio::time::Instant::now();
    let handled = setup.handle(&payload(&[insert("s", 1, 1)])).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("1"));
    let took = begun.elapsed();
    // 300 s less the margin of 30 s, and no try of 10 s that could not end.
    assert!(
        took > Duration::from_secs(240) && took <= Duration::from_secs(270),
        "{took:?}"
    );
    assert!(setup.fake("a").calls.load(Ordering::Relaxed) > 10);
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_waited_out_inside_the_invocation() {
    let setup = Setup::new().await;
    setup.fake("a").set(Behaviour::FailTimes(7));
    let handled = setup.handle(&payload(&[insert("s", 1, 1)])).await.unwrap();
    assert_eq!(handled.first_failed, None);
    assert_eq!(handled.report.sinks["a"].failures, 7);
    assert_eq!(setup.lines("a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_and_its_record_quarantined() {
    let setup = Setup::new().await;
    setup.fake("a").set(Behaviour::PanicOn("\"ei\":2"));
    let batch: Vec<String> = (1..=3).map(|n| insert("s", n, n)).collect();
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.first_failed, None);
    assert_eq!(setup.lines("a"), [event_line("s", 1), event_line("s", 3)]);
    let quarantined = setup.quarantined();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0]["kind"], "panic");
    assert_eq!(quarantined[0]["sink"], "a");
    assert_eq!(quarantined[0]["sequence_number"], "2");
    assert_eq!(quarantined[0]["event_id"], "e2");
    assert_eq!(quarantined[0]["record"]["dynamodb"]["SequenceNumber"], "2");
    assert_eq!((handled.report.delivered, handled.report.quarantined), (2, 1));
}

/// A record that makes the sink panic is not passed over before its quarantine is written.
#[tokio::test(start_paused = true)]
async fn a_panic_that_cannot_be_quarantined_is_sent_again() {
    let setup = Setup::new().await;
    setup.fake("a").set(Behaviour::PanicOn("\"ei\":2"));
    setup.break_quarantine();
    let batch: Vec<String> = (1..=3).map(|n| insert("s", n, n)).collect();
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("2"));
    assert_eq!(setup.lines("a"), [event_line("s", 1)]);
    assert_eq!((handled.report.quarantined, handled.report.retried), (0, 2));
}

/// A line a record, whatever way the record was written; the object is named after the first number there is.
#[tokio::test(start_paused = true)]
async fn a_record_of_several_lines_is_quarantined_on_one() {
    let setup = Setup::new().await;
    let unnamed = poison(1).replace(r#""SequenceNumber":"1","#, r#""SequenceNumber":"","#);
    let spread = poison(2).replace("{\"", "{\r\n\"");
    let good = insert("s", 3, 3).replace(r#""SequenceNumber":"3","#, r#""SequenceNumber":"","#);
    let handled = setup.handle(&payload(&[unnamed, spread, good])).await.unwrap();
    assert_eq!((handled.first_failed, handled.report.quarantined), (None, 3));
    let quarantined = setup.quarantined();
    let numbers: Vec<Option<&str>> = quarantined
        .iter()
        .map(|line| line["sequence_number"].as_str())
        .collect();
    assert_eq!(numbers, [None, Some("2"), None]);
    assert_eq!(quarantined[2]["kind"], "no_sequence_number");
    let names = std::fs::read_dir(setup.dir.path().join("quarantine")).unwrap();
    let named = format!("{:0>40}-", 2);
    assert!(
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .any(|name| name.starts_with(&named))
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_quarantine_only_what_precedes_the_poison_is_delivered() {
    let setup = Setup::new().await;
    setup.break_quarantine();
    let batch = [
        insert("s", 1, 1),
        poison(2),
        insert("s", 3, 3),
        insert("other", 1, 4),
    ];
    let begun = tokio::time::Instant::now();
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("2"));
    assert_eq!(setup.lines("a"), [event_line("s", 1)]);
    // Half of the time is kept for what precedes the poison; poison that comes first has all of it.
    assert!(
        begun.elapsed() < Duration::from_secs(140),
        "{:?}",
        begun.elapsed()
    );
    let begun = tokio::time::Instant::now();
    let handled = setup
        .handle(&payload(&[poison(2), insert("s", 3, 3)]))
        .await
        .unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("2"));
    assert!(
        begun.elapsed() > Duration::from_secs(260),
        "{:?}",
        begun.elapsed()
    );
    // A record that cannot be named fails the invocation, and nothing is delivered.
    let unnamed = insert("s", 9, 9).replace(r#""SequenceNumber":"9","#, "");
    let failed = setup.handle(&payload(&[insert("s", 5, 5), unnamed])).await;
    assert!(matches!(failed, Err(HandleError::Unreportable(_))), "{failed:?}");
    assert_eq!(setup.lines("a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_try_longer_than_half_the_time_is_refused() {
    let setup = Setup::new().await;
    let failed = setup
        .handle_within(&payload(&[insert("s", 1, 1)]), Duration::from_secs(18))
        .await;
    assert!(
        matches!(failed, Err(HandleError::TimeoutTooLong { .. })),
        "{failed:?}"
    );
    // Of 20 s a second may be gone when the batch is handed over; a try is made all the same.
    let handled = setup
        .handle_within(&payload(&[insert("s", 1, 1)]), Duration::from_secs(19))
        .await;
    assert_eq!(handled.unwrap().report.delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_refused_whole() {
    let setup = Setup::new().await;
    for payload in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"Records":{}}"#,
        r#"{"Records":"x"}"#,
        r#"{"Records":[}"#,
        r#"{"Records":[]} x"#,
        r#"{"Records":[],"Records":[]}"#,
    ] {
        let failed = setup.handle(payload).await;
        assert!(
            matches!(failed, Err(HandleError::NotAnEvent)),
            "{payload}: {failed:?}"
        );
    }
    assert_eq!(
        setup.handle(r#"{"Records":[]}"#).await.unwrap().first_failed,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn repeats_within_a_batch_go_out_once() {
    let setup = Setup::new().await;
    let batch = [insert("s", 1, 1), insert("s", 1, 2), insert("s", 2, 3)];
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(setup.lines("a"), [event_line("s", 1), event_line("s", 2)]);
    assert_eq!((handled.report.delivered, handled.report.repeats), (3, 1));
}

/// The lag is that of the record that waited longest.
#[tokio::test(start_paused = true)]
async fn the_lag_is_the_oldest_records() {
    let setup = Setup::new().await;
    let batch = [
        insert("s", 1, 1).replace("1795168801.25", "1763632850"),
        insert("s", 2, 2).replace("1795168802.25", "1763632800"),
        insert("s", 3, 3).replace("1795168803.25", "1763632855"),
    ];
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.report.lag, Some(Duration::from_secs(60)));
}

#[tokio::test(start_paused = true)]
async fn a_zombie_of_the_file_sink_neither_doubles_nor_reorders() {
    let setup = Setup::file().await;
    let batch: Vec<String> = (1..=50).map(|n| insert("s", n, n)).collect();
    let all = payload(&batch);
    let recut = payload(&batch[..20]);
    let (zombie, whole, again) = tokio::join!(setup.handle(&all), setup.handle(&recut), setup.handle(&all));
    for handled in [zombie, whole, again] {
        assert_eq!(handled.unwrap().first_failed, None);
    }
    assert_eq!(
        setup.lines("a"),
        (1..=50).map(|n| event_line("s", n)).collect::<Vec<_>>()
    );
}
