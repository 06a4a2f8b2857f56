//! Several backends at once, files, and tables that are not what they must be.

use serde_json::json;
use tidewatch::audit::log::{Backend, Dynamo, EmitError, Log, Outcome};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{ErrorKind, Layout};

use crate::engine::{Engine, Fate, refusal};
use crate::{DAY, TABLE, at, event, stored, table, uid};

#[tokio::test]
async fn every_backend_gets_the_event_and_an_error_says_which_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (Engine::new(), Engine::new());
    let (one, two) = (table(&first).await, table(&second).await);
    let clock = one.clock().clone();
    let backends = [one.into(), Backend::dir(dir.path()).unwrap(), two.into()];
    let log = Log::new(backends, clock, Random::seeded(3));
    let event = event(1, "user.login", json!({"uid": uid(1), "secret": "s3cr3t"}));
    second.plan(|operation, _| match operation {
        "PutItem" => refusal("AccessDeniedException"),
        _ => Fate::Served,
    });
    let error = log.emit(&event).await.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("s3cr3t") && text.contains(&uid(1)), "{text}");
    let EmitError::Failed {
        failed, stored: has, ..
    } = error
    else {
        panic!("{text}")
    };
    assert_eq!((failed.len(), failed[0].kind()), (1, ErrorKind::AccessDenied));
    assert_eq!(failed[0].backend(), "dynamodb://teleport.audit");
    assert_eq!(
        has,
        [
            "dynamodb://teleport.audit".to_owned(),
            format!("file://{}", dir.path().display())
        ]
    );
    // Emitted again it is where it was missing, and once where it was.
    second.plan(|_, _| Fate::Served);
    let emitted = log.emit(&event).await.unwrap();
    assert_eq!(
        emitted.outcomes,
        [Outcome::Repeated, Outcome::Stored, Outcome::Stored]
    );
    assert_eq!((stored(&first).len(), stored(&second).len()), (1, 1));
    assert_eq!(log.reader().unwrap().table(), TABLE);
}

#[tokio::test]
async fn files_are_as_teleport_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(at(DAY + 100));
    let log = Log::new(
        [Backend::dir(dir.path()).unwrap()],
        clock.clone(),
        Random::seeded(3),
    );
    log.emit(r#"{"event":"b","code":"y","uid":"1","time":"2020-01-01T00:00:00Z"}"#)
        .await
        .unwrap();
    clock.advance(std::time::Duration::from_secs(86_400));
    log.emit(r#"{"event":"a","code":"y","uid":"2","time":"2020-01-01T00:00:00Z"}"#)
        .await
        .unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(
        read("2026-11-20.00:00:00.log"),
        "{\"code\":\"y\",\"ei\":0,\"event\":\"b\",\"time\":\"2020-01-01T00:00:00Z\",\"uid\":\"1\"}\n"
    );
    assert_eq!(read("events.log"), read("2026-11-21.00:00:00.log"));
    let error = log.reader().unwrap_err();
    assert!(
        error.to_string().contains("only a table can be searched"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_table_is_created_and_one_of_another_kind_refused() {
    let engine = Engine::new();
    let client = engine.client();
    let open = async |name: &str| {
        let (clock, random) = (Clock::manual(at(DAY)), Random::seeded(1));
        Dynamo::open(&client, name, Dynamo::RETENTION, clock, random).await
    };
    open("audit").await.unwrap();
    assert!(engine.operations().contains(&"CreateTable".to_owned()));
    open("audit").await.unwrap();
    assert!(!engine.operations().contains(&"CreateTable".to_owned()));
    engine
        .backend("state", Layout::Teleport, &Clock::system(), 1)
        .await;
    let error = open("state").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongTable);
    let (clock, random) = (Clock::system(), Random::seeded(1));
    let missing = Dynamo::existing(&client, "nowhere", clock, random).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::WrongTable);
}

#[tokio::test]
async fn retention_nought_keeps_events_for_ever() {
    let engine = Engine::new();
    let clock = Clock::manual(at(DAY));
    let zero = std::time::Duration::ZERO;
    let table = Dynamo::open(&engine.client(), TABLE, zero, clock, Random::seeded(1)).await;
    crate::log(&table.unwrap())
        .emit(&event(1, "x", json!({})))
        .await
        .unwrap();
    assert_eq!(stored(&engine)[0].get("Expires"), None);
}

#[tokio::test]
async fn what_failed_in_part_is_emitted_again_without_doubling() {
    let (first, second) = (Engine::new(), Engine::new());
    let (one, two) = (table(&first).await, table(&second).await);
    let clock = one.clock().clone();
    let log = Log::new([one.into(), two.into()], clock.clone(), Random::seeded(3));
    second.plan(|operation, _| match operation {
        "PutItem" => refusal("AccessDeniedException"),
        _ => Fate::Served,
    });
    let error = log.emit(r#"{"event":"x","code":"y","secret":"s3cr3t"}"#).await;
    let error = error.unwrap_err();
    assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
    let EmitError::Failed { event, .. } = error else {
        panic!()
    };
    clock.advance(std::time::Duration::from_secs(1));
    second.plan(|_, _| Fate::Served);
    let emitted = log.emit(event.as_str()).await.unwrap();
    assert_eq!(emitted.outcomes, [Outcome::Repeated, Outcome::Stored]);
    assert_eq!(emitted.event, event);
    assert_eq!((stored(&first).len(), stored(&second).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_lost_or_torn_whoever_writes_beside() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(at(DAY));
    // What a process that was killed leaves.
    let file = dir.path().join("2026-11-20.00:00:00.log");
    std::fs::write(&file, "{\"torn\":").unwrap();
    std::fs::write(dir.path().join("2026-11-19.00:00:00.log"), "").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("2026-11-19.00:00:00.log", dir.path().join("events.log")).unwrap();
    let logs = [1, 2].map(|seed| {
        let lines = Backend::dir(dir.path()).unwrap();
        Log::new([lines], clock.clone(), Random::seeded(seed))
    });
    let events: Vec<String> = (0..200)
        .map(|n| event(1, "x", json!({"uid": uid(n), "pad": "x".repeat(10_000)})))
        .collect();
    let (a, b) = tokio::join!(
        logs[0].emit_all(events[..100].iter().map(String::as_str)),
        logs[1].emit_all(events[100..].iter().map(String::as_str)),
    );
    assert!(a.iter().chain(&b).all(Result::is_ok));
    let text = std::fs::read_to_string(&file).unwrap();
    let (torn, lines) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"torn\":");
    let mut uids: Vec<String> = lines
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["uid"].as_str().unwrap().to_owned()
        })
        .collect();
    uids.sort_unstable();
    assert_eq!(uids, (0..200).map(uid).collect::<Vec<_>>());
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_to_string(dir.path().join("events.log")).unwrap(),
        text
    );
}
