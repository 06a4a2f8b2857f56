//! The stream reader on a scripted stream, and on the embedded engine.

mod descent;
#[path = "../../../../tests/state/engine.rs"]
#[allow(dead_code, clippy::duplicate_mod)]
mod engine;
mod failures;
mod fake;
mod on_engine;
mod opening;
mod pace;
mod resume;

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::{Credentials, Region};
use aws_smithy_runtime_api::client::http::HttpClient;

use crate::clock::Clock;
use crate::watch::position::{Lane, Mark, Position};
use crate::watch::source::{Entry, Reader, Source};
use crate::watch::{Operation, WatchError};

/// A clock on which it is 2026-11-21 at first.
fn clock() -> Clock {
    Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_277_360))
}

/// A client of the streams API over a wire.
fn streams(wire: impl HttpClient + 'static) -> Client {
    let config = aws_sdk_dynamodbstreams::Config::builder()
        .behavior_version_latest()
        .endpoint_url("http://streams.invalid")
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .http_client(wire)
        .build();
    Client::from_conf(config)
}

/// A reader, what it has told, and where that leads.
struct Follower {
    reader: Box<dyn Reader>,
    position: Position,
    /// The numbers of the records in order, by their keys.
    seen: Vec<u64>,
    /// The positions behind each of them, and behind each chunk.
    positions: Vec<(usize, Position)>,
    /// Ends of chunks without entries.
    marks: Vec<(Lane, Mark)>,
    /// Whoever follows forgets what is done.
    forgets: bool,
}

impl Follower {
    fn new(source: &dyn Source, from: Position) -> Self {
        Self {
            reader: source.reader(from.clone()),
            positions: vec![(0, from.clone())],
            position: from,
            seen: Vec::new(),
            marks: Vec::new(),
            forgets: true,
        }
    }

    fn advance(&mut self, lane: &Lane, mark: Mark) {
        self.position.advance(lane, mark);
        if self.forgets {
            self.position.lanes.retain(|_, mark| *mark != Mark::Done);
        }
        self.positions.push((self.seen.len(), self.position.clone()));
    }

    /// Reads for so long, or until the reader ends.
    async fn follow(&mut self, time: Duration) -> Result<(), WatchError> {
        let clock = clock();
        let until = clock.instant() + time;
        loop {
            let left = until.saturating_duration_since(clock.instant());
            let Ok(chunks) = clock.timeout(left, self.reader.next()).await else {
                return Ok(());
            };
            let chunks = chunks?;
            assert!(!chunks.is_empty());
            for chunk in chunks {
                let mut last = None;
                for (mark, entry) in &chunk.entries {
                    if let Entry::Event(event) = entry {
                        assert!(matches!(event.operation, Operation::Put(_)));
                        let number = event.key.as_str().unwrap().strip_prefix("/k/").unwrap();
                        self.seen.push(number.parse().unwrap());
                    }
                    self.advance(&chunk.lane, mark.clone());
                    last = Some(mark);
                }
                assert!(last.is_none_or(|last| *last <= chunk.end) && (chunk.bytes > 0) == last.is_some());
                if last.is_none() {
                    self.marks.push((chunk.lane.clone(), chunk.end.clone()));
                }
                self.advance(&chunk.lane, chunk.end.clone());
            }
        }
    }

    async fn secs(&mut self, seconds: u64) {
        self.follow(Duration::from_secs(seconds)).await.unwrap();
    }

    /// The error that the reading ends with.
    async fn end(&mut self) -> WatchError {
        self.follow(Duration::from_secs(3600)).await.unwrap_err()
    }
}

fn sorted(seen: &[u64]) -> Vec<u64> {
    let mut all = seen.to_vec();
    all.sort_unstable();
    all
}

fn all(numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    numbers.collect()
}
