//! Dump files: mode 0600, never overwritten, by choice encrypted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::seal::{Seal, Unseal};
use crate::cli::Failure;

/// A dump file being written. Until [`finish`](Self::finish) it stands under another name, and dropping it removes it.
pub(super) struct DumpFile {
    path: PathBuf,
    partial: PathBuf,
    out: Option<BufWriter<File>>,
    seal: Option<Seal>,
}

impl DumpFile {
    /// Creates it, readable by its owner only.
    pub(super) fn create(path: &Path, seal: Option<Seal>) -> Result<Self, Failure> {
        if path.exists() {
            return Err(Failure::usage(format!(
                "{} exists already and is not overwritten: name another file",
                path.display()
            )));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&partial).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AlreadyExists => "; it is left from a dump that was ended: delete it",
                _ => "",
            };
            Failure::from(format!("{} cannot be created: {error}{hint}", partial.display()))
        })?;
        let mut out = BufWriter::new(file);
        if let Some(seal) = &seal {
            writeln!(out, "{}", seal.header()).map_err(|error| failed(&partial, &error))?;
        }
        Ok(Self {
            path: path.to_owned(),
            partial,
            out: Some(out),
            seal,
        })
    }

    /// Writes a line, sealed if the file is.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        let Some(out) = &mut self.out else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        match &mut self.seal {
            Some(seal) => writeln!(out, "{}", seal.line(line)?),
            None => writeln!(out, "{line}"),
        }
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let ended = match self.out.take() {
            Some(out) => out
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.sync_all())
                // Not by renaming: that would overwrite a file that was made meanwhile.
                .and_then(|()| link(&self.partial, &self.path)),
            None => Ok(()),
        };
        ended.map_err(|error| failed(&self.path, &error))
    }
}

/// Not every file system has hard links; where there are none the name is looked at, then taken.
fn link(partial: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(partial, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
            std::fs::rename(partial, path)
        }
        linked => linked,
    }
}

impl Drop for DumpFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// The first line of a file, to see whether it is sealed.
pub(super) fn first_line(path: &Path) -> Result<String, Failure> {
    let mut line = String::new();
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    BufReader::new(file)
        .read_line(&mut line)
        .map_err(|error| failed(path, &error))?;
    Ok(line.trim_end().to_owned())
}

/// The lines of a dump, unsealed if it is sealed.
pub(super) fn lines(
    path: &Path,
    unseal: Option<Unseal>,
) -> Result<impl Iterator<Item = io::Result<String>>, Failure> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let mut unseal = unseal;
    let skip = usize::from(unseal.is_some());
    Ok(BufReader::new(file).lines().skip(skip).map(move |line| {
        let line = line?;
        match &mut unseal {
            Some(unseal) => unseal.line(&line),
            None => Ok(line),
        }
    }))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::from(format!("{}: {error}", path.display()))
}
