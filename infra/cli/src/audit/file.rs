//! The file of an export, which can be gone on with after any end: beside it, until it is whole, stands what of it counts.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::Failure;

/// What is kept beside a file that is not whole yet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Progress {
    /// How much of the file counts.
    pub(super) bytes: u64,
    pub(super) events: u64,
    /// Rows that could not be read and were left out.
    #[serde(default)]
    pub(super) unreadable: u64,
    /// Where the export came to; none before its first part.
    pub(super) position: Option<String>,
    pub(super) types: Vec<String>,
    pub(super) condition: Option<String>,
}

/// A file that this process alone writes: it is locked.
pub(super) struct ExportFile {
    path: PathBuf,
    beside: PathBuf,
    out: BufWriter<File>,
}

impl ExportFile {
    /// A new file, readable by its owner only.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            let more = match beside(path).exists() {
                true => "; go on with it with --resume, or delete it",
                false => " and is not overwritten: name another file",
            };
            return Err(Failure::usage(format!("{} exists already{more}", path.display())));
        }
        let file = private()
            .create_new(true)
            .open(path)
            .map_err(|error| failed(path, &error))?;
        alone(path, &file)?;
        Ok(Self::of(path, file))
    }

    /// A file that was begun, cut to what of it counts, and what is known of it.
    pub(super) fn resume(path: &Path) -> Result<(Self, Progress), Failure> {
        // First of all: another process may be at it, and change what is known.
        let mut file = private().open(path).map_err(|error| failed(path, &error))?;
        alone(path, &file)?;
        let known = std::fs::read_to_string(beside(path)).map_err(|error| {
            Failure::usage(format!(
                "{} cannot be gone on with: {}: {error}",
                path.display(),
                beside(path).display()
            ))
        })?;
        let known: Progress = serde_json::from_str(&known)
            .map_err(|_| Failure::from(format!("{} is not of an export", beside(path).display())))?;
        let there = file.metadata().map_err(|error| failed(path, &error))?.len();
        if there < known.bytes {
            return Err(Failure::from(format!(
                "{} is shorter than it was: delete it and begin again",
                path.display()
            )));
        }
        let cut = file.set_len(known.bytes);
        let cut = cut.and_then(|()| io::Seek::seek(&mut file, io::SeekFrom::End(0)));
        cut.map_err(|error| failed(path, &error))?;
        Ok((Self::of(path, file), known))
    }

    fn of(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            beside: beside(path),
            out: BufWriter::new(file),
        }
    }

    pub(super) fn write(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.out
            .write_all(text)
            .map_err(|error| failed(&self.path, &error))
    }

    /// Notes what counts, after what was written. A process that is killed, or a machine whose power goes, leaves the note
    /// before or this one, and of the file at least what that says.
    pub(super) fn note(&mut self, progress: &Progress) -> Result<(), Failure> {
        let fresh = self.beside.with_extension("position-new");
        let text = serde_json::to_vec(progress).unwrap_or_default();
        let noted = self
            .out
            .flush()
            .and_then(|()| self.out.get_ref().sync_data())
            .and_then(|()| private().create(true).truncate(true).open(&fresh))
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_data()))
            .and_then(|()| std::fs::rename(&fresh, &self.beside))
            .and_then(|()| sync_dir(&self.beside));
        noted.map_err(|error| failed(&self.beside, &error))
    }

    /// Takes a file away of which nothing counts, so that the same command can begin again.
    pub(super) fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// Makes the file durable; it is whole now.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let done = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        let done = done.and_then(|()| sync_dir(&self.path));
        done.map_err(|error| failed(&self.path, &error))?;
        match std::fs::remove_file(&self.beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&self.beside, &error)),
            _ => Ok(()),
        }
    }
}

/// Two processes at one file would spoil it. Held until the file is closed.
fn alone(path: &Path, file: &File) -> Result<(), Failure> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Failure::from(format!(
            "{} is being written by another process",
            path.display()
        ))),
        // Not every file system has locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(error)) => Err(failed(path, &error)),
    }
}

/// Makes a name durable: that of a file that is new, or renamed.
fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".position");
    PathBuf::from(name)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::from(format!("{}: {error}", path.display()))
}
