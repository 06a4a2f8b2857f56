//! A row of the audit table, read from a stream image or a table item in DynamoDB's JSON.
//!
//! Attributes by the table's contract: `SessionID` (S), `EventIndex` (N), `EventType` (S), `CreatedAt` (N, unix
//! seconds), `FieldsMap` (M) and, before Teleport 8, `Fields` (S, the event as JSON). Others are not looked at.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::attribute::{Tag, TagSeed, Text, Typed};
use super::canonical::{Canonical, Facts, Fault};
use super::{legacy, number};

/// Session id prefix of the bookkeeping rows of Teleport's proposed bulk export; they are no events.
pub(crate) const CHUNK: &str = "CHUNK#";

/// A row; its payload stands in the canonical buffer that it was read with.
#[derive(Debug, Default)]
pub(crate) struct Row<'a> {
    pub(crate) session_id: Option<Cow<'a, str>>,
    /// Exact: the number inside the payload may be rounded.
    pub(crate) event_index: Option<Cow<'a, str>>,
    pub(crate) event_type: Option<Cow<'a, str>>,
    pub(crate) created_at: Option<i64>,
    pub(crate) payload: Option<Payload>,
}

#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) range: Range<usize>,
    pub(crate) facts: Facts,
    /// Read from `Fields`.
    pub(crate) legacy: bool,
}

impl Row<'_> {
    /// A chunk row of the bulk export, or a row with nothing of an event.
    pub(crate) fn is_no_event(&self) -> bool {
        self.session_id.as_deref().is_some_and(|id| id.starts_with(CHUNK))
            || (self.event_type.is_none() && self.payload.is_none())
    }
}

/// Reads an image or item; its payload goes to the canonical buffer.
pub(crate) struct RowSeed<'c>(pub(crate) &'c mut Canonical);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of the audit table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
        let out = self.0;
        let mut row = Row::default();
        let mut fields = None;
        while let Some(name) = map.next_key_seed(Text)? {
            let read = match &*name {
                "SessionID" => map
                    .next_value_seed(Scalar {
                        out: &mut *out,
                        tag: Tag::S,
                    })
                    .map(|value| row.session_id = Some(value)),
                "EventIndex" => map
                    .next_value_seed(Scalar {
                        out: &mut *out,
                        tag: Tag::N,
                    })
                    .map(|value| row.event_index = Some(value)),
                "EventType" => map
                    .next_value_seed(Scalar {
                        out: &mut *out,
                        tag: Tag::S,
                    })
                    .map(|value| row.event_type = Some(value)),
                "CreatedAt" => map
                    .next_value_seed(Scalar {
                        out: &mut *out,
                        tag: Tag::N,
                    })
                    .map(|value| row.created_at = value.parse().ok()),
                "Fields" => map
                    .next_value_seed(Scalar {
                        out: &mut *out,
                        tag: Tag::S,
                    })
                    .map(|value| fields = Some(value)),
                "FieldsMap" => map
                    .next_value_seed(Map(&mut *out))
                    .map(|payload| row.payload = Some(payload)),
                _ => map.next_value::<IgnoredAny>().map(drop),
            };
            if let Err(error) = read {
                out.fail_at(&name);
                return Err(error);
            }
        }
        if let (None, Some(fields)) = (&row.payload, fields) {
            let start = out.mark();
            if let Err(fault) = legacy::write(&fields, out) {
                out.fail_at("Fields");
                return Err(A::Error::custom(fault));
            }
            row.payload = Some(Payload {
                range: start..out.mark(),
                facts: std::mem::take(&mut out.facts),
                legacy: true,
            });
        }
        Ok(row)
    }
}

/// The text of an attribute that must be a string or a number.
pub(crate) struct Scalar<'c> {
    pub(crate) out: &'c mut Canonical,
    pub(crate) tag: Tag,
}

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Scalar<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or number attribute")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        if map.next_key_seed(TagSeed)? != Some(self.tag) {
            return Err(A::Error::custom(self.out.fail(Fault::AttributeType)));
        }
        let text = map.next_value_seed(Text)?;
        if map.next_key_seed(TagSeed)?.is_some() {
            return Err(A::Error::custom(self.out.fail(Fault::AttributeType)));
        }
        if self.tag == Tag::S {
            return Ok(text);
        }
        match number::plain(&text) {
            Some(Cow::Borrowed(_)) => Ok(text),
            Some(Cow::Owned(number)) => Ok(Cow::Owned(number)),
            None => Err(A::Error::custom(self.out.fail(Fault::Number))),
        }
    }
}

/// `FieldsMap`: an `M`, written to the canonical buffer.
struct Map<'c>(&'c mut Canonical);

impl<'de> DeserializeSeed<'de> for Map<'_> {
    type Value = Payload;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Payload, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Map<'_> {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map attribute")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
        let out = self.0;
        let start = out.mark();
        match map.next_key_seed(TagSeed)? {
            Some(Tag::M) => {
                map.next_value_seed(Typed {
                    out: &mut *out,
                    tag: Tag::M,
                })?;
                if map.next_key_seed(TagSeed)?.is_some() {
                    return Err(A::Error::custom(out.fail(Fault::AttributeType)));
                }
            }
            None => {
                out.facts = Facts::default();
                out.raw("{}");
            }
            Some(_) => return Err(A::Error::custom(out.fail(Fault::AttributeType))),
        }
        Ok(Payload {
            range: start..out.mark(),
            facts: std::mem::take(&mut out.facts),
            legacy: false,
        })
    }
}
