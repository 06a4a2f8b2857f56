//! Events that are too large for a sink: the event goes to an object, and a pointer to the sink.
//!
//! The object is the canonical event, named by its day and its content: `<yyyy-mm-dd>/<content hash>.json`, so that a
//! repeat finds it there. The pointer is a JSON object: `id`, `type`, `time`, `session`, `size` (bytes of the event),
//! `location`, and `version_id` where the bucket keeps versions.

use serde::Serialize;

use super::filter;
use super::route::Routed;
use crate::objects::{self, Objects, ObjectsError};

#[derive(Serialize)]
struct Pointer<'a> {
    id: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<&'a str>,
    session: &'a str,
    size: usize,
    location: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
}

/// Writes an event to the spill; answers the pointer's line. One PUT, and a HEAD if it is there already.
pub(crate) async fn spill(spill: &Objects, record: &Routed<'_>) -> Result<Vec<u8>, ObjectsError> {
    let body = record.payload;
    let name = format!("{}/{}.json", record.event.day, objects::hash(body));
    let version_id = spill.put_versioned(&name, body.to_vec()).await?;
    let time = filter::text(record.payload, "time");
    let pointer = Pointer {
        id: &record.event.id,
        event_type: record.event.event_type.as_deref(),
        time: time.as_deref(),
        session: &record.event.session_id,
        size: body.len(),
        location: spill.place(&name),
        version_id,
    };
    // Texts and numbers always serialize.
    Ok(serde_json::to_vec(&pointer).unwrap_or_default())
}
