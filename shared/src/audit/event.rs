//! What identifies an event, computed from its row alone, so that it is the same from stream, query and export.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, UtcOffset};

use super::canonical::Canonical;
use super::row::{Payload, Row};

/// An audit event of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// `<uid>:<hash>`, or `<SessionID>/<EventIndex>:<hash>` for an event without a uid; the hash is the first 128
    /// bits of the SHA-256 of the canonical payload, in hex. The same event has the same id wherever it is read;
    /// two events that differ in anything have different ids.
    pub id: String,
    /// The id as 128 bits, for remembering many.
    pub key: u128,
    /// The row's partition key. Events of one session are in order, others are not.
    pub session_id: Cow<'a, str>,
    /// The row's sort key, exact.
    pub event_index: Cow<'a, str>,
    /// `EventType`, or the payload's `event` where the row has none. Unknown types pass.
    pub event_type: Option<Cow<'a, str>>,
    /// Day of the event in UTC.
    pub day: Day,
}

/// The UTC day of an event: of its `time`, else of the row's `CreatedAt`, else of the record's creation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Option<Date>);

impl Day {
    /// A known day, or `undated`.
    pub fn new(date: Option<Date>) -> Self {
        Self(date)
    }

    /// The date, if there is one.
    pub fn date(self) -> Option<Date> {
        self.0
    }
}

/// `yyyy-mm-dd`, or `undated`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(date) => date.fmt(f),
            None => f.write_str("undated"),
        }
    }
}

/// Makes the event of a row that has both keys and a payload.
pub(crate) fn identify<'a>(
    row: &Row<'a>,
    payload: &Payload,
    out: &Canonical,
    created: Option<SystemTime>,
) -> Option<Event<'a>> {
    let session_id = row.session_id.clone().filter(|id| !id.is_empty())?;
    let event_index = row.event_index.clone()?;
    let hash = first_128(Sha256::digest(out.get(payload.range.clone())).as_slice());
    let (id, key) = match string(out, payload.facts.uid.clone()) {
        // The payload holds the uid, so its hash alone tells ids apart.
        Some(uid) if !uid.is_empty() => (format!("{uid}:{hash:032x}"), hash),
        _ => {
            let id = format!("{session_id}/{event_index}:{hash:032x}");
            let key = first_128(Sha256::digest(&id).as_slice());
            (id, key)
        }
    };
    let event_type = match &row.event_type {
        Some(event_type) => Some(event_type.clone()),
        None => string(out, payload.facts.event.clone()).map(|text| Cow::Owned(text.into_owned())),
    };
    let day = string(out, payload.facts.time.clone())
        .and_then(|time| day_of(&time))
        .or_else(|| {
            row.created_at
                .and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok())
                .and_then(in_years)
        })
        .or_else(|| {
            created
                .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
                .and_then(|since| {
                    OffsetDateTime::from_unix_timestamp(i64::try_from(since.as_secs()).ok()?).ok()
                })
                .and_then(in_years)
        });
    Some(Event {
        key,
        id,
        session_id,
        event_index,
        event_type,
        day: Day(day),
    })
}

fn first_128(digest: &[u8]) -> u128 {
    digest
        .iter()
        .take(16)
        .fold(0, |number, byte| (number << 8) | u128::from(*byte))
}

/// A legacy copy of an event counts as the same if uid, time and code are.
pub(crate) fn same_event(out: &Canonical, a: &Payload, b: &Payload) -> bool {
    let same = |a: std::ops::Range<usize>, b| !a.is_empty() && out.get(a) == out.get(b);
    same(a.facts.uid.clone(), b.facts.uid.clone())
        && same(a.facts.time.clone(), b.facts.time.clone())
        && same(a.facts.code.clone(), b.facts.code.clone())
}

/// The string that a range of canonical JSON holds, if it is one.
pub(crate) fn string(out: &Canonical, range: std::ops::Range<usize>) -> Option<Cow<'_, str>> {
    let inner = out.get(range.clone()).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice(out.get(range)).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// The UTC day of an RFC 3339 time.
fn day_of(time: &str) -> Option<Date> {
    let at = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    at.checked_to_offset(UtcOffset::UTC).and_then(in_years)
}

/// Days that a four-digit year names; others are as good as none.
fn in_years(at: OffsetDateTime) -> Option<Date> {
    (0..=9999).contains(&at.year()).then(|| at.date())
}
