//! Events of every size.

use serde_json::{Value, json};
use tidewatch::audit::log::{EmitError, MAX_ANSWER, Order, Outcome, Search};
use tidewatch::state::ErrorKind;

use crate::engine::Engine;
use crate::{all, event, follow, load, log, numbers, stored, table, uid};

#[tokio::test]
async fn an_item_of_the_very_size_is_stored_whole_and_a_larger_one_trimmed() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let log = log(&table);
    let sized = |n: u64, bytes: usize| {
        event(
            1,
            "db.query",
            json!({"uid": uid(n), "n": n, "query": "q".repeat(bytes)}),
        )
    };
    let length = |found: &[tidewatch::audit::log::Found], n: usize| {
        let json: Value = serde_json::from_str(&found[n].json).unwrap();
        json["query"].as_str().unwrap().to_owned()
    };
    // The engine is the judge of what an item's size is: the largest that is taken whole fills it, but for what its times
    // and its index might take more another time.
    const MORE: usize = 17;
    log.emit(&sized(4, 0)).await.unwrap();
    let empty: dynoxide::Item = serde_json::from_value(stored(&engine).remove(0)).unwrap();
    let room = 400 * 1024 - MORE - dynoxide::types::item_size(&empty);
    log.emit(&sized(1, room)).await.unwrap();
    log.emit(&sized(2, room + 1)).await.unwrap();
    log.emit(&sized(3, 3 << 20)).await.unwrap();
    let found = follow(&table, all(), |answer| {
        let bytes: usize = answer.events.iter().map(|event| event.json.len()).sum();
        assert!(bytes <= MAX_ANSWER || answer.events.len() == 1, "{bytes}");
    });
    let mut found = found.await;
    found.sort_by_key(|event| numbers(std::slice::from_ref(event)));
    assert!(length(&found, 0) == "q".repeat(room));
    assert!(length(&found, 1).contains(&format!("...[trimmed: {} bytes, sha256 ", room + 1)));
    assert!(length(&found, 2).contains("...[trimmed: 3145728 bytes, sha256 "));
    // A trimmed event is known when it comes again, and another one is not taken for it.
    assert_eq!(
        log.emit(&sized(3, 3 << 20)).await.unwrap().outcomes,
        [Outcome::Repeated]
    );
    let other = sized(3, 3 << 20).replace("qq\"", "qz\"");
    assert_eq!(log.emit(&other).await.unwrap().outcomes, [Outcome::Moved]);
    assert_eq!(log.emit(&other).await.unwrap().outcomes, [Outcome::Repeated]);
    // So with one that fits to the byte, but not with the longer index that it is moved to.
    let full = sized(1, room).replace("qq\"", "qz\"");
    assert_eq!(log.emit(&full).await.unwrap().outcomes, [Outcome::Moved]);
    assert_eq!(log.emit(&full).await.unwrap().outcomes, [Outcome::Repeated]);
}

#[tokio::test]
async fn what_cannot_be_trimmed_is_refused_by_name_and_without_contents() {
    let engine = Engine::new();
    let table = table(&engine).await;
    let numbers = vec![31_337; 300_000];
    let event = event(1, "x", json!({"uid": uid(1), "n": numbers, "s": "s3cr3t"}));
    let error = log(&table).emit(&event).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&uid(1)) && text.contains("of type x") && text.contains("409600"),
        "{text}"
    );
    assert!(!text.contains("31337") && !text.contains("s3cr3t"), "{text}");
    let EmitError::Failed { failed, .. } = error else {
        panic!("{text}")
    };
    assert_eq!(failed[0].kind(), ErrorKind::TooLarge);
    assert_eq!(engine.operations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_event_of_more_than_an_answer_is_answered_alone() {
    let engine = Engine::new();
    let table = table(&engine).await;
    // A control character takes one byte in the table and six in JSON: 2.1 MiB for each fifth event.
    load(&engine, 20, 1, |n| {
        let pad = if n % 5 == 2 {
            "\u{1}".repeat(370_000)
        } else {
            "x".repeat(1_000)
        };
        json!({"pad": {"S": pad}})
    });
    for order in [Order::Ascending, Order::Descending] {
        let mut alone = 0;
        let found = follow(&table, Search { order, ..all() }, |answer| {
            let bytes: usize = answer.events.iter().map(|event| event.json.len()).sum();
            alone += usize::from(bytes > MAX_ANSWER);
            assert!(bytes <= MAX_ANSWER || answer.events.len() == 1, "{bytes}");
        });
        let mut found = numbers(&found.await);
        found.sort_unstable();
        assert_eq!((found, alone), ((0..20).collect::<Vec<_>>(), 4));
    }
}

#[tokio::test]
async fn answers_break_at_one_mebibyte() {
    let engine = Engine::new();
    let table = table(&engine).await;
    load(&engine, 50, 1, |_| json!({"pad": {"S": "x".repeat(50_000)}}));
    let mut answers = 0;
    let found = follow(&table, all(), |answer| {
        answers += 1;
        assert!(answer.events.len() <= 20);
    });
    assert_eq!(numbers(&found.await), (0..50).collect::<Vec<_>>());
    assert_eq!(answers, 3);
}

#[tokio::test]
async fn what_is_cut_is_the_same_whatever_the_retention_and_a_refusal_is_cut_further() {
    let (one, other) = (Engine::new(), Engine::new());
    let (kept, client) = (table(&one).await, other.client());
    let (clock, random) = (kept.clock().clone(), tidewatch::random::Random::seeded(1));
    let forever =
        tidewatch::audit::log::Dynamo::open(&client, crate::TABLE, std::time::Duration::ZERO, clock, random);
    let forever = forever.await.unwrap();
    let large = event(1, "x", json!({"uid": uid(1), "pad": "x".repeat(500_000)}));
    log(&kept).emit(&large).await.unwrap();
    log(&forever).emit(&large).await.unwrap();
    let pad = |engine: &Engine, n: usize| stored(engine)[n]["FieldsMap"]["M"]["pad"]["S"].clone();
    assert_eq!(pad(&one, 0), pad(&other, 0));
    // An engine that counts otherwise.
    let third = Engine::new();
    let strict = log(&table(&third).await);
    third.fates(
        "PutItem",
        [crate::engine::refusal("ItemCollectionSizeLimitExceededException")],
    );
    assert_eq!(strict.emit(&large).await.unwrap().outcomes, [Outcome::Stored]);
    let (before, after) = (pad(&one, 0), pad(&third, 0));
    assert_eq!(
        before.as_str().unwrap().len() - after.as_str().unwrap().len(),
        4096
    );
}
