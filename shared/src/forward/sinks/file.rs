//! `file:///dir`: one JSON event a line, a file per event day, `<dir>/<yyyy-mm-dd>.ndjson`.
//!
//! Exactly once within the ids it remembers (4 million by default), across kills of the process: a line counts once
//! its entry stands in the sidecar (module `commits`), and when the directory is opened each file is cut to its last
//! committed end. Entries are written in the order of lines, so what survives a kill is a prefix of the batch. The
//! directory is locked: a second process is refused, and within one process all batches share one writer. Loss of power
//! needs an fsync a batch, which is not done.

use std::collections::{HashMap, HashSet};
use std::fs::{File as Handle, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};

use super::commits::{Commit, Commits};
use crate::audit::Day;
use crate::forward::remembered::Remembered;
use crate::forward::sink::{Outgoing, Sink, SinkError};

/// Files that are open at once.
const OPEN_FILES: usize = 16;

/// Writes events to a directory.
#[derive(Debug)]
pub struct File {
    dir: PathBuf,
    writer: Arc<Mutex<Writer>>,
}

#[derive(Debug)]
struct Writer {
    dir: PathBuf,
    commits: Commits,
    remembered: Remembered,
    /// Committed length of each day's file.
    ends: HashMap<Day, u64>,
    /// Open files, the last used last.
    open: Vec<(Day, Handle)>,
    /// Held for its lock.
    _lock: Handle,
}

struct Line {
    day: Day,
    key: u128,
    text: Vec<u8>,
}

impl File {
    /// Opens a directory, made if it is missing, and cuts what a killed process left uncommitted.
    ///
    /// # Errors
    /// A message if another process holds the directory, or it cannot be read or written.
    pub fn open(dir: &Path, remember: usize) -> Result<Self, SinkError> {
        let error = |error: io::Error| SinkError(format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(error)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(".lock"))
            .map_err(error)?;
        if lock.try_lock().is_err() {
            return Err(SinkError(format!(
                "{}: another process or sink writes here",
                dir.display()
            )));
        }
        let mut remembered = Remembered::new(remember);
        if !Commits::exist(dir) {
            refuse_lines(dir)?;
        }
        let (commits, ends) = Commits::open(dir, remember, |key| remembered.insert(key)).map_err(error)?;
        for entry in std::fs::read_dir(dir).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let Some(day) = path.file_name().and_then(|name| name.to_str()).and_then(day_of) else {
                continue;
            };
            let file = OpenOptions::new().write(true).open(&path).map_err(error)?;
            let end = ends.get(&day).copied().unwrap_or(0);
            if file.metadata().map_err(error)?.len() > end {
                file.set_len(end).map_err(error)?;
            }
        }
        let writer = Writer {
            dir: dir.to_owned(),
            commits,
            remembered,
            ends,
            open: Vec::new(),
            _lock: lock,
        };
        Ok(Self {
            dir: dir.to_owned(),
            writer: Arc::new(Mutex::new(writer)),
        })
    }
}

/// A directory without a sidecar must hold no lines: no kill leaves it so, and cutting them would destroy what somebody
/// else keeps.
fn refuse_lines(dir: &Path) -> Result<(), SinkError> {
    let error = |error: io::Error| SinkError(format!("{}: {error}", dir.display()));
    for entry in std::fs::read_dir(dir).map_err(error)? {
        let entry = entry.map_err(error)?;
        let is_day = entry.file_name().to_str().and_then(day_of).is_some();
        if is_day && entry.metadata().map_err(error)?.len() > 0 {
            return Err(SinkError(format!(
                "{} holds lines but has no .commits beside it: give the sink a directory of its own",
                entry.path().display()
            )));
        }
    }
    Ok(())
}

fn file_name(day: Day) -> String {
    format!("{day}.ndjson")
}

fn day_of(file_name: &str) -> Option<Day> {
    let day = file_name.strip_suffix(".ndjson")?;
    if day == "undated" {
        return Some(Day::new(None));
    }
    let format = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(day, &format)
        .ok()
        .map(|date| Day::new(Some(date)))
}

impl Sink for File {
    /// Writes all lines, or none: what fails midway is cut off again.
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        let lines: Vec<Line> = records
            .iter()
            .map(|record| Line {
                day: record.day,
                key: record.key,
                text: [record.line, b"\n"].concat(),
            })
            .collect();
        let writer = Arc::clone(&self.writer);
        async move {
            // A call that is dropped goes on here, under the lock: it finishes before a newer one begins.
            let write = move || {
                writer
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .append(lines)
            };
            match tokio::task::spawn_blocking(write).await {
                Ok(Ok(())) => Ok(records.len()),
                Ok(Err(error)) => Err(SinkError(format!("{}: {error}", self.dir.display()))),
                Err(error) => Err(SinkError(format!("{}: {error}", self.dir.display()))),
            }
        }
        .boxed()
    }
}

impl Writer {
    fn append(&mut self, lines: Vec<Line>) -> io::Result<()> {
        let mut seen = HashSet::new();
        let mut texts: Vec<(Day, Vec<u8>)> = Vec::new();
        let mut commits = Vec::new();
        for line in lines {
            if self.remembered.contains(line.key) || !seen.insert(line.key) {
                continue;
            }
            let at = match texts.iter().position(|(day, _)| *day == line.day) {
                Some(at) => at,
                None => {
                    self.settle(line.day)?;
                    texts.push((line.day, Vec::new()));
                    texts.len() - 1
                }
            };
            let Some((day, text)) = texts.get_mut(at) else {
                continue;
            };
            text.extend_from_slice(&line.text);
            let start = self.ends.get(day).copied().unwrap_or(0);
            commits.push(Commit {
                day: *day,
                end: start + text.len() as u64,
                key: line.key,
            });
        }
        let written = self.write(&texts).and_then(|()| self.commits.append(&commits));
        if let Err(error) = written {
            // Should this fail too, the next batch cuts before it writes.
            for (day, _) in &texts {
                let end = self.ends.get(day).copied().unwrap_or(0);
                let _ = self.handle(*day).and_then(|file| file.set_len(end));
            }
            return Err(error);
        }
        for commit in commits {
            self.ends.insert(commit.day, commit.end);
            self.remembered.insert(commit.key);
        }
        Ok(())
    }

    /// Makes a day's file end where its committed lines do. A file that was moved away or cut by whoever collects it is
    /// begun anew, which is committed first: else a kill would leave the old end standing for the new file.
    fn settle(&mut self, day: Day) -> io::Result<()> {
        let path = self.dir.join(file_name(day));
        let there = std::fs::metadata(&path).map(|file| (file.dev(), file.ino())).ok();
        if let Some(at) = self.open.iter().position(|(open, _)| *open == day) {
            let (_, file) = self.open.remove(at);
            let open = file.metadata()?;
            if there == Some((open.dev(), open.ino())) {
                self.open.push((day, file));
            }
        }
        let end = self.ends.get(&day).copied().unwrap_or(0);
        let length = self.handle(day)?.metadata()?.len();
        if length > end {
            self.handle(day)?.set_len(end)?;
        } else if length < end {
            self.commits.append(&[Commit {
                day,
                end: length,
                key: Commit::NO_LINE,
            }])?;
            self.ends.insert(day, length);
        }
        Ok(())
    }

    fn write(&mut self, texts: &[(Day, Vec<u8>)]) -> io::Result<()> {
        for (day, text) in texts {
            let end = self.ends.get(day).copied().unwrap_or(0);
            self.handle(*day)?.write_all_at(text, end)?;
        }
        Ok(())
    }

    /// The day's file, open; the one that was not used for longest is closed for it.
    fn handle(&mut self, day: Day) -> io::Result<&Handle> {
        match self.open.iter().position(|(open, _)| *open == day) {
            Some(at) => {
                let used = self.open.remove(at);
                self.open.push(used);
            }
            None => {
                if self.open.len() >= OPEN_FILES {
                    self.open.remove(0);
                }
                let path = self.dir.join(file_name(day));
                let file = OpenOptions::new()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(path)?;
                self.open.push((day, file));
            }
        }
        self.open
            .last()
            .map(|(_, file)| file)
            .ok_or_else(|| io::Error::other("no open file"))
    }
}
