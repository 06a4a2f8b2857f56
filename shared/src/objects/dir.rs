//! Objects as files of this machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};

use super::{Listed, Object, ObjectsError, Page, Tag};
use crate::random::Random;

/// A directory. Objects are written beside and linked to their name, so a name never shows half an object.
#[derive(Debug, Clone)]
pub(super) struct Dir {
    path: PathBuf,
    random: Random,
}

impl Dir {
    pub(super) fn new(path: PathBuf, random: Random) -> Self {
        Self { path, random }
    }

    pub(super) fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Runs what blocks elsewhere. It goes on if the call is dropped.
    async fn run<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Self, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ObjectsError> {
        let (dir, owned) = (self.clone(), name.to_owned());
        let done = tokio::task::spawn_blocking(move || {
            let stays = Path::new(&owned)
                .components()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
            if !stays {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    "the name leaves the place",
                ));
            }
            work(&dir, &owned)
        });
        let done = match done.await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(ObjectsError {
            place: self.place(name),
            reason: done,
        })
    }

    pub(super) async fn put(&self, name: &str, body: Vec<u8>, once: bool) -> Result<bool, ObjectsError> {
        self.run(name, move |dir, name| dir.write(name, &body, once))
            .await
    }

    fn write(&self, name: &str, body: &[u8], once: bool) -> io::Result<bool> {
        let target = self.path.join(name);
        if once && target.exists() {
            return Ok(false);
        }
        let folder = target.parent().unwrap_or(&self.path);
        let beside = folder.join(format!(".{:016x}.tmp", self.random.u64()));
        fs::create_dir_all(folder)?;
        let write = || {
            File::create_new(&beside)?.write_all(body)?;
            if !once {
                return fs::rename(&beside, &target).map(|()| true);
            }
            match fs::hard_link(&beside, &target) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        };
        let written = write();
        let _ = fs::remove_file(&beside);
        written
    }

    pub(super) async fn replace_if(
        &self,
        name: &str,
        tag: &Tag,
        body: Vec<u8>,
    ) -> Result<bool, ObjectsError> {
        let tag = tag.clone();
        self.run(name, move |dir, name| {
            let Some(_lock) = dir.lock()? else {
                return Ok(false);
            };
            match dir.read(name)? {
                Some(object) if object.tag == tag => dir.write(name, &body, false),
                _ => Ok(false),
            }
        })
        .await
    }

    /// Between a look and what follows from it nobody else may look; none if there is no directory.
    fn lock(&self) -> io::Result<Option<File>> {
        let lock = match File::create(self.path.join(".lock")) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            lock => lock?,
        };
        lock.lock()?;
        Ok(Some(lock))
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Object>, ObjectsError> {
        self.run(name, |dir, name| dir.read(name)).await
    }

    fn read(&self, name: &str) -> io::Result<Option<Object>> {
        let body = match fs::read(self.path.join(name)) {
            Ok(body) => body,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let tag = Tag(super::hash(&body));
        Ok(Some(Object { body, tag }))
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, ObjectsError> {
        let (begin, after) = (prefix.to_owned(), after.map(str::to_owned));
        // Only the folder that the prefix names is walked.
        let folder = prefix.rsplit_once('/').map_or(".", |(folder, _)| folder);
        self.run(folder, move |dir, folder| {
            let mut objects = Vec::new();
            dir.walk(&dir.path.join(folder), &mut objects)?;
            objects.retain(|object| {
                object.name.starts_with(&begin) && after.as_ref().is_none_or(|after| object.name > *after)
            });
            objects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let more = objects.len() > limit;
            objects.truncate(limit);
            Ok(Page { objects, more })
        })
        .await
    }

    /// Adds the objects of a folder and those below it. What vanishes meanwhile is passed over.
    fn walk(&self, folder: &Path, objects: &mut Vec<Listed>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            // Ours, on their way to a name.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                self.walk(&path, objects)?;
            } else if let Some(name) = path
                .strip_prefix(&self.path)
                .ok()
                .map(|name| name.strip_prefix(".").unwrap_or(name))
                .and_then(Path::to_str)
            {
                objects.push(Listed {
                    name: name.to_owned(),
                    size: metadata.len(),
                    modified: metadata.modified().ok(),
                });
            }
        }
        Ok(())
    }

    pub(super) async fn delete(&self, name: &str, tag: Option<&Tag>) -> Result<bool, ObjectsError> {
        let tag = tag.cloned();
        self.run(name, move |dir, name| dir.remove(name, tag.as_ref()))
            .await
    }

    fn remove(&self, name: &str, tag: Option<&Tag>) -> io::Result<bool> {
        let target = self.path.join(name);
        let gone = |removed: io::Result<()>| match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(true),
        };
        let Some(tag) = tag else {
            return gone(fs::remove_file(target));
        };
        let Some(_lock) = self.lock()? else {
            return Ok(true);
        };
        match self.read(name)? {
            Some(object) if object.tag == *tag => gone(fs::remove_file(target)),
            Some(_) => Ok(false),
            None => Ok(true),
        }
    }
}
