//! Reading the log: as the source of the fan-out, or by a watcher that has fallen behind it.
//!
//! Polls ask for what is above the last segment, eventually consistent: a later answer brings what an earlier one had
//! not. Numbers go on by one; a hole is what was compacted away only if a consistent read, sent after the higher number
//! was seen, finds nothing there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use tokio::sync::OnceCell;

use super::control::Control;
use super::moment::Moment;
use super::requests::{Tries, read_one};
use super::segment::Segment;
use super::{Log, LogError, LogErrorKind};
use crate::clock::Instant;
use crate::state::fault::Fault;
use crate::watch::error::WatchError;
use crate::watch::filter::Filter;
use crate::watch::position::{Lane, Mark, Number, Position};
use crate::watch::source::{Chunk, Entry, Reader, Source};

/// How many segments one request asks for; 1 MB ends it too.
const PAGE: u32 = 64;
/// The longest that a call which starts a watch tries.
const START: Duration = Duration::from_secs(30);

/// How often a reader looks whether its position is still one of this log.
const BEGUN: Duration = Duration::from_secs(3600);

/// How often an idle reader polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After a change: the delay of the next one is half of this in the mean.
    pub busy: Duration,
    /// While nothing changes, reached step by step.
    pub idle: Duration,
}

impl Default for Pace {
    /// 250 ms to 5 s: with four buckets about eleven read units a second while busy, half of one while idle.
    fn default() -> Self {
        Self {
            busy: Duration::from_millis(250),
            idle: Duration::from_secs(5),
        }
    }
}

/// The log as a source of changes.
#[derive(Debug, Clone)]
pub(crate) struct LogSource {
    log: Log,
    pace: Pace,
    /// Which keys are logged; that never changes.
    covered: Arc<OnceCell<Filter>>,
}

impl LogSource {
    pub(crate) fn new(log: Log, pace: Pace) -> Self {
        // No pause at all would ask without end.
        let pace = Pace {
            busy: pace.busy.max(Duration::from_millis(10)),
            ..pace
        };
        Self {
            log,
            pace,
            covered: Arc::default(),
        }
    }
}

impl From<LogError> for WatchError {
    fn from(error: LogError) -> Self {
        let text = error.to_string();
        match error.kind() {
            LogErrorKind::Unavailable => Self::Unavailable(text),
            LogErrorKind::AccessDenied => Self::AccessDenied(text),
            LogErrorKind::WrongLog => Self::WrongSource(text),
            LogErrorKind::BadParameter => Self::BadParameter(text),
        }
    }
}

fn lane(bucket: u32) -> Lane {
    bucket.to_string().into()
}

impl Log {
    /// Behind everything that stands in the log.
    async fn head(&self, stop: Instant) -> Result<Position, LogError> {
        let control = self.control(&mut Tries::new(self, stop)).await?;
        let newest = self.each_newest(&control, stop).await?;
        Ok(self.position(
            &control,
            newest.iter().map(|newest| match newest {
                // Whoever begins here meets the seal, even if the next generation has not begun yet.
                Some(seal) if seal.sealed => Mark::behind((seal.number - 1).into()),
                Some(newest) => newest.end(),
                None => Mark::Start,
            }),
        ))
    }

    /// Behind the last gap of each bucket, or where what was compacted away ended.
    async fn first(&self, stop: Instant) -> Result<Position, LogError> {
        let control = self.control(&mut Tries::new(self, stop)).await?;
        let newest = self.each_newest(&control, stop).await?;
        let marks = newest.iter().enumerate().map(|(bucket, newest)| {
            let bucket = control.bucket(u32::try_from(bucket).unwrap_or_default());
            let gap = newest.as_ref().and_then(|newest| newest.gap);
            async move {
                let mut tries = Tries::new(self, stop);
                let (oldest, _) = tries.read(|| self.above(&bucket, 0, 1, true)).await?;
                let kept = match oldest.first() {
                    Some(oldest) if oldest.number > 1 => Mark::behind((oldest.number - 1).into()),
                    _ => Mark::Start,
                };
                let gap = gap.map_or(Mark::Start, |gap| Mark::At(gap.segment.into(), gap.count));
                Ok::<_, LogError>(kept.max(gap))
            }
        });
        let marks = try_join_all(marks).await?;
        Ok(self.position(&control, marks.into_iter()))
    }

    pub(super) async fn each_newest(
        &self,
        control: &Control,
        stop: Instant,
    ) -> Result<Vec<Option<Segment>>, LogError> {
        let newest = (0..control.buckets).map(|bucket| {
            let bucket = control.bucket(bucket);
            async move {
                let mut tries = Tries::new(self, stop);
                let read = tries.read(|| self.below(&bucket, None, 1)).await?;
                Ok(read.into_iter().next())
            }
        });
        try_join_all(newest).await
    }

    fn position(&self, control: &Control, marks: impl Iterator<Item = Mark>) -> Position {
        let mut position = Position::new(control.source().into());
        for (bucket, mark) in (0..control.buckets).zip(marks) {
            position.lanes.insert(lane(bucket), mark);
        }
        position
    }
}

impl LogSource {
    fn stop(&self) -> Instant {
        self.log.inner.clock.instant() + START
    }
}

impl Source for LogSource {
    fn now(&self) -> BoxFuture<'_, Result<Position, WatchError>> {
        async { Ok(self.log.head(self.stop()).await?) }.boxed()
    }

    fn beginning(&self) -> BoxFuture<'_, Result<Position, WatchError>> {
        async { Ok(self.log.first(self.stop()).await?) }.boxed()
    }

    fn covered(&self) -> BoxFuture<'_, Result<Filter, WatchError>> {
        async {
            let read = async {
                let mut tries = Tries::new(&self.log, self.stop());
                self.log
                    .control(&mut tries)
                    .await
                    .map(|control| control.covered())
            };
            Ok(Box::pin(self.covered.get_or_try_init(|| read)).await?.clone())
        }
        .boxed()
    }

    fn reader(&self, from: Position) -> Box<dyn Reader> {
        Box::new(LogReader {
            log: self.log.clone(),
            pace: self.pace,
            wait: self.pace.busy,
            rests: false,
            position: from,
            begun: None,
        })
    }
}

/// Reads all buckets on from a position.
struct LogReader {
    log: Log,
    pace: Pace,
    /// The longest next pause.
    wait: Duration,
    /// Whether a pause is due before the next poll: the last one brought all that there was.
    rests: bool,
    position: Position,
    /// The control item, and when the position was found to be one of this log that can be gone on from.
    begun: Option<(Control, Moment)>,
}

/// What a bucket has beyond a mark.
enum Beyond {
    /// These, and whether more follow.
    Chunks(Vec<Arc<Chunk>>, bool),
    /// Something behind the mark is not there any more.
    Compacted(&'static str),
    Sealed,
}

impl Reader for LogReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Arc<Chunk>>, WatchError>> {
        async {
            loop {
                if self.rests {
                    let wait = self.wait.mul_f64(0.5) + self.log.inner.random.jitter(self.wait.mul_f64(0.5));
                    self.log.inner.clock.sleep(wait).await;
                    self.wait = (self.wait * 3 / 2).min(self.pace.idle.max(self.pace.busy));
                    self.rests = false;
                }
                // A process may have been asleep for days, and the log gone on elsewhere.
                let clock = &self.log.inner.clock;
                let known = self
                    .begun
                    .as_ref()
                    .is_some_and(|(_, at)| at.is_within(BEGUN, clock));
                let begun = if known { Ok(()) } else { self.begin().await };
                let polled = match begun {
                    Ok(()) => self.poll().await,
                    Err(error) => Err(error),
                };
                match polled {
                    // No request and no wait follows: a call that is dropped has moved nothing.
                    Ok((chunks, more)) if !chunks.is_empty() => {
                        for chunk in &chunks {
                            self.position.advance(&chunk.lane, chunk.end.clone());
                        }
                        self.wait = self.pace.busy;
                        self.rests = !more;
                        return Ok(chunks);
                    }
                    Ok(_) => self.rests = true,
                    Err(WatchError::Unavailable(what)) => {
                        tracing::warn!("the watch log cannot be read, trying again: {what}");
                        self.log.inner.clock.sleep(self.pace.busy).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        .boxed()
    }
}

impl LogReader {
    fn stop(&self) -> Instant {
        self.log.inner.clock.instant() + START
    }

    /// Looks whether the position is one of this log, and nothing behind it is gone.
    async fn begin(&mut self) -> Result<(), WatchError> {
        let (stop, now) = (self.stop(), Moment::now(&self.log.inner.clock));
        let control = self.log.control(&mut Tries::new(&self.log, stop)).await?;
        let buckets: Vec<Lane> = (0..control.buckets).map(lane).collect();
        if *self.position.source != *control.source() || !self.position.lanes.keys().eq(sorted(&buckets)) {
            return Err(self
                .compacted("the position is of another log, or of one with other buckets")
                .await);
        }
        let reach = (0..control.buckets).map(|bucket| {
            let mark = self.position.lanes.get(&lane(bucket)).cloned();
            let (log, bucket) = (&self.log, control.bucket(bucket));
            async move {
                let Some(Mark::At(number, _)) = mark else {
                    return Ok(true);
                };
                let Some(number) = number.segment().filter(|number| *number > 0) else {
                    return Ok(true);
                };
                // The newest is never removed: nothing at or above it means a log that was set back.
                let mut tries = Tries::new(log, stop);
                let (next, _) = tries.read(|| log.above(&bucket, number - 1, 1, true)).await?;
                Ok::<_, LogError>(next.first().is_some_and(|next| next.number <= number + 1))
            }
        });
        if !try_join_all(reach).await?.into_iter().all(|reach| reach) {
            return Err(self
                .compacted("what follows the position is not kept any more")
                .await);
        }
        self.begun = Some((control, now));
        Ok(())
    }

    /// What every bucket has beyond the position, and whether one has more.
    async fn poll(&self) -> Result<(Vec<Arc<Chunk>>, bool), WatchError> {
        let Some((control, _)) = &self.begun else {
            return Ok((Vec::new(), false));
        };
        let beyond = (0..control.buckets).map(|bucket| self.beyond(control, bucket));
        let (mut all, mut full) = (Vec::new(), false);
        let mut ended = None;
        for beyond in try_join_all(beyond).await? {
            match beyond {
                Beyond::Chunks(chunks, more) => {
                    all.extend(chunks);
                    full |= more;
                }
                Beyond::Compacted(why) => ended = Some(why),
                Beyond::Sealed => ended = Some("the log goes on in other buckets"),
            }
        }
        match ended {
            // What the other buckets have is still due; the end shows again.
            Some(why) if all.is_empty() => Err(self.compacted(why).await),
            _ => Ok((all, full)),
        }
    }

    async fn beyond(&self, control: &Control, bucket: u32) -> Result<Beyond, WatchError> {
        let log = &self.log;
        let mark = self.position.lanes.get(&lane(bucket)).unwrap_or(&Mark::Start);
        let (mut last, mut skip) = match mark {
            Mark::At(number, u32::MAX) => (number.segment().unwrap_or_default(), 0),
            Mark::At(number, count) => (number.segment().unwrap_or_default().saturating_sub(1), *count),
            _ => (0, 0),
        };
        let partition = control.bucket(bucket);
        let mut tries = Tries::new(log, self.stop());
        let (found, more) = tries.read(|| log.above(&partition, last, PAGE, false)).await?;
        let mut chunks = Vec::new();
        for segment in found {
            while segment.number != last + 1 {
                // Seen out of order, or compacted away.
                let there = tries
                    .read(|| async { whole(log, &partition, last + 1).await })
                    .await?;
                let Some(missed) = there else {
                    return Ok(if chunks.is_empty() {
                        Beyond::Compacted("what follows the position is not kept any more")
                    } else {
                        Beyond::Chunks(chunks, false)
                    });
                };
                if missed.sealed {
                    return Ok(sealed(chunks));
                }
                last = missed.number;
                chunks.push(Arc::new(chunk(bucket, &missed, std::mem::take(&mut skip))));
            }
            if segment.sealed {
                return Ok(sealed(chunks));
            }
            last = segment.number;
            chunks.push(Arc::new(chunk(bucket, &segment, std::mem::take(&mut skip))));
        }
        Ok(Beyond::Chunks(chunks, more))
    }

    async fn compacted(&self, why: &str) -> WatchError {
        match self.log.first(self.stop()).await {
            Ok(floor) => WatchError::Compacted {
                floor: Box::new(floor),
                why: why.to_owned(),
            },
            Err(error) => error.into(),
        }
    }
}

/// What a sealed bucket has left; the seal shows again once that is taken.
fn sealed(chunks: Vec<Arc<Chunk>>) -> Beyond {
    if chunks.is_empty() {
        Beyond::Sealed
    } else {
        Beyond::Chunks(chunks, false)
    }
}

async fn whole(log: &Log, partition: &str, number: u64) -> Result<Option<Segment>, Fault> {
    let item = log.item(partition, number).await?;
    item.map(|item| read_one(&item)).transpose()
}

/// Lanes in the order of a position's.
fn sorted(lanes: &[Lane]) -> std::collections::btree_set::IntoIter<&Lane> {
    lanes
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
}

/// A segment's entries, without the first so many.
fn chunk(bucket: u32, segment: &Segment, skip: u32) -> Chunk {
    let number = Number::from(segment.number);
    let entries: Vec<(Mark, Entry)> = (1..)
        .zip(&segment.events)
        .filter(|(count, _)| *count > skip)
        .map(|(count, logged)| (Mark::At(number.clone(), count), logged.entry()))
        .collect();
    Chunk {
        lane: lane(bucket),
        // Names, hashes and pointers of an event come to about as much as its text.
        bytes: 2 * segment.bytes + 256,
        entries,
        end: segment.end(),
    }
}
