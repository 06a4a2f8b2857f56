//! Items for people and machines.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidewatch::state::{Entry, Item};

use crate::cli::{FAINT, HEAD, paint, stamp};

/// An item on a few lines, its value only if it is to be revealed.
pub(super) fn item(item: &Item, now: SystemTime, reveal: bool) -> String {
    let value = if reveal {
        text(&item.value)
    } else {
        paint(
            FAINT,
            format!("({} bytes, hidden; --reveal shows them)", item.value.len()),
        )
    };
    format!(
        "{}\n  revision  {}\n  expires   {}\n  value     {value}\n",
        paint(HEAD, &item.key),
        item.revision,
        expires(item.expires, now),
    )
}

/// A value as text if it is text, or else in base64.
pub(super) fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) => text.to_owned(),
        _ => format!("base64:{}", STANDARD.encode(value)),
    }
}

pub(super) fn expires(at: Option<SystemTime>, now: SystemTime) -> String {
    let Some(at) = at else { return "never".to_owned() };
    let stamp = stamp(at);
    match at.duration_since(now) {
        Ok(left) => format!(
            "{stamp}, in {}",
            humantime::format_duration(Duration::from_secs(left.as_secs()))
        ),
        Err(_) => format!("{stamp}, now"),
    }
}

pub(super) fn item_json(item: &Item, reveal: bool) -> Value {
    let mut json = json!({
        "key": item.key.to_string(),
        "revision": item.revision.as_str(),
        "expires": seconds(item.expires),
        "bytes": item.value.len(),
    });
    if let (true, Value::Object(members)) = (reveal, &mut json) {
        members.insert("value".to_owned(), STANDARD.encode(&item.value).into());
    }
    json
}

pub(super) fn entry_json(entry: &Entry) -> Value {
    json!({
        "key": entry.key.to_string(),
        "revision": entry.revision.as_str(),
        "expires": seconds(entry.expires),
    })
}

pub(super) fn seconds(at: Option<SystemTime>) -> Option<u64> {
    at?.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}
