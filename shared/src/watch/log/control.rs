//! The control item: what all who append and read must agree on.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `Log` | S | `control/<name of the log>` |
//! | `Segment` | N | 0 |
//! | `Id` | S | drawn at creation: positions of another log mean nothing here |
//! | `Table` | S | the state table |
//! | `Layout` | S | `teleport`, or `partitioned/` and the namespace: whose keys they are |
//! | `Source` | S | `stream` or `kinesis` |
//! | `Generation`, `Buckets` | N | which buckets are appended to |
//! | `Hash` | S | how keys are spread over them |
//! | `Stream` | S | ARN of the stream that is read; empty until the first record |
//! | `Prefixes` | S | the prefixes that are logged, a JSON list; `[]` for all |
//! | `Next` | S | a change of buckets or source that is under way, JSON |
//! | `Past` | S | older generations that are not compacted away yet, a JSON list of generation and buckets |
//! | `Mapping`, `MappingSeen` | S, N | the mapping that feeds it, and when it was last seen enabled, unix milliseconds |
//! | `Swept`, `SweptSince` | N | when a sweep announced itself last, and since when without a break, unix milliseconds |
//! | `Edition` | N | raised by each change, and the condition of the next one |

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::requests::Tries;
use super::segment::{millis, span};
use super::{Log, LogError, LogErrorKind};
use crate::clock::Instant;
use crate::state::fault::Attributes;
use crate::state::{Key, Layout, Partitioned};
use crate::watch::filter::{Filter, Operations, Prefix};

/// How long appenders go on after the last announcement of a sweep. Whoever sweeps counts on less.
pub(super) const TENDED: Duration = Duration::from_secs(24 * 3600);

/// Where the changes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The table's own stream.
    #[default]
    Stream,
    /// Kinesis Data Streams for DynamoDB.
    Kinesis,
}

/// What a log is created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSpec {
    /// The state table.
    pub table: String,
    /// Whose keys are logged: the log of one namespace is not that of another.
    pub layout: Layout,
    /// Where its changes come from.
    pub transport: Transport,
    /// How many buckets: appends to one come one after the other, and each costs every reader a request a poll.
    pub buckets: u32,
    /// Which keys are logged; none for all.
    pub prefixes: Vec<Prefix>,
    /// The ARN of the stream that is read from now on, if it is known.
    pub stream: Option<String>,
}

impl LogSpec {
    /// What the log of a state table is called unless somebody names it: as the table, or `table.namespace`.
    pub fn default_name(table: &str, layout: &Layout) -> String {
        match layout {
            Layout::Teleport => table.to_owned(),
            Layout::Partitioned(spread) => format!("{table}.{}", spread.namespace()),
        }
    }

    /// All keys of a table in Teleport's layout, over its stream, in four buckets.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            layout: Layout::Teleport,
            transport: Transport::Stream,
            buckets: 4,
            prefixes: Vec::new(),
            stream: None,
        }
    }
}

/// What all who append and read must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) id: String,
    pub(super) table: String,
    layout: String,
    pub(super) transport: Transport,
    pub(super) generation: u32,
    pub(super) buckets: u32,
    pub(super) stream: String,
    pub(super) prefixes: Vec<Prefix>,
    pub(super) next: Option<Next>,
    pub(super) past: Vec<(u32, u32)>,
    pub(super) mapping: Option<String>,
    pub(super) mapping_seen: Option<u64>,
    pub(super) swept: Option<Announced>,
    edition: u64,
}

/// That what has expired is swept away: appenders look for notes of it, and file what falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    /// Since when, without a break.
    pub(super) since: u64,
    /// When it was said last.
    pub(super) last: u64,
}

/// A change of buckets or source that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Next {
    pub(super) buckets: u32,
    pub(super) transport: Transport,
}

/// A prefix as the control item holds it.
#[derive(Serialize, Deserialize)]
enum Stored {
    #[serde(rename = "component")]
    Component(String),
    #[serde(rename = "plain")]
    Plain(String),
}

impl Control {
    /// The partition of a bucket, in this generation.
    pub(super) fn bucket(&self, bucket: u32) -> String {
        self.bucket_of(self.generation, bucket)
    }

    pub(super) fn bucket_of(&self, generation: u32, bucket: u32) -> String {
        format!("{}#{generation}#{bucket}", self.id)
    }

    /// The bucket of a key.
    pub(super) fn bucket_for(&self, key: &Key) -> u32 {
        let bucket = Partitioned::hash(key.as_bytes()) % u64::from(self.buckets.max(1));
        u32::try_from(bucket).unwrap_or_default()
    }

    /// What positions in this generation are of.
    pub(super) fn source(&self) -> String {
        format!("log:{}#{}", self.id, self.generation)
    }

    /// The label of a stream of the table: streams of one table are ordered by it.
    pub(super) fn label(&self, stream: &str) -> String {
        match self.transport {
            Transport::Stream => stream.rsplit('/').next().unwrap_or_default().to_owned(),
            Transport::Kinesis => String::new(),
        }
    }

    /// Whether a stream's ARN, or for Kinesis a table's name, is of the log's table.
    pub(super) fn is_of(&self, stream: &str) -> bool {
        match self.transport {
            // Once a stream is known, region and account count too: a replica has the same name.
            Transport::Stream => match (stream.split_once("/stream/"), self.stream.split_once("/stream/")) {
                (Some((table, _)), Some((known, _))) => table == known,
                (Some((table, _)), None) => table
                    .split_once(":table/")
                    .is_some_and(|(_, table)| table == self.table),
                (None, _) => false,
            },
            Transport::Kinesis => stream == self.table,
        }
    }

    /// Which keys are logged.
    pub(super) fn covered(&self) -> Filter {
        Filter::new(self.prefixes.clone(), Operations::All)
    }

    /// Whether appenders are to care for sweeps: one was announced within [`TENDED`].
    pub(super) fn is_swept(&self, now: SystemTime) -> bool {
        self.swept
            .is_some_and(|swept| swept.last.saturating_add(span(TENDED)) > millis(now))
    }

    /// Whether what falls due is filed: of a table that others write, where there is no index to ask.
    pub(super) fn is_attached(&self) -> bool {
        self.layout == layout_name(&Layout::Teleport)
    }

    fn marshal(&self, name: &str) -> Attributes {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: u64| AttributeValue::N(number.to_string());
        let prefixes: Vec<Stored> = self
            .prefixes
            .iter()
            .map(|prefix| match prefix {
                Prefix::Component(key) => Stored::Component(key.as_str().unwrap_or_default().to_owned()),
                Prefix::Plain(key) => Stored::Plain(key.as_str().unwrap_or_default().to_owned()),
            })
            .collect();
        // Texts and numbers always serialize.
        let json = |value: Result<String, serde_json::Error>| AttributeValue::S(value.unwrap_or_default());
        let mut item = Attributes::from([
            ("Log".to_owned(), AttributeValue::S(partition(name))),
            ("Segment".to_owned(), number(0)),
            ("Id".to_owned(), text(&self.id)),
            ("Table".to_owned(), text(&self.table)),
            ("Layout".to_owned(), text(&self.layout)),
            ("Source".to_owned(), json(serde_json::to_string(&self.transport))),
            ("Generation".to_owned(), number(self.generation.into())),
            ("Buckets".to_owned(), number(self.buckets.into())),
            ("Hash".to_owned(), text(Partitioned::HASH)),
            ("Stream".to_owned(), text(&self.stream)),
            ("Prefixes".to_owned(), json(serde_json::to_string(&prefixes))),
            ("Past".to_owned(), json(serde_json::to_string(&self.past))),
            ("Edition".to_owned(), number(self.edition)),
        ]);
        if let Some(swept) = self.swept {
            item.insert("Swept".to_owned(), number(swept.last));
            item.insert("SweptSince".to_owned(), number(swept.since));
        }
        if let Some(next) = &self.next {
            item.insert("Next".to_owned(), json(serde_json::to_string(next)));
        }
        if let Some(mapping) = &self.mapping {
            item.insert("Mapping".to_owned(), text(mapping));
        }
        if let Some(seen) = self.mapping_seen {
            item.insert("MappingSeen".to_owned(), number(seen));
        }
        item
    }

    fn unmarshal(item: &Attributes) -> Result<Self, String> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        let number = |name: &str| -> Option<u64> { item.get(name)?.as_n().ok()?.parse().ok() };
        let due = |name: &str| text(name).ok_or_else(|| format!("its control item has no {name}"));
        let small = |name: &str| {
            number(name)
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(|| format!("its control item has no {name}"))
        };
        let wrong = |name: &str| format!("{name} of its control item cannot be read");
        if due("Hash")? != Partitioned::HASH {
            return Err("its keys are spread by a hash that this version does not know".to_owned());
        }
        let prefixes: Vec<Stored> = serde_json::from_str(&due("Prefixes")?).map_err(|_| wrong("Prefixes"))?;
        let next = text("Next").map(|next| serde_json::from_str(&next).map_err(|_| wrong("Next")));
        Ok(Self {
            id: due("Id")?,
            table: due("Table")?,
            layout: due("Layout")?,
            transport: serde_json::from_str(&due("Source")?).map_err(|_| wrong("Source"))?,
            generation: small("Generation")?,
            buckets: small("Buckets")?,
            stream: due("Stream")?,
            prefixes: prefixes
                .into_iter()
                .map(|prefix| match prefix {
                    Stored::Component(key) => Prefix::component(key),
                    Stored::Plain(key) => Prefix::plain(key),
                })
                .collect(),
            next: next.transpose()?,
            past: serde_json::from_str(&due("Past")?).map_err(|_| wrong("Past"))?,
            mapping: text("Mapping"),
            mapping_seen: number("MappingSeen"),
            swept: number("Swept")
                .zip(number("SweptSince"))
                .map(|(last, since)| Announced { since, last }),
            edition: number("Edition").unwrap_or_default(),
        })
    }
}

/// A layout as the control item names it.
fn layout_name(layout: &Layout) -> String {
    match layout {
        Layout::Teleport => layout.name().to_owned(),
        Layout::Partitioned(spread) => format!("{}/{}", layout.name(), spread.namespace()),
    }
}

fn partition(name: &str) -> String {
    format!("control/{name}")
}

impl Log {
    /// Creates the log in its table, which must be there, unless there is one. Two requests at most.
    ///
    /// # Errors
    /// [`LogErrorKind::WrongLog`] if the log that is there is another table's; else what a request may end with.
    pub async fn create(&self, spec: &LogSpec, stop: Instant) -> Result<(), LogError> {
        if !(1..=64).contains(&spec.buckets) {
            let what = format!("{} buckets are not possible: 1 to 64 are due", spec.buckets);
            return Err(self.error(LogErrorKind::BadParameter, what));
        }
        let control = Control {
            id: self.inner.random.uuid().hyphenated().to_string(),
            table: spec.table.clone(),
            layout: layout_name(&spec.layout),
            transport: spec.transport,
            generation: 1,
            buckets: spec.buckets,
            stream: spec.stream.clone().unwrap_or_default(),
            prefixes: spec.prefixes.clone(),
            next: None,
            past: Vec::new(),
            mapping: None,
            mapping_seen: None,
            swept: None,
            edition: 1,
        };
        let mut tries = Tries::new(self, stop);
        loop {
            if let Some(found) = self.find_control(&mut tries).await? {
                if (&found.table, &found.layout) == (&spec.table, &control.layout) {
                    return Ok(());
                }
                let what = format!(
                    "it is of table {} and layout {}, not of {} and {}",
                    found.table, found.layout, spec.table, control.layout
                );
                return Err(self.error(LogErrorKind::WrongLog, what));
            }
            match tries
                .send(self.put(control.marshal(&self.inner.name), None))
                .await
            {
                Ok(()) => return Ok(()),
                // Refused or lost, the next look tells.
                Err(fault) => tries.again(&fault).await?,
            }
        }
    }

    /// The control item as it is now. One request.
    pub(super) async fn control(&self, tries: &mut Tries<'_>) -> Result<Control, LogError> {
        self.find_control(tries).await?.ok_or_else(|| {
            self.error(
                LogErrorKind::WrongLog,
                "there is no such log in this table: create it, or correct the name",
            )
        })
    }

    async fn find_control(&self, tries: &mut Tries<'_>) -> Result<Option<Control>, LogError> {
        let partition = partition(&self.inner.name);
        let found = tries.read(|| self.item(&partition, 0)).await?;
        found
            .map(|item| Control::unmarshal(&item))
            .transpose()
            .map_err(|what| self.error(LogErrorKind::WrongLog, what))
    }

    /// Changes the control item, from what it is now, until the change is in. `change` answers whether there is
    /// anything to do; it may be asked more than once. Two requests, or one if there is nothing to do.
    pub(super) async fn change_control(
        &self,
        tries: &mut Tries<'_>,
        change: impl Fn(&mut Control) -> bool,
    ) -> Result<Control, LogError> {
        loop {
            let mut control = self.control(tries).await?;
            let edition = control.edition;
            if !change(&mut control) {
                return Ok(control);
            }
            control.edition += 1;
            let values = Attributes::from([(":edition".to_owned(), AttributeValue::N(edition.to_string()))]);
            let put = self.put(
                control.marshal(&self.inner.name),
                Some(("Edition = :edition", values)),
            );
            match tries.send(put).await {
                Ok(()) => return Ok(control),
                // Lost, the change may be in already: then there is nothing to do at the next look.
                Err(fault) => tries.again(&fault).await?,
            }
        }
    }
}
