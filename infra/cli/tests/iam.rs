//! `tidewatch iam`, with the real binary.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::{Command, Output};

fn run(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidewatch"))
        .args(arguments.split_whitespace())
        .env_clear()
        .output()
        .unwrap()
}

fn golden(name: &str) -> String {
    let file = format!(
        "{}/../../shared/tests/golden/iam/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_library_s_policy_is_printed() {
    let place = "--region eu-west-1 --account 111122223333 --table teleport.state";
    let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    for (arguments, name) in [
        (
            "--for state --layout teleport".to_owned(),
            "teleport-use-existing",
        ),
        (
            "--for state --layout teleport --form use-existing --json".to_owned(),
            "teleport-use-existing",
        ),
        (
            format!("--for state --form create --autoscaling --kms-key {key}"),
            "partitioned-create-full",
        ),
        ("--for audit --form create".to_owned(), "audit-create"),
        (
            format!("--for watch-append --log-table teleport.watch --kms-key {key}"),
            "watch-append",
        ),
        (
            "--for watch-log --log-table teleport.watch".to_owned(),
            "watch-log",
        ),
        ("--for watch-stream".to_owned(), "watch-stream"),
        (
            "--for maintain --layout teleport --log-table teleport.watch".to_owned(),
            "maintain-teleport",
        ),
        (
            format!("--for maintain --log-table teleport.watch --kms-key {key}"),
            "maintain-partitioned",
        ),
    ] {
        let printed = run(&format!("iam policy {place} {arguments}"));
        assert_eq!(printed.status.code(), Some(0), "{printed:?}");
        assert_eq!(
            String::from_utf8(printed.stdout).unwrap(),
            golden(name),
            "{arguments}"
        );
        assert!(printed.stderr.is_empty(), "{arguments}");
    }
}

#[test]
fn what_is_left_open_is_said() {
    let printed = run("iam policy --for state --table state");
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let policy: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(
        policy["Statement"][0]["Resource"][0],
        "arn:aws:dynamodb:*:*:table/state"
    );
    let told = String::from_utf8(printed.stderr).unwrap();
    assert!(told.contains("--region and --account"), "{told}");
}

#[test]
fn wrong_usage_ends_with_2() {
    for (arguments, text) in [
        ("--for state", "--table"),
        ("--for certs --table table", "audit"),
        ("--for audit --table table --layout teleport", "--layout is for"),
        ("--for audit --table table --autoscaling", "auto scaling"),
        ("--for audit --table table --log-table log", "--log-table is for"),
        ("--for maintain --log-table log", "--table"),
        ("--for maintain --table table --form create", "no --form"),
        (
            "--for state --table table --expiry-index",
            "--expiry-index is for",
        ),
        (
            "--for watch-stream --table table --layout teleport",
            "not for watches",
        ),
        ("--for state --table table --account 1", "12 digits"),
        ("--for state --table table --kms-key alias/x", "its ARN"),
        ("--for state --table table --profile p", "takes no --profile"),
    ] {
        let ended = run(&format!("iam policy {arguments}"));
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(told.contains(text), "{arguments}: {told}");
    }
}
