//! Events that a sink is to have, and reading what it has.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};
use std::time::SystemTime;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Gap, GapsError};
use crate::audit::canonical::Canonical;
use crate::audit::{Day, first_128, identify};
use crate::config::{Format, SinkConfig};
use crate::forward::record;
use crate::objects::{Objects, ObjectsError, PAGE};
use crate::redrive::failures::Owed;

/// Objects that are read at once.
const AT_ONCE: usize = 8;

/// What became of an event; [`Counts`](super::Counts) says what each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is nowhere.
    Missing,
    /// The sink holds it.
    Delivered,
    /// It waits for the task `lake`.
    Staged,
    /// It waits in the sink's spool.
    Spooled,
    /// It is in quarantine.
    Quarantined,
    /// Lambda gave it up, and it waits for a redrive.
    Redrive,
    /// A backfill of its time is owed.
    Owed,
}

/// An event that the sink is to have.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) gap: Gap,
    pub(super) day: Day,
    pub(super) state: State,
}

/// The events of a day that the sink is to have, by how it knows them.
#[derive(Debug, Default)]
pub(super) struct Dues {
    pub(super) due: HashMap<u128, Due>,
    pub(super) missing: usize,
}

impl Dues {
    pub(super) fn mark(&mut self, key: u128, state: State) {
        if let Some(due) = self.due.get_mut(&key)
            && due.state == State::Missing
        {
            due.state = state;
            self.missing -= 1;
        }
    }

    /// Marks as many of what is missing as the batch had records, those nearest to its time. `marked` counts by object what
    /// earlier days had of them.
    pub(super) fn owe(&mut self, owed: &Owed, marked: &mut BTreeMap<String, u64>) {
        let Some(range) = owed.range().filter(|_| self.missing > 0) else {
            return;
        };
        let before = marked.get(&owed.name).copied().unwrap_or_default();
        let left = owed.records.unwrap_or_default().saturating_sub(before);
        let missing = self
            .due
            .iter()
            .filter(|(_, due)| due.state == State::Missing && range.holds(Some(due.gap.created_at)));
        let mut keys: Vec<_> = missing
            .map(|(key, due)| (range.off_middle(due.gap.created_at), *key))
            .collect();
        keys.sort_unstable();
        keys.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let now = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        *marked.entry(owed.name.clone()).or_default() += now;
        for (_, key) in keys {
            self.mark(key, State::Owed);
        }
    }
}

/// How a sink's lines are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    format: Format,
    /// Some may be pointers.
    spills: bool,
}

impl Known {
    pub(super) fn of(sink: &SinkConfig) -> Self {
        Self {
            format: sink.format,
            spills: sink.max_event_bytes.is_some(),
        }
    }

    pub(super) fn mark(self, mut lines: impl BufRead, dues: &mut Dues) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            // One without its end is torn, and no line.
            let Some(line) = line.strip_suffix(b"\n") else {
                return Ok(());
            };
            if self.format == Format::Event {
                dues.mark(first_128(line), State::Delivered);
                // A pointer's id ends in the hash, as every id does.
                let id = id_of_line(line).filter(|_| self.spills);
                let hash = id.and_then(|id| u128::from_str_radix(id.rsplit(':').next()?, 16).ok());
                if let Some(hash) = hash {
                    dues.mark(hash, State::Delivered);
                }
            } else if let Some(id) = id_of_line(line) {
                dues.mark(first_128(id.as_bytes()), State::Delivered);
            }
        }
    }
}

/// A line of the lake's quarantine.
#[derive(Deserialize)]
pub(super) struct Unfiled<'a> {
    #[serde(borrow)]
    pub(super) line: Option<Cow<'a, str>>,
}

/// A line of the quarantine.
#[derive(Deserialize)]
pub(super) struct Quarantined<'a> {
    #[serde(borrow)]
    pub(super) sink: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) record: Option<&'a RawValue>,
}

/// The id in an envelope or a pointer.
pub(super) fn id_of_line(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        id: String,
    }
    serde_json::from_slice::<Line>(line).ok().map(|line| line.id)
}

/// The id of a stream record's event.
pub(super) fn id_of(raw: &str, out: &mut Canonical) -> Option<String> {
    out.rewind(0);
    let record = record::read_one(raw, false, out)?;
    let row = record.new_image?;
    let event = identify(&row, row.payload.as_ref()?, out, record.created)?;
    Some(event.id)
}

/// Hands each object of a place to `read`, in no order; of those that tell when they were written, only what was not before
/// `since`.
pub(super) async fn each(
    objects: Option<&Objects>,
    prefix: &str,
    since: Option<SystemTime>,
    mut read: impl FnMut(&str, Vec<u8>) -> io::Result<()>,
) -> Result<(), GapsError> {
    let Some(objects) = objects else { return Ok(()) };
    let mut after: Option<String> = None;
    loop {
        let page = objects.list(prefix, after.as_deref(), PAGE).await?;
        let gets: Vec<_> = page
            .objects
            .iter()
            .filter(|listed| since.is_none() || listed.modified.is_none() || listed.modified >= since)
            .map(|listed| {
                Box::pin(async {
                    let object = objects.get(&listed.name).await?;
                    Ok::<_, ObjectsError>((&listed.name, object))
                })
            })
            .collect();
        let mut got = stream::iter(gets).buffer_unordered(AT_ONCE);
        while let Some((name, object)) = got.try_next().await? {
            // Gone meanwhile: to where it is looked for next.
            let Some(object) = object else { continue };
            read(name, object.body).map_err(|error| GapsError::Read {
                place: objects.place(name),
                reason: error.to_string(),
            })?;
        }
        drop(got);
        after = page.objects.into_iter().next_back().map(|listed| listed.name);
        if !page.more {
            return Ok(());
        }
    }
}
