//! Records that can never be delivered, kept whole, before any sink is called.
//!
//! One object a batch, and one more a batch and sink where a record is refused for that sink alone: a JSON line a
//! record with `kind`, `reason`, `sink` (if one), `event_id`, `sequence_number` and `record`, the raw record.

use serde::Serialize;
use serde_json::value::RawValue;

use super::disposition::{Disposition, Judged};
use super::tries::{FIRST_PAUSE, Tries};
use super::{HandleError, OBJECT_TRY};
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

/// Quarantines a batch's poison in one object. Answers the position of the first poison if that failed: nothing from
/// there on may be delivered.
pub(crate) async fn keep(
    objects: &Objects,
    judged: &[Judged<'_>],
    tries: Tries<'_>,
) -> Result<Option<usize>, HandleError> {
    let mut entries = Vec::new();
    let mut first = None;
    for (at, judged) in judged.iter().enumerate() {
        let Disposition::Quarantine(poison) = &judged.disposition else {
            continue;
        };
        first.get_or_insert(at);
        entries.push(Quarantined {
            kind: poison.kind.name(),
            reason: &poison.reason,
            sink: None,
            event_id: judged.event_id.as_deref(),
            sequence_number: judged.sequence_number.as_deref(),
            record: serde_json::from_str::<&RawValue>(poison.raw).ok(),
        });
    }
    let Some(first) = first else { return Ok(None) };
    let object = object(&entries);
    let mut pause = FIRST_PAUSE;
    loop {
        let limit = tries.left().min(OBJECT_TRY);
        let error = match tries.clock.timeout(limit, put(objects, &object)).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::error!(%error, records = entries.len(), "the quarantine cannot be written");
        if tries.left().is_zero() {
            let named = judged
                .get(first)
                .is_some_and(|judged| judged.sequence_number.is_some());
            return if named {
                Ok(Some(first))
            } else {
                Err(HandleError::Unreportable(error))
            };
        }
        tries.pause(&mut pause).await;
    }
    for entry in &entries {
        let Quarantined {
            kind,
            reason,
            event_id,
            sequence_number,
            ..
        } = entry;
        tracing::warn!(event_id, sequence_number, kind, reason, "quarantined");
    }
    Ok(None)
}
