//! Making a document the newest version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::{Kept, LEAD, POINTER, Pointer, Version, Versions, VersionsError, json, object, stamp};
use crate::config::{Config, OnFailure, SinkConfig};
use crate::objects;

/// What applying a document did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// The version's name.
    pub version: String,
    /// From when on it is in force, RFC 3339.
    pub effective_from: String,
    /// The version before it.
    pub before: Option<String>,
    /// The newest version until now, if it is of no use and was passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
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
    /// Take another spool, or let a sink use it no more, although records may wait in the one that was: they are not seen
    /// any more.
    pub move_spool: bool,
    /// Go on from the version before the newest, if that one is damaged or has faults.
    pub pass_over: bool,
    /// Only look.
    pub dry_run: bool,
}

impl Versions {
    /// Makes a document the newest version, after the current one, or where that is of no use and may be passed over after
    /// the one before it. Two PUTs, and GETs of the pointer, of that version and of those that its removed sinks stand in.
    /// Cancel-safe: the pointer moves or does not.
    ///
    /// # Errors
    /// [`VersionsError`]; an [`Objects`](VersionsError::Objects) error may have moved the pointer all the same: look.
    pub async fn apply(&self, candidate: Candidate<'_>) -> Result<Applied, VersionsError> {
        let config = self.parse(candidate.document, candidate.place)?;
        let found = self.pointer().await?;
        let (before, unusable) = match &found {
            Some((pointer, _)) => self.base(pointer, candidate.pass_over).await?,
            None => (None, None),
        };
        self.in_time(&candidate, before.as_deref())?;
        if let Some(before) = &before
            && !candidate.move_spool
        {
            leaves_no_spool(before, &config)?;
        }
        let draining = draining(before.as_deref(), &config, candidate.forget);
        let number = before.as_ref().map_or(0, |before| before.number);
        // A name that is taken counts as written, whatever has become of what stands there.
        let number = number.max(unusable.as_deref().map_or(0, number_of)) + 1;
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
            unusable,
            draining: kept.draining.into_keys().collect(),
            applied: !candidate.dry_run,
        };
        if candidate.dry_run {
            return Ok(applied);
        }
        self.objects.put(&object(&name), body).await?;
        // That may have taken its time.
        self.in_time(&candidate, before.as_deref())?;
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

    /// The version that a new one comes after, and the name of the current one if that is of no use.
    async fn base(
        &self,
        pointer: &Pointer,
        pass_over: bool,
    ) -> Result<(Option<Arc<Version>>, Option<String>), VersionsError> {
        let error = match self.current(pointer, None).await {
            Ok(current) => return Ok((Some(current), None)),
            // Perhaps it is only us who cannot read it: what it added would be gone.
            Err(error @ VersionsError::Objects(_)) => return Err(error),
            Err(error) => error,
        };
        if !pass_over {
            return Err(VersionsError::Unusable {
                version: pointer.current.clone(),
                reason: error.to_string(),
            });
        }
        let before = match &pointer.before {
            Some(before) => Some(self.version(before, None).await?),
            // It never was of any use.
            None => None,
        };
        Ok((before, Some(pointer.current.clone())))
    }

    /// Whether every environment will have read the pointer by the time that the candidate is in force. Of the first
    /// one records that are older have no other.
    fn in_time(&self, candidate: &Candidate<'_>, before: Option<&Version>) -> Result<(), VersionsError> {
        let Some(before) = before else { return Ok(()) };
        let after = before.effective_from;
        if candidate.effective_from < self.clock.now() + LEAD || candidate.effective_from <= after {
            return Err(VersionsError::TooSoon { after: stamp(after) });
        }
        Ok(())
    }
}

/// The number that a version's name begins with.
fn number_of(name: &str) -> u64 {
    let number = name.split_once('-').map(|(number, _)| number.parse());
    number.and_then(Result::ok).unwrap_or_default()
}

/// Refuses what leaves records in a spool where nobody looks for them any more, or lets others overtake them. Whether any
/// wait is not looked at, nor whether a sink used the spool in an earlier version.
fn leaves_no_spool(before: &Version, config: &Config) -> Result<(), VersionsError> {
    if before.config.spool.is_some() && before.config.spool != config.spool {
        return Err(VersionsError::SpoolMoved(before.name.clone()));
    }
    let spools = |sink: &SinkConfig| sink.on_failure == OnFailure::Spool;
    let spooled = |sink: &str| match before.draining.get(sink) {
        // One that is not known any more may have.
        Some(draining) => draining.config.as_ref().is_none_or(spools),
        None => before.config.sinks.get(sink).is_some_and(spools),
    };
    let left = config
        .sinks
        .iter()
        .find(|(name, sink)| !spools(sink) && spooled(name));
    match left {
        Some((sink, _)) => Err(VersionsError::SpoolLeft {
            sink: sink.clone(),
            version: before.name.clone(),
        }),
        None => Ok(()),
    }
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
