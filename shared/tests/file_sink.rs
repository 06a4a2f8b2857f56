//! `file://`: exactly once within the ids it remembers, whatever point the process was killed at.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use tidewatch::audit::Day;
use tidewatch::forward::sinks::file::File;
use tidewatch::forward::{Outgoing, Sink};

fn day(text: &str) -> Day {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    Day::new(time::Date::parse(text, &format).ok())
}

/// Records `range` of a session: line `{"n":…}`, each on the day that `days` gives.
async fn deliver(sink: &File, range: std::ops::Range<u32>, days: &[&str]) -> Result<usize, String> {
    let lines: Vec<String> = range.clone().map(|n| format!("{{\"n\":{n}}}")).collect();
    let records: Vec<Outgoing<'_>> = range
        .zip(&lines)
        .map(|(n, line)| Outgoing {
            position: 0,
            event_id: None,
            id: line,
            key: u128::from(n) + 1,
            session_id: "s",
            day: day(days[n as usize % days.len()]),
            sequence_number: "1",
            line: line.as_bytes(),
        })
        .collect();
    sink.deliver(&records).await.map_err(|error| error.to_string())
}

fn numbers(dir: &Path, day: &str) -> Vec<u32> {
    let text = std::fs::read_to_string(dir.join(format!("{day}.ndjson"))).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "torn: {text}");
    text.lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["n"]
                .as_u64()
                .unwrap() as u32
        })
        .collect()
}

const ONE: [&str; 1] = ["2026-11-20"];

#[tokio::test]
async fn a_file_a_day_and_repeats_written_once_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let days = ["2026-11-20", "2026-11-21", "none"];
    let sink = File::open(dir.path(), 1000).unwrap();
    assert_eq!(deliver(&sink, 0..30, &days).await, Ok(30));
    deliver(&sink, 0..30, &days).await.unwrap();
    drop(sink);
    let sink = File::open(dir.path(), 1000).unwrap();
    deliver(&sink, 0..33, &days).await.unwrap();
    assert_eq!(
        numbers(dir.path(), "2026-11-20"),
        (0..33).step_by(3).collect::<Vec<_>>()
    );
    assert_eq!(
        numbers(dir.path(), "2026-11-21"),
        (1..33).step_by(3).collect::<Vec<_>>()
    );
    assert_eq!(
        numbers(dir.path(), "undated"),
        (2..33).step_by(3).collect::<Vec<_>>()
    );
}

/// A kill leaves any prefix of what was written: lines first, then entries. Whatever it left, the next process ends
/// with every line once and in order.
#[tokio::test]
async fn killed_at_any_byte_nothing_is_lost_doubled_or_torn() {
    let days = ["2026-11-20", "2026-11-21"];
    let made = tempfile::tempdir().unwrap();
    let sink = File::open(made.path(), 1000).unwrap();
    deliver(&sink, 0..4, &days).await.unwrap();
    let before: Vec<(String, Vec<u8>)> = snapshot(made.path());
    deliver(&sink, 4..9, &days).await.unwrap();
    let after: Vec<(String, Vec<u8>)> = snapshot(made.path());
    drop(sink);
    let writes = ["2026-11-20.ndjson", "2026-11-21.ndjson", ".commits"];
    let mut tried = 0;
    for (step, name) in writes.iter().enumerate() {
        let length = |files: &[(String, Vec<u8>)], name: &str| find(files, name).len();
        for cut in length(&before, name)..=length(&after, name) {
            let dir = tempfile::tempdir().unwrap();
            for (at, done) in writes.iter().enumerate() {
                let whole = find(&after, done);
                let end = match at.cmp(&step) {
                    std::cmp::Ordering::Less => whole.len(),
                    std::cmp::Ordering::Equal => cut,
                    std::cmp::Ordering::Greater => length(&before, done),
                };
                std::fs::write(dir.path().join(done), &whole[..end]).unwrap();
            }
            let sink = File::open(dir.path(), 1000).unwrap();
            deliver(&sink, 4..9, &days).await.unwrap();
            assert_eq!(
                numbers(dir.path(), days[0]),
                [0, 2, 4, 6, 8],
                "{name} cut at {cut}"
            );
            assert_eq!(numbers(dir.path(), days[1]), [1, 3, 5, 7], "{name} cut at {cut}");
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
}

fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                std::fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

fn find<'a>(files: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    files
        .iter()
        .find(|(found, _)| found == name)
        .map_or(&[], |(_, bytes)| bytes)
}

#[tokio::test]
async fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = File::open(dir.path(), 10).unwrap();
    let second = File::open(dir.path(), 10).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second}");
}

#[tokio::test]
async fn damage_that_no_kill_makes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 10).unwrap();
    deliver(&sink, 0..5, &ONE).await.unwrap();
    drop(sink);
    let path = dir.path().join(".commits");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(
        File::open(dir.path(), 10)
            .unwrap_err()
            .to_string()
            .contains("damaged")
    );
    assert_eq!(numbers(dir.path(), ONE[0]).len(), 5, "nothing was cut");
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 0..5, &ONE).await.unwrap();
    drop(sink);
    std::fs::remove_file(dir.path().join("2026-11-20.ndjson")).unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 3..8, &ONE).await.unwrap();
    drop(sink);
    let _again = File::open(dir.path(), 100).unwrap();
    assert_eq!(numbers(dir.path(), ONE[0]), [5, 6, 7]);
}

/// Whoever collects a file may move it while the sink has it open.
#[tokio::test]
async fn a_file_that_is_moved_away_while_open_is_begun_anew_and_killed_there() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 0..5, &ONE).await.unwrap();
    let path = dir.path().join("2026-11-20.ndjson");
    std::fs::rename(&path, dir.path().join("collected")).unwrap();
    deliver(&sink, 5..8, &ONE).await.unwrap();
    assert_eq!(numbers(dir.path(), ONE[0]), [5, 6, 7]);
    assert_eq!(
        std::fs::read_to_string(dir.path().join("collected"))
            .unwrap()
            .lines()
            .count(),
        5
    );
    // Moved again; then killed after the first bytes of a batch were written and nothing was committed for them.
    std::fs::rename(&path, dir.path().join("collected")).unwrap();
    deliver(&sink, 8..9, &ONE).await.unwrap();
    drop(sink);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"{\"n\":9}\n{\"n").unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 9..12, &ONE).await.unwrap();
    assert_eq!(numbers(dir.path(), ONE[0]), [8, 9, 10, 11]);
}

/// Begun anew and killed before a line of it was committed: the old file's end does not stand for the new one.
#[tokio::test]
async fn a_file_begun_anew_is_cut_though_no_line_of_it_counts_yet() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 0..5, &ONE).await.unwrap();
    let path = dir.path().join("2026-11-20.ndjson");
    std::fs::rename(&path, dir.path().join("collected")).unwrap();
    let full = dir.path().join("2026-11-21.ndjson");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let days = ["2026-11-20", "2026-11-21"];
    assert!(deliver(&sink, 6..8, &days).await.is_err());
    drop(sink);
    std::fs::remove_file(&full).unwrap();
    std::fs::write(&path, b"{\"n\":6}\n{\"n").unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 6..8, &days).await.unwrap();
    assert_eq!(
        (numbers(dir.path(), days[0]), numbers(dir.path(), days[1])),
        (vec![6], vec![7])
    );
}

#[tokio::test]
async fn lines_without_a_sidecar_are_somebody_elses_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("2026-11-20.ndjson");
    std::fs::write(&path, "{}\n").unwrap();
    let error = File::open(dir.path(), 100).unwrap_err().to_string();
    assert!(error.contains("has no .commits beside it"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
    assert!(File::open(dir.path(), 100).is_err(), "nor the second time");
}

#[tokio::test]
async fn beyond_the_bound_the_sidecar_stays_small_and_days_keep_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 0..1, &["2026-11-19"]).await.unwrap();
    for batch in 0..40 {
        deliver(&sink, 1 + batch * 50..1 + (batch + 1) * 50, &ONE)
            .await
            .unwrap();
    }
    drop(sink);
    let entries = std::fs::metadata(dir.path().join(".commits")).unwrap().len() / 32;
    assert!(entries < 1200, "{entries}");
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 1951..2010, &ONE).await.unwrap();
    assert_eq!(numbers(dir.path(), ONE[0]), (1..2010).collect::<Vec<_>>());
    assert_eq!(numbers(dir.path(), "2026-11-19"), [0]);
}

#[tokio::test]
async fn more_days_than_open_files() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 1000).unwrap();
    let days: Vec<String> = (1..=28).map(|day| format!("2026-02-{day:02}")).collect();
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    deliver(&sink, 0..280, &days).await.unwrap();
    deliver(&sink, 270..560, &days).await.unwrap();
    for (at, day) in days.iter().enumerate() {
        assert_eq!(
            numbers(dir.path(), day),
            (at as u32..560).step_by(28).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_cut_off_and_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    // A directory where the second day's file should be.
    std::fs::create_dir(dir.path().join("2026-11-21.ndjson")).unwrap_or_default();
    let opened = File::open(dir.path(), 100);
    assert!(opened.is_err(), "a directory is no day's file");
    std::fs::remove_dir(dir.path().join("2026-11-21.ndjson")).unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    std::fs::create_dir(dir.path().join("2026-11-21.ndjson")).unwrap();
    let days = ["2026-11-20", "2026-11-21"];
    assert!(deliver(&sink, 0..4, &days).await.is_err());
    assert_eq!(numbers(dir.path(), days[0]), Vec::<u32>::new());
    std::fs::remove_dir(dir.path().join("2026-11-21.ndjson")).unwrap();
    deliver(&sink, 0..4, &days).await.unwrap();
    assert_eq!(
        (numbers(dir.path(), days[0]), numbers(dir.path(), days[1])),
        (vec![0, 2], vec![1, 3])
    );
}

#[tokio::test]
async fn what_was_not_committed_is_cut_when_the_directory_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 0..3, &ONE).await.unwrap();
    drop(sink);
    let path = dir.path().join("2026-11-20.ndjson");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"{\"n\":3}\n{\"n").unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    assert_eq!(numbers(dir.path(), ONE[0]), [0, 1, 2]);
    // Nor does a longer rest stand behind what is written next, should cutting a failed batch have failed.
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"{\"n\":4}\n{\"n\":5}\n{\"n").unwrap();
    deliver(&sink, 3..4, &ONE).await.unwrap();
    assert_eq!(numbers(dir.path(), ONE[0]), [0, 1, 2, 3]);
}

/// The second day's file takes no byte, after the first day's lines were written.
#[tokio::test]
async fn a_batch_that_fails_midway_leaves_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    let full = dir.path().join("2026-11-21.ndjson");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let days = ["2026-11-20", "2026-11-21"];
    assert!(deliver(&sink, 0..4, &days).await.is_err());
    assert_eq!(numbers(dir.path(), days[0]), Vec::<u32>::new());
    std::fs::remove_file(&full).unwrap();
    // Nor is a line known as written that was not.
    drop(sink);
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 0..4, &days).await.unwrap();
    assert_eq!(
        (numbers(dir.path(), days[0]), numbers(dir.path(), days[1])),
        (vec![0, 2], vec![1, 3])
    );
}

/// Whoever collects a file may put another in its place: lines go to the one that has the name.
#[tokio::test]
async fn a_file_that_is_replaced_while_open_is_written_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    deliver(&sink, 0..2, &ONE).await.unwrap();
    let path = dir.path().join("2026-11-20.ndjson");
    std::fs::rename(&path, dir.path().join("collected")).unwrap();
    std::fs::write(&path, "").unwrap();
    deliver(&sink, 2..4, &ONE).await.unwrap();
    assert_eq!(numbers(dir.path(), ONE[0]), [2, 3]);
}

/// As many ids as are to be remembered survive the sidecar's being written anew.
#[tokio::test]
async fn a_compacted_sidecar_still_knows_the_last_ids() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 600).unwrap();
    deliver(&sink, 0..1201, &ONE).await.unwrap();
    deliver(&sink, 1201..1202, &ONE).await.unwrap();
    drop(sink);
    let entries = std::fs::metadata(dir.path().join(".commits")).unwrap().len() / 32;
    assert_eq!(entries, 601, "the sidecar was compacted");
    let sink = File::open(dir.path(), 600).unwrap();
    deliver(&sink, 602..1202, &ONE).await.unwrap();
    assert_eq!(numbers(dir.path(), ONE[0]), (0..1202).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_key_twice_in_a_call_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let sink = File::open(dir.path(), 100).unwrap();
    let record = Outgoing {
        position: 0,
        event_id: None,
        id: "u",
        key: 1,
        session_id: "s",
        day: day(ONE[0]),
        sequence_number: "1",
        line: b"{\"n\":0}",
    };
    assert_eq!(sink.deliver(&[record, record]).await.unwrap(), 2);
    assert_eq!(numbers(dir.path(), ONE[0]), [0]);
}
