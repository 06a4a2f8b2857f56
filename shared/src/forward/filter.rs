//! Whether an event passes a sink's filter. Nothing of it is built anew: each condition looks for its value in the
//! canonical payload.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::{FilterConfig, Pattern, RuleConfig};

/// Whether the event of this type, with this canonical payload, passes.
pub(crate) fn passes(filter: &FilterConfig, event_type: Option<&str>, payload: &[u8]) -> bool {
    let matched = |rules: &[RuleConfig]| rules.iter().any(|rule| matches(rule, event_type, payload));
    (filter.allow.is_empty() || matched(&filter.allow)) && !matched(&filter.deny)
}

fn matches(rule: &RuleConfig, event_type: Option<&str>, payload: &[u8]) -> bool {
    let one_of = |patterns: &[Pattern], text: Option<&str>| {
        text.is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text)))
    };
    let is = |name: &str, patterns: &[Pattern]| {
        patterns.is_empty() || one_of(patterns, text(payload, name).as_deref())
    };
    (rule.types.is_empty() || one_of(&rule.types, event_type))
        && is("code", &rule.codes)
        && is("user", &rule.users)
        && rule.labels.iter().all(|(name, patterns)| is(name, patterns))
}

/// The text at a dotted name: a string's contents, a number or boolean as it is written; none for anything else.
pub(crate) fn text<'a>(json: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    let value = find(json, name)?;
    match value.as_bytes().first()? {
        b'"' => match value.strip_prefix('"')?.strip_suffix('"')? {
            plain if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
            _ => serde_json::from_str(value).ok().map(Cow::Owned),
        },
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(value)),
    }
}

/// The value at a dotted name. A key may have dots itself, such as `addr.remote`; of several readings the first in the
/// order of keys counts.
fn find<'a>(json: &'a [u8], name: &str) -> Option<&'a str> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Find(name).deserialize(&mut deserializer).ok()?
}

struct Find<'n>(&'n str);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Key(key)) = map.next_key()? {
            let rest = self.0.strip_prefix(&*key).filter(|_| found.is_none());
            match rest.map(|rest| (rest, rest.strip_prefix('.'))) {
                Some(("", _)) => found = Some(map.next_value::<&RawValue>()?.get()),
                Some((_, Some(rest))) => {
                    found = map
                        .next_value::<&RawValue>()
                        .map(|inner| find(inner.get().as_bytes(), rest))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn values_are_found_by_dotted_names() {
        let json = r#"{"a":{"b":"x","b.c":"dotted","d":{"e":7}},"a.f":"\"q\"","g":true,"h":null,"i":[1],"j":"","a\"":1}"#;
        for (name, found) in [
            ("a.b", Some("x")),
            ("a.b.c", Some("dotted")),
            ("a.d.e", Some("7")),
            ("a.f", Some("\"q\"")),
            ("g", Some("true")),
            ("j", Some("")),
            ("a\"", Some("1")),
            ("a", None),
            ("a.d", None),
            ("h", None),
            ("i", None),
            ("b", None),
            ("a.b.", None),
            ("g.x", None),
            ("", None),
        ] {
            assert_eq!(text(json.as_bytes(), name).as_deref(), found, "{name}");
        }
    }
}
