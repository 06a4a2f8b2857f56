//! What a line holds: the event alone, or the event in an envelope.
//!
//! The envelope is a JSON object: `id`, `origin` (`stream`, or where a task has the record from), `range` (`from` and `to`
//! of a backfill), `event_id` (the stream's eventID), `sequence_number`, `created` (the record's creation time, RFC 3339 with milliseconds, where known), `session_id` and `event_index` (the
//! row's keys, exact), `event_type`, and last `event`, as stored. It depends on the record and on who
//! handed it over alone, so what Lambda repeats is the same byte for byte.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::macros::format_description;

use super::handed::{Handed, Range};
use crate::audit::Event;

#[derive(Serialize)]
struct Envelope<'a> {
    id: &'a str,
    origin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<&'a Range<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    sequence_number: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    session_id: &'a str,
    event_index: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    event: Option<&'a RawValue>,
}

/// Appends an event's envelope to `out`.
pub(crate) fn write(
    handed: Option<&Handed<'_>>,
    event: &Event<'_>,
    event_id: Option<&str>,
    sequence_number: &str,
    created: Option<SystemTime>,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let created = created.and_then(|at| OffsetDateTime::from(at).format(&format).ok());
    let envelope = Envelope {
        id: &event.id,
        origin: handed.map_or("stream", |handed| handed.origin.name()),
        range: handed.and_then(|handed| handed.range.as_ref()),
        event_id,
        sequence_number,
        created,
        session_id: &event.session_id,
        event_index: serde_json::from_str(&event.event_index).ok(),
        event_type: event.event_type.as_deref(),
        event: serde_json::from_slice(payload).ok(),
    };
    // A Vec takes all, and the payload is JSON that we wrote.
    let _ = serde_json::to_writer(out, &envelope);
}
