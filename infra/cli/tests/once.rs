//! `tidewatch up --once` through the real binary: it passes, finds each planted fault, and survives kills.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // A test may.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidewatch::random::Random;

const EVENTS: &str = "600";

fn up(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewatch"));
    command
        .args(["up", "--once", "--json", "--events", EVENTS, "--batch-size", "30"])
        .args(arguments);
    command.env_remove("TIDEWATCH_CONFIG").env("RUST_BACKTRACE", "0");
    command
}

fn summary(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

#[test]
fn all_arrives_once_and_in_order() {
    let output = up(&["--seed", "11"]).output().unwrap();
    let summary = summary(&output);
    assert_eq!(output.status.code(), Some(0), "{summary:#}");
    assert_eq!(summary["ok"], true);
    assert_eq!(summary["found"]["lines"], summary["found"]["expected"]);
    assert!(summary["found"]["lines"].as_u64().unwrap() > 500, "{summary:#}");
    assert!(
        summary["found"]["quarantined"].as_u64().unwrap() >= 4,
        "{summary:#}"
    );
    for fault in ["redeliveries", "zombies", "recut", "crashes", "slow"] {
        assert!(
            summary["mapping"][fault].as_u64().unwrap() > 0,
            "{fault}: {summary:#}"
        );
    }
}

#[test]
fn each_planted_fault_is_found_and_named() {
    for (plant, kind) in [
        ("lose", "lost"),
        ("double", "doubled"),
        ("reorder", "out of order"),
        ("tear", "torn"),
    ] {
        let output = up(&["--seed", "12", "--plant", plant]).output().unwrap();
        let summary = summary(&output);
        assert_eq!(output.status.code(), Some(3), "{plant}: {summary:#}");
        assert!(
            summary["found"]["wrong"][kind]["count"].as_u64().unwrap() > 0,
            "{plant}: {summary:#}"
        );
    }
}

#[test]
fn a_killed_run_started_again_ends_as_if_it_had_not_been() {
    let mut kills = 0;
    for seed in [21, 22, 23] {
        let directory = tempfile::tempdir().unwrap();
        kills += killed_until_done(directory.path(), seed);
        println!("seed {seed}: {kills} kills so far");
    }
    assert!(kills >= 3, "{kills}: the runs ended before they could be killed");
}

/// Starts a run, kills it after a random time by its process id, and starts it again, at most eight times; then lets
/// it end.
fn killed_until_done(directory: &Path, seed: u64) -> u32 {
    let random = Random::seeded(seed);
    let arguments = [
        "--seed".to_owned(),
        seed.to_string(),
        "--data-dir".to_owned(),
        directory.to_str().unwrap().to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut kills = 0;
    for _ in 0..8 {
        let after = 50 + random.below(900);
        println!("seed {seed}: kill after {after} ms");
        let mut child = up(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait(after);
        // std kills by the id of this child, with SIGKILL.
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if let Some(code) = status.code() {
            assert_eq!(code, 0, "seed {seed}");
            break;
        }
        kills += 1;
    }
    let output = up(&arguments).output().unwrap();
    let summary = summary(&output);
    assert_eq!(output.status.code(), Some(0), "seed {seed}: {summary:#}");
    kills
}

/// Real time: the child runs on it.
#[allow(clippy::disallowed_methods)]
fn wait(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
