//! The log on the embedded engine, request by request.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod appending;
mod due;
mod reading;
mod sweeps;
mod tending;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Appender, Incoming, Inline, Log, LogSource, LogSpec, Pace, Transport};
use crate::clock::{Clock, Instant};
use crate::engine::Engine;
use crate::random::Random;
use crate::state::{Key, Revision};
use crate::watch::WatchError;
use crate::watch::event::{Cause, Delete, Event, Operation, Put, Value};
use crate::watch::position::Position;
use crate::watch::record::{Order, Record};
use crate::watch::source::{Entry, Source};

const STREAM: &str = "arn:aws:dynamodb:eu-west-1:000000000000:table/state/stream/2027-01-15T08:00:00.000";
const LATER: &str = "arn:aws:dynamodb:eu-west-1:000000000000:table/state/stream/2027-01-16T08:00:00.000";
const LOGS: &str = "watch-logs";

/// A log in a table on the engine, under a paused clock.
struct Bench {
    engine: Engine,
    clock: Clock,
}

impl Bench {
    async fn new(buckets: u32) -> Self {
        Self::with(LogSpec {
            buckets,
            stream: Some(STREAM.to_owned()),
            ..LogSpec::new("state")
        })
        .await
    }

    async fn with(spec: LogSpec) -> Self {
        let bench = Self {
            engine: Engine::new(),
            clock: Clock::simulated(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        };
        let table = serde_json::json!({
            "TableName": LOGS, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "Log", "AttributeType": "S"}, {"AttributeName": "Segment", "AttributeType": "N"}],
            "KeySchema": [{"AttributeName": "Log", "KeyType": "HASH"}, {"AttributeName": "Segment", "KeyType": "RANGE"}],
        });
        bench
            .engine
            .database
            .create_table(serde_json::from_value(table).unwrap())
            .unwrap();
        bench.log().create(&spec, bench.stop()).await.unwrap();
        bench.engine.sent();
        bench
    }

    fn log(&self) -> Log {
        Log::new(
            &self.engine.client(),
            LOGS,
            "state",
            self.clock.clone(),
            Random::seeded(1),
        )
    }

    fn appender(&self, inline: Inline) -> Appender {
        Appender::new(self.log(), inline)
    }

    fn stop(&self) -> Instant {
        self.clock.instant() + Duration::from_secs(60)
    }

    /// A put of a key, created now.
    fn put(&self, key: &str, sequence: u64) -> Incoming {
        self.at(key, sequence, Some(self.clock.now()))
    }

    fn at(&self, key: &str, sequence: u64, created: Option<SystemTime>) -> Incoming {
        let put = Put {
            expires: None,
            revision: Revision::from(format!("r{sequence}").as_str()),
            value: Value::Inline(b"secret".to_vec()),
        };
        record(key, sequence, created, Operation::Put(put))
    }

    /// All that stands in the log from a position on, until nothing more comes: keys with sequence-like revisions, and gaps.
    async fn read(&self, from: Position) -> Result<Vec<String>, WatchError> {
        let source = LogSource::new(self.log(), Pace::default());
        let mut reader = source.reader(from);
        let mut all = Vec::new();
        while let Ok(chunks) = self.clock.timeout(Duration::from_secs(60), reader.next()).await {
            for (_, entry) in chunks?.iter().flat_map(|chunk| &chunk.entries) {
                all.push(match entry {
                    Entry::Event(event) => shown(event),
                    Entry::Gap(why) => format!("gap: {why}"),
                });
            }
        }
        Ok(all)
    }

    async fn beginning(&self) -> Position {
        LogSource::new(self.log(), Pace::default())
            .beginning()
            .await
            .unwrap()
    }

    async fn now(&self) -> Position {
        LogSource::new(self.log(), Pace::default()).now().await.unwrap()
    }

    /// Everything, from the first segment of a single bucket on.
    async fn all(&self) -> Vec<String> {
        let mut from = self.now().await;
        for mark in from.lanes.values_mut() {
            *mark = crate::watch::position::Mark::Start;
        }
        self.read(from).await.unwrap()
    }
}

fn record(key: &str, sequence: u64, created: Option<SystemTime>, operation: Operation) -> Incoming {
    let doubtful = matches!(&operation, Operation::Delete(delete) if delete.cause != Cause::Expired);
    Incoming::Record(Record {
        inserted: false,
        event: Event {
            key: Key::from(key),
            operation,
            created,
        },
        order: Order::Sequence(sequence.into()),
        doubtful,
    })
}

fn deletion(key: &str, sequence: u64, created: SystemTime, previous: Option<Put>) -> Incoming {
    let cause = if previous.is_some() {
        Cause::Deleted
    } else {
        Cause::Unknown
    };
    record(
        key,
        sequence,
        Some(created),
        Operation::Delete(Delete { cause, previous }),
    )
}

fn shown(event: &Event) -> String {
    match &event.operation {
        Operation::Put(put) => format!("{} {}", event.key, put.revision),
        Operation::Delete(delete) => format!("{} {}", event.key, delete.cause.as_str()),
        Operation::Unknown => format!("{} unknown", event.key),
    }
}
