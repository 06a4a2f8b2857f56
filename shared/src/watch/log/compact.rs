//! Compaction: what is past its retention goes, oldest first.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::control::Control;
use super::plant::Plant;
use super::requests::Tries;
use super::segment::{Segment, millis};
use super::swept::{partition, past_days};
use super::{Log, LogError, LogErrorKind};
use crate::clock::Instant;

/// The least retention: a stream keeps 24 h, and a mapping may hold a record for 23 more before it reaches the log.
/// What is delivered again must be found there.
pub const MIN_RETENTION: Duration = Duration::from_secs(48 * 3600);

/// How many segments one request reads.
const PAGE: u32 = 16;
/// How many parts of a log are worked on at once.
const AT_ONCE: usize = 16;

/// What is compacted by itself.
#[derive(Clone, Copy)]
enum Part {
    Bucket(u32),
    /// A sealed generation, and how many buckets it has.
    Past(u32, u32),
    /// The notes of a day.
    Notes(u64),
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Compacted {
    /// Segments removed.
    pub removed: u64,
    /// Whether something is left to do, for lack of time.
    pub unfinished: bool,
}

impl Log {
    /// Removes segments that were appended longer ago than `retention`: oldest first, so that a hole is always below
    /// what is kept, and never the newest of a bucket, for positions must not start again. Where the newest is as old,
    /// an empty one is put behind it first. Safe to repeat, to run twice at once, and to cut; goes on until `stop`.
    ///
    /// Requests: one for the control item, two a bucket, and one a day for a month where there are sweeps; for each segment removed one that costs what writing it did.
    /// An idle bucket costs the two reads.
    ///
    /// # Errors
    /// [`LogErrorKind::BadParameter`] for less than [`MIN_RETENTION`]; else what a request may end with.
    pub async fn compact(&self, retention: Duration, stop: Instant) -> Result<Compacted, LogError> {
        if retention < MIN_RETENTION {
            let what = "a retention of less than 48 hours is not possible: a change that is delivered again must be \
                        found in the log";
            return Err(self.error(LogErrorKind::BadParameter, what));
        }
        let horizon = millis(self.inner.clock.now())
            .saturating_sub(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX));
        let mut tries = Tries::new(self, stop);
        let control = self.control(&mut tries).await?;
        self.compact_all(&control, horizon, stop).await
    }

    /// Each bucket, each past generation and the notes at once: of each the oldest first, one by one, which takes long.
    async fn compact_all(
        &self,
        control: &Control,
        horizon: u64,
        stop: Instant,
    ) -> Result<Compacted, LogError> {
        let buckets = (0..control.buckets).map(Part::Bucket);
        let past = control
            .past
            .iter()
            .map(|&(generation, buckets)| Part::Past(generation, buckets));
        let days = past_days(horizon)
            .filter(|_| control.swept.is_some())
            .map(Part::Notes);
        let parts: Vec<Part> = buckets.chain(past).chain(days).collect();
        let works = parts.into_iter().map(|part| async move {
            let (mut tries, mut done) = (Tries::new(self, stop), Compacted::default());
            let (tries, into) = (&mut tries, &mut done);
            let ended = match part {
                Part::Bucket(bucket) => {
                    self.compact_bucket(&control.bucket(bucket), horizon, tries, into)
                        .await
                }
                Part::Past(generation, buckets) => {
                    self.compact_past(control, generation, buckets, horizon, tries, into)
                        .await
                }
                Part::Notes(day) => self.remove_notes(&partition(control, day), tries, into).await,
            };
            match ended {
                // The log answered just now; what was cut short goes on in the next run.
                Err(error) if self.inner.clock.instant() >= stop => {
                    tracing::warn!(%error, removed = done.removed, "the compaction ran out of time");
                    done.unfinished = true;
                    Ok(done)
                }
                ended => ended.map(|()| done),
            }
        });
        let ended: Vec<_> = stream::iter(works).buffer_unordered(AT_ONCE).collect().await;
        let mut all = Compacted::default();
        for done in ended {
            let done = done?;
            all.removed += done.removed;
            all.unfinished |= done.unfinished;
        }
        Ok(all)
    }

    /// Whether time is up; what is left is left for the next run.
    fn is_late(&self, tries: &Tries<'_>, done: &mut Compacted) -> bool {
        done.unfinished |= self.inner.clock.instant() >= tries.stop();
        done.unfinished
    }

    /// Removes the notes of a day.
    async fn remove_notes(
        &self,
        day: &str,
        tries: &mut Tries<'_>,
        done: &mut Compacted,
    ) -> Result<(), LogError> {
        loop {
            let numbers = tries.read(|| self.numbers(day)).await?;
            if numbers.is_empty() {
                return Ok(());
            }
            for number in numbers {
                if self.is_late(tries, done) {
                    return Ok(());
                }
                tries.read(|| self.remove(day, number)).await?;
            }
        }
    }

    async fn compact_bucket(
        &self,
        bucket: &str,
        horizon: u64,
        tries: &mut Tries<'_>,
        done: &mut Compacted,
    ) -> Result<(), LogError> {
        let newest = tries.read(|| self.below(bucket, None, 1)).await?;
        let Some(newest) = newest.into_iter().next() else {
            return Ok(());
        };
        let mut end = newest.number + u64::from(self.has(Plant::NewestCompacted));
        if newest.appended < horizon
            && !newest.events.is_empty()
            && !newest.sealed
            && !self.has(Plant::NewestCompacted)
        {
            self.extend(bucket, tries.stop(), |newest, now| {
                let newest =
                    newest.filter(|newest| newest.appended < horizon && !newest.events.is_empty())?;
                let summary = newest.summary();
                Some(Segment::next(
                    Some(&summary),
                    &newest.stream,
                    Vec::new(),
                    now,
                    None,
                ))
            })
            .await?;
            // Whoever put it, something stands above.
            end += 1;
        }
        self.remove_below(bucket, end, horizon, tries, done).await
    }

    /// Removes what is old enough of the segments below number `end`.
    async fn remove_below(
        &self,
        bucket: &str,
        end: u64,
        horizon: u64,
        tries: &mut Tries<'_>,
        done: &mut Compacted,
    ) -> Result<(), LogError> {
        loop {
            let (oldest, _) = tries.read(|| self.above(bucket, 0, PAGE, true)).await?;
            let due = oldest
                .iter()
                .take_while(|segment| segment.number < end && segment.appended < horizon);
            let numbers: Vec<u64> = due.map(|segment| segment.number).collect();
            if numbers.is_empty() {
                return Ok(());
            }
            for number in numbers {
                if self.is_late(tries, done) {
                    return Ok(());
                }
                tries.read(|| self.remove(bucket, number)).await?;
                done.removed += 1;
            }
        }
    }

    /// Of a sealed generation everything goes as it ages, and with the last of it the generation itself.
    async fn compact_past(
        &self,
        control: &Control,
        generation: u32,
        buckets: u32,
        horizon: u64,
        tries: &mut Tries<'_>,
        done: &mut Compacted,
    ) -> Result<(), LogError> {
        for bucket in 0..buckets {
            let bucket = control.bucket_of(generation, bucket);
            self.remove_below(&bucket, u64::MAX, horizon, tries, done).await?;
            if done.unfinished || !tries.read(|| self.below(&bucket, None, 1)).await?.is_empty() {
                return Ok(());
            }
        }
        self.change_control(tries, |control| {
            let before = control.past.len();
            control.past.retain(|past| *past != (generation, buckets));
            control.past.len() != before
        })
        .await
        .map(drop)
    }
}
