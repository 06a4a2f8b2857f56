//! The table's stream, read without Lambda: for the one process that watches a table and wants no watch log.
//!
//! AWS allows two readers of a shard, and Lambda may be one of them: this is no way for a fleet of processes to watch,
//! which is what the watch log is for.
//!
//! # Shards
//! A lane is a shard, and closed shards are read like open ones. A shard is read once its parent has been read to its
//! end, from its first record on, whenever it was born and closed; a parent that is not kept any more holds up nobody.
//! A position names the shards that are being read. Their ancestors are behind it, all other shards before it: so the
//! mark of a parent may be dropped as soon as it is done, which is said only once a child has a mark, or the
//! shard has left the listing.
//!
//! # Now
//! `Source::now` takes an iterator behind the last record of each shard before it answers. A sequence number cannot be
//! had there, so the source keeps the iterators and the position has their name, `At(0, name)`. Readers use them, and
//! renew them while there are no records. One that is gone all the same (the position comes from another process, or
//! nothing could be read for a quarter of an hour) is made up for by reading the shard from its oldest record: nothing is
//! lost, and up to the hours that a shard lives are seen again.
//!
//! # Price
//! $0.02 for 100,000 GetRecords after the first 2.5 million of a month. Of an idle shard one is sent each
//! `poll_stream_period` or up to twice as often, of a busy one five a second, which is the most. DescribeStream and
//! GetShardIterator are free; the first is sent every ten periods and up to a half more (10 to 45 s), within a second if a
//! shard has ended, a request for each hundred shards, and never two within 200 ms.

mod calls;
mod fault;
mod reader;
mod record;
mod shards;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::retry::RetryConfig;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use self::calls::{Calls, Patience, Place};
use self::fault::Fault;
use self::reader::StreamReader;
use super::WatchError;
use super::position::{Lane, Mark, Position};
use super::source::{Reader, Source};
use crate::clock::Instant;
use crate::state::{Backend, Layout};

/// Requests under way at a time, of one reader.
const CONCURRENCY: usize = 16;
/// How long AWS keeps an iterator.
const ITERATOR_LIFE: Duration = Duration::from_secs(15 * 60);

/// The stream of a backend's table as a source of changes. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct StreamSource(Arc<Inner>);

struct Inner {
    calls: Arc<Calls>,
    layout: Layout,
    poll_period: Duration,
    /// Longest time for a call that someone waits for.
    operation_timeout: Duration,
    /// The table's stream as last seen.
    current: Mutex<Lane>,
    kept: Mutex<HashMap<u32, Kept>>,
}

/// The iterators behind the last records of shards, from one call of `Source::now`.
struct Kept {
    /// When the youngest was given.
    at: Instant,
    iterators: BTreeMap<Lane, String>,
}

impl StreamSource {
    /// The stream of the backend's table, by its `poll_stream_period` and `retry_period`, read with this client (its
    /// endpoint, region and credentials; the SDK's retries are replaced by ours). One DescribeTable and one DescribeStream.
    ///
    /// # Errors
    /// [`WrongSource`](WatchError::WrongSource) if the table has no stream or one without new images,
    /// [`Unavailable`](WatchError::Unavailable) if the table or the streams endpoint cannot be reached,
    /// [`AccessDenied`](WatchError::AccessDenied).
    pub async fn open(backend: &Backend, streams: &Client) -> Result<Self, WatchError> {
        let config = backend.config();
        let settings = streams
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled());
        let clock = backend.clock().clone();
        let source = Self(Arc::new(Inner {
            layout: backend.layout().clone(),
            poll_period: config.poll_stream_period,
            operation_timeout: config.operation_timeout,
            current: Mutex::new("".into()),
            kept: Mutex::default(),
            calls: Arc::new(Calls {
                table: config.table_name.clone(),
                tables: backend.client().clone(),
                streams: Client::from_conf(settings.build()),
                random: backend.random().clone(),
                attempt_timeout: config.attempt_timeout,
                retry_period: config.retry_period,
                next_listing: Mutex::new(clock.instant()),
                clock,
            }),
        }));
        let inner = &source.0;
        let patience = inner.patience();
        let stream = inner.look(patience).await?;
        let doing = "reaching the streams endpoint, which is another one than the table's and has a VPC endpoint and \
                     permissions of its own";
        let page = inner
            .calls
            .patiently(patience, doing, || {
                inner.calls.listing_page(&stream, None, Some(1))
            })
            .await;
        page.map_err(|fault| fault.told(doing))?;
        Ok(source)
    }
}

impl Inner {
    fn patience(&self) -> Patience {
        Patience::Until(self.calls.clock.instant() + self.operation_timeout)
    }

    fn current(&self) -> Lane {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The table's stream at present, if it can be read. One DescribeTable.
    async fn look(&self, patience: Patience) -> Result<Lane, WatchError> {
        let doing = "looking for the table's stream";
        let table = self
            .calls
            .patiently(patience, doing, || self.calls.table())
            .await
            .map_err(|fault| fault.told(doing))?;
        let wrong = |what: &str| {
            let table = &self.calls.table;
            Err(WatchError::WrongSource(format!("the table {table} {what}")))
        };
        match (table.latest, table.view.as_deref()) {
            (Some(stream), Some("NEW_IMAGE" | "NEW_AND_OLD_IMAGES")) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&stream);
                Ok(stream)
            }
            (Some(_), Some(view)) => wrong(&format!(
                "has a stream with the view {view}, without what was written: NEW_AND_OLD_IMAGES is due, and a \
                 stream's view can only be changed by turning it off and on"
            )),
            _ => wrong("has no stream: turn it on, with the view NEW_AND_OLD_IMAGES"),
        }
    }

    /// The oldest position of the stream that the table has now, or else of the one that was read: without lanes, which
    /// is before every shard.
    async fn floor(&self, read: &Lane) -> Position {
        let latest = self.calls.table().await.ok().and_then(|table| table.latest);
        if let Some(latest) = &latest {
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(latest);
        }
        Position::new(latest.unwrap_or_else(|| Arc::clone(read)))
    }

    async fn now(&self) -> Result<Position, WatchError> {
        let patience = self.patience();
        let stream = self.look(patience).await?;
        let doing = "finding the ends of the stream's shards";
        let told = |fault: Fault| fault.told(doing);
        let listing = self.calls.listing(&stream, patience).await.map_err(told)?;
        let shards = listing.shards.values();
        let parents: BTreeSet<&Lane> = shards.filter_map(|shard| shard.parent.as_ref()).collect();
        let mut ends = Vec::new();
        for shard in listing.shards.keys() {
            // What has a child is closed, and so behind the position. Of the rest a listing that lags may not tell.
            if !parents.contains(shard) {
                ends.push(self.end_of(&stream, Arc::clone(shard), patience).boxed());
            }
        }
        let iterators: Vec<(Lane, Option<String>)> = stream::iter(ends)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
            .map_err(told)?;
        let name = u32::try_from(self.calls.random.below(u64::from(u32::MAX))).unwrap_or_default();
        let mut position = Position::new(Arc::clone(&stream));
        let mut kept = BTreeMap::new();
        for (shard, iterator) in iterators {
            if let Some(iterator) = iterator {
                position.advance(&shard, named(name));
                kept.insert(shard, iterator);
            }
        }
        self.keep(name, kept);
        Ok(position)
    }

    /// An iterator behind the last record of a shard; none if it has gone since it was listed. Were it a new one instead,
    /// it would be read from its first record.
    async fn end_of(
        &self,
        stream: &Lane,
        shard: Lane,
        patience: Patience,
    ) -> Result<(Lane, Option<String>), Fault> {
        let taken = self.calls.patiently(patience, "taking an iterator", || {
            self.calls.iterator(stream, &shard, &Place::Latest)
        });
        match taken.await {
            Ok(iterator) => Ok((shard, iterator)),
            Err(Fault::Gone(_) | Fault::Trimmed(_)) => Ok((shard, None)),
            Err(fault) => Err(fault),
        }
    }

    async fn beginning(&self) -> Result<Position, WatchError> {
        let patience = self.patience();
        let stream = self.look(patience).await?;
        let listing = self
            .calls
            .listing(&stream, patience)
            .await
            .map_err(|fault| fault.told("listing the stream's shards"))?;
        let mut position = Position::new(stream);
        for shard in listing.shards.keys() {
            position.advance(shard, Mark::Start);
        }
        Ok(position)
    }

    /// Keeps iterators under a name, and lets go of those that are too old to be of use.
    fn keep(&self, name: u32, iterators: BTreeMap<Lane, String>) {
        let at = self.calls.clock.instant();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| at - kept.at < ITERATOR_LIFE);
        let entry = kept.entry(name).or_insert_with(|| Kept {
            at,
            iterators: BTreeMap::new(),
        });
        entry.at = at;
        entry.iterators.extend(iterators);
    }

    /// The iterator of a shard that is kept under the name in its mark.
    fn kept(&self, shard: &Lane, mark: &Mark) -> Option<String> {
        let name = name_of(mark)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&name)?.iterators.get(shard).cloned()
    }

    /// What is wrong with a position, of whichever stream.
    fn check(&self, position: &Position) -> Result<(), WatchError> {
        let current = self.current();
        let table = |stream: &str| stream.rsplit_once("/stream/").map(|(table, _)| table.to_owned());
        if position.source == current {
            Ok(())
        } else if table(&position.source) == table(&current) {
            Err(WatchError::Compacted {
                floor: Box::new(Position::new(current)),
                why: "the table's stream is another one now: it was turned off and on".to_owned(),
            })
        } else {
            Err(WatchError::BadParameter(format!(
                "the position is not one of the stream of the table {}",
                self.calls.table
            )))
        }
    }
}

/// The mark of an iterator that is kept under a name: no record has the number 0.
fn named(name: u32) -> Mark {
    Mark::At(0.into(), name)
}

fn name_of(mark: &Mark) -> Option<u32> {
    match mark {
        Mark::At(number, name) if *number == 0.into() => Some(*name),
        _ => None,
    }
}

impl Source for StreamSource {
    fn now(&self) -> BoxFuture<'_, Result<Position, WatchError>> {
        self.0.now().boxed()
    }

    fn beginning(&self) -> BoxFuture<'_, Result<Position, WatchError>> {
        self.0.beginning().boxed()
    }

    fn reader(&self, from: Position) -> Box<dyn Reader> {
        Box::new(StreamReader::new(Arc::clone(&self.0), from))
    }
}

impl fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSource")
            .field("table", &self.0.calls.table)
            .field("stream", &self.0.current())
            .finish_non_exhaustive()
    }
}
