//! Attribute values in DynamoDB's JSON (`{"S":"…"}`), as in stream images and items, written straight to canonical
//! event JSON.
//!
//! | attribute | becomes |
//! |---|---|
//! | `S` | string |
//! | `N` | number, by [`plain`](super::number::plain) |
//! | `BOOL`, `NULL` | `true`, `false`, `null` |
//! | `M`, `L` | object with sorted keys, array |
//! | `SS`, `NS`, `BS` | array (Teleport writes none) |
//! | `B` | its base64 text (Teleport writes none) |
//! | `{}` | empty object: DynamoDB Local's streams write an empty `M` so |

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::canonical::{Canonical, Fault};
use super::number;

/// One attribute value, whatever its type; writes it to the canonical buffer.
pub(crate) struct Value<'c>(pub(crate) &'c mut Canonical);

/// The member of a known type of an attribute value, such as the map of `{"M": …}`.
pub(crate) struct Typed<'c> {
    pub(crate) out: &'c mut Canonical,
    pub(crate) tag: Tag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    S,
    N,
    Bool,
    Null,
    M,
    L,
    B,
    Ss,
    Ns,
    Bs,
    Unknown,
}

/// Fails the parse with a fault; serde's own message is never shown, since it may quote contents.
fn fail<E: Error>(out: &mut Canonical, fault: Fault) -> E {
    E::custom(out.fail(fault))
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(tag) = map.next_key_seed(TagSeed)? else {
            self.0.raw("{}");
            return Ok(());
        };
        map.next_value_seed(Typed { out: self.0, tag })?;
        if map.next_key_seed(TagSeed)?.is_some() {
            return Err(fail(self.0, Fault::AttributeType));
        }
        Ok(())
    }
}

/// The type tag of an attribute value.
pub(crate) struct TagSeed;

impl<'de> DeserializeSeed<'de> for TagSeed {
    type Value = Tag;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tag, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for TagSeed {
    type Value = Tag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute type")
    }

    fn visit_str<E: Error>(self, tag: &str) -> Result<Tag, E> {
        Ok(match tag {
            "S" => Tag::S,
            "N" => Tag::N,
            "BOOL" => Tag::Bool,
            "NULL" => Tag::Null,
            "M" => Tag::M,
            "L" => Tag::L,
            "B" => Tag::B,
            "SS" => Tag::Ss,
            "NS" => Tag::Ns,
            "BS" => Tag::Bs,
            _ => Tag::Unknown,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Typed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.tag {
            Tag::S | Tag::N | Tag::B => deserializer.deserialize_str(self),
            Tag::Bool | Tag::Null => deserializer.deserialize_bool(self),
            Tag::M => deserializer.deserialize_map(self),
            Tag::L | Tag::Ss | Tag::Ns | Tag::Bs => deserializer.deserialize_seq(self),
            Tag::Unknown => Err(fail(self.out, Fault::AttributeType)),
        }
    }
}

impl<'de> Visitor<'de> for Typed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of its attribute type")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        // JSON that held it without escapes holds it so again.
        if self.tag == Tag::S {
            self.out.plain_string(text);
            return Ok(());
        }
        self.visit_str(text)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.tag {
            Tag::N => match number::plain(text) {
                Some(number) => self.out.raw(&number),
                None => return Err(fail(self.out, Fault::Number)),
            },
            Tag::B if STANDARD.decode(text).is_err() => return Err(fail(self.out, Fault::Base64)),
            _ => self.out.string(text),
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.out.raw(match (self.tag, value) {
            (Tag::Null, _) => "null",
            (_, true) => "true",
            (_, false) => "false",
        });
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { out, tag } = self;
        out.descend().map_err(A::Error::custom)?;
        out.byte(b'[');
        let mut index = 0;
        loop {
            let before = out.mark();
            if index > 0 {
                out.byte(b',');
            }
            let element = match tag {
                Tag::Ss => seq.next_element_seed(Typed {
                    out: &mut *out,
                    tag: Tag::S,
                }),
                Tag::Ns => seq.next_element_seed(Typed {
                    out: &mut *out,
                    tag: Tag::N,
                }),
                Tag::Bs => seq.next_element_seed(Typed {
                    out: &mut *out,
                    tag: Tag::B,
                }),
                _ => seq.next_element_seed(Value(&mut *out)),
            };
            match element {
                Ok(Some(())) => index += 1,
                Ok(None) => {
                    out.cut(before);
                    break;
                }
                Err(error) => {
                    out.fail_at(&index.to_string());
                    return Err(error);
                }
            }
        }
        out.byte(b']');
        out.ascend();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let out = self.out;
        let open = out.begin_map().map_err(A::Error::custom)?;
        while let Some(key) = map.next_key_seed(Text)? {
            let member = out.key(&key, matches!(key, Cow::Borrowed(_)));
            if let Err(error) = map.next_value_seed(Value(&mut *out)) {
                out.fail_at(&key);
                return Err(error);
            }
            out.end_member(&member);
        }
        out.end_map(&open).map_err(A::Error::custom)
    }
}

/// A string; borrowed if the JSON held it without escapes.
pub(crate) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
