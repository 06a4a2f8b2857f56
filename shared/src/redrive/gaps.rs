//! What became of every event of the audit table, for one sink: whether any was lost.
//!
//! Day by day the ids of the rows in the table's index are compared with those that the sink holds, where it can be read
//! (S3 objects, files, the sidecars of a lake). What is not there and was not filtered must be somewhere on its way. What
//! moves meanwhile moves towards the sink, so the sink is looked at first, then the places on the way, then the sink
//! again; events of the last minutes may be under way in the stream, and are not to be asked for.
//!
//! Nothing is written. Memory: the ids and keys of a day's rows that are to be delivered, about 300 bytes each, and a few
//! objects.

mod due;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::TryStreamExt;
use serde::Serialize;

pub use self::due::State;
use self::due::{Due, Dues, Known, Quarantined, Unfiled, each, id_of, id_of_line};
use super::failures::{self, Owed};
use super::names::name;
use crate::audit::canonical::Canonical;
use crate::audit::log::{Dynamo, Export, Found, LogError};
use crate::audit::{Day, first_128};
use crate::config::{Format, SinkConfig, SinkUri};
use crate::forward::filter;
use crate::forward::sinks::{lake, s3};
use crate::objects::{Objects, ObjectsError};

/// Where a sink's events are, and where they wait.
#[derive(Debug)]
pub struct Look<'a> {
    /// The sink's name.
    pub name: &'a str,
    /// The sink.
    pub sink: &'a SinkConfig,
    /// Where the sink puts objects; needed for one in S3 and for a lake.
    pub objects: Option<&'a Objects>,
    /// The spool.
    pub spool: Option<&'a Objects>,
    /// The quarantine.
    pub quarantine: Option<&'a Objects>,
    /// Where Lambda puts what it gives up.
    pub failures: Option<&'a Objects>,
}

/// What became of the events of a range, each id counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The sink.
    pub sink: String,
    /// Whether the sink can be read. If not, `missing` is what was not found on its way: delivered, or lost.
    pub compared: bool,
    /// All days together.
    #[serde(flatten)]
    pub total: Counts,
    /// By the day of the index, where anything is.
    pub days: BTreeMap<String, Counts>,
    /// Rows that cannot be read, and so have no id; told by their keys in the log.
    pub unreadable: usize,
    /// The first [`MOST_NAMED`](super::MOST_NAMED) of those that are missing, if the sink can be read.
    pub gaps: Vec<Gap>,
}

/// What became of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events in the table.
    pub events: usize,
    /// The sink holds them.
    pub delivered: usize,
    /// Its filter keeps them from it.
    pub filtered: usize,
    /// They wait for the task `lake`.
    pub staged: usize,
    /// They wait in its spool.
    pub spooled: usize,
    /// They are in quarantine, for it or for all sinks; of a lake also in its own.
    pub quarantined: usize,
    /// Lambda gave them up, and they wait for a redrive.
    pub redrive: usize,
    /// Lambda gave up a batch of their table and time without its records, and a backfill is owed. As many as the batch had, at
    /// the most: which of those that are nowhere they are is a guess.
    pub owed: usize,
    /// They are nowhere.
    pub missing: usize,
}

/// An event that is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Its id.
    pub id: String,
    /// The row's partition key.
    pub session_id: String,
    /// The row's sort key.
    pub event_index: String,
    /// The row's `CreatedAt`, in Unix seconds.
    pub created_at: i64,
}

/// Why gaps could not be looked for.
#[derive(Debug, thiserror::Error)]
pub enum GapsError {
    /// The table.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A place of objects.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// What stands there is not what it must be.
    #[error("{place}: {reason}")]
    Read {
        /// The object or file.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Look<'_> {
    /// Whether what the sink holds can be read.
    pub fn is_readable(&self) -> bool {
        !matches!(self.sink.uri, SinkUri::Stdout)
    }

    /// Looks at the events from a time to another, which is included; seconds are whole. `progress` is told the report
    /// after each day.
    ///
    /// Cost: the units of [`Dynamo::export`]; for each day of events a LIST and a GET of all that the sink has of it. Only where
    /// that is not all: a LIST and a GET of everything in spool, quarantine and failures, and of the sink's day again.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`GapsError`].
    pub async fn gaps(
        &self,
        log: &Dynamo,
        (from, to): (SystemTime, SystemTime),
        progress: &(dyn Fn(&Report) + Sync),
    ) -> Result<Report, GapsError> {
        let mut report = Report {
            sink: self.name.to_owned(),
            compared: self.is_readable(),
            ..Report::default()
        };
        // In order, so that a day's rows come together.
        let export = Export {
            parallel: 1,
            ..Export::new(from, to)
        };
        let mut parts = std::pin::pin!(log.export(export));
        let mut day = String::new();
        let (mut dues, mut counts) = (Dues::default(), Counts::default());
        let mut owed = BTreeMap::new();
        loop {
            let part = parts.try_next().await?;
            if part.as_ref().is_none_or(|part| part.day != day) {
                let (dues, counts) = (std::mem::take(&mut dues), std::mem::take(&mut counts));
                self.day((dues, counts), &day, log.table(), &mut owed, &mut report)
                    .await?;
                progress(&report);
            }
            let Some(part) = part else { return Ok(report) };
            day = part.day;
            report.unreadable += part.unreadable;
            for found in part.events {
                let of_type = found.event_type.as_deref();
                if filter::passes(&self.sink.filter, of_type, found.json.as_bytes()) {
                    self.due(found, &mut dues);
                } else {
                    counts.filtered += 1;
                }
            }
        }
    }

    fn due(&self, found: Found, dues: &mut Dues) {
        let Some(key) = self.key(&found.id) else { return };
        let due = Due {
            day: found.day,
            gap: Gap {
                id: found.id,
                session_id: found.session_id,
                event_index: found.event_index,
                created_at: found.created_at,
            },
            state: State::Missing,
        };
        if dues.due.insert(key, due).is_none() {
            dues.missing += 1;
        }
    }

    /// What an event is known by in the sink: its id, or where lines are events alone the hash of its payload, which every
    /// id ends in.
    fn key(&self, id: &str) -> Option<u128> {
        match self.sink.format {
            Format::Envelope => Some(first_128(id.as_bytes())),
            Format::Event => u128::from_str_radix(id.rsplit(':').next()?, 16).ok(),
        }
    }

    /// Looks for the events of a day, and reports.
    async fn day(
        &self,
        (mut dues, mut counts): (Dues, Counts),
        day: &str,
        table: &str,
        marked: &mut BTreeMap<String, u64>,
        report: &mut Report,
    ) -> Result<(), GapsError> {
        self.find(&mut dues, table, None, marked).await?;
        counts.events = dues.due.len() + counts.filtered;
        if counts.events == 0 {
            return Ok(());
        }
        let mut gaps = Vec::new();
        for due in dues.due.into_values() {
            match due.state {
                State::Missing => {
                    counts.missing += 1;
                    gaps.push(due.gap);
                }
                State::Delivered => counts.delivered += 1,
                State::Staged => counts.staged += 1,
                State::Spooled => counts.spooled += 1,
                State::Quarantined => counts.quarantined += 1,
                State::Redrive => counts.redrive += 1,
                State::Owed => counts.owed += 1,
            }
        }
        if report.compared {
            gaps.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            gaps.into_iter().for_each(|gap| name(&mut report.gaps, || gap));
        }
        report.total.add(counts);
        report.days.insert(day.to_owned(), counts);
        Ok(())
    }

    /// Marks what the sink holds. Its days are those of the events' own times. Objects that were written before `since` are
    /// passed over.
    async fn held(&self, dues: &mut Dues, since: Option<SystemTime>) -> Result<(), GapsError> {
        let missing = dues.due.values().filter(|due| due.state == State::Missing);
        let days: BTreeSet<Day> = missing.map(|due| due.day).collect();
        for day in days {
            match &self.sink.uri {
                SinkUri::Stdout => {}
                SinkUri::File { dir, .. } => {
                    *dues = self.file(dir, day, std::mem::take(dues)).await?;
                }
                SinkUri::S3 { .. } => {
                    each(self.objects, &format!("{day}/"), since, |name, body| {
                        self.lines(s3::lines(name, body)?, dues)
                    })
                    .await?;
                }
                SinkUri::Lake(_) => {
                    let sidecars = format!("{}{day}/", lake::SIDECARS);
                    each(self.objects, &sidecars, since, |_, body| {
                        let (ids, rest) = body.as_chunks::<16>();
                        for id in ids {
                            dues.mark(u128::from_be_bytes(*id), State::Delivered);
                        }
                        match rest.is_empty() {
                            true => Ok(()),
                            false => Err(io::Error::other("is no sidecar")),
                        }
                    })
                    .await?;
                }
            }
        }
        Ok(())
    }

    /// Marks what a file has, line by line: it may be large.
    async fn file(&self, dir: &Path, day: Day, mut dues: Dues) -> Result<Dues, GapsError> {
        let path = dir.join(format!("{day}.ndjson"));
        let place = path.display().to_string();
        let known = Known::of(self.sink);
        let read = tokio::task::spawn_blocking(move || {
            match std::fs::File::open(path) {
                Ok(file) => known.mark(io::BufReader::new(file), &mut dues)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(dues)
        });
        let read = read.await.map_err(io::Error::other).flatten();
        read.map_err(|error| GapsError::Read {
            place,
            reason: error.to_string(),
        })
    }

    fn lines(&self, lines: Box<dyn BufRead>, dues: &mut Dues) -> io::Result<()> {
        Known::of(self.sink).mark(lines, dues)
    }

    /// Marks what waits somewhere. Batches without records do not say which they are.
    async fn on_the_way(&self, dues: &mut Dues) -> Result<Vec<Owed>, GapsError> {
        let mut out = Canonical::default();
        if matches!(self.sink.uri, SinkUri::Lake(_)) {
            each(self.objects, lake::STAGING, None, |_, body| {
                for id in body.split(|byte| *byte == b'\n').filter_map(id_of_line) {
                    dues.mark(first_128(id.as_bytes()), State::Staged);
                }
                Ok(())
            })
            .await?;
            each(self.objects, lake::QUARANTINE, None, |_, body| {
                for line in body.split(|byte| *byte == b'\n') {
                    let line = serde_json::from_slice::<Unfiled<'_>>(line).ok();
                    let id = line.and_then(|line| id_of_line(line.line?.as_bytes()));
                    if let Some(id) = id {
                        dues.mark(first_128(id.as_bytes()), State::Quarantined);
                    }
                }
                Ok(())
            })
            .await?;
        }
        let mut mark = |raw: &str, state| {
            let key = id_of(raw, &mut out).and_then(|id| self.key(&id));
            if let Some(key) = key {
                dues.mark(key, state);
            }
        };
        each(self.spool, &format!("{}/", self.name), None, |_, body| {
            let text = String::from_utf8_lossy(&body);
            text.lines().for_each(|raw| mark(raw, State::Spooled));
            Ok(())
        })
        .await?;
        each(self.quarantine, "", None, |_, body| {
            for line in body.split(|byte| *byte == b'\n') {
                let line = serde_json::from_slice::<Quarantined<'_>>(line).ok();
                let ours = line.filter(|line| line.sink.as_ref().is_none_or(|sink| sink == self.name));
                if let Some(raw) = ours.and_then(|line| line.record) {
                    mark(raw.get(), State::Quarantined);
                }
            }
            Ok(())
        })
        .await?;
        let mut owed = Vec::new();
        each(self.failures, "", None, |name, body| {
            match failures::read(name, &body) {
                failures::Read::Records { records, .. } => {
                    records.iter().for_each(|raw| mark(raw.get(), State::Redrive));
                }
                failures::Read::Owed(one) => owed.push(one),
                failures::Read::Other(_) => {}
            }
            Ok(())
        })
        .await?;
        Ok(owed)
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.delivered += other.delivered;
        self.filtered += other.filtered;
        self.staged += other.staged;
        self.spooled += other.spooled;
        self.quarantined += other.quarantined;
        self.redrive += other.redrive;
        self.owed += other.owed;
        self.missing += other.missing;
    }
}

impl Gap {
    /// When the event was written, by its row.
    pub fn time(&self) -> SystemTime {
        let seconds = u64::try_from(self.created_at).unwrap_or_default();
        UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .unwrap_or(UNIX_EPOCH)
    }
}
