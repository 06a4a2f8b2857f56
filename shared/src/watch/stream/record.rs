//! From a record as the streams API gives it to an entry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::types::{AttributeValue as Streamed, Record};

use crate::state::Layout;
use crate::watch::Event;
use crate::watch::event::{Operation, Put};
use crate::watch::position::Number;
use crate::watch::record::{Image, Order, Parts, Read, is_ttl};
use crate::watch::source::Entry;

/// What an entry takes in memory besides its key and values, roughly.
const OVERHEAD: usize = 256;

/// The number of a record; every one of DynamoDB's has one.
pub(super) fn number(record: &Record) -> Option<Number> {
    record.dynamodb()?.sequence_number().map(Number::from)
}

/// What a record tells of; nothing if it is of an item that is none of the layout's.
pub(super) fn entry(record: Record, number: Number, layout: &Layout) -> Option<Entry> {
    match parts(record).read(layout, Order::Sequence(number)) {
        Read::Change(change) => Some(Entry::Event(Arc::new(change.event))),
        Read::Foreign => None,
        Read::Unreadable => Some(Entry::Gap("a record of the stream cannot be read".into())),
    }
}

/// The bytes that an entry takes in memory, roughly.
pub(super) fn weight(entry: &Entry) -> usize {
    OVERHEAD
        + match entry {
            Entry::Event(event) => of_event(event),
            Entry::Gap(why) => why.len(),
        }
}

fn of_event(event: &Event) -> usize {
    let value = |put: &Put| put.value.bytes().map_or(0, <[u8]>::len);
    let operation = match &event.operation {
        Operation::Put(put) => value(put),
        Operation::Delete(delete) => delete.previous.as_ref().map_or(0, value),
        Operation::Unknown => 0,
    };
    event.key.as_bytes().len() + operation
}

fn parts(record: Record) -> Parts {
    let by_ttl = record
        .user_identity()
        .is_some_and(|identity| is_ttl(identity.r#type(), identity.principal_id()));
    let name = record
        .event_name()
        .map(|name| name.as_str().to_owned())
        .unwrap_or_default();
    let Some(change) = record.dynamodb else {
        return Parts::default();
    };
    Parts {
        name,
        by_ttl,
        created: change
            .approximate_creation_date_time
            .and_then(|at| SystemTime::try_from(at).ok())
            .filter(|at| *at > UNIX_EPOCH),
        keys: change.keys.map(image).unwrap_or_default(),
        new: change.new_image.map(image),
        old: change.old_image.map(image),
    }
}

/// The texts, numbers and bytes of an image: nothing else is read of one.
fn image(streamed: HashMap<String, Streamed>) -> Image {
    let same = |value| match value {
        Streamed::S(text) => Some(AttributeValue::S(text)),
        Streamed::N(digits) => Some(AttributeValue::N(digits)),
        Streamed::B(bytes) => Some(AttributeValue::B(bytes)),
        _ => None,
    };
    streamed
        .into_iter()
        .filter_map(|(name, value)| Some((name, same(value)?)))
        .collect()
}
