//! Appending: one conditional put of the next segment.
//!
//! No counter, no marker, no transaction: a position cannot exist before the one below it, and the put is the commit. What
//! is delivered again is found by walking back ([`View`](super::view)); what an event of its key has overtaken is not
//! appended, since that could not be moved into its place: a gap is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use super::chunk::{Chunk, Due, Share, count, sound};
use super::control::Control;
use super::filer::Filer;
use super::moment::Moment;
use super::plant::Plant;
use super::requests::Tries;
use super::segment::{Segment, key_hash, millis};
use super::view::{Memory, REMEMBERED, View};
use super::{Log, LogError, LogErrorKind};
use crate::clock::Instant;
use crate::state::fault::Fault;
use crate::watch::event::{Event, Operation, Value};
use crate::watch::filter::Prefix;
use crate::watch::record::Record;

/// The most bytes of a value, and the one before it, that are carried.
const VALUE: usize = 32 * 1024;
/// How far a list that begins when a gap is met may be behind a change made before: clocks apart, and times that are
/// rounded down to the minute.
pub(super) const ROUNDED: Duration = Duration::from_secs(120);
/// A stream keeps 24 h: what arrives older than this had neighbours that may be gone.
const NEARLY_TRIMMED: Duration = Duration::from_secs(22 * 3600);

/// Which values the log carries beside keys and revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inline {
    /// None: for tables whose values are their owner's secrets. Watchers read them under their own permissions.
    None,
    /// All.
    All,
    /// Those of keys that these prefixes take.
    Below(Vec<Prefix>),
}

impl Inline {
    pub(super) fn carries(&self, event: &Event) -> bool {
        let wanted = match self {
            Self::None => false,
            Self::All => true,
            Self::Below(prefixes) => prefixes.iter().any(|prefix| prefix.contains(&event.key)),
        };
        let bytes = |value: &Value| value.bytes().map_or(0, <[u8]>::len);
        let size = match &event.operation {
            Operation::Put(put) => bytes(&put.value),
            Operation::Delete(delete) => delete.previous.as_ref().map_or(0, |put| bytes(&put.value)),
            Operation::Unknown => 0,
        };
        wanted && size <= VALUE
    }
}

/// Something of a batch of the stream, in its order.
#[derive(Debug, Clone)]
pub(crate) enum Incoming {
    /// A change.
    Record(Record),
    /// A record whose key cannot be read: a gap is due in its place.
    Unreadable {
        /// What tells the record from others, if that can be read: `SequenceNumber` or `eventID`.
        id: Option<String>,
        /// When it was made, if that can be read.
        created: Option<SystemTime>,
    },
}

impl Incoming {
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(record) => Some(record),
            Self::Unreadable { .. } => None,
        }
    }
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Changes appended now.
    pub appended: usize,
    /// Changes that stood there already.
    pub repeats: usize,
    /// Changes in whose place a gap stands, with those of an older stream, which are dropped.
    pub gaps: usize,
    /// Changes of keys that the log does not cover.
    pub uncovered: usize,
    /// Segments written.
    pub segments: usize,
}

impl Appended {
    fn add(&mut self, other: Self) {
        self.appended += other.appended;
        self.repeats += other.repeats;
        self.gaps += other.gaps;
        self.uncovered += other.uncovered;
        self.segments += other.segments;
    }
}

/// A batch that could not be appended in whole: everything before `first` is in the log.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) first: usize,
    pub(crate) error: LogError,
}

/// Appends the changes of a table's stream to its log. One is made at start and serves every batch of the process.
#[derive(Debug)]
pub struct Appender {
    log: Log,
    inline: Inline,
    memory: Memory,
    filer: Filer,
    /// What was agreed on, and when: no older than a remembered head, or it may be of a generation that is gone.
    control: Mutex<Option<(Control, Moment)>>,
}

/// Why a bucket could not take a record.
enum Stopped {
    /// The bucket goes on in another generation.
    Sealed,
    Failed(LogError),
}

impl From<LogError> for Stopped {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

impl Appender {
    /// An appender to `log`. No request.
    pub fn new(log: Log, inline: Inline) -> Self {
        Self {
            log,
            inline,
            memory: Memory::default(),
            filer: Filer::default(),
            control: Mutex::new(None),
        }
    }

    /// The log it appends to.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Appends a batch, trying again until `stop`. `stream` is the ARN of the stream that it is of, or for Kinesis the
    /// name of the table. Safe to repeat, and to cancel: what is in the log already is found there.
    ///
    /// Requests: for each bucket with records a put a segment, and a read unless the newest segment is remembered.
    ///
    /// # Errors
    /// [`Failed`], with the lowest record that is not in the log.
    pub(crate) async fn append(
        &self,
        stream: &str,
        batch: &[Incoming],
        stop: Instant,
    ) -> Result<Appended, Failed> {
        let mut total = Appended::default();
        // By bucket; a change of the generation deals what is left anew.
        let mut left: Vec<usize> = (0..batch.len()).collect();
        let (mut again, mut filed) = (false, false);
        while let Some(&first) = left.first() {
            let failed = |error| Failed { first, error };
            let control = self.agreed(stream, again, batch, stop).await.map_err(failed)?;
            let covered = control.as_ref().map(Control::covered).unwrap_or_default();
            let Some(control) = control else {
                // Of an older stream: what was not appended before the newer one began is behind its gap.
                total.gaps += left.len();
                return Ok(total);
            };
            let swept = control.is_swept(self.log.inner.clock.now());
            if swept && control.is_attached() && !std::mem::replace(&mut filed, true) {
                // Before the log: of a batch that is appended in part only the rest comes again.
                let filed = self.filer.file(&self.log, &control, batch, stop).await;
                filed.map_err(|error| Failed { first: 0, error })?;
            }
            let notes = if swept {
                let records: Vec<&Record> = left.iter().filter_map(|at| batch.get(*at)?.record()).collect();
                let mut tries = Tries::new(&self.log, stop);
                self.log
                    .notes(&control, &records, &mut tries)
                    .await
                    .map_err(failed)?
            } else {
                HashMap::new()
            };
            let mut shares: BTreeMap<u32, Vec<Share<'_>>> = BTreeMap::new();
            for &at in &left {
                match batch.get(at) {
                    Some(Incoming::Record(record)) if !covered.takes_key(&record.event.key) => {
                        total.uncovered += 1;
                    }
                    Some(Incoming::Record(record)) => {
                        let key = key_hash(record.event.key.as_bytes());
                        let note = notes.get(&record.event.key);
                        let note = note.filter(|note| record.doubtful && note.may_be_of(record));
                        let share = Share::Record(Due {
                            at,
                            key,
                            record,
                            note,
                        });
                        shares
                            .entry(control.bucket_for(&record.event.key))
                            .or_default()
                            .push(share);
                    }
                    // Nobody knows whose it is.
                    Some(Incoming::Unreadable { id, created }) => {
                        for bucket in 0..control.buckets {
                            let share = Share::Gap {
                                at,
                                counts: bucket == 0,
                                id: id.as_deref(),
                                created: *created,
                            };
                            shares.entry(bucket).or_default().push(share);
                        }
                    }
                    None => {}
                }
            }
            let label = if self.log.has(Plant::StreamNotCompared) {
                String::new()
            } else {
                control.label(stream)
            };
            let work = shares.into_iter().map(|(bucket, share)| {
                let (partition, label) = (control.bucket(bucket), label.as_str());
                async move {
                    let mut share = share;
                    let mut done = Appended::default();
                    let stopped = self.fill(&partition, label, &mut share, &mut done, stop).await;
                    (done, share.iter().map(Share::at).collect::<Vec<_>>(), stopped)
                }
            });
            let (mut rest, mut error, mut sealed) = (Vec::new(), None, false);
            for (done, undone, stopped) in join_all(work).await {
                total.add(done);
                rest.extend(undone);
                match stopped {
                    Ok(()) => {}
                    Err(Stopped::Sealed) => sealed = true,
                    Err(Stopped::Failed(failed)) => error = Some(failed),
                }
            }
            rest.sort_unstable();
            rest.dedup();
            left = rest;
            if let (Some(error), Some(&first)) = (error, left.first()) {
                return Err(Failed { first, error });
            }
            again = sealed;
        }
        Ok(total)
    }

    /// What all agree on, with the stream as the current one; none if the batch is of an older stream.
    async fn agreed(
        &self,
        stream: &str,
        again: bool,
        batch: &[Incoming],
        stop: Instant,
    ) -> Result<Option<Control>, LogError> {
        let mut tries = Tries::new(&self.log, stop);
        let clock = &self.log.inner.clock;
        let now = Moment::now(clock);
        let known = self
            .control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let known = known.filter(|(_, at)| {
            let planted = self.log.has(Plant::RememberedForEver) || self.log.has(Plant::NotSealed);
            planted || at.is_within(REMEMBERED, clock)
        });
        let (mut control, at) = match known.filter(|_| !again) {
            Some(known) => known,
            None if again => (self.log.finish_sealing(&mut tries).await?, now),
            None => (self.log.control(&mut tries).await?, now),
        };
        if !control.is_of(stream) {
            let what = format!("it is of table {}, and a record of {stream} came", control.table);
            return Err(self.log.error(LogErrorKind::WrongLog, what));
        }
        if control.stream != stream && !self.log.has(Plant::StreamNotCompared) {
            control = self.log.change_stream(stream, &mut tries).await?;
        }
        let older = control.label(&control.stream) > control.label(stream);
        if !older && self.is_nearly_trimmed(batch) {
            self.log.mark_hourly(&control, &mut tries).await?;
        }
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = Some((control.clone(), at));
        Ok(Some(control).filter(|_| !older))
    }

    fn is_nearly_trimmed(&self, batch: &[Incoming]) -> bool {
        let now = self.log.inner.clock.now();
        batch.iter().any(|incoming| match incoming {
            Incoming::Record(record) => record
                .event
                .created
                .is_some_and(|created| created + NEARLY_TRIMMED < now),
            Incoming::Unreadable { .. } => false,
        })
    }

    /// Appends a bucket's share; what is in the log is taken out of `share`.
    async fn fill(
        &self,
        bucket: &str,
        label: &str,
        share: &mut Vec<Share<'_>>,
        done: &mut Appended,
        stop: Instant,
    ) -> Result<(), Stopped> {
        let clock = &self.log.inner.clock;
        let mut tries = Tries::new(&self.log, stop);
        let mut view: Option<View> = None;
        while !share.is_empty() {
            let fresh = |view: &View| view.is_fresh(clock) || self.log.has(Plant::RememberedForEver);
            let mut seen = match view.take().filter(fresh) {
                Some(view) => view,
                None => self.look(bucket, label, share, &mut tries).await?,
            };
            if seen.standing.as_ref().is_some_and(|standing| standing.sealed) {
                return Err(Stopped::Sealed);
            }
            if seen
                .standing
                .as_ref()
                .is_some_and(|standing| standing.stream.as_str() > label)
            {
                done.gaps += count(share);
                share.clear();
                break;
            }
            share.retain(|share| match share {
                Share::Record(due)
                    if seen.holds(due.key, &due.record.order)
                        && !self.log.has(Plant::RepeatsNotLookedFor) =>
                {
                    done.repeats += 1;
                    false
                }
                _ => true,
            });
            let chunk = Chunk::of(&self.log, &self.inline, &seen, label, share);
            if chunk.events.is_empty() {
                done.gaps += count(share.drain(..chunk.taken).as_slice()) - chunk.repeats;
                done.repeats += chunk.repeats;
                view = Some(seen);
                continue;
            }
            // Only what was looked at a short while ago: an older head may point into what was compacted away.
            if !fresh(&seen) {
                continue;
            }
            let gaps = chunk.events.iter().filter(|event| event.is_gap()).count();
            let segment = Segment::next(
                seen.standing.as_deref(),
                label,
                chunk.events,
                millis(clock.now()),
                chunk.max_created,
            );
            let at = Moment::now(clock);
            match tries.send(self.log.put(segment.marshal(bucket), None)).await {
                Ok(()) => {
                    tries.progressed();
                    self.log.broke(gaps);
                    done.segments += 1;
                    done.appended += chunk.appended;
                    done.repeats += chunk.repeats;
                    done.gaps +=
                        count(share.drain(..chunk.taken).as_slice()) - chunk.appended - chunk.repeats;
                    seen.wrote(&self.memory, bucket, segment.summary(), at);
                }
                // Refused, another appender was first; without an answer the segment may stand there, now or later.
                // Either way what was appended since tells.
                Err(fault) => {
                    if !matches!(fault, Fault::Refused(_)) {
                        tracing::debug!(bucket, "a segment was not written: {}", fault.said());
                    }
                    tries.again(&fault).await?;
                    seen.look_again(&self.log, &self.memory, bucket, &mut tries)
                        .await?;
                }
            }
            view = Some(seen);
        }
        Ok(())
    }

    async fn look(
        &self,
        bucket: &str,
        label: &str,
        share: &[Share<'_>],
        tries: &mut Tries<'_>,
    ) -> Result<View, LogError> {
        let now = self.log.inner.clock.now();
        let created = share.iter().map(|share| match share {
            Share::Record(due) => {
                let created = sound(due.record.event.created, now).map_or(0, millis);
                due.note.map_or(created, |note| created.min(note.since()))
            }
            // Without a time it is looked for everywhere, or each delivery would add one.
            Share::Gap { created, .. } => sound(*created, now).map_or(0, millis),
        });
        let oldest = created.min().unwrap_or(u64::MAX);
        let keys = share.iter().filter_map(|share| match share {
            Share::Record(due) => Some(due.key),
            Share::Gap { .. } => None,
        });
        View::look(&self.log, &self.memory, bucket, label, keys, oldest, tries).await
    }
}
