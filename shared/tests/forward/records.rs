//! What becomes of records: which are events, and what is told of them.

use tidewatch::forward::Skip;

use super::support::{Setup, event_line, insert, payload};

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
        (
            "an old image without keys is none",
            modify(&base, Some("{}".to_owned()), 10, now + 3601),
            Some(Skip::ModifyUnproven),
        ),
        (
            "no old image, the event an hour after the record",
            modify(&image(&map("u", ""), now + 3600), None, 11, now),
            None,
        ),
        (
            "no old image, the event later than that",
            modify(&image(&map("u", ""), now + 3601), None, 12, now),
            Some(Skip::ModifyUnproven),
        ),
        (
            "no old image and no creation time: the batch's arrival stands in",
            modify(&base, None, 13, now).replace(&format!(r#""ApproximateCreationDateTime":{now},"#), ""),
            None,
        ),
        (
            "legacy copy, neither with a uid",
            modify(
                &image(&map("u", "").replace("uid", "id"), now),
                Some(image(&legacy.replace("uid", "id"), now)),
                14,
                now,
            ),
            None,
        ),
        (
            "legacy copy, another code",
            modify(&base, Some(image(&legacy.replace("T1", "T2"), now)), 15, now),
            None,
        ),
        (
            "legacy copy, another time",
            modify(
                &base,
                Some(image(&legacy.replace("10:00:00", "10:00:01"), now)),
                16,
                now,
            ),
            None,
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
    let setup = Setup::configured("modify_unproven: forward").await;
    let unproven = modify(&base, None, 8, now + 3601);
    assert_eq!(
        setup
            .handle(&payload(&[unproven]))
            .await
            .unwrap()
            .report
            .delivered,
        1
    );
}

/// What is no write is never poison: there is nothing of it to lose.
#[tokio::test(start_paused = true)]
async fn a_removal_is_skipped_whatever_it_holds() {
    let setup = Setup::new().await;
    let remove = r#"{"eventID":"e","eventName":"REMOVE","dynamodb":{"OldImage":{"SessionID":{"N":"?"}}}}"#;
    let unnamed = r#"{"eventName":"REMOVE","dynamodb":{}}"#;
    let batch = [remove.to_owned(), unnamed.to_owned()];
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!(handled.report.skipped.get(&Skip::NotAWrite), Some(&2));
    assert_eq!(setup.quarantined().len(), 0);
}

/// Two events without a uid may be alike to the last byte; their keys tell them apart.
#[tokio::test(start_paused = true)]
async fn equal_payloads_of_two_rows_are_two_events() {
    let setup = Setup::new().await;
    let without_uid = |index, number| {
        insert("s", index, number)
            .replace(r#""uid":{"S":"uid-s-1"},"#, r#""uid":{"S":""},"#)
            .replace(r#""uid":{"S":"uid-s-2"},"#, r#""uid":{"S":""},"#)
            .replace(r#""ei":{"N":"2"}"#, r#""ei":{"N":"1"}"#)
    };
    let batch = [without_uid(1, 1), without_uid(2, 2)];
    let handled = setup.handle(&payload(&batch)).await.unwrap();
    assert_eq!((handled.report.delivered, handled.report.repeats), (2, 0));
    let lines = setup.lines("a");
    assert!(lines.len() == 2 && lines[0] == lines[1], "{lines:?}");
}

/// The day is the event's `time`, else the row's `CreatedAt`, else the record's creation time.
#[tokio::test(start_paused = true)]
async fn the_day_is_the_events_the_rows_or_the_records() {
    let no_time = |record: String| record.replace(r#","time":{"S":"2026-11-20T10:00:00Z"}"#, "");
    let no_row_time =
        |record: String, at: &str| record.replace(&format!(r#""CreatedAt":{{"N":"{at}"}},"#), "");
    for (record, day) in [
        (
            insert("s", 1, 1).replace("2026-11-20T10:00:00Z", "2026-11-19T22:30:00-03:00"),
            "2026-11-20",
        ),
        (
            no_time(insert("s", 1, 1)).replace(r#""N":"1795168801""#, r#""N":"1795000000""#),
            "2026-11-18",
        ),
        (
            no_row_time(no_time(insert("s", 1, 1)), "1795168801").replace("1795168801.25", "1794900000"),
            "2026-11-17",
        ),
    ] {
        let setup = Setup::file().await;
        let handled = setup.handle(&payload(&[record])).await.unwrap();
        assert_eq!(handled.report.delivered, 1, "{day}");
        let path = setup.dir.path().join("a").join(format!("{day}.ndjson"));
        assert!(path.exists(), "{day}");
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
    assert_eq!(envelope["event_type"], "session.command");
    assert_eq!(envelope["origin"], "stream");
}

/// What a float adds to a time of milliseconds is no part of it; the type may stand in the payload alone; a uid is told
/// as it is without escapes.
#[tokio::test(start_paused = true)]
async fn the_envelope_tells_what_the_record_says_exactly() {
    let setup = Setup::formatted("envelope").await;
    let record = insert("s", 1, 1)
        .replace("1795168801.25", "1795168801.1")
        .replace(r#""EventType":{"S":"session.command"},"#, "")
        .replace("uid-s-1", r#"a \"uid\""#);
    setup.handle(&payload(&[record])).await.unwrap();
    let envelope: serde_json::Value = serde_json::from_str(&setup.lines("a")[0]).unwrap();
    assert_eq!(envelope["created"], "2026-11-20T10:00:01.100Z");
    assert_eq!(envelope["event_type"], "session.command");
    let id = envelope["id"].as_str().unwrap();
    assert!(id.starts_with(r#"a "uid":"#), "{id}");
}

/// An old image that cannot be read leaves nothing behind in the reading of the new one.
#[tokio::test(start_paused = true)]
async fn an_event_has_its_id_beside_an_unreadable_old_image() {
    let setup = Setup::formatted("envelope").await;
    let old =
        r#""OldImage":{"SessionID":{"S":"s"},"FieldsMap":{"M":{"a":{"M":{"b":{"Q":"?"}}}}}},"NewImage""#;
    let record = insert("s", 1, 1)
        .replace("INSERT", "MODIFY")
        .replace(r#""NewImage""#, old);
    setup.handle(&payload(&[record])).await.unwrap();
    let envelope: serde_json::Value = serde_json::from_str(&setup.lines("a")[0]).unwrap();
    let id = envelope["id"].as_str().unwrap();
    assert!(id.starts_with("uid-s-1:"), "{id}");
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
