//! What becomes of an event: filled, stored once, never in another's place.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidewatch::audit::log::{EmitError, Log, Outcome};
use tidewatch::random::Random;

use crate::engine::Engine;
use crate::{DAY, all, event, log, stored, table, uid};

#[tokio::test]
async fn the_envelope_is_filled() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let emitted = log(&table)
        .emit(r#"{"event":"user.login","code":"T1000I"}"#)
        .await
        .unwrap();
    let [row] = &stored(&engine)[..] else { panic!() };
    let fields = &row["FieldsMap"]["M"];
    assert_eq!(fields["uid"]["S"], emitted.uid.as_str());
    assert_eq!(row["SessionID"]["S"], emitted.uid.as_str());
    // The clock stands at a whole second: Go writes no zeros behind it.
    assert_eq!(fields["time"]["S"], "2026-11-21T12:00:00Z");
    assert_eq!(
        (&fields["ei"]["N"], &row["EventIndex"]["N"]),
        (&json!("0"), &json!("0"))
    );
    assert_eq!(row["CreatedAtDate"]["S"], "2026-11-21");
    assert_eq!(row["Expires"]["N"], (DAY + 36 * 3600 + 365 * 86_400).to_string());
    table.clock().advance(Duration::from_micros(1_234_567));
    let later = log(&table)
        .emit(r#"{"event":"x","code":"y","sid":"s","time":"0001-01-01T00:00:00Z"}"#)
        .await;
    later.unwrap();
    let row = stored(&engine)
        .into_iter()
        .find(|row| row["SessionID"]["S"] == "s")
        .unwrap();
    assert_eq!(row["FieldsMap"]["M"]["time"]["S"], "2026-11-21T12:00:01.234Z");
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_nothing_is_sent() {
    let engine = Engine::new();
    let log = log(&table(&engine).await);
    for (event, says) in [
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        (
            r#"{"code":"x","secret":"s3cr3t"}"#,
            "missing mandatory event type field",
        ),
        (
            r#"{"event":"x","secret":"s3cr3t"}"#,
            "missing mandatory event code field in an event of type x",
        ),
        (
            r#"{"event":"x","code":"y","ei":1.5}"#,
            "its ei is no whole number",
        ),
        (
            r#"{"event":"x","code":"y","time":"s3cr3t"}"#,
            "its time is not in the form of RFC 3339",
        ),
        (r#"{"event":"x","code":"y","n":1e999}"#, "keep exactly"),
        (r#"{"event":"x","code":"y","a":{"":1}}"#, "an empty key"),
        (
            r#"{"event":"x","code":"y","sid":"CHUNK#1"}"#,
            "begins with CHUNK#",
        ),
        (
            r#"{"event":"x","code":"y","uid":"CHUNK#1"}"#,
            "begins with CHUNK#",
        ),
    ] {
        let error = log.emit(event).await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, EmitError::Refused(_)) && text.contains(says),
            "{event}: {text}"
        );
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    assert_eq!(engine.operations(), Vec::<String>::new());
    // Types of a recording need no code.
    let emitted = log.emit(r#"{"event":"print","sid":"s","ei":3}"#).await.unwrap();
    assert_eq!(emitted.uid, "");
}

#[tokio::test]
async fn a_redelivery_is_dropped_also_of_an_event_that_was_moved() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let log = log(&table);
    let first = event(1, "session.command", json!({"sid": "s", "uid": uid(1), "n": 1}));
    let other = event(1, "session.command", json!({"sid": "s", "uid": uid(2), "n": 2}));
    let mut outcomes = Vec::new();
    for event in [&first, &other, &first, &other, &other] {
        outcomes.extend(log.emit(event).await.unwrap().outcomes);
    }
    use Outcome::{Moved, Repeated, Stored};
    assert_eq!(outcomes, [Stored, Moved, Repeated, Repeated, Repeated]);
    let rows = stored(&engine);
    assert_eq!(rows.len(), 2);
    let moved = rows.iter().find(|row| row["EventIndex"]["N"] != "0").unwrap();
    // Session and payload stay, `ei` included; the index is of 62 bits and made from the payload.
    assert_eq!(moved["SessionID"]["S"], "s");
    assert_eq!(moved["FieldsMap"]["M"]["ei"]["N"], "0");
    let index: u64 = moved["EventIndex"]["N"].as_str().unwrap().parse().unwrap();
    assert!((1 << 50..1 << 62).contains(&index), "{index}");
    // By another process with another clock and other randomness, it is the same.
    let again = Engine::new();
    let elsewhere = crate::table(&again).await;
    elsewhere.clock().advance(Duration::from_secs(77));
    let elsewhere = Log::new([elsewhere.into()], table.clock().clone(), Random::seeded(99));
    for event in [&first, &other] {
        elsewhere.emit(event).await.unwrap();
    }
    let there: BTreeSet<String> = stored(&again)
        .iter()
        .map(|row| row["EventIndex"].to_string())
        .collect();
    let here: BTreeSet<String> = rows.iter().map(|row| row["EventIndex"].to_string()).collect();
    assert_eq!(here, there);
}

#[tokio::test]
async fn twenty_at_once_with_one_id_are_all_kept() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let log = log(&table);
    let events: Vec<String> = (0..20)
        .map(|n| {
            event(
                1,
                "session.command",
                json!({"sid": "s", "uid": uid(7), "ei": 4, "n": n}),
            )
        })
        .collect();
    let outcomes = join_all(events.iter().chain(&events).map(|event| log.emit(event))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let mut found = crate::numbers(&table.search(&all()).await.unwrap().events);
    found.sort_unstable();
    assert_eq!(found, (0..20).collect::<Vec<_>>());
    // So by one call for all, and nothing is stored twice.
    let again = log.emit_all(events.iter().map(String::as_str)).await;
    assert!(
        again
            .into_iter()
            .all(|one| one.unwrap().outcomes == [Outcome::Repeated])
    );
    assert_eq!(stored(&engine).len(), 20);
}

#[tokio::test]
async fn an_event_without_session_or_uid_is_known_when_it_comes_again() {
    let engine = Engine::new();
    let log = log(&table(&engine).await);
    for (id, more) in [
        (Some(uid(1)), json!({"uid": uid(1)})),
        (Some(uid(2)), json!({"uid": uid(2), "sid": ""})),
        (None, json!({"uid": "", "sid": "", "n": 1})),
        (None, json!({"n": 2})),
        (None, json!({"uid": null, "sid": "s", "n": 3})),
    ] {
        let event = event(5, "user.login", more);
        let first = log.emit(&event).await.unwrap();
        let again = log.emit(&event).await.unwrap();
        assert_eq!(first.uid, again.uid);
        assert_eq!(
            (first.outcomes, again.outcomes),
            (vec![Outcome::Stored], vec![Outcome::Repeated])
        );
        assert!(id.is_none_or(|id| id == first.uid));
    }
    assert_eq!(stored(&engine).len(), 5);
    let keys: BTreeSet<String> = stored(&engine)
        .iter()
        .map(|row| row["SessionID"].to_string())
        .collect();
    assert!(keys.contains(&format!("{{\"S\":\"{}\"}}", uid(2))), "{keys:?}");
}

#[tokio::test]
async fn numbers_stay_what_they_are() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let text = r#"{"event":"x","code":"y","uid":"u","sid":"s","time":"2026-11-20T10:00:00Z","ei":1795170931001234567,"big":12345678901234567890123456789012345678,"frac":0.10,"exp":2.5e3,"neg":-0}"#;
    log(&table).emit(text).await.unwrap();
    let [found] = &table.search(&all()).await.unwrap().events[..] else {
        panic!()
    };
    assert_eq!(found.event_index, "1795170931001234567");
    assert_eq!(
        found.json,
        r#"{"big":12345678901234567890123456789012345678,"code":"y","ei":1795170931001234567,"event":"x","exp":2500,"frac":0.1,"neg":0,"sid":"s","time":"2026-11-20T10:00:00Z","uid":"u"}"#
    );
    // What DynamoDB wrote otherwise than it was said is still the same event.
    assert_eq!(
        log(&table).emit(text).await.unwrap().outcomes,
        [Outcome::Repeated]
    );
}

#[tokio::test]
async fn without_conflict_check_the_last_one_stays() {
    let engine = Engine::new();
    let table = table(&engine).await.without_conflict_check();
    let log = log(&table);
    for n in 0..2 {
        log.emit(&event(1, "x", json!({"sid": "s", "n": n})))
            .await
            .unwrap();
    }
    let [row] = &stored(&engine)[..] else { panic!() };
    assert_eq!(row["FieldsMap"]["M"]["n"], json!({"N": "1"}));
    let put = engine
        .sent()
        .into_iter()
        .find(|sent| sent.operation == "PutItem")
        .unwrap();
    assert_eq!(put.body.get("ConditionExpression"), None::<&Value>);
}
