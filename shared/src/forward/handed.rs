//! Records that a task hands to `forward`, in an envelope around them:
//!
//! ```json
//! {"tidewatch":{"origin":"drain","sink":"archive"},"Records":[…]}
//! ```
//! `Records` are stream records as Lambda delivers them, each with a `SequenceNumber`; those of a backfill are INSERTs
//! with a `NewImage`, and its `range` (`{"from":"2026-11-01T00:00:00Z","to":"…"}`, the end not included) says which events
//! it may bring, however old. With `sink` that sink alone is served, else all are. Such records neither ask for parked ones nor
//! are parked: the answer names the first that is not done, as it does to Lambda, and the task keeps it. What cannot be
//! delivered ever is quarantined and done, except where the records come from the quarantine: there it is reported, so
//! that it stays where it is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::record;

/// Where handed records come from, and for whom they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed<'a> {
    /// Where they come from.
    pub origin: Origin,
    /// The one sink that they are for; none for all.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Cow<'a, str>>,
    /// The range of a backfill.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range<'a>>,
}

/// The times whose events a backfill brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range<'a> {
    /// The first, RFC 3339.
    #[serde(borrow)]
    pub from: Cow<'a, str>,
    /// The end, which is not included; RFC 3339.
    #[serde(borrow)]
    pub to: Cow<'a, str>,
}

/// Where records come from, if not from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A sink's spool.
    Drain,
    /// The quarantine.
    Quarantine,
    /// What Lambda gave up.
    Redrive,
    /// The table, or an export of it.
    Backfill,
}

impl Origin {
    /// Its name, as in the envelope.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Quarantine => "quarantine",
            Self::Redrive => "redrive",
            Self::Backfill => "backfill",
        }
    }
}

/// The `SequenceNumber` of a raw record, where it has one.
pub(crate) fn sequence_number(raw: &str) -> Option<String> {
    record::header(raw).sequence_number.map(Cow::into_owned)
}

/// Most bytes of a payload that is handed over; Lambda takes 6 MB.
pub const MAX_BYTES: usize = 4_000_000;

impl Handed<'_> {
    /// Whether the records waited for the one sink that they are for: what becomes of them was settled before.
    pub(crate) fn was_judged(&self) -> bool {
        match self.origin {
            Origin::Drain => true,
            Origin::Quarantine => self.sink.is_some(),
            Origin::Redrive | Origin::Backfill => false,
        }
    }

    /// A payload of the first of `records`, each one JSON text, as far as they fit into [`MAX_BYTES`], and their
    /// number; at least one, whatever its size.
    pub fn payload<'r>(&self, records: impl IntoIterator<Item = &'r str>) -> (String, usize) {
        // Names always serialize.
        let header = serde_json::to_string(self).unwrap_or_default();
        let mut payload = format!(r#"{{"tidewatch":{header},"Records":["#);
        let mut count = 0;
        for record in records {
            if count > 0 && payload.len() + record.len() + ",]}".len() > MAX_BYTES {
                break;
            }
            if count > 0 {
                payload.push(',');
            }
            payload.push_str(record);
            count += 1;
        }
        payload.push_str("]}");
        (payload, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_hold_what_fits_and_at_least_one() {
        let handed = Handed {
            origin: Origin::Drain,
            sink: Some("a\"b".into()),
            range: None,
        };
        assert_eq!(
            handed.payload(["{}", "1"]),
            (
                r#"{"tidewatch":{"origin":"drain","sink":"a\"b"},"Records":[{},1]}"#.to_owned(),
                2
            )
        );
        let large = format!("\"{}\"", "x".repeat(MAX_BYTES / 2 - 100));
        let (payload, count) = handed.payload([large.as_str(); 3]);
        assert!(count == 2 && payload.len() <= MAX_BYTES, "{count}");
        let huge = "x".repeat(MAX_BYTES);
        assert_eq!(handed.payload([huge.as_str(), "1"]).1, 1);
    }
}
