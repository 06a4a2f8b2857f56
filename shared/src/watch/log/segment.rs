//! A segment: the changes of one chunk of one invocation, as an item of the log's table.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `Log` | S | `<log id>#<generation>#<bucket>` |
//! | `Segment` | N | 1, 2, 3, … in each bucket |
//! | `Events` | S | the changes, a JSON list (see [`Logged`]); empty in a segment that only keeps the numbers going |
//! | `Appended` | N | when it was written, unix milliseconds by the appender's clock |
//! | `MaxCreated` | N | the latest creation time in it or before it, unix milliseconds |
//! | `Stream` | S | label of the stream that the changes come from |
//! | `GapSegment`, `GapCount`, `GapAppended` | N | the last gap in it or before it: its segment, its place there (from 1), when |
//! | `Sealed` | BOOL | the bucket's last: it goes on in the next generation |

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use serde::{Deserialize, Serialize};

use crate::state::fault::Attributes;
use crate::state::{Key, Partitioned, Revision};
use crate::watch::event::{Cause, Delete, Event, Operation, Put, Value};
use crate::watch::position::{Mark, Number};
use crate::watch::record::Order;
use crate::watch::source::Entry;

/// The longest revision that is one: a UUID has 36 characters.
const REVISION: usize = 64;

/// A change as the log keeps it. Short names: they are paid for with every event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Logged {
    /// `p` put, `d` delete, `u` unknown, `g` gap.
    #[serde(rename = "o")]
    kind: String,
    #[serde(rename = "k", default, skip_serializing_if = "String::is_empty")]
    key: String,
    /// Of a put: the item. Of a delete: the item as it was, where known.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    item: Option<Image>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    /// `SequenceNumber`.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    /// Kinesis: creation time in microseconds, and `eventID`. Of a gap: the id of the report.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    micros: Option<u64>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Creation time, unix milliseconds.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    /// Of a gap: why.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// An item within a change.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Image {
    #[serde(rename = "r")]
    revision: String,
    /// Expiry, unix seconds.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    /// The value, base64; absent if it is not carried.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// Without the value.
impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("revision", &self.revision)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Where the last gap stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GapMark {
    pub(super) segment: u64,
    /// Entries of the segment up to the gap, itself included.
    pub(super) count: u32,
    /// When its segment was written.
    pub(super) appended: u64,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) events: Vec<Logged>,
    pub(super) appended: u64,
    pub(super) max_created: Option<u64>,
    pub(super) stream: String,
    pub(super) gap: Option<GapMark>,
    pub(super) sealed: bool,
    /// Length of `Events`, of a segment that was read.
    pub(super) bytes: usize,
}

/// Unix milliseconds of a time.
pub(super) fn millis(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds of a duration.
pub(super) fn span(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn time(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// What a key is known by in memory, and by which its bucket is chosen: the first eight bytes of its SHA-256.
pub(super) fn key_hash(key: &[u8]) -> u64 {
    Partitioned::hash(key)
}

impl Logged {
    /// An event as it is to be logged; the value stands in it only if `inline`.
    pub(super) fn event(event: &Event, order: &Order, inline: bool) -> Self {
        let image = |put: &Put| Image {
            revision: put.revision.as_str().to_owned(),
            expires: put.expires.map(crate::state::item::seconds),
            value: put
                .value
                .bytes()
                .filter(|_| inline)
                .map(|bytes| STANDARD_NO_PAD.encode(bytes)),
        };
        let (kind, item, cause) = match &event.operation {
            // Nobody writes such; a segment must never grow too large for its item.
            Operation::Put(put) if put.revision.as_str().len() > REVISION => ("u", None, None),
            Operation::Put(put) => ("p", Some(image(put)), None),
            Operation::Delete(delete) => (
                "d",
                delete
                    .previous
                    .as_ref()
                    .filter(|previous| previous.revision.as_str().len() <= REVISION)
                    .map(image),
                Some(delete.cause),
            ),
            Operation::Unknown => ("u", None, None),
        };
        let (sequence, micros, id) = match order {
            Order::Sequence(number) => (Some(number.as_str().to_owned()), None, None),
            Order::Created(micros, id) => (None, Some(*micros), Some(id.clone())),
        };
        Self {
            kind: kind.to_owned(),
            key: String::from_utf8_lossy(event.key.as_bytes()).into_owned(),
            item,
            cause,
            sequence,
            micros,
            id,
            created: event.created.map(millis),
            why: None,
        }
    }

    /// A gap.
    pub(super) fn gap(why: &str, id: Option<&str>, created: Option<SystemTime>) -> Self {
        Self {
            kind: "g".to_owned(),
            id: id.map(str::to_owned),
            created: created.map(millis),
            why: Some(why.to_owned()),
            ..Self::default()
        }
    }

    pub(super) fn is_gap(&self) -> bool {
        self.kind == "g"
    }

    /// The id of the report that a gap is of.
    pub(super) fn gap_id(&self) -> Option<&str> {
        self.id.as_deref().filter(|_| self.is_gap())
    }

    pub(super) fn created(&self) -> Option<u64> {
        self.created
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Its place among those of its key; none for a gap.
    pub(super) fn order(&self) -> Option<Order> {
        if self.is_gap() {
            return None;
        }
        match (&self.sequence, self.micros, &self.id) {
            (Some(number), _, _) => Some(Order::Sequence(number.as_str().into())),
            (None, Some(micros), Some(id)) => Some(Order::Created(micros, id.clone())),
            _ => None,
        }
    }

    /// Revision and expiry of the item, where it is known.
    pub(super) fn pair(&self) -> Option<(&str, Option<i64>)> {
        self.item
            .as_ref()
            .map(|item| (item.revision.as_str(), item.expires))
    }

    /// What a watcher is told of it. What a later version may write and this one does not know is a gap: never silence.
    pub(super) fn entry(&self) -> Entry {
        let put = |image: &Image| Put {
            expires: image.expires.and_then(crate::state::item::time_of),
            revision: Revision::from(image.revision.as_str()),
            value: match image.value.as_ref().map(|text| STANDARD_NO_PAD.decode(text)) {
                Some(Ok(bytes)) => Value::Inline(bytes),
                _ => Value::Omitted,
            },
        };
        let operation = match (self.kind.as_str(), &self.item) {
            ("p", Some(item)) => Operation::Put(put(item)),
            ("d", previous) => Operation::Delete(Delete {
                cause: self.cause.unwrap_or(Cause::Unknown),
                previous: previous.as_ref().map(put),
            }),
            ("u", _) => Operation::Unknown,
            ("g", _) => {
                return Entry::Gap(self.why.as_deref().unwrap_or("changes were lost").into());
            }
            _ => return Entry::Gap("the log holds an entry that this version cannot read".into()),
        };
        Entry::Event(Arc::new(Event {
            key: Key::from(self.key.as_str()),
            operation,
            created: self.created.and_then(time),
        }))
    }
}

impl Segment {
    /// The text of events, as it is stored.
    pub(super) fn encode(events: &[Logged]) -> String {
        // Texts and numbers always serialize.
        serde_json::to_string(events).unwrap_or_default()
    }

    /// The item, in a bucket.
    pub(super) fn marshal(&self, bucket: &str) -> Attributes {
        let number = |number: u64| AttributeValue::N(number.to_string());
        let mut item = Attributes::from([
            ("Log".to_owned(), AttributeValue::S(bucket.to_owned())),
            ("Segment".to_owned(), number(self.number)),
            ("Events".to_owned(), AttributeValue::S(Self::encode(&self.events))),
            ("Appended".to_owned(), number(self.appended)),
            ("Stream".to_owned(), AttributeValue::S(self.stream.clone())),
        ]);
        if let Some(max) = self.max_created {
            item.insert("MaxCreated".to_owned(), number(max));
        }
        if let Some(gap) = self.gap {
            item.insert("GapSegment".to_owned(), number(gap.segment));
            item.insert("GapCount".to_owned(), number(gap.count.into()));
            item.insert("GapAppended".to_owned(), number(gap.appended));
        }
        if self.sealed {
            item.insert("Sealed".to_owned(), AttributeValue::Bool(true));
        }
        item
    }

    /// A stored segment.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn unmarshal(item: &Attributes) -> Result<Self, String> {
        let number = |name: &str| -> Option<u64> { item.get(name)?.as_n().ok()?.parse().ok() };
        let due = |name: &str| number(name).ok_or_else(|| format!("a segment without {name}"));
        let segment = due("Segment")?;
        let text = item
            .get("Events")
            .and_then(|events| events.as_s().ok())
            .ok_or_else(|| format!("segment {segment} has no Events"))?;
        // serde's messages quote what they read.
        let events = serde_json::from_str(text)
            .map_err(|_| format!("the Events of segment {segment} cannot be read"))?;
        let gap = match (number("GapSegment"), number("GapCount"), number("GapAppended")) {
            (Some(segment), Some(count), Some(appended)) => {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                Some(GapMark {
                    segment,
                    count,
                    appended,
                })
            }
            _ => None,
        };
        Ok(Self {
            number: segment,
            events,
            appended: due("Appended")?,
            max_created: number("MaxCreated"),
            stream: item
                .get("Stream")
                .and_then(|stream| stream.as_s().ok())
                .cloned()
                .unwrap_or_default(),
            gap,
            sealed: item.get("Sealed").and_then(|sealed| sealed.as_bool().ok()) == Some(&true),
            bytes: text.len(),
        })
    }

    /// The one that follows this with these events, or the first of a bucket.
    pub(super) fn next(
        standing: Option<&Summary>,
        stream: &str,
        events: Vec<Logged>,
        appended: u64,
        max: Option<u64>,
    ) -> Self {
        let number = standing.map_or(0, |standing| standing.number) + 1;
        let last = events.iter().rposition(Logged::is_gap);
        let gap = match last {
            Some(at) => {
                let count = u32::try_from(at + 1).unwrap_or(u32::MAX);
                Some(GapMark {
                    segment: number,
                    count,
                    appended,
                })
            }
            None => standing.and_then(|standing| standing.gap),
        };
        Self {
            number,
            events,
            appended,
            max_created: standing.and_then(|standing| standing.max_created).max(max),
            stream: stream.to_owned(),
            gap,
            sealed: false,
            bytes: 0,
        }
    }

    /// Where a reader is behind the whole of it.
    pub(super) fn end(&self) -> Mark {
        Mark::behind(Number::from(self.number))
    }

    /// What an appender remembers of it.
    pub(super) fn summary(&self) -> Summary {
        let entries = self.events.iter().enumerate().filter_map(|(at, logged)| {
            Some(Known {
                key: key_hash(logged.key().as_bytes()),
                order: logged.order()?,
                created: logged.created(),
                pair: logged
                    .pair()
                    .map(|(revision, expires)| (revision.into(), expires)),
                at: u32::try_from(at).unwrap_or(u32::MAX),
            })
        });
        Summary {
            number: self.number,
            appended: self.appended,
            max_created: self.max_created,
            stream: self.stream.clone(),
            gap: self.gap,
            sealed: self.sealed,
            gaps: self
                .events
                .iter()
                .filter_map(Logged::gap_id)
                .map(Into::into)
                .collect(),
            entries: entries.collect(),
        }
    }
}

/// What an appender needs to know of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) number: u64,
    pub(super) appended: u64,
    pub(super) max_created: Option<u64>,
    pub(super) stream: String,
    pub(super) gap: Option<GapMark>,
    pub(super) sealed: bool,
    /// The ids of the gaps in it.
    pub(super) gaps: Vec<Box<str>>,
    pub(super) entries: Vec<Known>,
}

impl Known {
    /// A change that does not stand there yet.
    pub(super) fn of(key: u64, event: &Event, order: &Order) -> Self {
        let logged = Logged::event(event, order, false);
        Self {
            key,
            order: order.clone(),
            created: logged.created(),
            pair: logged
                .pair()
                .map(|(revision, expires)| (revision.into(), expires)),
            at: 0,
        }
    }
}

/// An event that stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) key: u64,
    pub(super) order: Order,
    pub(super) created: Option<u64>,
    pub(super) pair: Option<(Box<str>, Option<i64>)>,
    pub(super) at: u32,
}
