//! Records in quarantine.

use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::objects::Objects;
use tidewatch::redrive::quarantine::{Report, redrive};

use crate::store::Store;
use crate::support::{Setup, event_line, insert, payload};
use crate::{Forward, cut, hand, names};

/// A line of a quarantine object.
fn line(session: &str, number: u32, sink: Option<&str>) -> String {
    let record: Value = serde_json::from_str(&insert(session, number, number)).unwrap();
    let mut line = json!({"kind": "malformed", "reason": "x", "event_id": "e", "sequence_number": number.to_string(), "record": record});
    if let Some(sink) = sink {
        line["sink"] = json!(sink);
    }
    line.to_string()
}

const FIRST: &str = "0000000000000000000000000000000000000001-a.ndjson";
const SECOND: &str = "0000000000000000000000000000000000000009-b.ndjson";

async fn kept() -> (Store, Objects) {
    let store = Store::new();
    let objects = store.objects("quarantine");
    let first = [
        line("a", 1, None),
        line("bad", 2, None),
        line("a", 3, Some("archive")),
    ];
    let second = [line("bad", 9, None), line("b", 10, None)];
    for (name, lines) in [(FIRST, first.as_slice()), (SECOND, second.as_slice())] {
        objects
            .put(name, (lines.join("\n") + "\n").into_bytes())
            .await
            .unwrap();
    }
    objects.put("probe", Vec::new()).await.unwrap();
    store.sent();
    (store, objects)
}

async fn run(objects: &Objects, forward: &Forward) -> Report {
    let clock = Clock::system();
    redrive(objects, hand(forward, &clock), &|_| {}).await
}

/// The numbers of all lines that are kept, repeats included.
async fn left(objects: &Objects) -> Vec<String> {
    let mut numbers = Vec::new();
    for name in names(objects).await {
        let body = objects.get(&name).await.unwrap().unwrap().body;
        for line in String::from_utf8(body).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            numbers.push(line["sequence_number"].as_str().unwrap().to_owned());
        }
    }
    numbers
}

#[tokio::test]
async fn what_is_taken_leaves_and_what_is_still_poison_stays() {
    let (_store, objects) = kept().await;
    let forward = Forward::refusing(&["bad"]);
    let report = run(&objects, &forward).await;
    assert_eq!((report.tally.records, report.stay, report.error), (3, 2, None));
    assert_eq!(forward.numbers(), ["1", "3", "10"]);
    let headers: Vec<Value> = forward
        .taken
        .lock()
        .unwrap()
        .iter()
        .map(|taken| taken.0.clone())
        .collect();
    let all = json!({"origin": "quarantine"});
    assert_eq!(
        headers,
        [
            all.clone(),
            json!({"origin": "quarantine", "sink": "archive"}),
            all
        ]
    );
    assert_eq!(left(&objects).await, ["2", "9"]);
    // Once more: nothing is changed that need not be.
    let before = names(&objects).await;
    assert_eq!(run(&objects, &forward).await.tally.records, 0);
    assert_eq!(names(&objects).await, before);
    let report = run(&objects, &Forward::default()).await;
    assert_eq!(
        (report.emptied, names(&objects).await),
        (2, vec!["probe".to_owned()])
    );
}

#[tokio::test]
async fn cut_anywhere_and_run_again_nothing_is_lost_or_kept_twice() {
    let (store, objects) = kept().await;
    run(&objects, &Forward::refusing(&["bad"])).await;
    let requests = store.sent().len();
    assert_eq!(requests, 1 + 2 * 3);
    for request in 0..requests {
        for after in [false, true] {
            let (store, objects) = kept().await;
            let forward = Forward::refusing(&["bad"]);
            cut(&store, request, after);
            run(&objects, &forward).await;
            store.plan(|_, _| crate::Fate::Served);
            let mut there = left(&objects).await;
            there.extend(forward.numbers());
            for number in ["1", "2", "3", "9", "10"] {
                assert!(there.iter().any(|found| found == number), "{number} is lost");
            }
            run(&objects, &forward).await;
            assert_eq!(left(&objects).await, ["2", "9"], "request {request}, {after}");
            let mut numbers = forward.numbers();
            numbers.sort_by_key(|number| number.parse::<u32>().unwrap());
            assert_eq!(numbers, ["1", "3", "10"]);
        }
    }
}

#[tokio::test]
async fn an_invocation_that_fails_keeps_its_record() {
    for invocation in 0..5 {
        for after in [false, true] {
            let (_store, objects) = kept().await;
            let forward = Forward {
                cut: Some((invocation, after)),
                ..Forward::default()
            };
            run(&objects, &forward).await;
            assert_eq!(left(&objects).await.len(), 1, "{invocation} {after}");
            run(&objects, &forward).await;
            assert!(left(&objects).await.is_empty());
            assert_eq!(forward.numbers().len(), 5);
        }
    }
}

/// What the forwarder itself put there is understood, and taken once it is no poison any more.
#[tokio::test(start_paused = true)]
async fn the_forwarders_own_quarantine_is_replayed() {
    let setup = Setup::spooled(&[("a", ""), ("b", "")]).await;
    setup
        .fake("a")
        .set(crate::support::Behaviour::PanicOn("uid-s-2\""));
    let poison = r#"{"eventName":"INSERT","dynamodb":{"SequenceNumber":"3","Keys":{},"NewImage":{"SessionID":{"S":"s"},"EventIndex":{"N":"1"},"EventType":{"S":"x"},"FieldsMap":{"S":"no map"}}}}"#;
    let records = [insert("s", 1, 1), insert("s", 2, 2), poison.to_owned()];
    setup.handle(&payload(&records)).await.unwrap();
    assert_eq!(setup.quarantined().len(), 2);
    setup.fake("a").set(crate::support::Behaviour::Work);
    let objects = Objects::dir(
        setup.dir.path().join("quarantine"),
        tidewatch::random::Random::seeded(3),
    );
    let clock = Clock::system();
    let forward = tidewatch::forward::InProcess::new(
        std::sync::Arc::clone(&setup.forwarder),
        Clock::simulated(std::time::UNIX_EPOCH),
        std::time::Duration::from_secs(100),
    );
    let report = redrive(&objects, hand(&forward, &clock), &|_| {}).await;
    assert_eq!((report.tally.records, report.stay), (1, 1), "{report:?}");
    assert_eq!(setup.lines("a"), [event_line("s", 1), event_line("s", 2)]);
    assert_eq!(setup.quarantined()[0]["sequence_number"], "3");
    assert_eq!(setup.lines("b").len(), 2);
}
