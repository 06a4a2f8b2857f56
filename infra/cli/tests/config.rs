//! `tidewatch config` with the real binary.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Output};

fn tidewatch(args: &[&str], document: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidewatch.yaml");
    std::fs::write(&path, document).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewatch"));
    command
        .arg("config")
        .args(args)
        .arg("--config")
        .arg(&path)
        .output()
        .unwrap()
}

#[test]
fn a_document_in_order_exits_0_and_a_faulty_one_2_with_all_faults() {
    let good = tidewatch(
        &["check"],
        "quarantine: file:///q\nsinks: { out: { uri: 'stdout://' } }\n",
    );
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert_eq!(String::from_utf8(good.stdout).unwrap(), "in order: sinks out\n");
    let bad = tidewatch(
        &["check"],
        "quarantine: nowhere\nsinks: { out: { uri: 'stdout://', retries: 3 } }\n",
    );
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    let message = String::from_utf8(bad.stderr).unwrap();
    assert!(message.contains("tidewatch.yaml:1:13: quarantine: "), "{message}");
    assert!(
        message.contains("tidewatch.yaml:2:44: sinks.out.retries: unknown setting"),
        "{message}"
    );
    assert!(bad.stdout.is_empty());
}

#[test]
fn the_schema_is_json() {
    let schema = tidewatch(&["schema"], "");
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(schema["required"], serde_json::json!(["quarantine", "sinks"]));
}
