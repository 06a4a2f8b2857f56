//! The `Fields` attribute of rows written before Teleport 8: the event as a JSON text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::canonical::{Canonical, Fault};
use super::number;

/// Writes a JSON object canonically: numbers stay the text they are (serde_json would round them), a number with an
/// exponent by [`plain`](number::plain). A key that stands twice is a fault.
pub(crate) fn write(text: &str, out: &mut Canonical) -> Result<(), Fault> {
    if !text.trim_start().starts_with('{') {
        return Err(out.fail(Fault::Shape));
    }
    value(text, out)
}

fn value(text: &str, out: &mut Canonical) -> Result<(), Fault> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    match text.as_bytes().first() {
        Some(b'{') => object(text, out),
        Some(b'[') => array(text, out),
        Some(b'"') => {
            let text: String = serde_json::from_str(text).map_err(|_| out.fail(Fault::Shape))?;
            out.string(&text);
            Ok(())
        }
        Some(b't' | b'f' | b'n') => {
            out.raw(text);
            Ok(())
        }
        _ => match number::plain(text) {
            Some(number) => {
                out.raw(&number);
                Ok(())
            }
            None => Err(out.fail(Fault::Number)),
        },
    }
}

fn object(text: &str, out: &mut Canonical) -> Result<(), Fault> {
    let members: Members<'_> = serde_json::from_str(text).map_err(|_| out.fail(Fault::Shape))?;
    let open = out.begin_map()?;
    for (key, member) in &members.0 {
        let at = out.key(key, false);
        if let Err(fault) = value(member.get(), out) {
            out.fail_at(key);
            return Err(fault);
        }
        out.end_member(&at);
    }
    out.end_map(&open)
}

fn array(text: &str, out: &mut Canonical) -> Result<(), Fault> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| out.fail(Fault::Shape))?;
    out.descend()?;
    out.byte(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.byte(b',');
        }
        if let Err(fault) = value(element.get(), out) {
            out.fail_at(&index.to_string());
            return Err(fault);
        }
    }
    out.byte(b']');
    out.ascend();
    Ok(())
}

/// Members in the text's order, each value unparsed; duplicates are kept for `end_map` to refuse.
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key_seed(super::attribute::Text)? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
