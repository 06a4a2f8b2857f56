//! The pipeline: what is delivered, quarantined and answered, with sinks that fail in every way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Behaviour, Setup, event_line, insert, payload};
use tidewatch::forward::{HandleError, Skip};

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
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("2"));
    assert_eq!(setup.lines("a"), [event_line("s", 1)]);
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

#[tokio::test(start_paused = true)]
async fn modify_is_delivered_only_if_the_event_changed() {
    let image = |fields: &str, created: u64| {
        format!(
            r#"{{"SessionID":{{"S":"s"}},"EventIndex":{{"N":"1"}},"EventType":{{"S":"x"}},"CreatedAt":{{"N":"{created}"}}{fields}}}"#
        )
    };
    let map = |uid: &str, extra: &str| {
        format!(
            r#","FieldsMap":{{"M":{{"uid":{{"S":"{uid}"}},"time":{{"S":"2026-11-20T10:00:00Z"}},"code":{{"S":"T1"}}{extra}}}}}"#
        )
    };
    let legacy =
        r#","Fields":{"S":"{\"uid\":\"u\",\"time\":\"2026-11-20T10:00:00Z\",\"code\":\"T1\",\"n\":1.50}"}"#;
    let modify = |new: &str, old: Option<String>, number: u32, created: u64| {
        let old = old.map(|old| format!(r#","OldImage":{old}"#)).unwrap_or_default();
        format!(
            r#"{{"eventID":"e{number}","eventName":"MODIFY","dynamodb":{{"ApproximateCreationDateTime":{created},"SequenceNumber":"{number}","NewImage":{new}{old}}}}}"#
        )
    };
    let now = 1_763_632_800;
    let base = image(&map("u", ""), now);
    let cases = [
        (
            "same payload",
            modify(&base, Some(base.clone()), 1, now),
            Some(Skip::Unchanged),
        ),
        (
            "payload differs",
            modify(&base, Some(image(&map("u", r#","a":{"N":"1"}"#), now)), 2, now),
            None,
        ),
        (
            "legacy copy",
            modify(&base, Some(image(legacy, now)), 3, now),
            Some(Skip::Unchanged),
        ),
        (
            "legacy of another event",
            modify(&image(&map("v", ""), now), Some(image(legacy, now)), 4, now),
            None,
        ),
        (
            "old without payload",
            modify(&base, Some(image("", now)), 5, now),
            None,
        ),
        (
            "old unreadable",
            modify(&base, Some(image(r#","FieldsMap":{"S":"?"}"#, now)), 6, now),
            None,
        ),
        (
            "null for an old image",
            modify(&base, Some("null".to_owned()), 9, now + 3601),
            Some(Skip::ModifyUnproven),
        ),
        ("no old image, recent", modify(&base, None, 7, now + 3600), None),
        (
            "no old image, old event",
            modify(&base, None, 8, now + 3601),
            Some(Skip::ModifyUnproven),
        ),
    ];
    for (name, record, expected) in cases {
        let setup = Setup::new().await;
        let handled = setup.handle(&payload(&[record])).await.unwrap();
        assert_eq!(handled.report.skipped.keys().next().copied(), expected, "{name}");
        assert_eq!(
            handled.report.delivered,
            usize::from(expected.is_none()),
            "{name}"
        );
        assert_eq!(handled.report.quarantined, 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_envelope_tells_what_the_row_knows_better() {
    let setup = Setup::formatted("envelope").await;
    let record = insert("s", 7, 7).replace(
        r#""EventIndex":{"N":"7"}"#,
        r#""EventIndex":{"N":"1795170931001234567"}"#,
    );
    setup.handle(&payload(&[record])).await.unwrap();
    let line = setup.lines("a").remove(0);
    assert!(line.contains(r#""event_index":1795170931001234567,"#), "{line}");
    assert!(
        line.ends_with(&format!(r#""event":{}}}"#, event_line("s", 7))),
        "{line}"
    );
    let envelope: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(envelope["sequence_number"], "7");
    assert_eq!(envelope["event_id"], "e7");
    assert_eq!(envelope["session_id"], "s");
    assert_eq!(envelope["created"], "2026-11-20T10:00:07.250Z");
    assert!(envelope["id"].as_str().unwrap().starts_with("uid-s-7:"));
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

/// Milliseconds taken for seconds, a time that only some zones have, years of five digits: none of it stops an event.
#[tokio::test(start_paused = true)]
async fn absurd_times_are_none_and_stop_nothing() {
    for absurd in [
        "1795168800000",
        "1e300",
        "-5",
        "0",
        "253402300800",
        "\"soon\"",
        "null",
        "[1]",
        "{}",
    ] {
        let setup = Setup::formatted("envelope").await;
        let record = insert("s", 1, 1).replace("1795168801.25", absurd);
        let record = record.replace("2026-11-20T10:00:00Z", "9999-12-31T23:59:59-12:00");
        let handled = setup.handle(&payload(&[record])).await.unwrap();
        assert_eq!(
            (handled.report.delivered, handled.report.lag),
            (1, None),
            "{absurd}"
        );
        assert!(!setup.lines("a")[0].contains("created"), "{absurd}");
    }
}
