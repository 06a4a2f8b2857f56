//! Gaps: what was lost before here, nobody knows. Who meets one lists again.
//!
//! A gap follows the loss that it tells of. Who has met a gap has listed after it was appended, and so has seen what was
//! lost before; one gap serves all losses that it follows.

use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;

use super::append::ROUNDED;
use super::control::Control;
use super::requests::Tries;
use super::segment::{Logged, Segment, millis};
use super::{Appender, Log, LogError};
use crate::clock::Instant;

/// How often it is marked that records arrive which are nearly too old for the stream.
const HOURLY: Duration = Duration::from_secs(3600);

/// What became of a bucket that was to be extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extended {
    Wrote,
    /// Nothing was due.
    Stood,
    Sealed,
}

/// When no gap is due in a bucket, by its newest segment.
pub(super) enum Unless<'a> {
    /// This report has its gap there.
    Reported(&'a str),
    /// A gap was appended later than this, unix milliseconds.
    After(u64),
    /// It is of this stream or a newer one.
    Of(&'a str),
}

impl Unless<'_> {
    fn holds(&self, newest: &Segment) -> bool {
        match self {
            Self::Reported(id) => newest.events.iter().any(|event| event.gap_id() == Some(id)),
            Self::After(time) => newest.gap.is_some_and(|gap| gap.appended > *time),
            Self::Of(label) => newest.stream.as_str() >= *label,
        }
    }
}

impl Appender {
    /// Appends a gap to every bucket, trying again until `stop`: changes were lost, and nobody knows which. `id` names
    /// the report of the loss, so that one that comes twice in a row makes one gap. `lost_until`, where known, is when
    /// the last of the lost changes was made: where a gap stands that was appended well after it, none is added.
    ///
    /// Requests: one for the control item, a read and a put a bucket.
    ///
    /// # Errors
    /// [`LogError`]; some buckets may have theirs. Repeat it.
    pub async fn break_all(
        &self,
        why: &str,
        id: &str,
        lost_until: Option<SystemTime>,
        stop: Instant,
    ) -> Result<(), LogError> {
        self.log().break_all(why, id, lost_until, stop).await
    }
}

impl Log {
    /// As [`Appender::break_all`], for whoever knows of a loss.
    ///
    /// # Errors
    /// As there.
    pub async fn break_all(
        &self,
        why: &str,
        id: &str,
        lost_until: Option<SystemTime>,
        stop: Instant,
    ) -> Result<(), LogError> {
        let mut tries = Tries::new(self, stop);
        let mut unless = vec![Unless::Reported(id)];
        unless.extend(lost_until.map(|lost| Unless::After(millis(lost + ROUNDED))));
        loop {
            let control = self.control(&mut tries).await?;
            let label = control.label(&control.stream);
            if self.mark(&control, &label, why, Some(id), &unless, stop).await? {
                return Ok(());
            }
            // The buckets go on in another generation, and the gap with them.
            self.finish_sealing(&mut tries).await?;
        }
    }

    /// The stream that the log is of from now on; older ones stay what they are. What the one before still held is lost:
    /// every bucket gets its gap first.
    pub(super) async fn change_stream(
        &self,
        stream: &str,
        tries: &mut Tries<'_>,
    ) -> Result<Control, LogError> {
        loop {
            let control = self.control(tries).await?;
            let label = control.label(stream);
            if control.stream == stream || control.label(&control.stream) > label {
                return Ok(control);
            }
            if !control.stream.is_empty() {
                let why = "the table's stream was replaced";
                if !self
                    .mark(
                        &control,
                        &label,
                        why,
                        Some(&label),
                        &[Unless::Of(&label)],
                        tries.stop(),
                    )
                    .await?
                {
                    self.finish_sealing(tries).await?;
                    continue;
                }
            }
            let marked = control.stream;
            let changed = self.change_control(tries, |control| {
                // Another stream than the one that the gaps are for: look again.
                let same = control.stream == marked;
                if same {
                    stream.clone_into(&mut control.stream);
                }
                same
            });
            changed.await?;
        }
    }

    /// Marks in every bucket that records arrive whose neighbours may be gone from the stream, at most hourly.
    pub(super) async fn mark_hourly(&self, control: &Control, tries: &mut Tries<'_>) -> Result<(), LogError> {
        let label = control.label(&control.stream);
        let since = millis(self.inner.clock.now()).saturating_sub(millis(SystemTime::UNIX_EPOCH + HOURLY));
        let why = "changes arrive after more than 22 hours, and the stream keeps 24";
        self.mark(control, &label, why, None, &[Unless::After(since)], tries.stop())
            .await
            .map(drop)
    }

    /// Appends a gap to every bucket that has none yet; false if one is sealed.
    pub(super) async fn mark(
        &self,
        control: &Control,
        label: &str,
        why: &str,
        id: Option<&str>,
        unless: &[Unless<'_>],
        stop: Instant,
    ) -> Result<bool, LogError> {
        let marks = (0..control.buckets).map(|bucket| {
            let bucket = control.bucket(bucket);
            async move {
                self.extend(&bucket, stop, |newest, now| {
                    let marked =
                        newest.is_some_and(|newest| unless.iter().any(|unless| unless.holds(newest)));
                    let label = newest.map_or(label, |newest| label.max(newest.stream.as_str()));
                    let summary = newest.map(Segment::summary);
                    (!marked).then(|| {
                        Segment::next(
                            summary.as_ref(),
                            label,
                            vec![Logged::gap(why, id, None)],
                            now,
                            None,
                        )
                    })
                })
                .await
            }
        });
        let marks = try_join_all(marks).await?;
        let wrote = marks.iter().filter(|mark| **mark == Extended::Wrote).count();
        if wrote > 0 {
            self.broke(wrote);
            tracing::warn!(
                log = self.inner.name,
                table = self.inner.table,
                buckets = wrote,
                "the watch log has a gap: {why}"
            );
        }
        Ok(!marks.contains(&Extended::Sealed))
    }

    /// Puts what `next` makes of the newest segment behind it, unless it makes nothing of it.
    pub(super) async fn extend(
        &self,
        bucket: &str,
        stop: Instant,
        next: impl Fn(Option<&Segment>, u64) -> Option<Segment>,
    ) -> Result<Extended, LogError> {
        let mut tries = Tries::new(self, stop);
        loop {
            let newest = tries.read(|| self.below(bucket, None, 1)).await?;
            let newest = newest.first();
            if newest.is_some_and(|newest| newest.sealed) {
                return Ok(Extended::Sealed);
            }
            let Some(segment) = next(newest, millis(self.inner.clock.now())) else {
                return Ok(Extended::Stood);
            };
            match tries.send(self.put(segment.marshal(bucket), None)).await {
                Ok(()) => return Ok(Extended::Wrote),
                Err(fault) => tries.again(&fault).await?,
            }
        }
    }
}
