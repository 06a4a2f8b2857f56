//! Compares what came out with what the generator said must come out, line by line as text.
//!
//! Nothing here decodes an event: a line is looked up by its whole text.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::traffic::{Fate, Step};

/// Findings of one kind that are named; the rest are counted.
const NAMED: usize = 5;

/// What is wrong, by kind; empty if nothing is.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Lines found in all files.
    pub lines: usize,
    /// Files found.
    pub files: usize,
    /// Lines that had to be found.
    pub expected: usize,
    /// Rows found in the lake.
    pub rows: usize,
    /// Poison rows found in quarantine.
    pub quarantined: usize,
    /// Every finding by kind: how many, and the first of them.
    pub wrong: BTreeMap<&'static str, Wrong>,
}

/// Findings of one kind.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<String>,
}

impl Findings {
    /// Notes one finding.
    pub fn add(&mut self, kind: &'static str, what: String) {
        let wrong = self.wrong.entry(kind).or_default();
        wrong.count += 1;
        if wrong.first.len() < NAMED {
            wrong.first.push(what);
        }
    }
}

struct Expected<'a> {
    date: &'a str,
    session: &'a str,
    /// Its place among all writes.
    place: usize,
    found: usize,
}

/// Compares the event files and the quarantine with the steps.
///
/// # Errors
/// Those of the file system.
pub fn check(steps: &[Step], events: &Path, quarantine: &Path) -> io::Result<Findings> {
    let mut findings = Findings::default();
    let mut expected: HashMap<&[u8], Expected<'_>> = HashMap::new();
    for (place, step) in steps.iter().enumerate() {
        if let Fate::Forwarded { date, line, session } = &step.fate {
            expected.insert(
                line.as_bytes(),
                Expected {
                    date,
                    session,
                    place,
                    found: 0,
                },
            );
        }
    }
    findings.expected = expected.len();
    for path in files(events)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "ndjson"))
    {
        findings.files += 1;
        check_file(&path, &mut expected, &mut findings)?;
    }
    let mut lost: Vec<_> = expected.iter().filter(|(_, line)| line.found == 0).collect();
    lost.sort_by_key(|(_, line)| line.place);
    for (line, _) in lost {
        findings.add("lost", short(line));
    }
    check_quarantine(steps, quarantine, &mut findings)?;
    Ok(findings)
}

/// Compares another sink's event files with the steps, and adds what is wrong there to the findings.
///
/// # Errors
/// Those of the file system.
pub fn check_also(steps: &[Step], sink: &str, events: &Path, findings: &mut Findings) -> io::Result<()> {
    // No quarantine is looked at here.
    let found = check(steps, events, &events.join("none"))?;
    for (kind, wrong) in found.wrong {
        if kind != "not quarantined" {
            let all = findings.wrong.entry(kind).or_default();
            all.count += wrong.count;
            let named = wrong.first.into_iter().map(|what| format!("{sink}: {what}"));
            all.first.extend(named);
            all.first.truncate(NAMED);
        }
    }
    Ok(())
}

fn check_file(
    path: &Path,
    expected: &mut HashMap<&[u8], Expected<'_>>,
    findings: &mut Findings,
) -> io::Result<()> {
    let day = path
        .file_stem()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let bytes = fs::read(path)?;
    let mut latest: HashMap<&str, usize> = HashMap::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        findings.lines += 1;
        let Some(line) = line.strip_suffix(b"\n") else {
            findings.add("torn", short(line));
            continue;
        };
        let Some(known) = expected.get_mut(line) else {
            let whole = serde_json::from_slice::<Value>(line).is_ok_and(|value| value.is_object());
            findings.add(if whole { "unexpected" } else { "torn" }, short(line));
            continue;
        };
        known.found += 1;
        if known.found > 1 {
            findings.add("doubled", short(line));
            continue;
        }
        if known.date != day {
            findings.add("misplaced", format!("in {day}: {}", short(line)));
        }
        let before = latest.insert(known.session, known.place);
        if before.is_some_and(|before| before > known.place) {
            findings.add(
                "out of order",
                format!("session {}: {}", known.session, short(line)),
            );
        }
    }
    Ok(())
}

/// Quarantine holds exactly the poison rows; a row may stand there more than once, as its batch may have come again.
fn check_quarantine(steps: &[Step], quarantine: &Path, findings: &mut Findings) -> io::Result<()> {
    let poison = steps.iter().filter(|step| step.fate == Fate::Quarantined);
    let poison: BTreeSet<(String, String)> = poison
        .map(|step| (step.session().to_owned(), step.index().to_owned()))
        .collect();
    let mut found = BTreeSet::new();
    for path in files(quarantine)? {
        for line in fs::read(&path)?
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let Ok(line) = serde_json::from_slice::<Value>(line) else {
                findings.add("torn", format!("in quarantine: {}", short(line)));
                continue;
            };
            let Some(keys) = line.pointer("/record/dynamodb/Keys") else {
                continue;
            };
            let text = |pointer| {
                keys.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            found.insert((text("/SessionID/S"), text("/EventIndex/N")));
        }
    }
    for (session, index) in poison.difference(&found) {
        findings.add("not quarantined", format!("{session}/{index}"));
    }
    for (session, index) in found.difference(&poison) {
        findings.add("wrongly quarantined", format!("{session}/{index}"));
    }
    findings.quarantined = found.len();
    Ok(())
}

/// All files under a directory, sorted; none if it is missing.
pub(super) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The beginning of a line, safe to print.
pub(super) fn short(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let begin: String = text
        .chars()
        .take(120)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if begin.len() < text.len() {
        format!("{begin}…")
    } else {
        begin
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::Duration;
    use time::macros::datetime;

    use super::super::traffic::steps;
    use super::*;

    /// Three hundred steps as they must come out: day files and a quarantine.
    fn perfect() -> (Vec<Step>, BTreeMap<String, Vec<String>>, Vec<String>) {
        let steps = steps(3, datetime!(2026-11-20 23:58 UTC), Duration::SECOND, 300);
        let (mut files, mut quarantine) = (BTreeMap::<String, Vec<String>>::new(), Vec::new());
        for step in &steps {
            match &step.fate {
                Fate::Forwarded { date, line, .. } => {
                    files.entry(date.clone()).or_default().push(line.clone())
                }
                Fate::Quarantined => quarantine.push(
                    json!({"kind": "x", "record": {"dynamodb": {"Keys": {
                        "SessionID": {"S": step.session()}, "EventIndex": {"N": step.index()}}}}})
                    .to_string(),
                ),
                Fate::Nothing => {}
            }
        }
        (steps, files, quarantine)
    }

    fn kinds(change: impl FnOnce(&mut BTreeMap<String, Vec<String>>, &mut Vec<String>)) -> Vec<&'static str> {
        let (steps, mut files, mut quarantine) = perfect();
        change(&mut files, &mut quarantine);
        let at = tempfile::tempdir().unwrap();
        let (events, poison) = (at.path().join("events"), at.path().join("quarantine/a"));
        fs::create_dir_all(&events).unwrap();
        fs::create_dir_all(&poison).unwrap();
        for (day, lines) in files {
            fs::write(events.join(format!("{day}.ndjson")), lines.join("\n") + "\n").unwrap();
        }
        fs::write(poison.join("1.ndjson"), quarantine.join("\n")).unwrap();
        let findings = check(&steps, &events, &at.path().join("quarantine")).unwrap();
        assert!(findings.lines > 200 && findings.files == 2);
        findings.wrong.into_keys().collect()
    }

    #[test]
    fn what_is_right_passes() {
        assert!(kinds(|_, _| {}).is_empty());
    }

    #[test]
    fn each_fault_is_found() {
        let day = "2026-11-21";
        assert_eq!(
            kinds(|files, _| drop(files.get_mut(day).unwrap().remove(7))),
            ["lost"]
        );
        assert_eq!(
            kinds(|files, _| {
                let line = files[day][3].clone();
                files.get_mut(day).unwrap().push(line);
            }),
            ["doubled"]
        );
        assert_eq!(
            kinds(|files, _| files.get_mut(day).unwrap().reverse()),
            ["out of order"]
        );
        assert_eq!(
            kinds(|files, _| files.get_mut(day).unwrap().push("{\"cut".to_owned())),
            ["torn"]
        );
        assert_eq!(
            kinds(|files, _| files.get_mut(day).unwrap().push("{\"a\":1}".to_owned())),
            ["unexpected"]
        );
        assert_eq!(
            kinds(|files, _| {
                let line = files.get_mut(day).unwrap().pop().unwrap();
                files.get_mut("2026-11-20").unwrap().push(line);
            }),
            ["misplaced"]
        );
        // One number written another way is not the same text.
        assert_eq!(
            kinds(|files, _| {
                let line = files
                    .get_mut(day)
                    .unwrap()
                    .iter_mut()
                    .find(|line| line.contains("0.0000001"))
                    .unwrap();
                *line = line.replace("0.0000001", "1e-7");
            }),
            ["lost", "unexpected"]
        );
        assert_eq!(kinds(|_, quarantine| drop(quarantine.pop())), ["not quarantined"]);
        let other =
            json!({"record": {"dynamodb": {"Keys": {"SessionID": {"S": "x"}, "EventIndex": {"N": "1"}}}}});
        assert_eq!(
            kinds(|_, quarantine| quarantine.push(other.to_string())),
            ["wrongly quarantined"]
        );
    }
}
