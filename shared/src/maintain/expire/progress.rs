//! Where a scan of the whole table is, kept in the table, so that the next run goes on there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Error;
use super::sweep::Sweep;
use crate::clock::Instant;
use crate::state::sweep::Page;
use crate::state::{ErrorKind, Item, Key, Layout, Revision};
use crate::watch::Prefix;

/// Where it is kept: nothing that the owner of an attached table would read.
pub(super) const KEY: &str = ".tidewatch/maintain/expire";
/// How much of a scan a run that is cut does again.
const KEPT: Duration = Duration::from_secs(10);

/// What a table is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Purpose {
    /// What is due is deleted.
    Sweep,
    /// What expires is filed in the due list.
    Fill,
}

/// The item's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    purpose: Purpose,
    /// Unix milliseconds, before its first request.
    begun: u64,
    partition: u8,
    /// The sort key of the last item that was read in the partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    pub(super) done: bool,
    /// How many items were found that expire.
    entries: u64,
    /// Whose keys were taken: others are a scan of their own.
    prefixes: Vec<String>,
}

/// A scan that is under way, or was.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) place: Place,
    /// The item that it was read from or written to last.
    revision: Option<Revision>,
    kept: Instant,
}

impl Progress {
    pub(super) fn begun(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.place.begun)
    }

    /// Goes on behind a page, which may have been the last.
    pub(super) fn go_on(&mut self, layout: &Layout, page: &Page) {
        self.place.entries += u64::try_from(page.items.len()).unwrap_or_default();
        let sort = |next: &crate::state::fault::Attributes| {
            let sort = next.get(layout.sort_name())?.as_s().ok()?;
            Some(sort.clone())
        };
        self.place.after = page.next.as_ref().and_then(sort);
        if self.place.after.is_none() {
            self.place.partition = self.place.partition.saturating_add(1);
            self.place.done = self.place.partition >= layout.partitions();
        }
    }

    /// Partition and sort key that the next page comes behind.
    pub(super) fn at(&self) -> (u8, Option<&str>) {
        (self.place.partition, self.place.after.as_deref())
    }

    /// Whether it went on long enough to be kept.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        self.place.done || now.saturating_duration_since(self.kept) >= KEPT
    }
}

impl Sweep<'_> {
    /// A scan from the first key on, in the place of an earlier one.
    pub(super) fn begin(&self, purpose: Purpose, earlier: Option<Progress>) -> Progress {
        let since = self.clock().now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Progress {
            place: Place {
                purpose,
                begun: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
                partition: 0,
                after: None,
                done: false,
                entries: 0,
                prefixes: self.prefixes(),
            },
            revision: earlier.and_then(|earlier| earlier.revision),
            kept: self.clock().instant(),
        }
    }

    /// Whether it is one of this run's kind.
    pub(super) fn is_ours(&self, progress: &Progress, purpose: Purpose) -> bool {
        (progress.place.purpose, &progress.place.prefixes) == (purpose, &self.prefixes())
    }

    fn prefixes(&self) -> Vec<String> {
        let shown = |prefix: &Prefix| match prefix {
            Prefix::Component(key) => key.to_string(),
            Prefix::Plain(key) => format!("{key}*"),
        };
        self.expire.filter.prefixes().iter().map(shown).collect()
    }

    /// The scan that is kept; none if there is none, or it cannot be read. Two requests at most.
    pub(super) async fn kept(&mut self) -> Result<Option<Progress>, Error> {
        let found = self.table().get(&Key::from(KEY)).await;
        self.read(1.0);
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let unreadable = Place {
            done: true,
            ..self.begin(Purpose::Sweep, None).place
        };
        Ok(Some(Progress {
            // Of another version: a scan in its place is begun, on its revision.
            place: serde_json::from_slice(&found.value).unwrap_or(unreadable),
            revision: Some(found.revision),
            kept: self.clock().instant(),
        }))
    }

    /// Keeps where a scan is, if nobody else did since; whoever did is followed then.
    pub(super) async fn keep(&mut self, progress: &mut Progress) -> Result<(), Error> {
        let value = serde_json::to_vec(&progress.place).unwrap_or_default();
        let item = Item::new(KEY, value);
        let kept = match &progress.revision {
            None => self.table().create(&item).await,
            Some(revision) => self.table().conditional_update(&item.at(revision.clone())).await,
        };
        self.wrote(1.0);
        progress.kept = self.clock().instant();
        match kept {
            Ok(lease) => progress.revision = Some(lease.revision),
            Err(error) => match error.kind() {
                ErrorKind::AlreadyExists | ErrorKind::IncorrectRevision | ErrorKind::OutcomeUnknown => {
                    let purpose = progress.place.purpose;
                    match self.kept().await? {
                        Some(other)
                            if self.is_ours(&other, purpose) && other.place.begun >= progress.place.begun =>
                        {
                            *progress = other;
                        }
                        // Somebody reads for something else, or began before there was reason to: each goes on, and
                        // the last one is remembered.
                        other => progress.revision = other.and_then(|other| other.revision),
                    }
                }
                _ => return Err(error.into()),
            },
        }
        Ok(())
    }
}
