//! Compares the lake's files with what the generator said: each event in the folder of its day, once. The files are read by
//! the Parquet library, what is in them as text; nothing of ours decodes it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;

use parquet::file::reader::SerializedFileReader;
use parquet::record::{Row, RowAccessor};

use super::check::{Findings, files, short};
use super::traffic::{Fate, Step};

/// The column that holds the event.
const EVENT_DATA: &str = "event_data";

/// Adds what is wrong in the lake to the findings. Rows have no order there.
///
/// # Errors
/// Those of the file system, and files that are no Parquet.
pub(super) fn check_lake(steps: &[Step], lake: &Path, findings: &mut Findings) -> io::Result<()> {
    let mut due: HashMap<&str, (&str, usize)> = HashMap::new();
    for step in steps {
        if let Fate::Forwarded { date, line, .. } = &step.fate {
            due.insert(line, (date, 0));
        }
    }
    let named = |what: &str| format!("lake: {}", short(what.as_bytes()));
    for path in files(lake)? {
        if path.extension().is_none_or(|kind| kind != "parquet") {
            continue;
        }
        let day = path.parent().and_then(Path::file_name).unwrap_or_default();
        for row in rows(&path)? {
            findings.rows += 1;
            let row = row.map_err(io::Error::other)?;
            let event = emitted(event(&row)?);
            let Some((date, found)) = due.get_mut(event.as_str()) else {
                findings.add("unexpected", named(&event));
                continue;
            };
            *found += 1;
            if *found > 1 {
                findings.add("doubled", named(&event));
            }
            if day != *date {
                findings.add("misplaced", named(&event));
            }
        }
    }
    let mut lost: Vec<&str> = due
        .iter()
        .filter(|(_, (_, found))| *found == 0)
        .map(|(line, _)| *line)
        .collect();
    lost.sort_unstable();
    lost.into_iter()
        .for_each(|line| findings.add("lost", named(line)));
    Ok(())
}

fn rows(path: &Path) -> io::Result<impl Iterator<Item = parquet::errors::Result<Row>>> {
    let reader = SerializedFileReader::new(File::open(path)?).map_err(io::Error::other)?;
    Ok(reader.into_iter())
}

fn event(row: &Row) -> io::Result<String> {
    let place = row.get_column_iter().position(|(name, _)| name == EVENT_DATA);
    let text = place.and_then(|place| row.get_string(place).ok());
    text.cloned()
        .ok_or_else(|| io::Error::other("a row has no event_data"))
}

/// The text as it was emitted: where there was no UUID the lake has one of its own, and what was there beside it.
fn emitted(event: String) -> String {
    let restored = || {
        let (before, rest) = event.split_once("\"tidewatch_uid\":\"")?;
        let (uid, rest) = rest.split_once("\",")?;
        let (between, rest) = rest.split_once("\"uid\":\"")?;
        let (_, after) = rest.split_once('"')?;
        Some(format!("{before}{between}\"uid\":\"{uid}\"{after}"))
    };
    restored().unwrap_or(event)
}
