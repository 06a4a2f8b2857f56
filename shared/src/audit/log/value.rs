//! An event's JSON as attribute values, every number as the text it is.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::value::RawValue;

use super::prepare::shown;
use crate::audit::legacy::Members;
use crate::audit::number;
use crate::state::fault::Attributes;

/// Levels of maps and lists that DynamoDB stores in an attribute; `FieldsMap` is the first.
const MAX_DEPTH: usize = 32;
/// Digits that DynamoDB keeps of a number.
const MAX_DIGITS: usize = 38;

/// Why a JSON text is no event that DynamoDB can hold: what and where, never contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    what: &'static str,
    /// Keys and positions, innermost first.
    path: Vec<String>,
}

impl Unfit {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            path: Vec::new(),
        }
    }

    fn at(mut self, name: &str) -> Self {
        self.path.push(shown(name));
        self
    }
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what)?;
        if self.path.is_empty() {
            return Ok(());
        }
        let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        write!(f, " at {}", path.join("."))
    }
}

/// The members of a JSON object.
pub(super) fn object(text: &str) -> Result<Attributes, Unfit> {
    if !text.trim_start().starts_with('{') {
        return Err(Unfit::new("not a JSON object"));
    }
    members(text, 1)
}

fn members(text: &str, depth: usize) -> Result<Attributes, Unfit> {
    let parsed: Members<'_> = serde_json::from_str(text).map_err(|_| Unfit::new("not JSON"))?;
    let mut all = HashMap::with_capacity(parsed.0.len());
    for (key, member) in parsed.0 {
        if key.is_empty() {
            return Err(Unfit::new("an empty key, which DynamoDB does not store"));
        }
        let member = value(member.get(), depth).map_err(|unfit| unfit.at(&key))?;
        if all.contains_key(&*key) {
            return Err(Unfit::new("duplicate key").at(&key));
        }
        all.insert(key.into_owned(), member);
    }
    Ok(all)
}

fn value(text: &str, depth: usize) -> Result<AttributeValue, Unfit> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let deeper = || match depth < MAX_DEPTH {
        true => Ok(depth + 1),
        false => Err(Unfit::new("nested too deeply: DynamoDB stores 32 levels at most")),
    };
    Ok(match text.as_bytes().first() {
        Some(b'{') => AttributeValue::M(members(text, deeper()?)?),
        Some(b'[') => {
            let depth = deeper()?;
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Unfit::new("not JSON"))?;
            let elements = elements.iter().enumerate().map(|(index, element)| {
                value(element.get(), depth).map_err(|unfit| unfit.at(&index.to_string()))
            });
            AttributeValue::L(elements.collect::<Result<_, _>>()?)
        }
        Some(b'"') => AttributeValue::S(
            serde_json::from_str(text).map_err(|_| Unfit::new("a string that is no Unicode text"))?,
        ),
        Some(b't') => AttributeValue::Bool(true),
        Some(b'f') => AttributeValue::Bool(false),
        Some(b'n') => AttributeValue::Null(true),
        _ => AttributeValue::N(stored(text).ok_or_else(|| {
            Unfit::new("a number that DynamoDB does not keep exactly: 38 digits, 1E-130 to 9.99E+125")
        })?),
    })
}

/// A number as DynamoDB keeps it: no exponent, no zeros that say nothing. None if it would not be the same number.
pub(super) fn stored(text: &str) -> Option<String> {
    let plain = number::plain(text)?;
    if plain.contains(['e', 'E']) {
        return None;
    }
    let unsigned = plain.strip_prefix('-').unwrap_or(&plain);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let fraction = fraction.trim_end_matches('0');
    let all = format!("{whole}{fraction}");
    let significant = all.trim_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let leading = fraction.len() - fraction.trim_start_matches('0').len();
    if significant.len() > MAX_DIGITS || whole.len() > 126 || (whole == "0" && leading > 129) {
        return None;
    }
    let sign = if unsigned.len() < plain.len() { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_exactly_or_not_at_all() {
        for (text, expected) in [
            ("1.50", Some("1.5")),
            ("-0", Some("0")),
            ("0.000", Some("0")),
            ("3.0", Some("3")),
            ("-17.20", Some("-17.2")),
            ("2.147483646e+09", Some("2147483646")),
            ("1795170931001234567", Some("1795170931001234567")),
            (
                "99999999999999999999999999999999999999",
                Some("99999999999999999999999999999999999999"),
            ),
            ("999999999999999999999999999999999999999", None),
            ("1e200", None),
            ("NaN", None),
        ] {
            assert_eq!(stored(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_told_by_its_place_only() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(32), "]".repeat(32));
        for (text, expected) in [
            ("[1]", "not a JSON object"),
            ("{\"a\":1,\"a\":\"secret\"}", "duplicate key at a"),
            (
                "{\"a\":{\"\":\"secret\"}}",
                "an empty key, which DynamoDB does not store at a",
            ),
            (
                "{\"a\":[0,{\"b\":1e999}]}",
                "a number that DynamoDB does not keep exactly: 38 digits, 1E-130 to 9.99E+125 at a.1.b",
            ),
            (
                "{\"a\\u001b\\u202e\":1e999}",
                "a number that DynamoDB does not keep exactly: 38 digits, 1E-130 to 9.99E+125 at a\\u{1b}\\u{202e}",
            ),
            ("{\"a\":\"\\ud800\"}", "a string that is no Unicode text at a"),
        ] {
            assert_eq!(object(text).unwrap_err().to_string(), expected);
        }
        let error = object(&deep).unwrap_err().to_string();
        assert!(error.starts_with("nested too deeply"), "{error}");
        let deepest = format!("{{\"a\":{}{}}}", "[".repeat(31), "]".repeat(31));
        assert!(object(&deepest).is_ok());
    }
}
