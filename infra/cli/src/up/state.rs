//! The data directory: what survives a restart, and a temporary one where nothing shall.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tidewatch::random::Random;

use super::tasks::Done;
use super::trouble::TroubleCounts;
use crate::esm::{Checkpoints, Counts};

/// A directory that this process holds.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    temporary: bool,
    /// Held for its lock.
    _lock: File,
}

/// What a run was started with, and how far its writer got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Seed of the traffic.
    pub seed: u64,
    /// Events of `--once`; none without it.
    pub events: Option<usize>,
    /// When its traffic begins, in Unix seconds.
    pub start: i64,
    /// Which portion of endless traffic is being written.
    #[serde(default)]
    pub portion: u64,
    /// Rows of it that are stored.
    pub written: usize,
}

/// How far the mapping got.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// How far each shard was answered.
    pub checkpoints: Checkpoints,
    /// What was counted until then.
    pub counts: Counts,
    /// What the sink suffered until then.
    #[serde(default)]
    pub troubles: TroubleCounts,
}

/// The file that is there once all tables are.
const TABLES: &str = "tables.json";
/// The file of what the tasks did.
const TASKS: &str = "tasks.json";

impl Directory {
    /// Opens `root`, or makes a temporary directory, and locks it.
    ///
    /// # Errors
    /// A message if it cannot be made, or another process holds it.
    pub fn open(root: Option<&Path>, random: &Random) -> Result<Self, String> {
        let temporary = root.is_none();
        let root = root.map_or_else(
            || std::env::temp_dir().join(format!("tidewatch-up-{:016x}", random.u64())),
            Path::to_owned,
        );
        let say = |error: io::Error| format!("{}: {error}", root.display());
        fs::create_dir_all(&root).map_err(say)?;
        let root = root.canonicalize().map_err(say)?;
        let say = |error: io::Error| format!("{}: {error}", root.display());
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(".lock"));
        let lock = lock.map_err(say)?;
        if lock.try_lock().is_err() {
            return Err(format!("{}: another process uses this directory", root.display()));
        }
        Ok(Self {
            root,
            temporary,
            _lock: lock,
        })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database file; none for a temporary directory, whose database is in memory.
    pub fn database(&self) -> Option<PathBuf> {
        (!self.temporary).then(|| self.root.join("dynamodb.sqlite"))
    }

    /// Where the file sink writes.
    pub fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// Where the file sink writes that is down for a while.
    pub fn remote(&self) -> PathBuf {
        self.root.join("remote")
    }

    /// Where the lake is.
    pub fn lake(&self) -> PathBuf {
        self.root.join("lake")
    }

    /// Where records wait for a sink.
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Where poison goes.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Where the mapping writes what it gives up.
    pub fn on_failure(&self) -> PathBuf {
        self.root.join("on-failure")
    }

    /// The run that was begun here, or `new` if none was.
    ///
    /// # Errors
    /// A message if it was begun with other arguments, or cannot be read.
    pub fn run(&self, new: &Run) -> Result<Run, String> {
        let Some(begun) = self.load::<Run>("run.json")? else {
            self.save_run(new)?;
            return Ok(new.clone());
        };
        if (begun.seed, begun.events) != (new.seed, new.events) {
            let what = begun
                .events
                .map_or(String::new(), |events| format!(" --once --events {events}"));
            return Err(format!(
                "{}: begun by `tidewatch up{what} --seed {}`; use the same arguments or another directory",
                self.root.display(),
                begun.seed
            ));
        }
        Ok(begun)
    }

    /// Removes a database whose tables were being made when its process was killed: the engine makes a table in several
    /// steps, and does not finish one that it finds half made. Nothing is in it yet.
    ///
    /// # Errors
    /// A message with the path.
    pub(super) fn remove_half_made(&self, begun: &Run) -> Result<(), String> {
        // A directory in which rows were written before this file was: its tables are whole too.
        let whole = self.load::<bool>(TABLES)?.is_some() || begun.written > 0 || begun.portion > 0;
        let Some(database) = self.database().filter(|_| !whole) else {
            return Ok(());
        };
        for suffix in ["", "-wal", "-shm"] {
            let mut file = database.clone().into_os_string();
            file.push(suffix);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(format!("{}: {error}", Path::new(&file).display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Saves that all tables are there.
    ///
    /// # Errors
    /// A message with the path.
    pub(super) fn save_tables(&self) -> Result<(), String> {
        self.save(TABLES, &true)
    }

    /// Saves how far the writer got.
    ///
    /// # Errors
    /// A message with the path.
    pub fn save_run(&self, run: &Run) -> Result<(), String> {
        self.save("run.json", run)
    }

    /// How far the mapping got.
    ///
    /// # Errors
    /// A message with the path.
    pub fn progress(&self) -> Result<Progress, String> {
        Ok(self.load("mapping.json")?.unwrap_or_default())
    }

    /// Saves how far the mapping got.
    ///
    /// # Errors
    /// A message with the path.
    pub fn save_progress(&self, progress: &Progress) -> Result<(), String> {
        self.save("mapping.json", progress)
    }

    /// How far the mapping of the state table's stream got.
    ///
    /// # Errors
    /// A message with the path.
    pub fn watch_progress(&self) -> Result<Progress, String> {
        Ok(self.load("watch-mapping.json")?.unwrap_or_default())
    }

    /// Saves how far the mapping of the state table's stream got.
    ///
    /// # Errors
    /// A message with the path.
    pub fn save_watch_progress(&self, progress: &Progress) -> Result<(), String> {
        self.save("watch-mapping.json", progress)
    }

    /// What the tasks did.
    ///
    /// # Errors
    /// A message with the path.
    pub(super) fn tasks(&self) -> Result<Done, String> {
        Ok(self.load(TASKS)?.unwrap_or_default())
    }

    /// Saves what the tasks did.
    ///
    /// # Errors
    /// A message with the path.
    pub(super) fn save_tasks(&self, done: &Done) -> Result<(), String> {
        self.save(TASKS, done)
    }

    /// Removes a temporary directory; another is kept.
    pub fn close(&self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let path = self.root.join(name);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Replaces a file in one step, so that a kill leaves the old or the new one.
    fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), String> {
        let (path, new) = (self.root.join(name), self.root.join(format!("{name}.new")));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            drop(file);
            fs::rename(&new, &path)
        };
        write().map_err(|error: io::Error| format!("{}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_process_and_begun_with_one_set_of_arguments() {
        let at = tempfile::tempdir().unwrap();
        let random = Random::seeded(1);
        let directory = Directory::open(Some(at.path()), &random).unwrap();
        assert!(
            Directory::open(Some(at.path()), &random)
                .unwrap_err()
                .contains("another process")
        );
        let run = Run {
            seed: 1,
            events: Some(600),
            start: 5,
            portion: 0,
            written: 0,
        };
        assert_eq!(directory.run(&run).unwrap(), run);
        directory
            .save_run(&Run {
                written: 7,
                ..run.clone()
            })
            .unwrap();
        assert_eq!(
            directory
                .run(&Run {
                    start: 99,
                    ..run.clone()
                })
                .unwrap(),
            Run {
                written: 7,
                ..run.clone()
            }
        );
        let message = directory.run(&Run { seed: 2, ..run }).unwrap_err();
        assert!(message.contains("--once --events 600 --seed 1"), "{message}");
    }

    #[test]
    fn a_database_is_removed_until_its_tables_are_made() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(Some(root.path()), &Random::seeded(1)).unwrap();
        let begun = Run {
            seed: 1,
            events: None,
            start: 0,
            portion: 0,
            written: 0,
        };
        let database = directory.database().unwrap();
        let half_made = || fs::write(&database, "half a table").unwrap();
        half_made();
        fs::write(root.path().join("dynamodb.sqlite-wal"), "").unwrap();
        directory.remove_half_made(&begun).unwrap();
        assert!(!database.exists() && !root.path().join("dynamodb.sqlite-wal").exists());
        // Rows are in it.
        half_made();
        let written = Run {
            written: 1,
            ..begun.clone()
        };
        directory.remove_half_made(&written).unwrap();
        assert!(database.exists());
        directory.save_tables().unwrap();
        directory.remove_half_made(&begun).unwrap();
        assert!(database.exists());
    }

    #[test]
    fn a_temporary_directory_is_removed() {
        let directory = Directory::open(None, &Random::system()).unwrap();
        let root = directory.root().to_owned();
        assert!(root.is_dir() && directory.database().is_none());
        directory.close();
        assert!(!root.exists());
    }
}
