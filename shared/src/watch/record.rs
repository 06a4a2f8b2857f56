//! From a stream's record to the change that it tells of.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Cause, Delete, Event, Operation, Put, Value};
use super::position::Number;
use crate::state::{Item, Layout};

/// Attributes by name, as far as anything here reads them.
pub(crate) type Image = HashMap<String, AttributeValue>;

/// A record's place among those of its key, and what tells it from others of the key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    /// The stream's own number.
    Sequence(Number),
    /// Kinesis: creation time in microseconds, and `eventID`.
    Created(u64, String),
}

/// What is read of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// A change of a key of the layout.
    Change(Record),
    /// An item that is none of the layout's keys.
    Foreign,
    /// Not even its key can be read.
    Unreadable,
}

/// A change with its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) event: Event,
    pub(crate) order: Order,
    /// What the deleted item's old image says is all that is known of the cause: a marker or an intent may tell more.
    pub(crate) doubtful: bool,
    /// There was no such item before, as far as the stream knows.
    pub(crate) inserted: bool,
}

/// A record's parts, from whichever transport.
#[derive(Default)]
pub(crate) struct Parts {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub(crate) name: String,
    pub(crate) keys: Image,
    pub(crate) new: Option<Image>,
    pub(crate) old: Option<Image>,
    /// Deleted by DynamoDB itself: TTL.
    pub(crate) by_ttl: bool,
    pub(crate) created: Option<SystemTime>,
}

/// The identity under which TTL deletes.
pub(crate) fn is_ttl(kind: Option<&str>, principal: Option<&str>) -> bool {
    kind == Some("Service") && principal == Some("dynamodb.amazonaws.com")
}

impl Parts {
    /// The change, by the layout of the table.
    pub(crate) fn read(self, layout: &Layout, order: Order) -> Read {
        let Some(key) = layout.key_of(&self.keys) else {
            return if self.keys.is_empty() {
                Read::Unreadable
            } else {
                Read::Foreign
            };
        };
        if !layout.owns(&self.keys) {
            return Read::Foreign;
        }
        let created = self.created;
        let previous = self.old.and_then(|old| layout.unmarshal(old)).map(put);
        let mut doubtful = false;
        let operation = match (self.name.as_str(), self.new.and_then(|new| layout.unmarshal(new))) {
            ("INSERT" | "MODIFY", Some(item)) => Operation::Put(put(item)),
            ("REMOVE", _) => {
                let cause = if self.by_ttl {
                    Cause::Expired
                } else {
                    cause(previous.as_ref(), created)
                };
                doubtful = cause != Cause::Expired;
                Operation::Delete(Delete { cause, previous })
            }
            _ => Operation::Unknown,
        };
        let inserted = self.name == "INSERT";
        let event = Event {
            key,
            operation,
            created,
        };
        Read::Change(Record {
            inserted,
            event,
            order,
            doubtful,
        })
    }
}

fn put(item: Item) -> Put {
    Put {
        expires: item.expires,
        revision: item.revision,
        value: Value::Inline(item.value),
    }
}

/// Why an item was deleted, by what it was. An item is live while its expiry is not before the current second.
fn cause(previous: Option<&Put>, created: Option<SystemTime>) -> Cause {
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match (previous.map(|put| put.expires), created) {
        (None, _) => Cause::Unknown,
        (Some(Some(expires)), Some(created)) if seconds(created) > seconds(expires) => Cause::Expired,
        (Some(Some(_)), None) => Cause::Unknown,
        _ => Cause::Deleted,
    }
}

/// A record as Lambda's events and Kinesis carry it.
#[derive(Deserialize)]
pub(crate) struct Json<'a> {
    #[serde(borrow, rename = "eventID")]
    pub(crate) event_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "eventName")]
    pub(crate) event_name: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "eventSourceARN")]
    pub(crate) source_arn: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "tableName")]
    pub(crate) table_name: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "userIdentity")]
    pub(crate) identity: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) dynamodb: Option<Change<'a>>,
}

/// The member `dynamodb` of a record.
#[derive(Deserialize)]
pub(crate) struct Change<'a> {
    #[serde(rename = "ApproximateCreationDateTime")]
    pub(crate) created: Option<f64>,
    #[serde(borrow, rename = "ApproximateCreationDateTimePrecision")]
    pub(crate) precision: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "SequenceNumber")]
    pub(crate) sequence_number: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "Keys")]
    keys: Option<&'a RawValue>,
    #[serde(borrow, rename = "NewImage")]
    new: Option<&'a RawValue>,
    #[serde(borrow, rename = "OldImage")]
    old: Option<&'a RawValue>,
}

/// 10000-01-01: what lies beyond (such as milliseconds taken for seconds) is no time.
const END_OF_TIME: f64 = 253_402_300_800.0;

/// The members of an object, each as its text; none of what is no object.
pub(crate) fn members(raw: &str) -> HashMap<String, &RawValue> {
    serde_json::from_str(raw).unwrap_or_default()
}

/// A text that is not empty.
pub(crate) fn text(raw: Option<&&RawValue>) -> Option<String> {
    serde_json::from_str::<String>(raw?.get())
        .ok()
        .filter(|text| !text.is_empty())
}

impl<'a> Json<'a> {
    /// A record as far as it can be read: whole, or else member by member, without what is not as it should be.
    pub(crate) fn read(raw: &'a str) -> Self {
        serde_json::from_str(raw).unwrap_or_else(|_| Self::salvage(raw))
    }

    fn salvage(raw: &'a str) -> Self {
        let record = members(raw);
        let told = |name| text(record.get(name)).map(Cow::Owned);
        let change = record.get("dynamodb").map(|change| members(change.get()));
        Self {
            event_id: told("eventID"),
            event_name: told("eventName"),
            source_arn: told("eventSourceARN"),
            table_name: told("tableName"),
            identity: record.get("userIdentity").copied(),
            dynamodb: change.map(|change| Change {
                created: change
                    .get("ApproximateCreationDateTime")
                    .and_then(|at| serde_json::from_str(at.get()).ok()),
                precision: text(change.get("ApproximateCreationDateTimePrecision")).map(Cow::Owned),
                sequence_number: text(change.get("SequenceNumber")).map(Cow::Owned),
                keys: change.get("Keys").copied(),
                new: change.get("NewImage").copied(),
                old: change.get("OldImage").copied(),
            }),
        }
    }
}

impl Json<'_> {
    /// The parts, with the creation time read in this many a second. What cannot be read is left out, and so is what of
    /// it nothing here needs.
    pub(crate) fn parts(&self, per_second: f64) -> Parts {
        let change = self.dynamodb.as_ref();
        let image = |raw: Option<&RawValue>| raw.and_then(image_of);
        Parts {
            name: self.event_name.as_deref().unwrap_or_default().to_owned(),
            keys: image(change.and_then(|change| change.keys)).unwrap_or_default(),
            new: image(change.and_then(|change| change.new)),
            old: image(change.and_then(|change| change.old)),
            by_ttl: self.by_ttl(),
            created: change
                .and_then(|change| change.created)
                .and_then(|at| time(at / per_second)),
        }
    }

    fn by_ttl(&self) -> bool {
        #[derive(Deserialize)]
        struct Identity {
            // The first is Lambda's spelling, the second that of DynamoDB's own API.
            #[serde(rename = "type", alias = "Type")]
            kind: Option<String>,
            #[serde(rename = "principalId", alias = "PrincipalId")]
            principal: Option<String>,
        }
        self.identity
            .and_then(|raw| serde_json::from_str::<Identity>(raw.get()).ok())
            .is_some_and(|identity| is_ttl(identity.kind.as_deref(), identity.principal.as_deref()))
    }
}

/// A time of unix seconds, to the millisecond: a float's further digits are noise.
fn time(seconds: f64) -> Option<SystemTime> {
    let sound = seconds > 0.0 && seconds < END_OF_TIME;
    sound.then(|| UNIX_EPOCH + Duration::from_millis((seconds * 1000.0).round() as u64))
}

/// The texts, numbers, bytes and nulls of an image in DynamoDB's JSON; none if it is no image.
fn image_of(raw: &RawValue) -> Option<Image> {
    #[derive(Deserialize)]
    struct Attribute<'a> {
        #[serde(rename = "S")]
        text: Option<String>,
        #[serde(borrow, rename = "N")]
        number: Option<Cow<'a, str>>,
        #[serde(borrow, rename = "B")]
        bytes: Option<Cow<'a, str>>,
    }
    let attributes: HashMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
    let mut image = Image::new();
    for (name, raw) in attributes {
        let Ok(attribute) = serde_json::from_str::<Attribute<'_>>(raw.get()) else {
            continue;
        };
        let value = match attribute {
            Attribute { text: Some(text), .. } => AttributeValue::S(text),
            Attribute {
                number: Some(number), ..
            } => AttributeValue::N(number.into_owned()),
            Attribute {
                bytes: Some(bytes), ..
            } => AttributeValue::B(Blob::new(STANDARD.decode(&*bytes).ok()?)),
            _ => continue,
        };
        image.insert(name, value);
    }
    Some(image)
}
