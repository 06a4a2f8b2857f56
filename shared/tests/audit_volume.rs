//! Search and export over many rows, loaded by the engine's own import: what they read, and what they hold in memory. The
//! only test of its process: the memory that the process ever had is what is looked at. The engine takes memory by the
//! rows of a day, so it runs in a process of its own: this program once more, with [`FILE`] set.
//!
//! `TIDEWATCH_ROWS` says how many rows; 100,000 by default, 5,000 in a debug build.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use futures_util::TryStreamExt;
use serde_json::json;
use tempfile::TempDir;
use tidewatch::audit::log::{Dynamo, Export, Order, Search};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// 2026-11-20T00:00:00Z.
const DAY: u64 = 1_795_132_800;
/// Days that the rows are spread over.
const DAYS: u64 = 10;
/// What search and export may add to the memory, however many rows there are: pages on their way. In dev it was 43 MiB
/// with 100,000 rows and 42 with 1,000,000.
const BOUND: u64 = 64 << 20;
/// Where the engine's process finds the name of its database's file.
const FILE: &str = "TIDEWATCH_ENGINE_FILE";
/// What comes before the bytes and the address in the line by which the engine's process says that it is ready.
const READY: &str = "bytes and address: ";
/// How long the engine's process may say nothing: it tells of each tenth of the rows that it loaded.
const SILENCE: Duration = Duration::from_secs(300);

/// A line of this process's state, in bytes; none where there is no such file.
fn memory(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|found| found.starts_with(line))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn row(n: u64, step: f64) -> dynoxide::Item {
    let second = (n as f64 * step) as u64;
    let at = i64::try_from(DAY + second).unwrap();
    let at = time::OffsetDateTime::from_unix_timestamp(at).unwrap();
    let rfc = at.format(&time::format_description::well_known::Rfc3339).unwrap();
    let id = format!("{n:08}-0000-4000-8000-000000000000");
    let kind = [
        "user.login",
        "session.start",
        "session.command",
        "db.session.query",
    ][n as usize % 4];
    let row = json!({
        "SessionID": {"S": id}, "EventIndex": {"N": (n % 7).to_string()}, "EventType": {"S": kind},
        "EventNamespace": {"S": "default"}, "CreatedAt": {"N": (DAY + second).to_string()},
        "CreatedAtDate": {"S": at.date().to_string()}, "Expires": {"N": "1826812983"},
        "FieldsMap": {"M": {
            "event": {"S": kind}, "code": {"S": "T0000I"}, "uid": {"S": id}, "time": {"S": rfc}, "ei": {"N": (n % 7).to_string()},
            "user": {"S": format!("user-{}@example.com", n % 321)}, "cluster_name": {"S": "prod.example.com"},
            "addr.remote": {"S": format!("192.0.2.{}:{}", n % 250, 20_000 + n % 40_000)}, "namespace": {"S": "default"},
            "server_labels": {"M": {"env": {"S": "prod"}, "team": {"S": format!("team-{}", n % 9)}}},
            "argv": {"L": [{"S": "-c"}, {"S": "x".repeat((n as usize * 37) % 400)}]}, "n": {"N": n.to_string()},
        }},
    });
    serde_json::from_value(row).unwrap()
}

fn rows() -> u64 {
    let default = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
    std::env::var("TIDEWATCH_ROWS").map_or(default, |rows| rows.parse().unwrap())
}

fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version_latest()
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// What the engine's process does: it loads the rows, says where it is, and serves them until its input ends, as it does
/// when the test's process is gone, however that ended.
async fn serve(file: &str) {
    // A file, as a table is.
    let database = dynoxide::Database::new(file).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = dynoxide::server::serve_with_shutdown(listener, database.clone(), async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(server);
    let (clock, random) = (Clock::system(), Random::seeded(1));
    let opened = Dynamo::open(&client(&url), "audit", Dynamo::RETENTION, clock, random).await;
    opened.unwrap();
    let rows = rows();
    let step = (DAYS * 86_400) as f64 / rows as f64;
    let (mut bytes, mut loaded, mut told) = (0, 0, 0);
    database.enable_bulk_loading().unwrap();
    while loaded < rows {
        let next = (loaded + 500).min(rows);
        let items: Vec<_> = (loaded..next).map(|n| row(n, step)).collect();
        let done = database.import_items("audit", items, dynoxide::ImportOptions::default());
        bytes += done.unwrap().bytes_imported as u64;
        loaded = next;
        if loaded * 10 / rows > told {
            told = loaded * 10 / rows;
            println!("{loaded} rows loaded");
        }
    }
    database.disable_bulk_loading().unwrap();
    println!("{READY}{bytes} {url}");
    let ended = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = ended.await;
    drop(stop);
    server.await.unwrap().unwrap();
}

/// The engine in a process of its own, which is ended when this is dropped.
struct Engine {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    /// Dropped after the process.
    _home: TempDir,
}

impl Engine {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--nocapture")
            .env(FILE, home.path().join("engine.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            out,
            _home: home,
        }
    }

    /// The bytes that it loaded, and where it listens.
    async fn ready(&mut self, clock: &Clock) -> (u64, String) {
        loop {
            let line = clock.timeout(SILENCE, self.out.next_line()).await;
            let line = line.expect("the engine says nothing").unwrap();
            let line = line.expect("the engine ended");
            if let Some((_, ready)) = line.split_once(READY) {
                let (bytes, url) = ready.split_once(' ').unwrap();
                return (bytes.parse().unwrap(), url.to_owned());
            }
            if line.ends_with("loaded") {
                println!("{line}");
            }
        }
    }
}

/// Units are within 5 % of the bytes read, in 8 KiB, and one a page.
fn priced(what: &str, units: f64, bytes: u64, pages: usize) {
    let due = bytes as f64 / 8192.0;
    println!("{what}: {units} units for {bytes} bytes ({due:.0} units) in {pages} pages");
    assert!(
        units <= due * 1.05 + pages as f64 && units >= due * 0.95,
        "{what}: {units} units, {due} are due, {pages} pages"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search_and_export_read_each_row_once_and_hold_pages_only() {
    if let Ok(file) = std::env::var(FILE) {
        return serve(&file).await;
    }
    let (rows, clock) = (rows(), Clock::system());
    let mut engine = Engine::start();
    let (bytes, url) = engine.ready(&clock).await;
    let opened = Dynamo::existing(&client(&url), "audit", clock.clone(), Random::seeded(2)).await;
    let table = opened.unwrap();
    let (from, to) = (
        UNIX_EPOCH + Duration::from_secs(DAY),
        UNIX_EPOCH + Duration::from_secs(DAY + DAYS * 86_400 - 1),
    );
    let before = memory("VmRSS:");

    for order in [Order::Ascending, Order::Descending] {
        let begun = clock.instant();
        let mut search = Search {
            order,
            ..Search::new(from, to)
        };
        let (mut found, mut units, mut pages, mut seen) = (0, 0.0, 0, vec![false; rows as usize]);
        loop {
            let answer = table.search(&search).await.unwrap();
            let text: usize = answer.events.iter().map(|event| event.json.len()).sum();
            assert!(text <= 1024 * 1024);
            for event in &answer.events {
                let n: usize = event.session_id[..8].parse().unwrap();
                assert!(!std::mem::replace(&mut seen[n], true), "{n} twice");
            }
            found += answer.events.len() as u64;
            units += answer.units;
            // Of an answer: each takes a page or a few.
            pages += 1;
            match answer.cursor {
                Some(cursor) => search.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!(found, rows);
        priced(
            &format!("search, {order:?}, {:?}", clock.instant() - begun),
            units,
            bytes,
            pages + DAYS as usize,
        );
    }

    for parallel in [1, 4] {
        let begun = clock.instant();
        let export = Export {
            parallel,
            ..Export::new(from, to)
        };
        let (mut found, mut units, mut pages, mut shown) = (0, 0.0, 0, 0);
        let stream = table.export(export);
        let mut stream = std::pin::pin!(stream);
        while let Some(part) = stream.try_next().await.unwrap() {
            found += part.events.len() as u64;
            units += part.units;
            pages += 1;
            if found * 10 / rows > shown {
                shown = found * 10 / rows;
                print!("export {}0 % ", shown);
                std::io::stdout().flush().unwrap();
            }
        }
        println!();
        assert_eq!(found, rows);
        priced(
            &format!("export, {parallel} at a time, {:?}", clock.instant() - begun),
            units,
            bytes,
            pages,
        );
    }

    match (before, memory("VmHWM:")) {
        (Some(before), Some(peak)) => {
            let added = peak.saturating_sub(before);
            println!("{} MiB added at most, to {} MiB", added >> 20, before >> 20);
            assert!(added < BOUND, "{added} bytes of {bytes}");
        }
        _ => println!("SKIPPED: this system does not tell what memory a process has"),
    }
    engine.child.kill().await.unwrap();
}
