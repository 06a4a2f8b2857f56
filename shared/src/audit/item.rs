//! Rows as the AWS SDK answers them: the same canonical JSON as from a stream image.

use std::borrow::Cow;
use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::canonical::{Canonical, Fault};
use super::row::{Payload, Row};
use super::{legacy, number};

/// Reads a row; the payload goes to the canonical buffer.
pub(crate) fn row<'a>(
    item: &'a HashMap<String, AttributeValue>,
    out: &mut Canonical,
) -> Result<Row<'a>, Fault> {
    let mut row = Row {
        session_id: text(item, "SessionID", out)?,
        event_index: number_text(item, "EventIndex", out)?,
        event_type: text(item, "EventType", out)?,
        created_at: number_text(item, "CreatedAt", out)?.and_then(|at| at.parse().ok()),
        payload: None,
    };
    let start = out.mark();
    let legacy = match item.get("FieldsMap") {
        Some(AttributeValue::M(members)) => {
            map(members, out).inspect_err(|_| out.fail_at("FieldsMap"))?;
            false
        }
        Some(_) => return Err(wrong_type("FieldsMap", out)),
        None => match text(item, "Fields", out)? {
            Some(fields) => {
                legacy::write(&fields, out).inspect_err(|_| out.fail_at("Fields"))?;
                true
            }
            None => return Ok(row),
        },
    };
    row.payload = Some(Payload {
        range: start..out.mark(),
        facts: std::mem::take(&mut out.facts),
        legacy,
    });
    Ok(row)
}

/// An item in DynamoDB's JSON, its attributes in the order of their names.
pub(crate) fn json(item: &HashMap<String, AttributeValue>) -> String {
    members(item).to_string()
}

fn members(item: &HashMap<String, AttributeValue>) -> Value {
    let members = item.iter().map(|(name, value)| (name.clone(), attribute(value)));
    Value::Object(members.collect())
}

fn attribute(value: &AttributeValue) -> Value {
    let binary = |bytes: &aws_sdk_dynamodb::primitives::Blob| STANDARD.encode(bytes);
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        // A text here as well: no number goes through a float.
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Bool(flag) => json!({"BOOL": flag}),
        AttributeValue::Null(flag) => json!({"NULL": flag}),
        AttributeValue::M(map) => json!({"M": members(map)}),
        AttributeValue::L(list) => json!({"L": list.iter().map(attribute).collect::<Vec<_>>()}),
        AttributeValue::B(bytes) => json!({"B": binary(bytes)}),
        AttributeValue::Ss(set) => json!({"SS": set}),
        AttributeValue::Ns(set) => json!({"NS": set}),
        AttributeValue::Bs(set) => json!({"BS": set.iter().map(binary).collect::<Vec<_>>()}),
        // A type that the SDK does not know yet: no reader takes it, and says so.
        _ => json!({}),
    }
}

fn wrong_type(name: &str, out: &mut Canonical) -> Fault {
    out.fail_at(name);
    out.fail(Fault::AttributeType)
}

fn text<'a>(
    item: &'a HashMap<String, AttributeValue>,
    name: &str,
    out: &mut Canonical,
) -> Result<Option<Cow<'a, str>>, Fault> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(Some(Cow::Borrowed(text))),
        Some(_) => Err(wrong_type(name, out)),
        None => Ok(None),
    }
}

fn number_text<'a>(
    item: &'a HashMap<String, AttributeValue>,
    name: &str,
    out: &mut Canonical,
) -> Result<Option<Cow<'a, str>>, Fault> {
    match item.get(name) {
        Some(AttributeValue::N(text)) => number::plain(text).map(Some).ok_or_else(|| {
            out.fail_at(name);
            out.fail(Fault::Number)
        }),
        Some(_) => Err(wrong_type(name, out)),
        None => Ok(None),
    }
}

fn value(attribute: &AttributeValue, out: &mut Canonical) -> Result<(), Fault> {
    match attribute {
        AttributeValue::S(text) => out.string(text),
        AttributeValue::N(text) => write_number(text, out)?,
        AttributeValue::Bool(value) => out.raw(if *value { "true" } else { "false" }),
        AttributeValue::Null(_) => out.raw("null"),
        AttributeValue::M(members) => map(members, out)?,
        AttributeValue::L(elements) => list(elements, out, value)?,
        AttributeValue::Ss(elements) => list(elements, out, |text, out| {
            out.string(text);
            Ok(())
        })?,
        AttributeValue::Ns(elements) => list(elements, out, |text, out| write_number(text, out))?,
        AttributeValue::B(blob) => out.string(&STANDARD.encode(blob)),
        AttributeValue::Bs(elements) => list(elements, out, |blob, out| {
            out.string(&STANDARD.encode(blob));
            Ok(())
        })?,
        _ => return Err(out.fail(Fault::AttributeType)),
    }
    Ok(())
}

fn write_number(text: &str, out: &mut Canonical) -> Result<(), Fault> {
    let number = number::plain(text).ok_or_else(|| out.fail(Fault::Number))?;
    out.raw(&number);
    Ok(())
}

pub(super) fn map(members: &HashMap<String, AttributeValue>, out: &mut Canonical) -> Result<(), Fault> {
    let open = out.begin_map()?;
    for (key, member) in members {
        let at = out.key(key, false);
        value(member, out).inspect_err(|_| out.fail_at(key))?;
        out.end_member(&at);
    }
    out.end_map(&open)
}

fn list<T>(
    elements: &[T],
    out: &mut Canonical,
    write: impl Fn(&T, &mut Canonical) -> Result<(), Fault>,
) -> Result<(), Fault> {
    out.descend()?;
    out.byte(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.byte(b',');
        }
        write(element, out).inspect_err(|_| out.fail_at(&index.to_string()))?;
    }
    out.byte(b']');
    out.ascend();
    Ok(())
}
