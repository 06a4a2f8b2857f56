//! The lake from the sink to its files: in a directory, in a bucket (s3s-fs in this process), and against an S3 that
//! `TIDEWATCH_S3_ENDPOINT` names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "../support/endpoint.rs"]
mod endpoint;
#[path = "../state/engine.rs"]
#[allow(dead_code)]
mod engine;
mod generate;
mod read;
#[path = "../support/store.rs"]
mod store;

use std::path::Path;
use std::time::Duration;

use endpoint::{AWS, Bucket};
use engine::Fate;
use generate::{Generated, line, start};
use read::{Filed, filed};
use store::Store;
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::Forwarder;
use tidewatch::lake::{Lake, Limits, Report};
use tidewatch::objects::{Objects, PAGE};
use tidewatch::random::Random;

fn lake(objects: Objects, limits: Limits) -> Lake {
    // No two plans have one id.
    Lake::new(objects, limits, Clock::manual(start()), Random::system())
}

fn directory(dir: &Path) -> Objects {
    Objects::dir(dir.to_owned(), Random::seeded(1))
}

async fn run(objects: Objects, limits: Limits) -> Report {
    let stop = Clock::manual(start()).instant() + Duration::from_secs(600);
    lake(objects, limits).run(stop).await.unwrap()
}

async fn names(objects: &Objects, prefix: &str) -> Vec<String> {
    let page = objects.list(prefix, None, PAGE).await.unwrap();
    page.objects.into_iter().map(|object| object.name).collect()
}

/// A forwarder with the one sink.
async fn forwarder(uri: &str, quarantine: &Path, aws: &str) -> Forwarder {
    let quarantine = quarantine.display();
    let document =
        format!("quarantine: 'file://{quarantine}'\nsinks: {{ lake: {{ uri: '{uri}' }} }}\n{aws}\n");
    let config = Config::parse(&document, "test", []).unwrap();
    Forwarder::start(&config, Clock::system(), Random::seeded(1))
        .await
        .unwrap()
}

async fn handle(forwarder: &Forwarder, payload: &str) {
    let deadline = Clock::system().instant() + Duration::from_secs(300);
    let handled = forwarder.handle(payload, deadline).await.unwrap();
    assert_eq!(handled.first_failed, None, "{:?}", handled.report);
}

const UID: &str = "21bdb751-0f3c-4f4e-8f0a-5b7a1f6f2c11";
const OTHER: &str = "21bdb751-0f3c-4f4e-8f0a-5b7a1f6f2c12";

/// A staged line of an event with these members.
fn staged(id: &str, event: &str) -> String {
    line(id, "2025-11-20T10:00:00.000Z", event)
}

async fn stage(objects: &Objects, name: &str, lines: &[String]) {
    let content = lines.join("\n") + "\n";
    objects
        .put(&format!("_staging/{name}.ndjson"), content.into_bytes())
        .await
        .unwrap();
}

/// The whole way, once in a directory and once in a bucket.
async fn whole_way(uri: &str, aws: &str, open: impl Fn() -> Objects, quarantine: &Path) {
    let generated = Generated::new(3, 60);
    let sink = forwarder(uri, quarantine, aws).await;
    for payload in generated.payloads(10) {
        handle(&sink, &payload).await;
    }
    assert!(!names(&open(), "_staging/").await.is_empty());
    let report = run(open(), Limits::default()).await;
    assert_eq!((report.plans_created, report.plans_done), (1, 1), "{report:?}");
    assert!(report.complete && report.quarantined.is_empty(), "{report:?}");
    assert_eq!(report.rows, 60, "{report:?}");
    assert_eq!(filed(&open()).await.len(), 60);
    assert_eq!(names(&open(), "_staging/").await, [""; 0]);
    assert_eq!(names(&open(), "_lake/").await, [""; 0]);
    let files = names(&open(), "2025").await;
    assert_eq!(files.len(), report.outputs.len());

    // Another environment of the function delivers all of it again, cut anew.
    let again = forwarder(uri, quarantine, aws).await;
    for payload in generated.payloads(7) {
        handle(&again, &payload).await;
    }
    let report = run(open(), Limits::default()).await;
    assert_eq!((report.rows, report.repeats), (0, 60), "{report:?}");
    assert_eq!(names(&open(), "2025").await, files, "no file is added or changed");
    let idle = run(open(), Limits::default()).await;
    assert_eq!(
        idle,
        Report {
            complete: true,
            ..Report::default()
        }
    );
}

#[tokio::test]
async fn from_the_sink_to_files_of_a_directory_and_no_repeat() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("lake");
    let uri = format!("file://{}?format=parquet", place.display());
    whole_way(&uri, "", || directory(&place), &dir.path().join("quarantine")).await;
}

/// Against a real S3, or what stands in for it: its bucket is made, and left.
#[tokio::test]
async fn from_the_sink_to_files_of_an_s3_endpoint() {
    let Some(bucket) = Bucket::new().await else { return };
    let dir = tempfile::tempdir().unwrap();
    let Bucket { endpoint, name, .. } = &bucket;
    let uri = format!("s3://{name}/some/lake?format=parquet&endpoint={endpoint}");
    let open = || bucket.objects("some/lake");
    whole_way(&uri, AWS, open, &dir.path().join("quarantine")).await;
    // Of two runs at once none does harm.
    let objects = open();
    let lines = [staged(
        "a:1",
        &format!(r#"{{"event":"e","time":"2025-11-20T09:00:00Z","uid":"{UID}"}}"#),
    )];
    stage(&objects, "twice", &lines).await;
    let (one, two) = tokio::join!(run(open(), Limits::default()), async {
        let other = Lake::new(open(), Limits::default(), Clock::system(), Random::system());
        let stop = Clock::system().instant() + Duration::from_secs(600);
        other.run(stop).await.unwrap()
    });
    assert_eq!(one.rows + two.rows, 1, "{one:?} {two:?}");
    assert_eq!(filed(&open()).await.len(), 61);
}

/// What an independent reader is given: see `.ci/lake`.
#[tokio::test]
async fn a_lake_for_another_reader() {
    let Some(dir) = std::env::var_os("TIDEWATCH_LAKE_DIR").map(std::path::PathBuf::from) else {
        println!("skipped: TIDEWATCH_LAKE_DIR names no directory");
        return;
    };
    let generated = Generated::new(11, 3000);
    // Before the first write.
    std::fs::write(dir.join("source.ndjson"), generated.source()).unwrap();
    let place = dir.join("lake");
    let uri = format!("file://{}?format=parquet", place.display());
    for size in [100, 37] {
        let sink = forwarder(&uri, &dir.join("quarantine"), "").await;
        for payload in generated.payloads(size) {
            handle(&sink, &payload).await;
        }
        // Several plans, so several files a day.
        let limits = Limits {
            inputs: 8,
            ..Limits::default()
        };
        let report = run(directory(&place), limits).await;
        assert!(report.complete, "{report:?}");
    }
}

#[tokio::test]
async fn a_row_is_the_event() {
    let store = Store::new();
    let objects = store.objects("lake");
    let event = format!(
        r#"{{"ei":1.50,"event":"session.start","sid":"s1","time":"2025-11-20T09:00:00.123987+02:00","uid":"{UID}","user":"bo\u0062"}}"#
    );
    stage(&objects, "1", &[staged("a:1", &event)]).await;
    run(store.objects("lake"), Limits::default()).await;
    let rows = filed(&objects).await;
    let expected = Filed {
        date: "2025-11-20".to_owned(),
        event_type: "session.start".to_owned(),
        // 07:00:00.123 UTC.
        event_time: 1_763_622_000_123,
        uid: UID.to_owned(),
        session_id: "s1".to_owned(),
        user: "bob".to_owned(),
        event_data: event,
    };
    assert_eq!(rows, [expected]);
}

/// Teleport's paging parses `uid`: without one, or with another, all that comes after would be out of reach.
#[tokio::test]
async fn a_uid_that_is_none_is_made() {
    let store = Store::new();
    let objects = store.objects("lake");
    let rest = r#""event":"e","time":"2025-11-20T09:00:00Z""#;
    let upper = UID.to_uppercase();
    let events = [
        format!(r#"{{{rest}}}"#),
        format!(r#"{{{rest},"uid":""}}"#),
        format!(r#"{{"a":{{"z":1e2,"b":[1,{{"y":0.10,"x":2}}]}},{rest},"uid":"not-one"}}"#),
        format!(r#"{{{rest},"uid":"{upper}"}}"#),
        format!(r#"{{{rest},"tidewatch_uid":"taken","uid":7}}"#),
    ];
    let lines: Vec<String> = (0..events.len())
        .map(|at| staged(&format!("s/{at}:00"), &events[at]))
        .collect();
    stage(&objects, "1", &lines).await;
    let report = run(store.objects("lake"), Limits::default()).await;
    assert_eq!((report.rows, report.uids_made), (5, 5), "{report:?}");
    let mut found: Vec<String> = filed(&objects)
        .await
        .into_iter()
        .map(|row| {
            assert_eq!(row.uid.as_bytes()[14], b'5', "a UUIDv5: {}", row.uid);
            row.event_data.replace(&row.uid, "made")
        })
        .collect();
    found.sort_unstable();
    let time = r#""time":"2025-11-20T09:00:00Z","uid":"made"}"#;
    let mut expected = [
        format!(r#"{{"event":"e",{time}"#),
        format!(r#"{{"event":"e","tidewatch_uid":"",{time}"#),
        format!(
            r#"{{"a":{{"z":1e2,"b":[1,{{"y":0.10,"x":2}}]}},"event":"e","tidewatch_uid":"not-one",{time}"#
        ),
        format!(r#"{{"event":"e","tidewatch_uid":"{upper}",{time}"#),
        format!(r#"{{"event":"e","tidewatch_uid":"taken","tidewatch_uid_":7,{time}"#),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let uids: std::collections::BTreeSet<String> =
        filed(&objects).await.into_iter().map(|row| row.uid).collect();
    assert_eq!(uids.len(), 5);
    // Made of the id alone, and so the same again.
    let other = Store::new();
    stage(&other.objects("lake"), "2", &lines).await;
    run(other.objects("lake"), Limits::default()).await;
    let again: std::collections::BTreeSet<String> = filed(&other.objects("lake"))
        .await
        .into_iter()
        .map(|row| row.uid)
        .collect();
    assert_eq!(again, uids);
}

/// Two events with one uid are two rows; one event in two batches is one.
#[tokio::test]
async fn events_are_told_apart_by_their_ids() {
    let store = Store::new();
    let objects = store.objects("lake");
    let event = |user: &str| {
        format!(r#"{{"event":"e","time":"2025-11-20T09:00:00Z","uid":"{UID}","user":"{user}"}}"#)
    };
    let one = staged(&format!("{UID}:01"), &event("a"));
    let two = staged(&format!("{UID}:02"), &event("b"));
    stage(&objects, "1", &[one.clone(), two.clone(), one.clone()]).await;
    stage(&objects, "2", &[two]).await;
    let report = run(store.objects("lake"), Limits::default()).await;
    assert_eq!((report.rows, report.repeats), (2, 2), "{report:?}");
    stage(&objects, "3", &[one]).await;
    let report = run(store.objects("lake"), Limits::default()).await;
    assert_eq!((report.rows, report.repeats), (0, 1), "{report:?}");
    assert_eq!(filed(&objects).await.len(), 2);
}

/// What is no row stops nobody and is kept whole.
#[tokio::test]
async fn what_is_no_row_goes_to_the_quarantine() {
    let store = Store::new();
    let objects = store.objects("lake");
    let good = format!(r#"{{"event":"e","time":"2025-11-20T09:00:00Z","uid":"{UID}"}}"#);
    let dated = |time: &str| {
        staged(
            &format!("a:{time}"),
            &format!(r#"{{"event":"e","time":"{time}","uid":"{OTHER}"}}"#),
        )
    };
    let long = format!(
        r#"{{"event":"e","time":"2025-11-20T09:00:00Z","x":"{}"}}"#,
        "x".repeat(5 << 20)
    );
    let lines = [
        ("", staged("a:1", &good)),
        ("unreadable", "{\"id\":".to_owned()),
        ("unreadable", format!(r#"{{"id":"x","event":["e",{good}]}}"#)),
        ("unreadable", format!(r#"{{"event":{good}}}"#)),
        ("no_type", staged("a:2", r#"{"time":"2025-11-20T09:00:00Z"}"#)),
        ("no_time", staged("a:3", r#"{"event":"e"}"#)),
        (
            "no_time",
            staged("a:4", r#"{"event":"e","time":"2025-11-31T09:00:00Z"}"#),
        ),
        ("date", dated("2024-10-15T23:59:59.999Z")),
        ("", dated("2024-10-16T00:00:00Z")),
        ("", dated("2025-11-21T23:59:59.999Z")),
        ("date", dated("2025-11-22T00:00:00Z")),
        ("date", dated("0001-01-01T00:00:00Z")),
        ("oversize", staged("a:5", &long)),
    ];
    let mut content = Vec::new();
    for (_, line) in &lines {
        content.extend_from_slice(line.as_bytes());
        content.push(b'\n');
    }
    content.extend_from_slice(b"\xff\xfe\n");
    objects.put("_staging/0001-a.ndjson", content).await.unwrap();
    let report = run(store.objects("lake"), Limits::default()).await;
    assert!(report.complete, "{report:?}");
    assert_eq!(report.rows, 3, "{report:?}");
    let rows = filed(&objects).await;
    let dates: Vec<&str> = rows.iter().map(|row| row.date.as_str()).collect();
    assert_eq!(dates, ["2024-10-16", "2025-11-20", "2025-11-21"]);
    let quarantine = names(&objects, "_quarantine/").await;
    assert_eq!(quarantine.len(), 1);
    let body = objects.get(&quarantine[0]).await.unwrap().unwrap().body;
    let kept: Vec<serde_json::Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let bad: Vec<&(&str, String)> = lines.iter().filter(|(reason, _)| !reason.is_empty()).collect();
    assert_eq!(kept.len(), bad.len() + 1);
    for ((reason, line), kept) in bad.iter().zip(&kept) {
        assert_eq!(kept["reason"], *reason);
        assert_eq!(kept["line"].as_str().unwrap(), line);
        assert_eq!(kept["input"], "_staging/0001-a.ndjson");
    }
    assert_eq!(kept.last().unwrap()["base64"], "//4=");
    let count: u64 = report.quarantined.values().sum();
    assert_eq!(count, kept.len() as u64, "{report:?}");
    assert_eq!(names(&objects, "_staging/").await, [""; 0]);
}

#[tokio::test]
async fn an_object_that_is_too_large_stays_and_stops_nobody() {
    let store = Store::new();
    let objects = store.objects("lake");
    let event = |uid: &str| format!(r#"{{"event":"e","time":"2025-11-20T09:00:00Z","uid":"{uid}"}}"#);
    let many: Vec<String> = (0..20)
        .map(|at| staged(&format!("m:{at}"), &event(OTHER)))
        .collect();
    stage(&objects, "1", &many).await;
    stage(&objects, "2", &[staged("a:1", &event(UID))]).await;
    let limits = Limits {
        bytes: 1000,
        ..Limits::default()
    };
    let report = run(store.objects("lake"), limits).await;
    assert_eq!((report.rows, report.inputs_too_large), (1, 1), "{report:?}");
    assert_eq!(names(&objects, "_staging/").await, ["_staging/1.ndjson"]);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_be_and_writes_nothing() {
    let store = Store::new();
    let objects = store.objects("lake");
    let generated = Generated::new(5, 40);
    stage(&objects, "1", &generated.lines()).await;
    let before = names(&objects, "").await;
    let stop = Clock::manual(start()).instant() + Duration::from_secs(600);
    let told = lake(store.objects("lake"), Limits::default())
        .dry_run(stop)
        .await
        .unwrap();
    assert!(told.dry_run);
    assert_eq!(names(&objects, "").await, before);
    let done = run(store.objects("lake"), Limits::default()).await;
    let told_of = |report: &Report| -> Vec<(String, usize, usize)> {
        let outputs = report.outputs.iter();
        let day = |name: &str| name.split('/').next().unwrap().to_owned();
        outputs
            .map(|output| (day(&output.name), output.rows, output.bytes))
            .collect()
    };
    assert_eq!(told_of(&told), told_of(&done));
    assert_eq!((told.rows, told.lines), (40, 40));
    let report = serde_json::to_value(&done).unwrap();
    assert_eq!(report["plans_done"], 1, "{report}");
}

/// Each of its runs is stopped after a while; together they come to the end.
#[tokio::test(start_paused = true)]
async fn a_run_stops_in_time_and_the_next_goes_on() {
    let store = Store::new();
    let objects = store.objects("lake");
    let generated = Generated::new(9, 60);
    for (at, lines) in generated.lines().chunks(6).enumerate() {
        stage(&objects, &format!("{at}"), lines).await;
    }
    let clock = Clock::simulated(start());
    let slow = store.beside();
    slow.plan(|_, _| Fate::Delayed {
        before: Duration::from_secs(1),
        after: Duration::from_secs(1),
    });
    let (mut runs, mut rows) = (0, 0);
    loop {
        let lake = Lake::new(
            slow.objects("lake"),
            Limits {
                inputs: 4,
                ..Limits::default()
            },
            clock.clone(),
            Random::seeded(runs),
        );
        let begun = clock.instant();
        let report = lake.run(begun + Duration::from_secs(25)).await.unwrap();
        assert!(clock.instant() - begun <= Duration::from_secs(25));
        runs += 1;
        rows += report.rows;
        if report.complete {
            break;
        }
        assert!(runs < 50, "{report:?}");
    }
    assert!(runs > 3, "{runs}");
    assert!(rows <= 60);
    assert_eq!(filed(&objects).await.len(), 60);
}

/// A plan of another version, or a damaged one, is left for a human to look at.
#[tokio::test]
async fn a_plan_that_cannot_be_read_is_left_alone() {
    for body in [
        &b"{}"[..],
        b"",
        br#"{"version":2,"id":"x","planned":0,"inputs":[]}"#,
    ] {
        let store = Store::new();
        let objects = store.objects("lake");
        let event = format!(r#"{{"event":"e","time":"2025-11-20T09:00:00Z","uid":"{UID}"}}"#);
        stage(&objects, "1", &[staged("a:1", &event)]).await;
        objects.put("_lake/plan.json", body.to_vec()).await.unwrap();
        let stop = Clock::manual(start()).instant() + Duration::from_secs(600);
        let failed = lake(store.objects("lake"), Limits::default()).run(stop).await;
        let told = failed.unwrap_err().to_string();
        assert!(told.contains("_lake/plan.json is no plan"), "{told}");
        let found = objects.get("_lake/plan.json").await.unwrap().unwrap();
        assert_eq!(found.body, body);
        assert_eq!(names(&objects, "_staging/").await.len(), 1);
    }
}

#[test]
fn a_lake_takes_envelopes_and_no_other_options() {
    let parse = |uri: &str, rest: &str| {
        let document = format!("quarantine: file:///q\nsinks: {{ lake: {{ uri: '{uri}'{rest} }} }}\n");
        Config::parse(&document, "test", []).map_err(|faults| faults.to_string())
    };
    for uri in [
        "s3://audit-bucket/lake?format=parquet&sse_kms_key=k",
        "file:///lake?format=parquet",
    ] {
        let config = parse(uri, "").unwrap();
        assert_eq!(config.sinks["lake"].format, tidewatch::config::Format::Envelope);
    }
    for (uri, rest, why) in [
        (
            "s3://audit-bucket/lake?format=parquet",
            ", format: event",
            "envelopes",
        ),
        (
            "s3://audit-bucket/lake?format=parquet&compression=gzip",
            "",
            "compression",
        ),
        ("s3://audit-bucket/lake?format=orc", "", "parquet is due"),
        ("file:///lake?format=parquet&remember=5", "", "remember"),
    ] {
        let told = parse(uri, rest).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}
