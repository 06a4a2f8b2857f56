//! `tidewatch up --once` through the real binary: it passes, finds each planted fault, and survives kills.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // A test may.

use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidewatch::random::Random;

const EVENTS: u64 = 600;

fn up(events: u64, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewatch"));
    command
        .args(["up", "--once", "--json", "--batch-size", "30", "--events"])
        .arg(events.to_string())
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
    let output = up(EVENTS, &["--seed", "11"]).output().unwrap();
    let summary = summary(&output);
    assert_eq!(output.status.code(), Some(0), "{summary:#}");
    assert_eq!(summary["ok"], true);
    assert_eq!(summary["found"]["lines"], summary["found"]["expected"]);
    assert!(summary["found"]["lines"].as_u64().unwrap() > 500, "{summary:#}");
    assert!(
        summary["found"]["quarantined"].as_u64().unwrap() >= 4,
        "{summary:#}"
    );
    for (place, names) in [
        (
            "mapping",
            &["redeliveries", "zombies", "recut", "crashes", "slow"][..],
        ),
        (
            "sink",
            &[
                "refusal",
                "lost_answer",
                "partial",
                "slow",
                "down",
                "hang",
                "late_hang",
            ],
        ),
        ("rows", &["poison", "oversize", "repeated", "modified"]),
    ] {
        for name in names {
            assert!(
                summary[place][name].as_u64().unwrap() > 0,
                "{place}.{name}: {summary:#}"
            );
        }
    }
    assert!(summary["tasks"]["drained"].as_u64().unwrap() > 0, "{summary:#}");
    assert_eq!(summary["tasks"]["filed"], summary["found"]["expected"]);
    assert_eq!(summary["found"]["rows"], summary["found"]["expected"]);
    let shards = summary["rows"]["since_split"].as_object().unwrap();
    assert!(
        shards.len() == 3 && shards.values().all(|rows| rows.as_u64().unwrap() > 0),
        "{shards:?}"
    );
}

#[test]
fn each_planted_fault_is_found_and_named() {
    for (plant, kind) in [
        ("lose", "lost"),
        ("double", "doubled"),
        ("reorder", "out of order"),
        ("tear", "torn"),
        ("forget", "lost"),
        ("refile", "doubled"),
    ] {
        let output = up(EVENTS, &["--seed", "12", "--plant", plant]).output().unwrap();
        let summary = summary(&output);
        assert_eq!(output.status.code(), Some(3), "{plant}: {summary:#}");
        assert!(
            summary["found"]["wrong"][kind]["count"].as_u64().unwrap() > 0,
            "{plant}: {summary:#}"
        );
    }
}

/// `TIDEWATCH_KILL_EVENTS`, `TIDEWATCH_KILL_RUNS` and `TIDEWATCH_KILLS` (in each run, at most) ask for more.
#[test]
fn a_killed_run_started_again_ends_as_if_it_had_not_been() {
    let (events, runs) = (
        number("TIDEWATCH_KILL_EVENTS", EVENTS),
        number("TIDEWATCH_KILL_RUNS", 3),
    );
    let most = number("TIDEWATCH_KILLS", 8);
    let mut kills = 0;
    for seed in (21..).take(runs as usize) {
        let directory = tempfile::tempdir().unwrap();
        kills += killed_until_done(directory.path(), events, seed, most);
        println!("seed {seed}: {kills} kills so far");
    }
    assert!(kills >= 3, "{kills}: the runs ended before they could be killed");
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Starts a run, kills it after a random time by its process id, and starts it again, at most so often; then lets it
/// end.
fn killed_until_done(directory: &Path, events: u64, seed: u64, most: u64) -> u64 {
    let random = Random::seeded(seed);
    let seed = seed.to_string();
    let arguments = ["--seed", &seed, "--data-dir", directory.to_str().unwrap()];
    let mut kills = 0;
    for _ in 0..most {
        // A run takes a few milliseconds a row; most of it has to be left when the first kill comes.
        let after = 50 + random.below(300 + events);
        println!("seed {seed}: kill after {after} ms");
        let mut said = tempfile::tempfile().unwrap();
        let mut child = up(events, &arguments)
            .stdout(Stdio::null())
            .stderr(said.try_clone().unwrap())
            .spawn()
            .unwrap();
        wait(after);
        // std kills by the id of this child, with SIGKILL.
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if let Some(code) = status.code() {
            let mut text = String::new();
            said.rewind().unwrap();
            said.read_to_string(&mut text).unwrap();
            assert_eq!(code, 0, "seed {seed}: {text}");
            break;
        }
        kills += 1;
    }
    let output = up(events, &arguments).output().unwrap();
    let summary = summary(&output);
    assert_eq!(output.status.code(), Some(0), "seed {seed}: {summary:#}");
    println!("{:#}", summary["found"]);
    kills
}

/// Real time: the child runs on it.
#[allow(clippy::disallowed_methods)]
fn wait(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
