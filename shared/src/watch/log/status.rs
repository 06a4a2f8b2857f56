//! How a log stands, for people: what its control item says, and what its buckets hold.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;

use super::control::{Control, Transport};
use super::requests::{Tries, read_one};
use super::segment::Segment;
use super::{Log, LogError};
use crate::clock::Instant;
use crate::watch::filter::Prefix;
use crate::watch::source::Entry;

/// What all who append and read agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Drawn when the log was made.
    pub id: String,
    /// The state table.
    pub table: String,
    /// Where its changes come from.
    pub source: Transport,
    /// How often the buckets or the source were changed, plus one.
    pub generation: u32,
    /// How many buckets are appended to.
    pub buckets: u32,
    /// The ARN of the stream that is read; none before the first record, or over Kinesis the table's name.
    pub stream: Option<String>,
    /// Which keys are logged; none for all.
    pub prefixes: Vec<Prefix>,
    /// The buckets and the source that a change under way leads to.
    pub changing: Option<(u32, Transport)>,
    /// Older generations that are not compacted away yet, with their buckets.
    pub past: Vec<(u32, u32)>,
    /// The mapping that feeds it, once it was examined.
    pub mapping: Option<String>,
    /// When that was last seen enabled.
    pub mapping_seen: Option<SystemTime>,
}

/// What a bucket holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketStatus {
    /// Which one, from 0.
    pub bucket: u32,
    /// The oldest segment that is kept; none if nothing was appended yet.
    pub oldest: Option<SegmentStatus>,
    /// The newest.
    pub newest: Option<SegmentStatus>,
    /// The latest creation time of a change in it, or of one that was compacted away.
    pub latest_change: Option<SystemTime>,
    /// The last gap.
    pub gap: Option<GapStatus>,
    /// It goes on in the next generation.
    pub sealed: bool,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentStatus {
    /// Its number, from 1.
    pub number: u64,
    /// When it was written, by the appender's clock.
    pub appended: SystemTime,
    /// How many entries it has, gaps among them.
    pub entries: usize,
}

/// A gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapStatus {
    /// The segment that it stands in.
    pub segment: u64,
    /// When that was written.
    pub appended: SystemTime,
    /// Why, if the segment is still kept.
    pub why: Option<String>,
}

impl Log {
    /// What all who append and read agree on. One request.
    ///
    /// # Errors
    /// [`LogErrorKind::WrongLog`](super::LogErrorKind::WrongLog) if there is no such log; else what a request may end with.
    pub async fn describe(&self, stop: Instant) -> Result<Description, LogError> {
        let control = self.control(&mut Tries::new(self, stop)).await?;
        Ok(Description {
            id: control.id,
            table: control.table,
            source: control.transport,
            generation: control.generation,
            buckets: control.buckets,
            stream: Some(control.stream).filter(|stream| !stream.is_empty()),
            prefixes: control.prefixes,
            changing: control.next.map(|next| (next.buckets, next.transport)),
            past: control.past,
            mapping: control.mapping,
            mapping_seen: control.mapping_seen.map(time),
        })
    }

    /// What each bucket holds, in their order. One request, and two a bucket, three where there is a gap.
    ///
    /// # Errors
    /// As [`describe`](Self::describe).
    pub async fn bucket_statuses(&self, stop: Instant) -> Result<Vec<BucketStatus>, LogError> {
        let control = self.control(&mut Tries::new(self, stop)).await?;
        let newest = self.each_newest(&control, stop).await?;
        let statuses = (0..).zip(newest).map(|(bucket, newest)| {
            let control = &control;
            async move { self.bucket_status(control, bucket, newest, stop).await }
        });
        try_join_all(statuses).await
    }

    async fn bucket_status(
        &self,
        control: &Control,
        bucket: u32,
        newest: Option<Segment>,
        stop: Instant,
    ) -> Result<BucketStatus, LogError> {
        let partition = control.bucket(bucket);
        let mut tries = Tries::new(self, stop);
        let oldest = tries.read(|| self.above(&partition, 0, 1, true)).await?;
        let mark = newest.as_ref().and_then(|newest| newest.gap);
        let gap = match mark {
            Some(mark) => {
                let item = tries.read(|| self.item(&partition, mark.segment)).await?;
                let kept = item
                    .map(|item| read_one(&item))
                    .transpose()
                    .map_err(|fault| self.failed(&fault))?;
                let at = usize::try_from(mark.count.saturating_sub(1)).unwrap_or(usize::MAX);
                let entry = kept.and_then(|segment| Some(segment.events.get(at)?.entry()));
                let why = entry.and_then(|entry| match entry {
                    Entry::Gap(why) => Some(why.to_string()),
                    Entry::Event(_) => None,
                });
                Some(GapStatus {
                    segment: mark.segment,
                    appended: time(mark.appended),
                    why,
                })
            }
            None => None,
        };
        Ok(BucketStatus {
            bucket,
            oldest: oldest.0.first().map(SegmentStatus::of),
            latest_change: newest.as_ref().and_then(|newest| newest.max_created).map(time),
            sealed: newest.as_ref().is_some_and(|newest| newest.sealed),
            newest: newest.as_ref().map(SegmentStatus::of),
            gap,
        })
    }
}

impl SegmentStatus {
    fn of(segment: &Segment) -> Self {
        Self {
            number: segment.number,
            appended: time(segment.appended),
            entries: segment.events.len(),
        }
    }
}

/// A time that no clock can show is shown as none.
fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .unwrap_or(UNIX_EPOCH)
}
