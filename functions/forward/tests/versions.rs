//! The function as `TIDEWATCH_CONFIG` says: by a document, or by the versions of one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tidewatch::clock::Clock;
use tidewatch::config::{Candidate, LEAD, Versions, versions_place};
use tidewatch::objects::Objects;
use tidewatch::random::Random;
use tidewatch_forward::{Function, StartError};

fn document(dir: &Path, sink: &str) -> String {
    let dir = dir.display();
    format!("quarantine: file://{dir}/quarantine\nsinks: {{ {sink}: {{ uri: 'file://{dir}/{sink}' }} }}\n")
}

fn payload(number: u32, created: SystemTime) -> String {
    let created = created.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    format!(
        r#"{{"Records":[{{"eventName":"INSERT","dynamodb":{{"ApproximateCreationDateTime":{created},"SequenceNumber":"{number}","NewImage":{{"SessionID":{{"S":"s"}},"EventIndex":{{"N":"{number}"}},"EventType":{{"S":"t"}},"FieldsMap":{{"M":{{}}}}}}}}}}]}}"#
    )
}

/// The batch's line of metrics.
async fn invoke(function: &Function, payload: &str) -> Value {
    let deadline = Clock::system().now() + Duration::from_secs(300);
    let (answer, report) = function.invoke_reported(payload, deadline).await.unwrap();
    assert_eq!(answer, r#"{"batchItemFailures":[]}"#);
    serde_json::from_str(&function.metrics(&report)).unwrap()
}

async fn start(uri: &str) -> Result<Function, StartError> {
    Function::start_from(Some(uri), Clock::system(), Random::seeded(1)).await
}

#[tokio::test]
async fn a_place_of_versions_is_followed_and_a_document_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let place = format!("file://{}/kept/", dir.path().display());
    let refused = start(&place).await;
    assert!(
        refused
            .as_ref()
            .is_err_and(|error| error.to_string().contains("tidewatch config apply")),
        "{refused:?}"
    );
    let clock = Clock::system();
    let uri = versions_place(&place).unwrap().unwrap();
    let objects = Objects::open(&uri, None, Random::seeded(2)).unwrap();
    let versions = Versions::new(objects, clock.clone(), []);
    let now = clock.now();
    let apply = async |sink: &str, effective_from| {
        let candidate = Candidate {
            document: &document(dir.path(), sink),
            place: "test",
            effective_from,
            forget: &BTreeSet::new(),
            move_spool: false,
            pass_over: false,
            dry_run: false,
        };
        versions.apply(candidate).await.unwrap().version
    };
    let first = apply("one", now - Duration::from_secs(3600)).await;
    let function = start(&place).await.unwrap();
    let metrics = invoke(&function, &payload(1, now)).await;
    assert_eq!(
        (&metrics["config"], &metrics["config_faults"]),
        (&first.as_str().into(), &0.into())
    );
    assert_eq!(metrics["sinks"]["one"]["delivered"], 1, "{metrics}");
    // Without being started again. A record's time is in whole seconds.
    let later = clock.now() + LEAD + Duration::from_secs(5);
    apply("other", later).await;
    let metrics = invoke(&function, &payload(2, later + Duration::from_secs(1))).await;
    assert_eq!(metrics["config"], first.as_str());
    assert_eq!(metrics["sinks"]["other"]["delivered"], 1, "{metrics}");
    drop(function);

    let path = dir.path().join("one.yaml");
    std::fs::write(&path, document(dir.path(), "one")).unwrap();
    let function = start(path.to_str().unwrap()).await.unwrap();
    let metrics = invoke(&function, &payload(3, now)).await;
    assert!(
        metrics.get("config").is_none() && metrics["delivered"] == 1,
        "{metrics}"
    );
}
