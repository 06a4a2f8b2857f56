//! Where Teleport's own forwarder, the event-handler, stopped: its state directory is read, never written.
//!
//! It keeps a file for each value in `<storage>/<host>_<port>/`: `cursor`, `id` (the last event that was sent),
//! `window_time` and `start_time`; `cursor_v2/<day>/` with bulk export. It sends first and notes later, so it may have sent a
//! little more than it says; and what was written late, into times that it had passed, it never sent. A backfill from
//! [`BEFORE`] its place brings both, and the ids tell the repeats.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How long before its place a backfill begins.
pub const BEFORE: Duration = Duration::from_hours(48);

/// Where it stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Its state directory.
    pub directory: PathBuf,
    /// Which of its values tells: `cursor`, `cursor_v2`, `window_time` or `start_time`.
    pub told_by: String,
    /// The time up to which it has sent, RFC 3339.
    pub at: String,
    /// Where a backfill begins, RFC 3339.
    pub from: String,
    /// The last event that it sent, where it says.
    pub id: Option<String>,
    /// That time.
    #[serde(skip, default = "epoch")]
    pub begin: SystemTime,
}

fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

/// Why that is not known.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file cannot be read.
    #[error("{}: {error}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// It is no state directory.
    #[error("{}: neither this nor a folder in it is a state directory of the event-handler: `cursor`, `window_time` or `start_time` is due", .0.display())]
    None(PathBuf),
    /// There are several.
    #[error("{}: there are several state directories; name one of them", .0.display())]
    Several(PathBuf),
    /// A value is not what it must be.
    #[error("{}: {reason}", .file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

const MARKS: [&str; 4] = ["cursor", "cursor_v2", "window_time", "start_time"];

/// Reads a state directory, or the one that stands in a storage directory. Few small files.
///
/// # Errors
/// [`StateError`].
pub fn stopped(directory: &Path) -> Result<Stopped, StateError> {
    let directory = state(directory)?;
    let value = |name: &str| value(&directory.join(name));
    let wrong = |name: &str, reason: &str| StateError::Wrong {
        file: directory.join(name),
        reason: reason.to_owned(),
    };
    let (told_by, at) = if let Some(text) = value("cursor")? {
        let cursor: crate::audit::log::Cursor = text
            .parse()
            .map_err(|error: crate::audit::log::CursorError| wrong("cursor", &error.to_string()))?;
        let at = cursor.reached();
        ("cursor", at.ok_or_else(|| wrong("cursor", "it names no time"))?)
    } else if let Some(at) = oldest_day(&directory)? {
        ("cursor_v2", at)
    } else {
        let mut found = None;
        for name in ["window_time", "start_time"] {
            if let Some(text) = value(name)?
                && found.is_none()
            {
                let at = instant(&text).ok_or_else(|| wrong(name, "it is no RFC 3339 time"))?;
                found = Some((name, at));
            }
        }
        found.ok_or_else(|| StateError::None(directory.clone()))?
    };
    let begin = at.checked_sub(BEFORE).unwrap_or(SystemTime::UNIX_EPOCH);
    let text = |at: SystemTime| OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default();
    Ok(Stopped {
        told_by: told_by.to_owned(),
        at: text(at),
        from: text(begin.max(SystemTime::UNIX_EPOCH)),
        id: value("id")?,
        begin,
        directory,
    })
}

fn instant(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// A value; one that is empty is not there.
fn value(file: &Path) -> Result<Option<String>, StateError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::Read {
            file: file.to_owned(),
            error,
        }),
    }
}

fn is_state(directory: &Path) -> bool {
    MARKS.iter().any(|name| directory.join(name).exists())
}

fn folders(directory: &Path) -> Result<Vec<PathBuf>, StateError> {
    let failed = |error| StateError::Read {
        file: directory.to_owned(),
        error,
    };
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

fn state(directory: &Path) -> Result<PathBuf, StateError> {
    if is_state(directory) {
        return Ok(directory.to_owned());
    }
    let mut found = folders(directory)?.into_iter().filter(|folder| is_state(folder));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(StateError::Several(directory.to_owned())),
        (None, _) => Err(StateError::None(directory.to_owned())),
    }
}

/// The oldest day whose bulk export is not done: the folder of one that is done is removed, and later days begin before
/// that.
fn oldest_day(directory: &Path) -> Result<Option<SystemTime>, StateError> {
    let bulk = directory.join("cursor_v2");
    if !bulk.is_dir() {
        return Ok(None);
    }
    let days = folders(&bulk)?.into_iter().filter_map(|day| {
        let name = day.file_name()?.to_str()?.to_owned();
        instant(&format!("{}T00:00:00Z", name.get(..10)?))
    });
    Ok(days.min())
}
