//! The decoder and the pipeline over bad input: the committed corpus, and seeded mutations of it for a bounded time.
//!
//! `TIDEWATCH_FUZZ_SECONDS` sets the time (2 by default), `TIDEWATCH_FUZZ_SEED` the seed; the seed is printed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout
)]

mod support;

use std::time::{Duration, Instant};

use support::{Setup, payload};
use tidewatch::audit::Decoder;

fn corpus() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    assert!(files.len() >= 40, "the corpus is not there");
    files
}

/// What the corpus decodes to: an event's line, `None` for no event, or a fault and its path.
#[test]
fn the_corpus_decodes_or_fails_with_a_place() {
    let mut decoder = Decoder::default();
    let mut found = String::new();
    for (name, text) in corpus() {
        let outcome = match decoder.decode(&text) {
            Ok(Some((event, line))) => format!("{} {} {}", event.id, event.day, line),
            Ok(None) => "no event".to_owned(),
            Err(malformed) => malformed.to_string(),
        };
        found.push_str(&format!(
            "{name}: {}\n",
            outcome.chars().take(400).collect::<String>()
        ));
    }
    let expected = include_str!("golden/corpus.txt");
    if std::env::var_os("TIDEWATCH_BLESS").is_some() {
        std::fs::write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/corpus.txt"),
            &found,
        )
        .unwrap();
    } else {
        for (found, expected) in found.lines().zip(expected.lines()) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.lines().count(), expected.lines().count());
    }
}

/// Changes a text in one of the ways that break parsers.
fn mutate(text: &str, pieces: &[&str], rng: &mut fastrand::Rng) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=rng.usize(..3) {
        let at = rng.usize(..=bytes.len());
        let end = rng.usize(at..=bytes.len().min(at + 40));
        match rng.u8(..6) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, pieces[rng.usize(..pieces.len())].bytes())),
            3 => drop(bytes.splice(at..end, pieces[rng.usize(..pieces.len())].bytes())),
            4 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            _ if at < bytes.len() => bytes[at] = rng.u8(..),
            _ => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const PIECES: [&str; 26] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-",
    "1e400",
    "1e-400",
    "0.0",
    "{\"M\":{}}",
    "{\"L\":[",
    "{\"N\":\"",
    "{\"B\":\"",
    "\"FieldsMap\":",
    "\"Fields\":{\"S\":\"{\\\"a\\\":1}\"}",
    "\"SessionID\":{\"S\":\"\"}",
    "\u{1F600}",
    "\u{7f}",
    "CHUNK#",
];

#[tokio::test(start_paused = true)]
async fn mutated_rows_never_panic_and_every_record_is_accounted_for() {
    let seconds = std::env::var("TIDEWATCH_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    let seed = std::env::var("TIDEWATCH_FUZZ_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let corpus = corpus();
    let mut decoder = Decoder::default();
    let setup = Setup::new().await;
    let begun = Instant::now();
    let (mut rows, mut events, mut number) = (0_u64, 0_u64, 0_u32);
    while begun.elapsed() < Duration::from_secs(seconds) {
        let mut records = Vec::new();
        for _ in 0..20 {
            let (_, text) = &corpus[rng.usize(..corpus.len())];
            let text = mutate(text, &PIECES, &mut rng);
            rows += 1;
            // A panic here fails the test; the pipeline would catch it.
            if let Ok(Some((event, line))) = decoder.decode(&text) {
                events += 1;
                let (key, line) = (event.key, line.to_owned());
                serde_json::from_str::<serde::de::IgnoredAny>(&line).unwrap();
                assert!(line.starts_with('{'), "{line}");
                // Canonical text is canonical: as a legacy row it comes out the same.
                let legacy = serde_json::json!({"SessionID": {"S": &*event.session_id}, "EventIndex": {"N": &*event.event_index},
                    "EventType": {"S": "x"}, "Fields": {"S": line}});
                let legacy = legacy.to_string();
                let (again, text) = decoder.decode(&legacy).unwrap().unwrap();
                assert_eq!(text, line);
                assert_eq!(again.key, key);
            }
            number += 1;
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() {
                let record = format!(
                    r#"{{"eventID":"e","eventName":"INSERT","dynamodb":{{"SequenceNumber":"{number}","NewImage":{text}}}}}"#
                );
                records.push(if rng.u8(..4) == 0 {
                    mutate(&record, &PIECES, &mut rng)
                } else {
                    record
                });
            }
        }
        records.retain(|record| serde_json::from_str::<serde::de::IgnoredAny>(record).is_ok());
        let handled = setup.handle(&payload(&records)).await.unwrap();
        assert_eq!(handled.first_failed, None);
        let report = handled.report;
        assert_eq!(report.records_in, records.len());
        assert_eq!(
            report.delivered + report.skipped() + report.quarantined,
            records.len()
        );
    }
    let quarantined = support::read_lines(&setup.dir.path().join("quarantine"), "ndjson").concat();
    assert!(quarantined.len() > 10, "{}", quarantined.len());
    for line in quarantined {
        assert!(!line.starts_with(r#"{"kind":"panic""#), "{line}");
    }
    println!("{rows} rows, {events} of them events");
    assert!(rows > 100 && events > 10, "{rows} rows, {events} events");
}

/// One bad record makes the batch be read record by record; what is delivered must be the same.
#[tokio::test(start_paused = true)]
async fn reading_at_once_and_one_by_one_agree() {
    let mut records = Vec::new();
    for (number, (_, text)) in corpus().into_iter().enumerate() {
        if matches!(Decoder::default().decode(&text), Ok(Some(_))) {
            let number = number + 1;
            records.push(format!(
                r#"{{"eventID":"e{number}","eventName":"INSERT","dynamodb":{{"SequenceNumber":"{number}","NewImage":{text}}}}}"#
            ));
        }
    }
    let at_once = Setup::formatted("envelope").await;
    at_once.handle(&payload(&records)).await.unwrap();
    let one_by_one = Setup::formatted("envelope").await;
    records.push(r#"{"eventName":"INSERT"}"#.to_owned());
    let handled = one_by_one.handle(&payload(&records)).await.unwrap();
    assert_eq!(handled.report.quarantined, 1);
    assert_eq!(at_once.lines("a"), one_by_one.lines("a"));
    assert!(at_once.lines("a").len() > 10);
}
