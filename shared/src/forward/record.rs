//! Stream records out of Lambda's event JSON.
//!
//! Normally all records of a batch are read in one pass ([`read_all`]). If anything in it is not as it should be, the
//! batch is split into raw records and each is read by itself ([`read_one`]), so that one bad record never takes
//! its batch down. Both use the same reader for a record.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::handed::Handed;
use crate::audit::canonical::Canonical;
use crate::audit::row::{Row, RowSeed};

/// A stream record; payloads of its images stand in the canonical buffer that it was read with.
#[derive(Debug, Default)]
pub(crate) struct Record<'a> {
    pub(crate) event_id: Option<Cow<'a, str>>,
    pub(crate) event_name: Option<Cow<'a, str>>,
    pub(crate) sequence_number: Option<Cow<'a, str>>,
    /// `ApproximateCreationDateTime`; absent if missing or no time, never 1970.
    pub(crate) created: Option<SystemTime>,
    pub(crate) new_image: Option<Row<'a>>,
    pub(crate) old_image: Option<Row<'a>>,
    /// There is an old image, readable or not.
    pub(crate) has_old_image: bool,
}

/// A batch: whose it is, if a task hands it over, and its records.
pub(crate) type Batch<'a, R> = (Option<Handed<'a>>, Vec<R>);

/// Reads every record of a batch in one pass; `None` if the batch has anything that needs a closer look.
pub(crate) fn read_all<'a>(payload: &'a str, out: &mut Canonical) -> Option<Batch<'a, Record<'a>>> {
    let mut deserializer = serde_json::Deserializer::from_str(payload);
    let (handed, records) = BatchSeed(out).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some((handed, records?))
}

#[derive(Deserialize)]
struct RawBatch<'a> {
    #[serde(borrow, default, deserialize_with = "due")]
    tidewatch: Option<Handed<'a>>,
    #[serde(borrow, rename = "Records")]
    records: Vec<&'a RawValue>,
}

/// What is there is no null.
fn due<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Handed<'de>>, D::Error> {
    Handed::deserialize(deserializer).map(Some)
}

/// Splits a batch into its raw records; `None` if the payload is no Lambda event of a stream and no envelope.
pub(crate) fn split(payload: &str) -> Option<Batch<'_, &str>> {
    let batch: RawBatch<'_> = serde_json::from_str(payload).ok()?;
    let records = batch.records.into_iter().map(RawValue::get);
    Some((batch.tidewatch, records.collect()))
}

/// Reads one raw record, with or without its old image; on failure the fault stands in `out`.
pub(crate) fn read_one<'a>(raw: &'a str, old_image: bool, out: &mut Canonical) -> Option<Record<'a>> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let record = RecordSeed { out, old_image }
        .deserialize(&mut deserializer)
        .ok()?;
    deserializer.end().ok()?;
    Some(record)
}

/// What can be told of a record that cannot be read: `eventID`, `eventName` and `SequenceNumber`, where they are texts.
pub(crate) fn header(raw: &str) -> Record<'_> {
    #[derive(Deserialize)]
    struct Header<'a> {
        #[serde(borrow, rename = "eventID")]
        event_id: Option<&'a RawValue>,
        #[serde(borrow, rename = "eventName")]
        event_name: Option<&'a RawValue>,
        #[serde(borrow)]
        dynamodb: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Change<'a> {
        #[serde(borrow, rename = "SequenceNumber")]
        sequence_number: Option<&'a RawValue>,
    }
    fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
        serde_json::from_str::<String>(raw?.get())
            .ok()
            .filter(|text| !text.is_empty())
            .map(Cow::Owned)
    }
    let Ok(header) = serde_json::from_str::<Header<'_>>(raw) else {
        return Record::default();
    };
    let change = header
        .dynamodb
        .and_then(|change| serde_json::from_str::<Change<'_>>(change.get()).ok());
    Record {
        event_id: text(header.event_id),
        event_name: text(header.event_name),
        sequence_number: change.and_then(|change| text(change.sequence_number)),
        ..Record::default()
    }
}

/// `{"Records": […]}`, with `tidewatch` beside it or not; `None` without `Records`.
struct BatchSeed<'c>(&'c mut Canonical);

impl<'de> DeserializeSeed<'de> for BatchSeed<'_> {
    type Value = (Option<Handed<'de>>, Option<Vec<Record<'de>>>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BatchSeed<'_> {
    type Value = (Option<Handed<'de>>, Option<Vec<Record<'de>>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Lambda event of a DynamoDB stream")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut handed, mut records) = (None, None);
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "Records" if records.is_none() => {
                    records = Some(map.next_value_seed(Records(&mut *self.0))?);
                }
                "tidewatch" if handed.is_none() => handed = Some(map.next_value()?),
                "Records" | "tidewatch" => return Err(A::Error::custom("a member stands twice")),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok((handed, records))
    }
}

struct Records<'c>(&'c mut Canonical);

impl<'de> DeserializeSeed<'de> for Records<'_> {
    type Value = Vec<Record<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = Vec<Record<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of stream records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while let Some(record) = seq.next_element_seed(RecordSeed {
            out: &mut *self.0,
            old_image: true,
        })? {
            records.push(record);
        }
        Ok(records)
    }
}

/// A text, borrowed where the JSON allows.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn not_empty(text: Option<Text<'_>>) -> Option<Cow<'_, str>> {
    text.map(|text| text.0).filter(|text| !text.is_empty())
}

struct RecordSeed<'c> {
    out: &'c mut Canonical,
    old_image: bool,
}

impl<'de> DeserializeSeed<'de> for RecordSeed<'_> {
    type Value = Record<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_> {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stream record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut record = Record::default();
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "eventID" => record.event_id = not_empty(map.next_value()?),
                "eventName" => record.event_name = not_empty(map.next_value()?),
                "dynamodb" => {
                    let change = Change {
                        out: &mut *self.out,
                        old_image: self.old_image,
                        record: &mut record,
                    };
                    map.next_value_seed(change)?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(record)
    }
}

/// The `dynamodb` member of a record.
struct Change<'c, 'r, 'de> {
    out: &'c mut Canonical,
    old_image: bool,
    record: &'r mut Record<'de>,
}

impl<'de> DeserializeSeed<'de> for Change<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Change<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the change of a stream record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self {
            out,
            old_image,
            record,
        } = self;
        while let Some(Text(key)) = map.next_key()? {
            let read = match &*key {
                "ApproximateCreationDateTime" => map.next_value().map(|Seconds(at)| record.created = at),
                "SequenceNumber" => map
                    .next_value()
                    .map(|number| record.sequence_number = not_empty(number)),
                "NewImage" => map
                    .next_value_seed(RowSeed(&mut *out))
                    .map(|row| record.new_image = Some(row)),
                "OldImage" if old_image => map.next_value_seed(OldImage(&mut *out)).map(|row| {
                    // What has no keys, such as null, is no image.
                    record.old_image =
                        row.filter(|row| row.session_id.is_some() || row.event_index.is_some());
                    record.has_old_image = record.old_image.is_some();
                }),
                "OldImage" => map
                    .next_value::<Option<IgnoredAny>>()
                    .map(|image| record.has_old_image = image.is_some()),
                _ => map.next_value::<IgnoredAny>().map(drop),
            };
            if let Err(error) = read {
                out.fail_at(&key);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// An old image, or null.
struct OldImage<'c>(&'c mut Canonical);

impl<'de> DeserializeSeed<'de> for OldImage<'_> {
    type Value = Option<Row<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OldImage<'_> {
    type Value = Option<Row<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an image or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        RowSeed(self.0).deserialize(deserializer).map(Some)
    }
}

/// A time in unix seconds, whole or not; none if it is no such number.
struct Seconds(Option<SystemTime>);

/// 10000-01-01: what lies beyond (such as milliseconds taken for seconds) is no time.
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_800);

fn since_epoch(since: Duration) -> Option<SystemTime> {
    if since.is_zero() || since >= END_OF_TIME {
        None
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lenient;
        impl<'de> Visitor<'de> for Lenient {
            type Value = Option<SystemTime>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }
            fn visit_f64<E>(self, seconds: f64) -> Result<Self::Value, E> {
                // Stream times have milliseconds at most; a float's further digits are noise. What is negative becomes
                // zero and what is too large the largest number, which are no times.
                Ok(since_epoch(Duration::from_millis(
                    (seconds * 1000.0).round() as u64
                )))
            }
            fn visit_u64<E>(self, seconds: u64) -> Result<Self::Value, E> {
                Ok(since_epoch(Duration::from_secs(seconds)))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(None)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(None)
            }
        }
        deserializer.deserialize_any(Lenient).map(Self)
    }
}
