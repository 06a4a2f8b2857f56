//! The events of `events/maintain`, as a schedule sends them, and the function as its configuration says.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::config::{Candidate, LEAD, Versions, versions_place};
use tidewatch::maintain::{Order, Task};
use tidewatch::objects::Objects;
use tidewatch::random::Random;
use tidewatch_maintain::{Error, Function};

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/maintain");

fn event(task: Task) -> String {
    std::fs::read_to_string(Path::new(EVENTS).join(format!("{task}.json"))).unwrap()
}

#[test]
fn each_task_has_its_event_and_each_event_a_task() {
    for task in Task::ALL {
        assert_eq!(Order::parse(&event(task)).unwrap(), Order::of(task));
    }
    let files = std::fs::read_dir(EVENTS).unwrap();
    let files = files.filter(|file| file.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), Task::ALL.len());
}

fn document(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "quarantine: file://{dir}/quarantine\nspool: file://{dir}/spool\n\
         sinks: {{ a: {{ uri: 'stdout://' }}, lake: {{ uri: 'file://{dir}/lake?format=parquet' }} }}\n\
         maintain: {{ state: {{ table: leases, layout: teleport }}, function: forward }}\n"
    )
}

async fn start(uri: &str) -> Result<Function, Error> {
    Function::start(Some(uri), Clock::system(), Random::seeded(1)).await
}

/// The outcome as it is answered, and the line of metrics.
async fn invoke(function: &Function, event: &str) -> (Value, Value) {
    let deadline = Clock::system().now() + Duration::from_secs(300);
    let ran = function.invoke(event, deadline).await.unwrap();
    let line = serde_json::from_str(&function.metrics(&ran)).unwrap();
    (serde_json::to_value(&ran.outcome).unwrap(), line)
}

/// What looks only needs no AWS where the places are directories.
#[tokio::test]
async fn a_document_that_forward_has_too_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidewatch.yaml");
    std::fs::write(&path, document(dir.path())).unwrap();
    let function = start(path.to_str().unwrap())
        .await
        .unwrap()
        .named("tasks".to_owned());
    let spool = dir.path().join("spool/a");
    std::fs::create_dir_all(&spool).unwrap();
    let name = format!("{:0>40}-0123456789abcdef0123456789abcdef.ndjson", 7);
    std::fs::write(spool.join(name), "{}\n").unwrap();
    let (outcome, line) = invoke(&function, r#"{"task": "drain", "dry_run": true}"#).await;
    assert_eq!(
        (&outcome["state"], &outcome["complete"]),
        (&json!("ran"), &json!(false))
    );
    assert_eq!(outcome["report"]["sinks"]["a"]["left"]["objects"], 1);
    assert_eq!(
        (&line["function"], &line["task"], &line["drain_waiting_objects"]),
        (&json!("tasks"), &json!("drain"), &json!(1.0))
    );
    assert_eq!(line["report"], outcome["report"]);
    let declared = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(declared["Dimensions"], json!([["function"]]));
    assert!(
        declared["Metrics"]
            .as_array()
            .unwrap()
            .contains(&json!({"Name": "drain_oldest_seconds", "Unit": "Seconds"}))
    );
    let (outcome, _) = invoke(&function, r#"{"task": "lake", "dry_run": true}"#).await;
    assert_eq!(outcome["complete"], true, "{outcome}");
}

#[tokio::test]
async fn what_no_schedule_sends_fails_with_all_its_faults() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidewatch.yaml");
    std::fs::write(&path, document(dir.path())).unwrap();
    let function = start(path.to_str().unwrap()).await.unwrap();
    let deadline = Clock::system().now() + Duration::from_secs(300);
    let refused = function
        .invoke(r#"{"task": "drain", "dry-run": true, "sink": "a"}"#, deadline)
        .await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("dry-run") && text.contains("sink"), "{text}");
}

#[tokio::test]
async fn without_a_section_there_is_nothing_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidewatch.yaml");
    std::fs::write(
        &path,
        "quarantine: file:///q\nsinks: { a: { uri: 'stdout://' } }\n",
    )
    .unwrap();
    let refused = start(path.to_str().unwrap()).await;
    assert!(
        refused
            .as_ref()
            .is_err_and(|error| error.to_string().contains("section `maintain`")),
        "{refused:?}"
    );
}

/// The version in force counts, and a lake that was removed is still filed.
#[tokio::test]
async fn a_place_of_versions_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let place = format!("file://{}/kept/", dir.path().display());
    let clock = Clock::manual(Clock::system().now());
    let function = Function::start(Some(&place), clock.clone(), Random::seeded(1))
        .await
        .unwrap();
    let look = r#"{"task": "lake", "dry_run": true}"#;
    let run = async || {
        function
            .invoke(look, clock.now() + Duration::from_secs(300))
            .await
    };
    let refused = run().await;
    assert!(matches!(refused, Err(Error::Versions(_))), "{refused:?}");
    let uri = versions_place(&place).unwrap().unwrap();
    let objects = Objects::open(&uri, None, Random::seeded(2)).unwrap();
    let versions = Versions::new(objects, clock.clone(), []);
    let lake = format!(
        ", lake: {{ uri: 'file://{}/lake?format=parquet' }}",
        dir.path().display()
    );
    let with_lake = document(dir.path());
    let without = with_lake.replace(&lake, "");
    assert_ne!(with_lake, without);
    for document in [&with_lake, &without] {
        let candidate = Candidate {
            document,
            place: "test",
            effective_from: clock.now() + LEAD,
            forget: &BTreeSet::new(),
            move_spool: false,
            pass_over: false,
            dry_run: false,
        };
        versions.apply(candidate).await.unwrap();
        clock.advance(LEAD * 2);
        let ran = run().await.unwrap();
        assert_eq!(ran.outcome.report["lake"]["complete"], true, "{ran:?}");
    }
}
