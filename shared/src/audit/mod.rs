//! Audit events: rows of the audit table, decoded exactly.
//!
//! An event is passed on as it is stored: every key and every number, as canonical JSON ([`Decoder`]). What the row
//! knows better than its payload (the exact `EventIndex`, the session key, the id) travels beside it in [`Event`].
//!
//! The table and its rows are Teleport's (`lib/events/dynamoevents`); golden rows that its own SDK wrote pin this.

mod attribute;
pub(crate) mod canonical;
mod event;
#[cfg(feature = "dynamodb")]
mod item;
mod legacy;
#[cfg(feature = "dynamodb")]
pub mod log;
mod number;
pub(crate) mod row;

pub use canonical::Fault;
#[cfg(feature = "dynamodb")]
pub(crate) use event::first_128;
pub use event::{Day, Event};
pub(crate) use event::{identify, same_event};
use serde::de::DeserializeSeed;

use self::canonical::Canonical;
use self::row::{Row, RowSeed};

/// Decodes rows one at a time, in a buffer of its own that is used again.
#[derive(Debug, Default)]
pub struct Decoder(Canonical);

/// Why a row is not decoded. Names the place; never quotes contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row of the audit table: {fault}{}", at(.path))]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// Attribute names and positions that lead there, joined by dots; empty for the row itself.
    pub path: String,
}

fn at(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!(" at {path}")
    }
}

impl Decoder {
    /// Decodes a row in DynamoDB's JSON, as stream images, exports and the AWS CLI's items have it. `None`: the row
    /// is no event (a chunk row, or one without type and payload). The second value is the event as canonical JSON.
    ///
    /// # Errors
    /// [`Malformed`] for what is not a row of the audit table, or a payload that is not of DynamoDB's types.
    pub fn decode<'a>(&mut self, json: &'a str) -> Result<Option<(Event<'a>, &str)>, Malformed> {
        self.0.rewind(0);
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let row = RowSeed(&mut self.0)
            .deserialize(&mut deserializer)
            .and_then(|row| deserializer.end().map(|()| row))
            .map_err(|_| malformed(&mut self.0))?;
        self.finish(row)
    }

    /// Decodes an item as the AWS SDK answers it; otherwise like [`decode`](Self::decode).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    #[cfg(feature = "dynamodb")]
    pub fn decode_item<'a>(
        &mut self,
        item: &'a std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>,
    ) -> Result<Option<(Event<'a>, &str)>, Malformed> {
        self.0.rewind(0);
        let row = item::row(item, &mut self.0).map_err(|_| malformed(&mut self.0))?;
        self.finish(row)
    }

    fn finish<'a>(&mut self, row: Row<'a>) -> Result<Option<(Event<'a>, &str)>, Malformed> {
        if row.is_no_event() {
            return Ok(None);
        }
        let incomplete = Malformed {
            fault: Fault::Shape,
            path: String::new(),
        };
        let payload = row.payload.as_ref().ok_or_else(|| incomplete.clone())?;
        let event = identify(&row, payload, &self.0, None).ok_or(incomplete)?;
        let text = std::str::from_utf8(self.0.get(payload.range.clone())).unwrap_or_default();
        Ok(Some((event, text)))
    }
}

/// The fault that was noted while parsing; one that serde found itself is of the shape.
pub(crate) fn malformed(out: &mut Canonical) -> Malformed {
    let path: Vec<String> = out.fault_path.drain(..).rev().collect();
    Malformed {
        fault: out.fault.take().unwrap_or(Fault::Shape),
        path: path.join("."),
    }
}
