//! `tidewatch audit …` as an operator types it, against the embedded engine.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "table/machine.rs"]
#[allow(dead_code)] // The table commands' tests use the rest.
mod machine;

use std::time::Duration;

use machine::{Ended, Machine};
use serde_json::{Value, json};
use tidewatch::audit::log::{Dynamo, Log};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tokio::io::{AsyncBufReadExt, BufReader};

const TABLE: &str = "teleport.audit";

/// A machine with an audit table, and a log on it.
async fn machine() -> (Machine, Log) {
    let machine = Machine::start().await;
    let (clock, random) = (Clock::system(), Random::system());
    let client = machine.client();
    let opened = Dynamo::open(&client, TABLE, Dynamo::RETENTION, clock.clone(), random.clone()).await;
    let log = Log::new([opened.unwrap().into()], clock, random);
    (machine, log)
}

async fn audit(machine: &Machine, arguments: &[&str]) -> Ended {
    let mut command = machine.command("audit");
    command
        .args(arguments)
        .args(["--table", TABLE, "--endpoint-url", machine.url()]);
    let output = command.output().await.unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn emit(log: &Log, n: u64, time: &str) {
    let event = json!({
        "event": if n.is_multiple_of(2) { "user.login" } else { "session.start" }, "code": "T1000I", "n": n, "user": format!("user{n}"),
        "uid": format!("00000000-0000-4000-8000-{n:012}"), "time": time, "big": 1, "addr.remote": "192.0.2.1:2",
        "login": "\u{1b}[31mred",
    });
    let event = event
        .to_string()
        .replace("\"big\":1", "\"big\":1795170931001234567");
    log.emit(&event).await.unwrap();
}

fn numbers(events: &Value) -> Vec<u64> {
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| event["event"]["n"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn events_are_found_for_people_and_machines() {
    let (machine, log) = machine().await;
    for n in 0..30 {
        emit(&log, n, &format!("2026-11-20T10:00:{n:02}Z")).await;
    }
    let day = ["search", "--from", "2026-11-20", "--to", "2026-11-20"];
    let run = async |more: &[&str]| audit(&machine, &[&day[..], more].concat()).await;

    let text = run(&["--limit", "3"]).await.expect(0);
    let lines: Vec<&str> = text.out.lines().collect();
    assert!(lines[0].starts_with("TIME") && lines.len() == 4, "{}", text.out);
    assert!(
        lines[1].contains("2026-11-20T10:00:29Z") && lines[1].contains("user29"),
        "{}",
        lines[1]
    );
    assert!(text.out.contains("login \u{fffd}[31mred"), "{}", text.out);
    assert!(
        text.err.contains("there are more: --cursor '{\"date\""),
        "{}",
        text.err
    );

    let mut found = Vec::new();
    let mut cursor = String::new();
    for page in 0.. {
        let mut more = vec!["--json", "--order", "asc", "--limit", "7"];
        if !cursor.is_empty() {
            more.extend(["--cursor", &cursor]);
        }
        let ended = run(&more).await.expect(0);
        assert!(ended.out.contains("\"big\":1795170931001234567"), "{}", ended.out);
        let json = ended.json();
        found.extend(numbers(&json["events"]));
        match json["cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
        assert!(page < 10);
    }
    assert_eq!(found, (0..30).collect::<Vec<_>>());

    let some = run(&[
        "--json",
        "--type",
        "user.login",
        "--where",
        "equals(n, 4) || equals(user, 'user5')",
    ])
    .await;
    assert_eq!(numbers(&some.expect(0).json()["events"]), [4]);
    let session = audit(
        &machine,
        &[
            "search",
            "--json",
            "--session",
            "00000000-0000-4000-8000-000000000009",
        ],
    )
    .await;
    assert_eq!(numbers(&session.expect(0).json()["events"]), [9]);
    let none = run(&["--type", "none"]).await.expect(0);
    assert_eq!((none.out.as_str(), none.err.contains("no events")), ("", true));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let (machine, _) = machine().await;
    for (arguments, says) in [
        (
            &["search", "--where", "user = 'x'"][..],
            "--where: condition, at character 1",
        ),
        (&["search", "--from", "soon"], "an age such as 24h is due"),
        (
            &["search", "--from", "1h", "--to", "2h"],
            "from date is after to date",
        ),
        (&["search", "--cursor", "{"], "no cursor of a search"),
        (&["export"], "--from"),
    ] {
        let ended = audit(&machine, arguments).await.expect(2);
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
    }
    let url = machine.url();
    let nameless = machine
        .bare(&format!("audit search --endpoint-url {url}"))
        .await
        .expect(2);
    assert!(nameless.err.contains("--table NAME"), "{}", nameless.err);
    let missing = machine
        .bare(&format!("audit search --table nowhere --endpoint-url {url}"))
        .await
        .expect(1);
    assert!(missing.err.contains("does not exist"), "{}", missing.err);
}

#[tokio::test]
async fn teleports_own_file_names_the_table() {
    let (machine, log) = machine().await;
    emit(&log, 1, "2026-11-20T10:00:00Z").await;
    let file = machine.home().join("teleport.yaml");
    let write = |uris: &str| {
        let text = format!(
            "teleport:\n  storage:\n    type: dynamodb\n    table_name: state\n    region: eu-west-1\n    \
             endpoint: {}\n    audit_events_uri: {uris}\n",
            machine.url()
        );
        std::fs::write(&file, text).unwrap();
    };
    let search = format!(
        "audit search --from 2026-11-20 --to 2026-11-20 --json --config {}",
        file.display()
    );
    write("['stdout://', 'dynamodb://teleport.audit']");
    let found = machine.bare(&search).await.expect(0).json();
    assert_eq!(numbers(&found["events"]), [1]);
    write("['stdout://']");
    let none = machine.bare(&search).await.expect(2);
    assert!(none.err.contains("no dynamodb://TABLE"), "{}", none.err);
    write("dynamodb://state");
    let one = machine.bare(&search).await.expect(2);
    assert!(one.err.contains("cannot be in one table"), "{}", one.err);
}

#[tokio::test]
async fn an_export_goes_to_a_file_and_goes_on_where_it_was_cut() {
    let (machine, log) = machine().await;
    for n in 0..40 {
        emit(&log, n, &format!("2026-11-{:02}T10:00:{n:02}Z", 1 + n / 4)).await;
    }
    let range = ["--from", "2026-11-01", "--to", "2026-11-30", "--parallel", "1"];
    let streamed = audit(&machine, &[&["export"], &range[..]].concat())
        .await
        .expect(0);
    let lines: Vec<&str> = streamed.out.lines().collect();
    assert_eq!(lines.len(), 40);
    assert!(
        lines[7].contains("\"big\":1795170931001234567") && lines[7].contains("\"n\":7,"),
        "{}",
        lines[7]
    );

    let file = machine.home().join("events.ndjson");
    let path = file.to_str().unwrap();
    let done = audit(&machine, &[&["export", path, "--json"], &range[..]].concat())
        .await
        .expect(0);
    assert_eq!(done.json()["events"], 40);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), streamed.out);
    let again = audit(&machine, &[&["export", path], &range[..]].concat())
        .await
        .expect(2);
    assert!(again.err.contains("exists already"), "{}", again.err);

    // As a process that was killed leaves it: some days noted, and a torn line behind what counts.
    let whole: usize = lines[..8].iter().map(|line| line.len() + 1).sum();
    std::fs::write(&file, &streamed.out[..whole + 11]).unwrap();
    let range_of = |text: &str| {
        let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
        at.unwrap().unix_timestamp()
    };
    let position = json!({"export": 1, "from": range_of("2026-11-01T00:00:00Z"), "to": range_of("2026-11-30T23:59:59Z"),
        "next": "2026-11-03", "open": []});
    let note = json!({"bytes": whole, "events": 8, "position": position.to_string(), "types": [], "condition": null});
    let beside = machine.home().join("events.ndjson.position");
    std::fs::write(&beside, note.to_string()).unwrap();
    let resumed = audit(&machine, &["export", path, "--resume", "--json"])
        .await
        .expect(0);
    assert_eq!(resumed.json()["events"], 40);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(sorted(&text), sorted(&streamed.out));
    assert!(!beside.exists());
    #[cfg(unix)]
    {
        let fresh = machine.home().join("fresh.ndjson");
        audit(
            &machine,
            &[&["export", fresh.to_str().unwrap(), "--type", "none"], &range[..]].concat(),
        )
        .await
        .expect(0);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&fresh).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn new_events_are_shown_as_they_come_each_once() {
    let (machine, log) = machine().await;
    let now = || {
        let now = time::OffsetDateTime::from(Clock::system().now());
        now.format(&time::format_description::well_known::Rfc3339)
            .unwrap()
    };
    emit(&log, 0, &now()).await;
    let mut command = machine.command("audit tail --from 1m --every 100ms --limit 3 --json");
    command.args(["--table", TABLE, "--endpoint-url", machine.url()]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let clock = Clock::system();
    let mut shown = Vec::new();
    for n in 1..=3_u64 {
        let line = clock
            .timeout(Duration::from_secs(30), lines.next_line())
            .await
            .unwrap();
        let line: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        shown.push(line["event"]["n"].as_u64().unwrap());
        if n < 3 {
            emit(&log, n, &now()).await;
        }
    }
    assert_eq!(shown, [0, 1, 2]);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn an_export_that_fails_at_once_leaves_nothing_and_one_that_is_under_way_is_left_alone() {
    let (machine, log) = machine().await;
    emit(&log, 1, "2026-11-20T10:00:00Z").await;
    let file = machine.home().join("events.ndjson");
    let path = file.to_str().unwrap();
    // Refused before its first part.
    let backwards = ["export", path, "--from", "2026-11-21", "--to", "2026-11-20"];
    let failed = audit(&machine, &backwards).await.expect(2);
    assert!(!failed.err.contains("--resume"), "{}", failed.err);
    assert!(!file.exists());
    let forwards = [
        "export",
        path,
        "--from",
        "2026-11-20",
        "--to",
        "2026-11-20",
        "--json",
    ];
    let done = audit(&machine, &forwards).await.expect(0).json();
    assert_eq!((&done["events"], &done["unreadable"]), (&json!(1), &json!(0)));

    let note = json!({"bytes": 3, "events": 1, "position": null, "types": [], "condition": null});
    std::fs::write(machine.home().join("events.ndjson.position"), note.to_string()).unwrap();
    let held = std::fs::File::open(&file).unwrap();
    held.lock().unwrap();
    let busy = audit(&machine, &["export", path, "--resume"]).await.expect(1);
    assert!(busy.err.contains("by another process"), "{}", busy.err);
    assert!(std::fs::metadata(&file).unwrap().len() > 3);
}

#[tokio::test]
async fn machines_get_every_character_and_a_session_in_the_order_of_times() {
    let (machine, log) = machine().await;
    for (ei, second) in [(1, 30), (2, 10), (3, 20)] {
        let event = json!({"event": "session.command", "code": "T1000I", "sid": "s", "ei": ei, "n": ei,
            "uid": format!("00000000-0000-4000-8000-{ei:012}"), "time": format!("2026-11-20T10:00:{second}Z"),
            "login": "a\u{7f}\u{9b}\u{202e}b", "pad": "x".repeat(390_000)});
        log.emit(&event.to_string()).await.unwrap();
    }
    let search = async |limit: &str| {
        let arguments = [
            "search",
            "--json",
            "--session",
            "s",
            "--order",
            "asc",
            "--limit",
            limit,
        ];
        audit(&machine, &arguments).await.expect(0).json()
    };
    // More than an answer holds, and in the table in another order.
    let all = search("0").await;
    assert_eq!(numbers(&all["events"]), [2, 3, 1]);
    assert_eq!(all["events"][0]["event"]["login"], "a\u{7f}\u{9b}\u{202e}b");
    assert_eq!(numbers(&search("1").await["events"]), [2]);
}
