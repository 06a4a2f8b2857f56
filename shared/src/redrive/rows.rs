//! Rows of the audit table as stream records that a backfill hands over.
//!
//! A record is an INSERT with the row as `NewImage`. It has no creation time of its own: it gets the event's `CreatedAt`,
//! so that which version of the configuration applies to it follows from the row alone. Its number is made up: it grows
//! from record to record of a backfill, and is the same when a backfill is gone on with.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeSeed;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::canonical::Canonical;
use crate::audit::identify;
use crate::audit::row::RowSeed;
use crate::forward::handed::{self, Handed, Origin};
use crate::forward::{Hand, HandError, Tally};
use crate::objects::ObjectsError;

/// How far a backfill that ends now reaches into what the stream brings: rows that are written meanwhile, and writers whose
/// clocks are behind or ahead.
pub const OVERLAP: Duration = Duration::from_hours(2);

/// 9999-12-31T23:59:59Z: no event is later.
const LAST: u64 = 253_402_300_799;

/// The times, by `CreatedAt`, whose events are brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Seconds since 1970; the first.
    from: u64,
    /// The first that is not.
    to: u64,
}

impl Range {
    /// From a time to another, which is not included; in whole seconds.
    pub fn new(from: SystemTime, to: SystemTime) -> Self {
        let since = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let to = since(to);
        let up = u64::from(to.subsec_nanos() > 0);
        Self {
            from: since(from).as_secs().min(LAST),
            to: to.as_secs().saturating_add(up).min(LAST),
        }
    }

    /// From a time until now, and [`OVERLAP`] more.
    pub fn until_now(from: SystemTime, now: SystemTime) -> Self {
        Self::new(from, now.checked_add(OVERLAP).unwrap_or(now))
    }

    /// All times, as an export has them; an index is walked day by day, for 100 years at most.
    pub fn all() -> Self {
        Self { from: 0, to: LAST }
    }

    /// Whether no time is in it.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    /// The times, the second not included.
    pub fn times(&self) -> (SystemTime, SystemTime) {
        let time = |at| {
            UNIX_EPOCH
                .checked_add(Duration::from_secs(at))
                .unwrap_or(UNIX_EPOCH)
        };
        (time(self.from), time(self.to))
    }

    pub(super) fn holds(&self, created_at: Option<i64>) -> bool {
        // A row without its time is of any.
        created_at.is_none_or(|at| u64::try_from(at).is_ok_and(|at| (self.from..self.to).contains(&at)))
    }

    /// How far a time is from the middle, in seconds.
    #[cfg(feature = "dynamodb")]
    pub(super) fn off_middle(&self, at: i64) -> u64 {
        let middle = self.from.midpoint(self.to);
        middle.abs_diff(u64::try_from(at).unwrap_or_default())
    }

    pub(super) fn handed(&self) -> handed::Range<'static> {
        let text = |at: u64| {
            let at = OffsetDateTime::from_unix_timestamp(at.min(LAST).cast_signed());
            let text = at.ok().and_then(|at| at.format(&Rfc3339).ok());
            text.unwrap_or_default().into()
        };
        handed::Range {
            from: text(self.from),
            to: text(self.to),
        }
    }
}

/// What a backfill has done since the step before.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was acknowledged; in a dry run what would be handed over.
    pub tally: Tally,
    /// Rows that are no events, such as `CHUNK#`.
    pub no_events: usize,
    /// Rows that cannot be read, among those: `forward` puts them into quarantine.
    pub unreadable: usize,
    /// Rows of other times.
    pub outside: usize,
    /// Read capacity units that it took.
    pub units: f64,
    /// What it was in: a day, or a file.
    pub place: String,
    /// Where to go on, in another run.
    pub position: Position,
}

/// Where a backfill came to. Its text is opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    backfill: u32,
    pub(super) from: u64,
    pub(super) to: u64,
    /// The one sink that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sink: Option<String>,
    /// The last number that was made up.
    pub(super) number: u64,
    pub(super) place: Place,
}

/// In what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// The table's index: the text of an export's position.
    Index(String),
    /// An export's data files: which export, how many files are done, and how many lines of the next.
    Export {
        export: String,
        files: usize,
        lines: usize,
    },
}

impl Position {
    pub(super) fn new(range: &Range, sink: Option<&str>, number: u64, place: Place) -> Self {
        Self {
            backfill: 1,
            from: range.from,
            to: range.to,
            sink: sink.map(str::to_owned),
            number,
            place,
        }
    }

    /// The range that the backfill began with.
    pub fn range(&self) -> Range {
        Range {
            from: self.from,
            to: self.to,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Position {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let position: Self = serde_json::from_str(text).map_err(|_| "this is no position of a backfill")?;
        match position.backfill {
            1 => Ok(position),
            _ => Err("this is a position of a later version"),
        }
    }
}

/// Why a backfill ended before its end. It goes on from the last position.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The table.
    #[cfg(feature = "dynamodb")]
    #[error(transparent)]
    Log(#[from] crate::audit::log::LogError),
    /// The place of an export.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// `forward`.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The table's index is throttled, and its owner goes first.
    #[error("the table's index is throttled: try again when it is not")]
    Throttled,
    /// Whether it is throttled is not known.
    #[error("whether the table's index is throttled is not known: {0}")]
    Unknown(String),
    /// A row of the index has not the keys of an audit table.
    #[error("a row of the index has not the keys SessionID and EventIndex: this is no audit table")]
    NoKeys,
    /// The position is of another backfill: of another range, source or sink.
    #[error("the position is of another backfill: of another range, source or sink")]
    OtherPosition,
    /// The last step failed or was dropped, so this value has lost its place.
    #[error("go on with a new one, from the last position")]
    Broken,
    /// An export is not what it must be.
    #[error("{place}: {reason}")]
    Export {
        /// The object.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a row is to a backfill.
pub(super) enum Read {
    Event(Option<i64>),
    NoEvent,
    /// With the time, where that can be read.
    Unreadable(Option<i64>),
}

/// Reads a row in DynamoDB's JSON for what it is.
pub(super) fn read(row: &str, out: &mut Canonical) -> Read {
    out.rewind(0);
    let mut deserializer = serde_json::Deserializer::from_str(row);
    let Ok(row) = RowSeed(out).deserialize(&mut deserializer) else {
        return Read::Unreadable(None);
    };
    if row.is_no_event() {
        return Read::NoEvent;
    }
    let event = row
        .payload
        .as_ref()
        .and_then(|payload| identify(&row, payload, out, None));
    match event {
        Some(_) => Read::Event(row.created_at),
        None => Read::Unreadable(row.created_at),
    }
}

/// The numbers that a backfill makes up.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) last: u64,
}

/// Numbers of one second, before they run into the next.
const A_SECOND: u64 = 1_000_000;

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow, rename = "SessionID")]
    session_id: &'a RawValue,
    #[serde(borrow, rename = "EventIndex")]
    event_index: &'a RawValue,
}

impl Numbers {
    /// The stream record of a row; none if the row has no keys.
    pub(super) fn record(&mut self, row: &str, created_at: Option<i64>) -> Option<String> {
        let keys: Keys<'_> = serde_json::from_str(row).ok()?;
        let created_at = created_at.and_then(|at| u64::try_from(at).ok());
        let created_at = created_at.filter(|at| (1..=LAST).contains(at));
        let second = created_at.unwrap_or_default() * A_SECOND;
        self.last = second.max(self.last + 1);
        let created = created_at.map(|at| format!(r#""ApproximateCreationDateTime":{at},"#));
        Some(format!(
            r#"{{"eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{{{}"Keys":{{"EventIndex":{},"SessionID":{}}},"NewImage":{row},"SequenceNumber":"{}"}}}}"#,
            created.unwrap_or_default(),
            keys.event_index.get(),
            keys.session_id.get(),
            self.last,
        ))
    }
}

/// Hands the records of a step over, or counts them in a dry run.
pub(super) async fn over(
    hand: Hand<'_>,
    range: &Range,
    sink: Option<&str>,
    records: &[String],
    step: &mut Step,
) -> Result<(), BackfillError> {
    let raws: Vec<&str> = records.iter().map(String::as_str).collect();
    if hand.options.dry_run {
        step.tally.records = raws.len();
        step.tally.bytes = raws.iter().map(|raw| raw.len()).sum();
        return Ok(());
    }
    let handed = Handed {
        origin: Origin::Backfill,
        sink: sink.map(Into::into),
        range: Some(range.handed()),
    };
    Ok(hand.over(&handed, &raws, &mut step.tally).await?)
}
