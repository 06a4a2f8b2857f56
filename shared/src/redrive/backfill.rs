//! Events from the audit table's index, day by day.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{Stream, TryStreamExt};

use super::hand::{Hand, Tally};
use super::rows::{BackfillError, Numbers, Place, Position, Range, Step, over};
use crate::audit::log::{Dynamo, Export, LogError, Part};
use crate::clock::Instant;

/// What share of a provisioned index's capacity a backfill takes.
const SHARE: f64 = 0.2;
/// How often it is asked whether the index is throttled.
const CHECKED: Duration = Duration::from_secs(60);

/// Whether readers of the table's index are refused now.
pub trait Throttled: fmt::Debug + Send + Sync {
    /// Looks.
    ///
    /// # Errors
    /// A text if that cannot be told.
    fn throttled(&self) -> BoxFuture<'_, Result<bool, String>>;
}

type Parts = Pin<Box<dyn Stream<Item = Result<Part, LogError>> + Send>>;

/// Brings the events of a range from the table, in the order of days, those of a day in the order of time. It has no order
/// against what the stream brings meanwhile.
pub struct Backfill<'a> {
    hand: Hand<'a>,
    range: Range,
    sink: Option<String>,
    /// None after a step that did not end well.
    parts: Option<Parts>,
    numbers: Numbers,
    /// Units a second.
    rate: Option<f64>,
    throttled: Option<&'a dyn Throttled>,
    checked: Option<Instant>,
    /// How long the last page's units last at the rate.
    pause: Duration,
}

impl fmt::Debug for Backfill<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backfill")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl<'a> Backfill<'a> {
    /// A backfill of a range, or what is left of it after a position. No request.
    ///
    /// # Errors
    /// [`BackfillError::OtherPosition`].
    pub fn new(
        log: &Dynamo,
        range: Range,
        position: Option<&Position>,
        hand: Hand<'a>,
    ) -> Result<Self, BackfillError> {
        let mut numbers = Numbers::default();
        let (from, to) = range.times();
        let mut export = Export {
            rows: true,
            // In order, and one page in memory.
            parallel: 1,
            // The end of an export is included.
            ..Export::new(from, to.checked_sub(Duration::from_secs(1)).unwrap_or(to))
        };
        if let Some(position) = position {
            let Place::Index(place) = &position.place else {
                return Err(BackfillError::OtherPosition);
            };
            if position.range() != range {
                return Err(BackfillError::OtherPosition);
            }
            export.position = Some(place.parse().map_err(|_| BackfillError::OtherPosition)?);
            numbers.last = position.number;
        }
        let empty = range.is_empty();
        let parts: Parts = match empty {
            true => Box::pin(futures_util::stream::empty()),
            false => Box::pin(log.export(export)),
        };
        Ok(Self {
            hand,
            range,
            sink: None,
            parts: Some(parts),
            numbers,
            rate: None,
            throttled: None,
            checked: None,
            pause: Duration::ZERO,
        })
    }

    /// For one sink.
    #[must_use]
    pub fn to_sink(self, sink: Option<String>) -> Self {
        Self { sink, ..self }
    }

    /// At most a fifth of these read units of the index a second; without, as fast as it goes.
    #[must_use]
    pub fn paced(self, provisioned: Option<u32>) -> Self {
        let rate = provisioned.map(|units| f64::from(units.max(1)) * SHARE);
        Self { rate, ..self }
    }

    /// Not while the index is throttled; looked at before the first page, and then once a minute.
    #[must_use]
    pub fn unless(self, throttled: &'a dyn Throttled) -> Self {
        Self {
            throttled: Some(throttled),
            ..self
        }
    }

    /// Reads a page and hands it over; none at the end. Cost: the page's units (see [`Dynamo::export`]) and an invocation
    /// for each 4 MB.
    ///
    /// A dropped call, as a failed one, may have delivered: go on with another backfill from the last position.
    ///
    /// # Errors
    /// [`BackfillError`].
    pub async fn next(&mut self) -> Result<Option<Step>, BackfillError> {
        let mut parts = self.parts.take().ok_or(BackfillError::Broken)?;
        self.hand.wait(std::mem::take(&mut self.pause)).await?;
        self.check().await?;
        let Some(part) = parts.try_next().await? else {
            self.parts = Some(Box::pin(futures_util::stream::empty()));
            return Ok(None);
        };
        let mut step = Step {
            tally: Tally::default(),
            no_events: part.no_events,
            unreadable: part.unreadable,
            outside: 0,
            units: part.units,
            place: part.day,
            position: Position::new(&self.range, 0, Place::Index(part.position.to_string())),
        };
        let mut records = Vec::with_capacity(part.events.len());
        for event in part.events {
            let row = event.row.unwrap_or_default();
            match self.numbers.record(&row, Some(event.created_at)) {
                Some(record) => records.push(record),
                None => step.unreadable += 1,
            }
        }
        over(self.hand, &self.range, self.sink.as_deref(), &records, &mut step).await?;
        step.position.number = self.numbers.last;
        if let Some(rate) = self.rate {
            self.pause = Duration::try_from_secs_f64(step.units / rate).unwrap_or_default();
        }
        self.parts = Some(parts);
        Ok(Some(step))
    }

    async fn check(&mut self) -> Result<(), BackfillError> {
        let now = self.hand.clock.instant();
        let fresh = |at: Instant| now.saturating_duration_since(at) < CHECKED;
        let Some(throttled) = self.throttled.filter(|_| !self.checked.is_some_and(fresh)) else {
            return Ok(());
        };
        match throttled.throttled().await {
            Ok(false) => {
                self.checked = Some(now);
                Ok(())
            }
            Ok(true) => Err(BackfillError::Throttled),
            Err(error) => Err(BackfillError::Unknown(error)),
        }
    }
}
