//! Rows that Teleport's own SDK marshalled, and the stream records of those writes, come out as `FieldsMap` holds
//! them: every key, every number exact. `golden/audit/README.md` says where they are from.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidewatch::audit::Decoder;

#[derive(Deserialize)]
struct Golden {
    item: Option<Box<RawValue>>,
    stream: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_name: String,
    dynamodb: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    new_image: Option<Box<RawValue>>,
}

fn cases() -> Vec<(String, Golden, Option<String>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let line = std::fs::read_to_string(path.with_extension("line")).ok();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            cases.push((
                name,
                golden,
                line.map(|line| line.trim_end_matches('\n').to_owned()),
            ));
        }
    }
    assert_eq!(cases.len(), 17, "golden files");
    cases
}

#[test]
fn golden_rows_and_records_come_out_exactly() {
    let mut decoder = Decoder::default();
    let mut checked = 0;
    for (name, golden, line) in cases() {
        let images = golden
            .stream
            .iter()
            .filter_map(|record| record.dynamodb.new_image.as_ref());
        for row in golden.item.iter().chain(images) {
            let decoded = decoder
                .decode(row.get())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(decoded.map(|(_, text)| text.to_owned()), line, "{name}");
            checked += 1;
        }
    }
    assert_eq!(checked, 36);
}

#[test]
fn an_event_has_one_id_whether_from_item_or_record() {
    let mut decoder = Decoder::default();
    for (name, golden, line) in cases() {
        let Some(line) = line else { continue };
        let mut ids = Vec::new();
        let images = golden
            .stream
            .iter()
            .filter(|record| record.event_name != "MODIFY");
        for row in golden
            .item
            .iter()
            .chain(images.filter_map(|record| record.dynamodb.new_image.as_ref()))
        {
            ids.push(decoder.decode(row.get()).unwrap().unwrap().0.id);
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{name}");
        // The hash is of the line as sinks get it.
        let hash = ids[0].rsplit_once(':').unwrap().1;
        let sum = <sha2::Sha256 as sha2::Digest>::digest(line.as_bytes());
        let hex: String = sum.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, hex, "{name}");
    }
}

#[test]
fn the_event_index_is_the_rows_and_exact() {
    let mut decoder = Decoder::default();
    let (_, golden, line) = cases()
        .into_iter()
        .find(|case| case.0 == "session_command_reindexed")
        .unwrap();
    let row = golden.item.unwrap();
    let (event, text) = decoder.decode(row.get()).unwrap().unwrap();
    assert_eq!(event.event_index, "1795170931001234567");
    assert!(text.contains("\"ei\":1795170931001234700,"), "{text}");
    assert_eq!(Some(text.to_owned()), line);
}
