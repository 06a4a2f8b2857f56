//! `file:///dir` and `stdout://`: a line an event, for people and collectors. At least once: what is emitted again is
//! written again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;

use super::error::LogError;
use crate::clock::Clock;
use crate::state::ErrorKind;

/// The link to the newest file of a directory.
const NEWEST: &str = "events.log";

/// Writes lines.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    name: String,
    to: To,
}

#[derive(Debug, Clone)]
enum To {
    Dir(PathBuf, Arc<Mutex<()>>),
    Stdout(Arc<Mutex<Tearing>>),
}

/// Standard output, and whether a write to it failed midway: its half line must be ended before the next begins.
#[derive(Debug, Default)]
struct Tearing(bool);

impl Lines {
    /// A directory, made if it is missing.
    pub(super) fn dir(dir: &Path) -> Result<Self, LogError> {
        let name = format!("file://{}", dir.display());
        std::fs::create_dir_all(dir).map_err(|error| failed(&name, &error))?;
        Ok(Self {
            name,
            to: To::Dir(dir.to_owned(), Arc::default()),
        })
    }

    pub(super) fn stdout() -> Self {
        Self {
            name: "stdout://".to_owned(),
            to: To::Stdout(Arc::default()),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Writes a line. Goes on if it is dropped.
    pub(super) async fn write(&self, line: &[u8], clock: &Clock) -> Result<(), LogError> {
        let line = [line, b"\n"].concat();
        let (to, day) = (self.to.clone(), day(clock));
        // A pipe that nobody reads blocks, and must not block the runtime.
        let written = tokio::task::spawn_blocking(move || match to {
            To::Dir(dir, alone) => {
                let _alone = alone.lock().unwrap_or_else(PoisonError::into_inner);
                append(&dir, &day, &line)
            }
            To::Stdout(tearing) => print(&tearing, &line),
        });
        let written = written
            .await
            .map_err(io::Error::other)
            .and_then(|written| written);
        written.map_err(|error| failed(&self.name, &error))
    }
}

fn failed(name: &str, error: &io::Error) -> LogError {
    LogError::new(ErrorKind::Unavailable, name, error.to_string())
}

/// The UTC day that it is, which names the file, as in Teleport: not the event's.
fn day(clock: &Clock) -> String {
    OffsetDateTime::from(clock.now()).date().to_string()
}

/// Writes a line at the file's end, under the file's lock, so that lines of several processes of ours do not mix. What is
/// there is never cut: half a line, left by a full disk or a killed process, stays, and the next begins behind it.
fn append(dir: &Path, day: &str, line: &[u8]) -> io::Result<()> {
    let name = format!("{day}.00:00:00.log");
    let path = dir.join(&name);
    let mut options = OpenOptions::new();
    options.create(true).read(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    let mut file = options.open(&path)?;
    match file.lock() {
        // A file system without locks: this process is alone by its own.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        locked => locked?,
    }
    if is_torn(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(line)?;
    if !std::fs::read_link(dir.join(NEWEST)).is_ok_and(|to| to == Path::new(&name)) {
        link(dir, &name);
    }
    Ok(())
}

/// Whether the file's last line has no end.
fn is_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Points the link to the newest file; that it cannot is no reason to fail an event that is written.
fn link(dir: &Path, name: &str) {
    #[cfg(unix)]
    {
        let fresh = dir.join(format!(".{NEWEST}"));
        let _ = std::fs::remove_file(&fresh);
        let linked =
            std::os::unix::fs::symlink(name, &fresh).and_then(|()| std::fs::rename(&fresh, dir.join(NEWEST)));
        if let Err(error) = linked {
            tracing::warn!("{}: the link {NEWEST} could not be made: {error}", dir.display());
        }
    }
}

fn print(tearing: &Mutex<Tearing>, line: &[u8]) -> io::Result<()> {
    let mut tearing = tearing.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = io::stdout().lock();
    if tearing.0 {
        out.write_all(b"\n")?;
    }
    tearing.0 = true;
    out.write_all(line)?;
    out.flush()?;
    tearing.0 = false;
    Ok(())
}
