//! Between the SDK's types, DynamoDB's typed JSON and the record that Lambda hands to a function.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::types::{AttributeValue as Streamed, Record};
use serde_json::{Map, Value, json};

use super::traffic::{Item, Step};

/// A row for the SDK. Binary values do not occur in audit rows and become NULL.
pub fn attributes(item: &Item) -> HashMap<String, AttributeValue> {
    item.iter()
        .map(|(name, value)| (name.clone(), attribute(value)))
        .collect()
}

fn attribute(value: &Value) -> AttributeValue {
    let typed = value.as_object().and_then(|typed| typed.iter().next());
    match typed.map(|(kind, value)| (kind.as_str(), value)) {
        Some(("S", Value::String(text))) => AttributeValue::S(text.clone()),
        Some(("N", Value::String(digits))) => AttributeValue::N(digits.clone()),
        Some(("BOOL", Value::Bool(truth))) => AttributeValue::Bool(*truth),
        Some(("L", Value::Array(list))) => AttributeValue::L(list.iter().map(attribute).collect()),
        Some(("M", Value::Object(map))) => AttributeValue::M(
            map.iter()
                .map(|(name, value)| (name.clone(), attribute(value)))
                .collect(),
        ),
        _ => AttributeValue::Null(true),
    }
}

/// A stream record as Lambda hands it to a function.
///
/// The engine writes `userIdentity` with lower-case names, which the SDK does not read: if it is there, it is that
/// of a TTL delete.
pub fn record(record: &Record, stream_arn: &str) -> Value {
    let mut change = Map::new();
    if let Some(stored) = record.dynamodb() {
        if let Some(at) = stored.approximate_creation_date_time() {
            change.insert("ApproximateCreationDateTime".to_owned(), at.as_secs_f64().into());
        }
        for (name, image) in [
            ("Keys", stored.keys()),
            ("NewImage", stored.new_image()),
            ("OldImage", stored.old_image()),
        ] {
            if let Some(image) = image {
                change.insert(name.to_owned(), object(image));
            }
        }
        change.insert("SequenceNumber".to_owned(), stored.sequence_number().into());
        change.insert("SizeBytes".to_owned(), stored.size_bytes().into());
        change.insert(
            "StreamViewType".to_owned(),
            stored.stream_view_type().map(|view| view.as_str()).into(),
        );
    }
    let mut whole = json!({
        "eventID": record.event_id(),
        "eventName": record.event_name().map(|name| name.as_str()),
        "eventVersion": record.event_version(),
        "eventSource": record.event_source(),
        "awsRegion": record.aws_region(),
        "dynamodb": change,
        "eventSourceARN": stream_arn,
    });
    if let (Some(_), Value::Object(whole)) = (record.user_identity(), &mut whole) {
        let expiry = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
        whole.insert("userIdentity".to_owned(), expiry);
    }
    whole
}

/// The record that a step would leave in the stream, for tests without a table.
pub fn record_of(step: &Step, sequence: u128, created: u64, stream_arn: &str) -> Value {
    let keys: Item = step
        .item
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "SessionID" | "EventIndex"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut change = json!({
        "ApproximateCreationDateTime": created,
        "Keys": keys,
        "NewImage": step.item,
        "SequenceNumber": sequence.to_string(),
        "SizeBytes": 1,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    });
    if let (Some(old), Value::Object(change)) = (&step.old, &mut change) {
        change.insert("OldImage".to_owned(), json!(old));
    }
    json!({
        "eventID": format!("{sequence:032x}"),
        "eventName": if step.old.is_some() { "MODIFY" } else { "INSERT" },
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "local",
        "dynamodb": change,
        "eventSourceARN": stream_arn,
    })
}

fn object(image: &HashMap<String, Streamed>) -> Value {
    Value::Object(
        image
            .iter()
            .map(|(name, value)| (name.clone(), typed(value)))
            .collect(),
    )
}

fn typed(value: &Streamed) -> Value {
    match value {
        Streamed::S(text) => json!({"S": text}),
        Streamed::N(digits) => json!({"N": digits}),
        Streamed::Bool(truth) => json!({"BOOL": truth}),
        Streamed::Null(_) => json!({"NULL": true}),
        Streamed::B(bytes) => json!({"B": base64(bytes)}),
        Streamed::L(list) => json!({"L": list.iter().map(typed).collect::<Vec<_>>()}),
        Streamed::M(map) => json!({"M": object(map)}),
        Streamed::Ss(set) => json!({"SS": set}),
        Streamed::Ns(set) => json!({"NS": set}),
        Streamed::Bs(set) => json!({"BS": set.iter().map(base64).collect::<Vec<_>>()}),
        // A type that this SDK does not know keeps its place; its value cannot be had.
        _ => json!({}),
    }
}

fn base64(bytes: &Blob) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let group = chunk
            .iter()
            .fold(0, |group, byte| group << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS
                .get(group >> (18 - 6 * place) & 63)
                .copied()
                .map_or('=', char::from);
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        let text = |bytes: &[u8]| base64(&Blob::new(bytes));
        assert_eq!(
            (text(b""), text(b"f"), text(b"fo"), text(b"foo")),
            (String::new(), "Zg==".into(), "Zm8=".into(), "Zm9v".into())
        );
        assert_eq!(text(&[0xff, 0xfe, 0xfd, 0]), "//79AA==");
    }

    #[test]
    fn a_row_is_the_same_after_the_sdk() {
        let typed =
            json!({"M": {"a": {"L": [{"N": "1e3"}, {"S": ""}, {"NULL": true}, {"BOOL": false}, {"M": {}}]}}});
        let item = Item::from([("x".to_owned(), typed.clone())]);
        let AttributeValue::M(map) = &attributes(&item)["x"] else {
            panic!()
        };
        let AttributeValue::L(list) = &map["a"] else {
            panic!()
        };
        assert_eq!((list.len(), list[0].as_n().unwrap().as_str()), (5, "1e3"));
    }
}
