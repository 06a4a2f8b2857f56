//! A staged line as a row of the table.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, OffsetDateTime, UtcOffset};
use uuid::Uuid;

/// A row. Its day follows from the event alone, so repeats are looked for where the first is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The id as 128 bits.
    pub(super) key: u128,
    pub(super) day: Date,
    pub(super) event_type: String,
    /// Milliseconds since 1970.
    pub(super) event_time: i64,
    pub(super) uid: String,
    pub(super) session_id: String,
    pub(super) user: String,
    pub(super) event_data: String,
    /// The event's own uid would have stopped Teleport's reader.
    pub(super) uid_made: bool,
}

/// Why a line is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Longer than [`LONGEST_LINE`].
    Oversize,
    /// No envelope with an id and an event.
    Unreadable,
    /// The event names no type.
    NoType,
    /// The event has no RFC 3339 time: Teleport cannot read it, and its day would not follow from it.
    NoTime,
    /// The day is not one that an event which arrived then can have.
    Date,
}

impl Fault {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Oversize => "oversize",
            Self::Unreadable => "unreadable",
            Self::NoType => "no_type",
            Self::NoTime => "no_time",
            Self::Date => "date",
        }
    }
}

/// Longest line in bytes. Teleport's own interfaces pass on 4 MiB.
pub(super) const LONGEST_LINE: usize = 4 << 20;

/// Days before and after its arrival that an event may be of.
const PAST: Duration = Duration::days(400);
const FUTURE: Duration = Duration::days(1);

/// Where ids of ours are made from, by UUIDv5.
const NAMESPACE: Uuid = Uuid::from_u128(0x8b0a_6d3e_51f7_4c0b_9d57_2f6c_41e8_a903);

/// The member of `event_data` that holds the uid as it was.
pub(super) const ORIGINAL_UID: &str = "tidewatch_uid";

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    created: Option<Cow<'a, str>>,
    #[serde(borrow)]
    range: Option<Range<'a>>,
    #[serde(borrow)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event: &'a RawValue,
}

/// What a backfill was asked for.
#[derive(Deserialize)]
struct Range<'a> {
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: Cow<'a, str>,
}

impl Range<'_> {
    fn holds(&self, at: OffsetDateTime) -> bool {
        match (instant(&self.from), instant(&self.to)) {
            (Some(from), Some(to)) => (from..to).contains(&at),
            _ => false,
        }
    }
}

#[derive(Deserialize)]
struct Facts<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    uid: Option<&'a RawValue>,
    #[serde(borrow)]
    sid: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
}

/// The text that a value is, if it is one.
fn text(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}

fn instant(text: &str) -> Option<OffsetDateTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    at.checked_to_offset(UtcOffset::UTC)
}

/// Reads a line. `planned` is when the line arrived, if it does not say so itself.
pub(super) fn read(line: &[u8], planned: OffsetDateTime) -> Result<Row, Fault> {
    if line.len() > LONGEST_LINE {
        return Err(Fault::Oversize);
    }
    let line = std::str::from_utf8(line).map_err(|_| Fault::Unreadable)?;
    let envelope: Envelope<'_> = object(line).ok_or(Fault::Unreadable)?;
    let facts: Facts<'_> = object(envelope.event.get()).ok_or(Fault::Unreadable)?;
    let event_type = text(facts.event)
        .or_else(|| envelope.event_type.map(Cow::into_owned))
        .filter(|name| !name.is_empty())
        .ok_or(Fault::NoType)?;
    let at = text(facts.time)
        .and_then(|at| instant(&at))
        .ok_or(Fault::NoTime)?;
    let event_time = at.unix_timestamp_nanos().div_euclid(1_000_000);
    let event_time = i64::try_from(event_time).map_err(|_| Fault::Date)?;
    let arrived = envelope.created.and_then(|at| instant(&at)).unwrap_or(planned);
    let first = arrived.date().checked_sub(PAST).unwrap_or(Date::MIN);
    let last = arrived.date().checked_add(FUTURE).unwrap_or(Date::MAX);
    let due = (first..=last).contains(&at.date()) || envelope.range.is_some_and(|range| range.holds(at));
    if !due || !(0..=9999).contains(&at.year()) {
        return Err(Fault::Date);
    }
    let uid = text(facts.uid);
    let good = uid.as_ref().filter(|uid| is_uuid(uid));
    let (uid, event_data, uid_made) = match good {
        Some(uid) => (uid.clone(), envelope.event.get().to_owned(), false),
        None => {
            let made = Uuid::new_v5(&NAMESPACE, envelope.id.as_bytes()).to_string();
            let data = with_uid(envelope.event, &made).ok_or(Fault::Unreadable)?;
            (made, data, true)
        }
    };
    Ok(Row {
        key: key(&envelope.id),
        day: at.date(),
        event_type,
        event_time,
        uid,
        session_id: text(facts.sid).unwrap_or_default(),
        user: text(facts.user).unwrap_or_default(),
        event_data,
        uid_made,
    })
}

/// An object; serde would take a list for a struct too.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if !json.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// As Teleport writes them, and gets them back from its paging.
fn is_uuid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|uuid| uuid.to_string() == text)
}

/// The event with another `uid`, the old one beside it. Keys stay in order.
fn with_uid(event: &RawValue, uid: &str) -> Option<String> {
    let mut members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(event.get()).ok()?;
    let made = serde_json::value::to_raw_value(uid).ok()?;
    if let Some(original) = members.insert(Cow::Borrowed("uid"), &made) {
        let mut name = ORIGINAL_UID.to_owned();
        while members.contains_key(name.as_str()) {
            name.push('_');
        }
        members.insert(Cow::Owned(name), original);
    }
    serde_json::to_string(&members).ok()
}

/// The first 128 bits of the id's SHA-256.
fn key(id: &str) -> u128 {
    Sha256::digest(id.as_bytes())
        .iter()
        .take(16)
        .fold(0, |number, byte| (number << 8) | u128::from(*byte))
}
