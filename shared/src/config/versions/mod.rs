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
//! The forwarder goes by them: an environment reads only the pointer, at the start of each batch, and a version when it is
//! new. Where the current one is of no use the one before it goes on; where that one is not either, there is no
//! configuration, and the invocation fails. Which record meets which sinks, filters and formats: [`crate::forward`].

mod apply;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use self::apply::{Applied, Candidate};
use super::{Config, Faults, ObjectsUri, SinkConfig};
use crate::clock::Clock;
use crate::objects::{Objects, ObjectsError, Tag};

/// How long before it is in force a version is applied at the least: every environment has read the pointer by then.
pub const LEAD: Duration = Duration::from_secs(30);
/// How far back versions are looked for: what a stream and its mapping can still bring, and a day more.
pub const KEPT: Duration = Duration::from_secs(48 * 3600);
/// How many versions are walked back at most: a new environment reads them one after the other.
const MOST: usize = 100;

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

/// The versions that were read last.
#[derive(Debug, Clone)]
struct Known {
    /// The pointer that they stand for; none if its version was of no use.
    pointer: Option<Pointer>,
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
    /// As it was configured last; none if the version that says so is damaged: what waits for the sink stays.
    pub config: Option<SinkConfig>,
    /// The version that had it last.
    pub last: String,
}

/// The versions that records of the last 48 hours were made under.
#[derive(Debug)]
pub struct Chain {
    /// Newest first; never empty.
    versions: Vec<Arc<Version>>,
    /// The newer one that is of no use.
    passed_over: Option<String>,
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
    /// Records that wait in the spool would be overtaken by those that come after, or never delivered.
    #[error("the spool is another than that of version {0}: drain that one first, then say that it may move")]
    SpoolMoved(String),
    /// Records that wait for a sink would be overtaken by those that come after.
    #[error(
        "the sink {sink} used the spool in version {version}: drain it first, then say that it may be left"
    )]
    SpoolLeft {
        /// Which.
        sink: String,
        /// The version that had it.
        version: String,
    },
    /// The newest version is damaged, or has faults.
    #[error("the newest version, {version}, is of no use: {reason}")]
    Unusable {
        /// Its name.
        version: String,
        /// Why.
        reason: String,
    },
    /// Somebody else applied another version meanwhile.
    #[error("another version was applied meanwhile: look at it, and apply this one again")]
    Overtaken,
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
            passed_over: None,
        }
    }

    /// Newest first.
    pub fn versions(&self) -> &[Arc<Version>] {
        &self.versions
    }

    /// The name of the version that the pointer names, if it is of no use and was passed over for the one before it.
    pub fn passed_over(&self) -> Option<&str> {
        self.passed_over.as_deref()
    }

    /// The versions before the newest, which is of no use, if there are any.
    pub(crate) fn before(&self) -> Option<Self> {
        let versions = self.versions.get(1..).filter(|versions| !versions.is_empty())?;
        Some(Self {
            versions: versions.to_vec(),
            passed_over: self.versions.first().map(|version| version.name.clone()),
        })
    }

    /// Whether it is of the same versions.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same = |(one, other): (&Arc<Version>, &Arc<Version>)| one.name == other.name;
        self.passed_over == other.passed_over
            && self.versions.len() == other.versions.len()
            && self.versions.iter().zip(&other.versions).all(same)
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

    /// The versions as they are now. One GET, and one for each version that is new since the last call; where the current
    /// one is of no use it is asked for again by each call.
    ///
    /// # Errors
    /// [`VersionsError`] if the pointer cannot be read, or neither the current version nor the one before it.
    pub async fn read(&self) -> Result<Arc<Chain>, VersionsError> {
        let (pointer, _) = self.pointer().await?.ok_or_else(|| self.empty())?;
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.clone()
        };
        if let Some(known) = &known
            && known.pointer.as_ref() == Some(&pointer)
        {
            return Ok(Arc::clone(&known.chain));
        }
        let known = known.as_ref().map(|known| &*known.chain);
        let current = self.current(&pointer, known).await;
        let usable = current.is_ok();
        let newest = match (current, &pointer.before) {
            (Ok(newest), _) => newest,
            (Err(error), None) => return Err(error),
            (Err(error), Some(before)) => {
                tracing::error!(version = pointer.current, %error, "a version of the configuration is of no use: the one before it goes on");
                self.version(before, known).await?
            }
        };
        let mut chain = self.walk(newest, known).await?;
        chain.passed_over = (!usable).then(|| pointer.current.clone());
        let chain = Arc::new(chain);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known {
            // It may be mended, or be readable in a moment.
            pointer: usable.then_some(pointer),
            chain: Arc::clone(&chain),
        });
        Ok(chain)
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
        {
            if versions.len() == MOST {
                tracing::error!(
                    version = last.name,
                    "so many versions: older records get this one"
                );
                break;
            }
            match self.version(before, known).await {
                Ok(version) => versions.push(version),
                Err(error @ VersionsError::Objects(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(version = before, %error, "older records get the version after this one");
                    break;
                }
            }
        }
        Ok(Chain {
            versions,
            passed_over: None,
        })
    }

    /// The version that the pointer names. What fails by itself is tried once more: to pass over a version that is good
    /// gives its records other sinks.
    async fn current(&self, pointer: &Pointer, known: Option<&Chain>) -> Result<Arc<Version>, VersionsError> {
        match self.version(&pointer.current, known).await {
            Err(VersionsError::Objects(_)) => self.version(&pointer.current, known).await,
            read => read,
        }
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
            let config = match self.last(&sink, &last, known).await {
                Ok(config) => config,
                Err(error @ VersionsError::Objects(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(sink, version = last, %error, "where a removed sink goes is not known any more");
                    None
                }
            };
            draining.insert(sink, Draining { config, last });
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

    /// A sink as the version says that had it last.
    async fn last(
        &self,
        sink: &str,
        version: &str,
        known: Option<&Chain>,
    ) -> Result<Option<SinkConfig>, VersionsError> {
        let same = |known: &&Arc<Version>| known.name == version;
        if let Some(version) = known.and_then(|known| known.versions.iter().find(same)) {
            return Ok(version.config.sinks.get(sink).cloned());
        }
        let place = self.objects.place(&object(version));
        let mut config = self.parse(&self.kept(version).await?.document, &place)?;
        Ok(config.sinks.remove(sink))
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
