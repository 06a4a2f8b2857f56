//! What stands at the sinks, against what was emitted. Ours decodes nothing here: a line's event must be the one that was
//! emitted, member by member.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::Value;

/// Findings by sink and kind, as `lake: lost`.
pub(crate) type Wrong = BTreeMap<String, usize>;

/// An event that was emitted.
#[derive(Debug)]
pub(crate) struct Emitted {
    pub(crate) stream: usize,
    pub(crate) place: usize,
    pub(crate) event: Value,
}

/// All, by uid.
pub(crate) type All = HashMap<String, Emitted>;

/// Compares a sink's events, in the order in which they stand there. Answers how many came before.
pub(crate) fn compare(
    all: &All,
    sink: &str,
    events: impl IntoIterator<Item = Value>,
    once: bool,
    wrong: &mut Wrong,
) -> u64 {
    let mut repeats = 0;
    let mut note = |kind: &str| *wrong.entry(format!("{sink}: {kind}")).or_default() += 1;
    let (mut seen, mut latest) = (BTreeSet::new(), BTreeMap::new());
    for event in events {
        let uid = event["uid"].as_str().unwrap_or_default();
        let Some(known) = all.get(uid) else {
            note("unknown");
            continue;
        };
        if known.event != event {
            note("altered");
        }
        if !seen.insert(uid.to_owned()) {
            repeats += 1;
            if once {
                note("doubled");
            }
            continue;
        }
        if latest.insert(known.stream, known.place) > Some(known.place) {
            note("out of order");
        }
    }
    (seen.len()..all.len()).for_each(|_| note("lost"));
    repeats
}

/// Files below a directory whose names end so, by name.
pub(crate) fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Lines of files, as JSON.
pub(crate) fn lines(dir: &Path) -> Vec<Value> {
    let texts = files(dir, ".ndjson")
        .into_iter()
        .map(|path| std::fs::read_to_string(path).unwrap());
    texts
        .flat_map(|text| text.lines().map(parse).collect::<Vec<_>>())
        .collect()
}

pub(crate) fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// The lake's rows by session and place, after a look at their sidecars.
pub(crate) fn lake(dir: &Path, wrong: &mut Wrong) -> Vec<Value> {
    let mut events = Vec::new();
    for path in files(dir, ".parquet") {
        let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let date = path
            .parent()
            .unwrap()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            let event = parse(row.get_string(5).unwrap());
            let right = event["uid"] == row.get_string(2).unwrap().as_str()
                && event["sid"] == row.get_string(3).unwrap().as_str()
                && event["time"].as_str().unwrap().starts_with(&date);
            if !right {
                *wrong
                    .entry("lake: a row is not its event".to_owned())
                    .or_default() += 1;
            }
            events.push(event);
        }
    }
    let mut ids: Vec<u128> = Vec::new();
    for path in files(dir, ".ids") {
        let bytes = std::fs::read(path).unwrap();
        ids.extend(
            bytes
                .chunks(16)
                .map(|id| u128::from_be_bytes(id.try_into().unwrap())),
        );
    }
    let distinct: BTreeSet<u128> = ids.iter().copied().collect();
    if ids.len() != events.len() || distinct.len() != ids.len() {
        *wrong
            .entry("lake: ids are not those of the rows".to_owned())
            .or_default() += 1;
    }
    if !files(&dir.join("_quarantine"), "").is_empty() {
        *wrong.entry("lake: quarantined".to_owned()).or_default() += 1;
    }
    // Files have no order among each other.
    events.sort_by_key(|event| event["n"].as_u64());
    events
}
