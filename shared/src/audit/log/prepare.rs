//! An event made ready to be stored: its envelope filled, its key and index found.

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::value::{self, Unfit};
use crate::audit::canonical::Canonical;
use crate::audit::item;
use crate::audit::row::CHUNK;
use crate::clock::Clock;
use crate::random::Random;
use crate::state::fault::Attributes;

/// Types that need no code and get no uid.
const BARE: [&str; 2] = ["print", "desktop.recording"];
/// Go's time that was never set.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// Bytes that DynamoDB allows in a partition key.
const MAX_KEY: usize = 2048;

/// An event ready to be stored by every backend alike.
pub(super) struct Prepared {
    /// Empty for a type that has none.
    pub(super) uid: String,
    pub(super) event_type: String,
    pub(super) session_id: String,
    pub(super) event_index: String,
    pub(super) created_at: i64,
    /// `yyyy-mm-dd`, UTC.
    pub(super) date: String,
    pub(super) fields: Attributes,
}

impl Prepared {
    /// Fills the envelope as Teleport does: `ei` 0, `time` now in milliseconds, and a `uid`: one made from the event
    /// itself if that has a time, so that the same event is known when it comes again, and else a random one.
    pub(super) fn new(json: &str, clock: &Clock, random: &Random) -> Result<Self, String> {
        let mut fields = value::object(json).map_err(|unfit: Unfit| unfit.to_string())?;
        let event_type = text(&fields, "event").unwrap_or_default().to_owned();
        if event_type.is_empty() {
            return Err("missing mandatory event type field".to_owned());
        }
        let bare = BARE.contains(&event_type.as_str());
        if !bare && text(&fields, "code").unwrap_or_default().is_empty() {
            return Err(format!(
                "missing mandatory event code field in an event of type {}",
                shown(&event_type)
            ));
        }
        let wrong = |what: &str| format!("an event of type {}: {what}", shown(&event_type));
        let event_index = match fields.get("ei") {
            None | Some(AttributeValue::Null(_)) => {
                fields.insert("ei".to_owned(), AttributeValue::N("0".to_owned()));
                "0".to_owned()
            }
            Some(AttributeValue::N(number)) if number.parse::<i64>().is_ok() => number.clone(),
            Some(_) => return Err(wrong("its ei is no whole number of 64 bits")),
        };
        let timed = match fields.get("time") {
            None | Some(AttributeValue::Null(_)) => false,
            Some(AttributeValue::S(time)) => !time.is_empty() && time != ZERO_TIME,
            Some(_) => return Err(wrong("its time is no text")),
        };
        // Before the time is filled in, which would be another one next time.
        let own = timed.then(|| digest(&fields));
        if !timed {
            fields.insert("time".to_owned(), AttributeValue::S(now(clock)));
        }
        let at = OffsetDateTime::parse(text(&fields, "time").unwrap_or_default(), &Rfc3339)
            .ok()
            .and_then(|at| at.checked_to_offset(UtcOffset::UTC))
            .filter(|at| (0..=9999).contains(&at.year()))
            .ok_or_else(|| wrong("its time is not in the form of RFC 3339"))?;
        let id = || match &own {
            Some(digest) => uuid_of(digest),
            None => random.uuid().to_string(),
        };
        match fields.get("uid") {
            None | Some(AttributeValue::Null(_)) if !bare => {
                fields.insert("uid".to_owned(), AttributeValue::S(id()));
            }
            Some(AttributeValue::S(uid)) if uid.is_empty() && !bare => {
                fields.insert("uid".to_owned(), AttributeValue::S(id()));
            }
            None | Some(AttributeValue::Null(_) | AttributeValue::S(_)) => {}
            Some(_) => return Err(wrong("its uid is no text")),
        }
        let uid = text(&fields, "uid").unwrap_or_default().to_owned();
        let session_id = match (text(&fields, "sid").unwrap_or_default(), uid.as_str()) {
            ("", "") => uuid_of(&digest(&fields)),
            ("", uid) => uid.to_owned(),
            (sid, _) => sid.to_owned(),
        };
        if session_id.len() > MAX_KEY {
            return Err(wrong("its sid or uid is longer than a key of DynamoDB"));
        }
        if session_id.starts_with(CHUNK) {
            return Err(wrong(
                "its sid or uid begins with CHUNK#, as only bookkeeping rows do, which no search shows",
            ));
        }
        let date = at.date();
        Ok(Self {
            uid,
            event_type,
            session_id,
            event_index,
            created_at: at.unix_timestamp(),
            date: date.to_string(),
            fields,
        })
    }

    /// The event as canonical JSON.
    pub(super) fn line(&self) -> Vec<u8> {
        canonical(&self.fields)
    }
}

/// A type or a key as an error may tell it: it should be a word, but might be anything.
pub(super) fn shown(event_type: &str) -> String {
    event_type.chars().take(64).flat_map(char::escape_debug).collect()
}

fn text<'a>(fields: &'a Attributes, key: &str) -> Option<&'a str> {
    fields.get(key)?.as_s().ok().map(String::as_str)
}

/// The canonical JSON of a `FieldsMap`.
pub(super) fn canonical(fields: &Attributes) -> Vec<u8> {
    let mut out = Canonical::with_capacity(1024);
    // What was built here is within every bound of it.
    let _ = item::map(fields, &mut out);
    out.get(0..out.mark()).to_vec()
}

fn digest(fields: &Attributes) -> [u8; 32] {
    Sha256::digest(canonical(fields)).into()
}

fn uuid_of(digest: &[u8; 32]) -> String {
    let (bytes, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
    uuid::Builder::from_random_bytes(*bytes).into_uuid().to_string()
}

/// Now, in milliseconds, in Go's form: without zeros at the end.
fn now(clock: &Clock) -> String {
    let since = clock
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let nanos = since.as_millis().saturating_mul(1_000_000);
    i128::try_from(nanos)
        .ok()
        .and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok())
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}
