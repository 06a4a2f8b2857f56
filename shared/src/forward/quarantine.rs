//! Records that can never be delivered, kept whole.
//!
//! One object a batch, and one more a batch and sink where a record is refused for that sink alone: a JSON line a
//! record with `kind`, `reason`, `sink` (if one), `event_id`, `sequence_number` and `record`, the raw record.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::objects::{self, Objects, ObjectsError};

/// A line of a quarantine object.
#[derive(Debug, Serialize)]
pub(crate) struct Quarantined<'a> {
    pub(crate) kind: &'a str,
    pub(crate) reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sink: Option<&'a str>,
    pub(crate) event_id: Option<&'a str>,
    pub(crate) sequence_number: Option<&'a str>,
    /// The raw record.
    pub(crate) record: Option<&'a RawValue>,
}

/// The quarantine object of some records, ready to be put: its name and its body.
pub(crate) fn object(entries: &[Quarantined<'_>]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for entry in entries {
        // Texts and raw JSON always serialize, and a Vec takes all.
        let start = body.len();
        let _ = serde_json::to_writer(&mut body, entry);
        // A raw record may stand on several lines; JSON has line ends only between its tokens.
        for byte in body
            .iter_mut()
            .skip(start)
            .filter(|byte| matches!(byte, b'\n' | b'\r'))
        {
            *byte = b' ';
        }
        body.push(b'\n');
    }
    let first = entries
        .iter()
        .find_map(|entry| entry.sequence_number)
        .unwrap_or_default();
    (objects::name(first, &body, "ndjson"), body)
}

/// Writes a quarantine object. One PUT.
pub(crate) async fn put(objects: &Objects, (name, body): &(String, Vec<u8>)) -> Result<(), ObjectsError> {
    objects.put(name, body.clone()).await
}
