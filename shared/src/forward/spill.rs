//! Events that are too large for a sink: the event goes to an object, and a pointer to the sink.
//!
//! The object is the canonical event, named by its day and its content: `<yyyy-mm-dd>/<content hash>.json`, so that a
//! repeat finds it there. The pointer is a JSON object: `id`, `type`, `time`, `session` (each as far as 256 bytes; of a
//! longer id the hash stays), `size` (bytes of the event),
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

/// Shows that objects can be written, and that one that is there can be looked at, as a repeat needs it. Two PUTs and a
/// HEAD.
pub(crate) async fn probe(spill: &Objects) -> Result<(), ObjectsError> {
    spill.put_versioned("probe", Vec::new()).await?;
    spill.put_versioned("probe", Vec::new()).await.map(drop)
}

/// The longest of the event's own texts that a pointer carries: it must fit where the event does not.
const TEXT: usize = 256;

/// The beginning of a text, as far as a pointer carries it.
fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT)).unwrap_or_default()
}

/// Writes an event to the spill; answers the pointer's line, of less than 3 KB unless the place's name is long. One PUT, and a HEAD if it is there already.
pub(crate) async fn spill(spill: &Objects, record: &Routed<'_>) -> Result<Vec<u8>, ObjectsError> {
    let body = record.payload;
    let name = format!("{}/{}.json", record.event.day, objects::hash(body));
    let version_id = spill.put_versioned(&name, body.to_vec()).await?;
    let time = filter::text(record.payload, "time");
    let id = match record.event.id.len() {
        ..=TEXT => record.event.id.clone(),
        // Its end is the hash of the event, which no other one has.
        _ => format!("{}:{:032x}", short(&record.event.id), record.event.key),
    };
    let pointer = Pointer {
        id: &id,
        event_type: record.event.event_type.as_deref().map(short),
        time: time.as_deref().map(short),
        session: short(&record.event.session_id),
        size: body.len(),
        location: spill.place(&name),
        version_id,
    };
    // Texts and numbers always serialize.
    Ok(serde_json::to_vec(&pointer).unwrap_or_default())
}
