//! Connections that break and tables without capacity.

use std::time::Duration;

use serde_json::json;
use tidewatch::audit::log::{Dynamo, EmitError, Log, Outcome};
use tidewatch::clock::Clock;
use tidewatch::state::ErrorKind;

use crate::engine::{Engine, Fate, refusal};
use crate::{all, event, load, log, numbers, simulated, stored, uid};

async fn logged(engine: &Engine) -> (Dynamo, Log) {
    let table = simulated(engine).await;
    let log = log(&table);
    (table, log)
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_and_the_event_stored_once() {
    let engine = Engine::new();
    let (_, log) = logged(&engine).await;
    let first = event(1, "x", json!({"sid": "s", "uid": uid(1), "n": 1}));
    let other = event(1, "x", json!({"sid": "s", "uid": uid(2), "n": 2}));
    engine.fates("PutItem", [Fate::AnswerLost, Fate::Dropped]);
    assert_eq!(log.emit(&first).await.unwrap().outcomes, [Outcome::Stored]);
    // Refused, then lost under its second index.
    engine.fates("PutItem", [Fate::Served, Fate::AnswerLost, Fate::AnswerLost]);
    assert_eq!(log.emit(&other).await.unwrap().outcomes, [Outcome::Moved]);
    assert_eq!(stored(&engine).len(), 2);
    let puts = engine
        .operations()
        .into_iter()
        .filter(|operation| operation == "PutItem")
        .count();
    assert_eq!(puts, 3 + 4);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_arrives_late_stores_nothing_twice() {
    let engine = Engine::new();
    let (_, log) = logged(&engine).await;
    engine.fates("PutItem", [Fate::Late(Duration::from_secs(60))]);
    log.emit(&event(1, "x", json!({"uid": uid(1)}))).await.unwrap();
    Clock::system().sleep(Duration::from_secs(120)).await;
    assert_eq!(stored(&engine).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out_and_told_if_it_lasts() {
    let engine = Engine::new();
    let (table, log) = logged(&engine).await;
    let throttled = || refusal("ProvisionedThroughputExceededException");
    engine.fates("PutItem", [throttled(), throttled(), throttled(), throttled()]);
    log.emit(&event(1, "x", json!({"uid": uid(1)}))).await.unwrap();
    engine.plan(move |_, _| throttled());
    let error = log
        .emit(&event(1, "x", json!({"uid": uid(2)})))
        .await
        .unwrap_err();
    let EmitError::Failed { failed, uid: id, .. } = error else {
        panic!()
    };
    assert_eq!((failed[0].kind(), id), (ErrorKind::Throttled, uid(2)));
    assert_eq!(
        table.search(&all()).await.unwrap_err().kind(),
        ErrorKind::Throttled
    );
}

#[tokio::test(start_paused = true)]
async fn a_search_goes_through_broken_connections() {
    let engine = Engine::new();
    let (table, _) = logged(&engine).await;
    load(&engine, 2_000, 1, |_| json!({}));
    let mut count = 0;
    engine.plan(move |_, _| {
        count += 1;
        if count % 2 == 1 {
            Fate::AnswerLost
        } else {
            Fate::Served
        }
    });
    let found = crate::follow(&table, all(), |_| {}).await;
    assert_eq!(numbers(&found), (0..2_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_engine_that_does_not_say_what_was_there_is_asked() {
    let engine = Engine::new();
    let table = crate::table(&engine).await;
    let log = crate::log(&table);
    let one = event(1, "x", json!({"sid": "s", "uid": uid(1)}));
    log.emit(&one).await.unwrap();
    engine.sent();
    engine.fates("PutItem", [refusal("ConditionalCheckFailedException")]);
    assert_eq!(log.emit(&one).await.unwrap().outcomes, [Outcome::Repeated]);
    assert_eq!(engine.operations(), ["PutItem", "GetItem"]);
}
