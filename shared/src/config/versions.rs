//! Versions of the configuration: kept documents, and a pointer that says which one is the newest.
//!
//! ```text
//! <place>/pointer                         {"current": NAME, "before": NAME}
//! <place>/versions/NAME.json              a version; never overwritten
//! ```
//! A version says from when on it is in force, at least [`LEAD`] after it was applied. A record is handled by the version
//! that was in force when it was made, so that one that comes again meets the same sinks and filters. Each version names
//! the one before it; those that were in force within the last [`KEPT`] are found by walking back, and what is older
//! gets the oldest of them.
//!
//! Environments are to read only the pointer, at the start of each batch, and a version when it is new. Where the current
//! one cannot be used the one before it goes on. The forwarder does not go by versions yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Config, Faults, ObjectsUri, SinkConfig};
use crate::clock::Clock;
use crate::objects::{self, Objects, ObjectsError, Tag};

/// How long before it is in force a version is applied at the least: every environment has read the pointer by then.
pub const LEAD: Duration = Duration::from_secs(30);
/// How far back versions are looked for: what a stream and its mapping can still bring, and a day more.
pub const KEPT: Duration = Duration::from_secs(48 * 3600);
/// How many versions are walked back at most.
const MOST: usize = 1000;

const POINTER: &str = "pointer";

/// A place with versions of a configuration.
#[derive(Debug)]
pub struct Versions {
    objects: Objects,
    clock: Clock,
    /// Variables that override every version's settings.
    variables: Vec<(String, String)>,
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    pointer: Pointer,
    chain: Arc<Chain>,
}

/// A version, ready to be used.
#[derive(Debug)]
pub struct Version {
    /// Its name: a number that counts up, and a hash of its content.
    pub name: String,
    /// From when on it is in force.
    pub effective_from: SystemTime,
    /// What it says.
    pub config: Config,
    /// Sinks that were removed and may still have parked records: nothing new goes there.
    pub draining: BTreeMap<String, Draining>,
    before: Option<String>,
    number: u64,
}

/// A sink that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draining {
    /// As it was configured last.
    pub config: SinkConfig,
    /// The version that had it last.
    pub last: String,
}

/// The versions that records of the last 48 hours were made under.
#[derive(Debug)]
pub struct Chain {
    /// Newest first; never empty.
    versions: Vec<Arc<Version>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pointer {
    current: String,
    before: Option<String>,
}

/// A version as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    number: u64,
    /// RFC 3339.
    effective_from: String,
    before: Option<String>,
    /// Removed sinks, each with the version that said last where it goes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    draining: BTreeMap<String, String>,
    document: String,
}

/// Why there is no configuration to use.
#[derive(Debug, thiserror::Error)]
pub enum VersionsError {
    /// The place cannot be read or written. Try again.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// Nothing was applied there yet.
    #[error("{0}: no version was applied yet; apply one with `tidewatch config apply`")]
    Empty(String),
    /// A version is damaged, or not there.
    #[error("{place}: {reason}")]
    Damaged {
        /// The object.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The document has faults.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// It would be in force too soon.
    #[error("a version is in force {LEAD:?} after it is applied at the earliest, and after {after}")]
    TooSoon {
        /// When the newest version is in force from.
        after: String,
    },
    /// Somebody else applied another version meanwhile.
    #[error("another version was applied meanwhile: look at it, and apply this one again")]
    Overtaken,
}

/// What applying a document did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The version's name.
    pub version: String,
    /// From when on it is in force, RFC 3339.
    pub effective_from: String,
    /// The version before it.
    pub before: Option<String>,
    /// Removed sinks whose parked records are still to be drained.
    pub draining: Vec<String>,
    /// False of a dry run.
    pub applied: bool,
}

/// A document on its way to being a version.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// Its text.
    pub document: &'a str,
    /// What faults call it.
    pub place: &'a str,
    /// From when on it is to be in force.
    pub effective_from: SystemTime,
    /// Removed sinks that nothing is parked for any more, or whose parked records are given up.
    pub forget: &'a BTreeSet<String>,
    /// Only look.
    pub dry_run: bool,
}

impl Chain {
    /// One version that was always in force: a configuration without versions.
    pub fn of(config: Config) -> Self {
        let version = Version {
            name: String::new(),
            effective_from: SystemTime::UNIX_EPOCH,
            config,
            draining: BTreeMap::new(),
            before: None,
            number: 0,
        };
        Self {
            versions: vec![Arc::new(version)],
        }
    }

    /// Newest first.
    pub fn versions(&self) -> &[Arc<Version>] {
        &self.versions
    }

    /// Index of the version in force at a time; the oldest kept for what is older.
    pub fn in_force(&self, at: SystemTime) -> usize {
        let last = self.versions.len().saturating_sub(1);
        self.versions
            .iter()
            .position(|version| version.effective_from <= at)
            .unwrap_or(last)
    }
}

/// The place of versions that a value of `TIDEWATCH_CONFIG` names: one that ends with a slash, such as
/// `s3://bucket/tidewatch/`. None: it names a document.
///
/// # Errors
/// What is wrong with the URI.
pub fn versions_place(uri: &str) -> Option<Result<ObjectsUri, String>> {
    uri.ends_with('/').then(|| uri.parse())
}

impl Versions {
    /// Versions in a place. No request.
    pub fn new(
        objects: Objects,
        clock: Clock,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            objects,
            clock,
            variables: variables.into_iter().collect(),
            known: Mutex::new(None),
        }
    }

    /// The versions as they are now. One GET, and one for each version that is new since the last call.
    ///
    /// # Errors
    /// [`VersionsError`] if the pointer cannot be read, or neither the current version nor the one before it.
    pub async fn read(&self) -> Result<Arc<Chain>, VersionsError> {
        let (pointer, _) = self.pointer().await?.ok_or_else(|| self.empty())?;
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.as_ref().filter(|known| known.pointer == pointer) {
                return Ok(Arc::clone(&known.chain));
            }
        }
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.as_ref().map(|known| Arc::clone(&known.chain))
        };
        let newest = match self.version(&pointer.current, known.as_deref()).await {
            Ok(newest) => newest,
            Err(error) => {
                let Some(before) = &pointer.before else {
                    return Err(error);
                };
                tracing::error!(version = pointer.current, %error, "a version of the configuration is of no use: the one before it goes on");
                let newest = self.version(before, known.as_deref()).await?;
                // Not remembered: it may be mended, or be readable in a moment.
                return self.walk(newest, known.as_deref()).await.map(Arc::new);
            }
        };
        let chain = Arc::new(self.walk(newest, known.as_deref()).await?);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known {
            pointer,
            chain: Arc::clone(&chain),
        });
        Ok(chain)
    }

    /// Makes a document the newest version. Two PUTs, and what [`read`](Self::read) takes. Cancel-safe: the pointer moves
    /// or does not.
    ///
    /// # Errors
    /// [`VersionsError`]; an [`Objects`](VersionsError::Objects) error may have moved the pointer all the same: look.
    pub async fn apply(&self, candidate: Candidate<'_>) -> Result<Applied, VersionsError> {
        let config = self.parse(candidate.document, candidate.place)?;
        let found = self.pointer().await?;
        let before = match &found {
            Some((pointer, _)) => Some(self.version(&pointer.current, None).await?),
            None => None,
        };
        let least = self.clock.now() + LEAD;
        let after = before.as_ref().map(|before| before.effective_from);
        // Of the first one records that are older have no other.
        if before.is_some() && (candidate.effective_from < least || Some(candidate.effective_from) <= after) {
            return Err(VersionsError::TooSoon {
                after: stamp(after.unwrap_or(least)),
            });
        }
        let draining = draining(before.as_deref(), &config, candidate.forget);
        let number = before.as_ref().map_or(0, |before| before.number) + 1;
        let kept = Kept {
            number,
            effective_from: stamp(candidate.effective_from),
            before: before.as_ref().map(|before| before.name.clone()),
            draining,
            document: candidate.document.to_owned(),
        };
        let body = json(&kept);
        let name = format!("{number:06}-{}", objects::hash(&body));
        let applied = Applied {
            version: name.clone(),
            effective_from: kept.effective_from,
            before: kept.before.clone(),
            draining: kept.draining.into_keys().collect(),
            applied: !candidate.dry_run,
        };
        if candidate.dry_run {
            return Ok(applied);
        }
        self.objects.put(&object(&name), body).await?;
        let pointer = json(&Pointer {
            current: name,
            before: kept.before,
        });
        let moved = match &found {
            Some((_, tag)) => self.objects.replace_if(POINTER, tag, pointer).await?,
            None => self.objects.create(POINTER, pointer).await?,
        };
        // A PUT that was sent twice, because its first answer was lost, finds that the first one has moved the pointer.
        let found = match moved {
            true => None,
            false => self.pointer().await?,
        };
        if moved || found.is_some_and(|(pointer, _)| pointer.current == applied.version) {
            Ok(applied)
        } else {
            Err(VersionsError::Overtaken)
        }
    }

    fn parse(&self, document: &str, place: &str) -> Result<Config, VersionsError> {
        Ok(Config::parse(document, place, self.variables.iter().cloned())?)
    }

    fn empty(&self) -> VersionsError {
        VersionsError::Empty(self.objects.place(POINTER))
    }

    async fn pointer(&self) -> Result<Option<(Pointer, Tag)>, VersionsError> {
        let Some(object) = self.objects.get(POINTER).await? else {
            return Ok(None);
        };
        let pointer =
            serde_json::from_slice(&object.body).map_err(|_| self.damaged(POINTER, "not a pointer"))?;
        Ok(Some((pointer, object.tag)))
    }

    fn damaged(&self, name: &str, reason: impl fmt::Display) -> VersionsError {
        VersionsError::Damaged {
            place: self.objects.place(name),
            reason: reason.to_string(),
        }
    }

    /// From the newest version back to the one that was in force [`KEPT`] ago.
    async fn walk(&self, newest: Arc<Version>, known: Option<&Chain>) -> Result<Chain, VersionsError> {
        let horizon = self
            .clock
            .now()
            .checked_sub(KEPT)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut versions = vec![newest];
        while let Some(last) = versions.last()
            && last.effective_from > horizon
            && let Some(before) = &last.before
            && versions.len() < MOST
        {
            match self.version(before, known).await {
                Ok(version) => versions.push(version),
                Err(error @ VersionsError::Objects(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(version = before, %error, "older records get the version after this one");
                    break;
                }
            }
        }
        Ok(Chain { versions })
    }

    async fn version(&self, name: &str, known: Option<&Chain>) -> Result<Arc<Version>, VersionsError> {
        let same = |version: &&Arc<Version>| version.name == name;
        if let Some(version) = known.and_then(|known| known.versions.iter().find(same)) {
            return Ok(Arc::clone(version));
        }
        let kept = self.kept(name).await?;
        let place = self.objects.place(&object(name));
        let at = OffsetDateTime::parse(&kept.effective_from, &Rfc3339);
        let at = at.map_err(|_| self.damaged(&object(name), "effective_from is no time"))?;
        let mut draining = BTreeMap::new();
        for (sink, last) in kept.draining {
            let same = |version: &&Arc<Version>| version.name == last;
            let config = match known.and_then(|known| known.versions.iter().find(same)) {
                Some(version) => version.config.sinks.get(&sink).cloned(),
                None => {
                    let mut config = self.parse(&self.kept(&last).await?.document, &place)?;
                    config.sinks.remove(&sink)
                }
            };
            draining.extend(config.map(|config| (sink, Draining { config, last })));
        }
        Ok(Arc::new(Version {
            name: name.to_owned(),
            effective_from: at.into(),
            config: self.parse(&kept.document, &place)?,
            draining,
            before: kept.before,
            number: kept.number,
        }))
    }

    async fn kept(&self, name: &str) -> Result<Kept, VersionsError> {
        let name = object(name);
        let found = self.objects.get(&name).await?;
        let object = found.ok_or_else(|| self.damaged(&name, "the version is not there"))?;
        // The parser's message could quote the document.
        serde_json::from_slice(&object.body).map_err(|_| self.damaged(&name, "not a version"))
    }
}

fn object(name: &str) -> String {
    format!("versions/{name}.json")
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Texts, numbers and maps of them always serialize.
    serde_json::to_vec(value).unwrap_or_default()
}

fn stamp(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

/// Sinks that are not in `config` any more, each with the version that had it last.
fn draining(
    before: Option<&Version>,
    config: &Config,
    forget: &BTreeSet<String>,
) -> BTreeMap<String, String> {
    let Some(before) = before else {
        return BTreeMap::new();
    };
    let removed = before.config.sinks.keys().map(|sink| (sink, &before.name));
    let earlier = before
        .draining
        .iter()
        .map(|(sink, draining)| (sink, &draining.last));
    let all = removed.chain(earlier);
    all.filter(|(sink, _)| !config.sinks.contains_key(*sink) && !forget.contains(*sink))
        .map(|(sink, last)| (sink.clone(), last.clone()))
        .collect()
}
