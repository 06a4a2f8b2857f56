//! Search and export over many rows, loaded by the engine's own import: what they read, and what they hold in memory. The
//! only test of its process: the memory that the process ever had is what is looked at.
//!
//! `TIDEWATCH_ROWS` says how many rows; 100,000 by default, 5,000 in a debug build.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

#[allow(dead_code)] // The state tests use the rest.
#[path = "state/engine.rs"]
mod engine;

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use engine::Engine;
use futures_util::TryStreamExt;
use serde_json::json;
use tidewatch::audit::log::{Dynamo, Export, Order, Search};
use tidewatch::clock::Clock;
use tidewatch::random::Random;

/// 2026-11-20T00:00:00Z.
const DAY: u64 = 1_795_132_800;
/// Days that the rows are spread over.
const DAYS: u64 = 10;
/// What search and export may add to the memory: pages on their way, and what the engine, which is in this process, makes
/// of them. It was 19 MiB with 100,000 rows optimised, 33 in dev. With 1,000,000 it was 224, and nobody could tell whose:
/// what the engine takes for a query grows with the rows of a day.
const BOUND: u64 = 128 << 20;

/// A line of this process's state, in bytes; none where there is no such file.
fn memory(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|found| found.starts_with(line))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Sets the peak back to what is held now, so that loading does not hide what reading takes. False where it cannot be.
fn reset_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
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
    let default = if cfg!(debug_assertions) { 5_000 } else { 100_000 };
    let rows: u64 = match std::env::var("TIDEWATCH_ROWS") {
        Ok(rows) => rows.parse().unwrap(),
        Err(_) => default,
    };
    // A file, as a table is: what the engine holds in memory must not hide what is looked for.
    let home = tempfile::tempdir().unwrap();
    let database = dynoxide::Database::new(home.path().join("engine.db").to_str().unwrap()).unwrap();
    let mut engine = Engine::new();
    engine.database = database;
    let client = engine.client();
    let clock = Clock::system();
    let opened = Dynamo::open(
        &client,
        "audit",
        Dynamo::RETENTION,
        clock.clone(),
        Random::seeded(1),
    )
    .await;
    let table = opened.unwrap();
    let step = (DAYS * 86_400) as f64 / rows as f64;
    let (mut bytes, mut loaded) = (0, 0);
    engine.database.enable_bulk_loading().unwrap();
    while loaded < rows {
        let next = (loaded + 500).min(rows);
        let items: Vec<_> = (loaded..next).map(|n| row(n, step)).collect();
        let done = engine
            .database
            .import_items("audit", items, dynoxide::ImportOptions::default());
        bytes += done.unwrap().bytes_imported as u64;
        loaded = next;
    }
    engine.database.disable_bulk_loading().unwrap();
    engine.forget();
    let (from, to) = (
        UNIX_EPOCH + Duration::from_secs(DAY),
        UNIX_EPOCH + Duration::from_secs(DAY + DAYS * 86_400 - 1),
    );
    let can_reset = reset_peak();
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
        (Some(before), Some(peak)) if can_reset => {
            let added = peak.saturating_sub(before);
            println!("{} MiB added at most, to {} MiB", added >> 20, before >> 20);
            assert!(added < BOUND, "{added} bytes of {bytes}");
        }
        _ => println!("SKIPPED: this system does not tell what memory a process has"),
    }
}
