//! The requests of a stream's source: paced, bounded in time, tried again where that may help.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::types::{Record, ShardIteratorType, StreamStatus};

use super::fault::Fault;
use crate::clock::{Clock, Instant};
use crate::random::Random;
use crate::watch::position::{Lane, Number};

/// The least time between two DescribeStream of a source, pages too: all readers of an account's region share 10 a
/// second. Also the least between two GetRecords of a shard.
pub(super) const PACE: Duration = Duration::from_millis(200);
/// Attempts of a request that someone waits for, if the service does not even answer.
const UNANSWERED: u32 = 3;
/// The shortest sequence number that the API takes.
const DIGITS: usize = 21;

/// A stream's requests.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) table: String,
    pub(super) tables: aws_sdk_dynamodb::Client,
    pub(super) streams: Client,
    pub(super) clock: Clock,
    pub(super) random: Random,
    /// Longest time for one attempt.
    pub(super) attempt_timeout: Duration,
    /// Longest pause between attempts.
    pub(super) retry_period: Duration,
    /// When the next DescribeStream may be sent.
    pub(super) next_listing: Mutex<Instant>,
}

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// For as long as the failure may pass.
    Endless,
    /// Someone waits: until then while the service refuses for lack of capacity, and [`UNANSWERED`] times otherwise.
    Until(Instant),
}

/// What a table says of its stream.
pub(super) struct TableStream {
    /// The newest stream, which may be off.
    pub(super) latest: Option<Lane>,
    /// The view of its records; none if there is no stream, or it is off.
    pub(super) view: Option<String>,
}

/// A stream's shards.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) shards: BTreeMap<Lane, Listed>,
    /// The stream is off, or gone: nothing will be added to it.
    pub(super) off: bool,
}

/// What is listed of a shard. Whether it is closed is not looked at: one that has a child is, and of others the embedded
/// engine says it of open ones too.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) parent: Option<Lane>,
    /// Below the number of its first record, or that.
    pub(super) first: Option<Number>,
}

/// Where in a shard to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At the oldest record that is left.
    Horizon,
    /// Behind everything that is there.
    Latest,
    /// At this number.
    At(Number),
    /// Behind this number.
    After(Number),
}

/// Some records of a shard, and the iterator for what follows; none at its end.
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    pub(super) next: Option<String>,
}

impl Calls {
    /// Makes a request until it succeeds, or patience ends.
    pub(super) async fn patiently<T, F>(
        &self,
        patience: Patience,
        doing: &str,
        request: impl Fn() -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut failures = 0;
        loop {
            let fault = match request().await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            failures += 1;
            let pause = self.backoff(failures);
            let enough = match patience {
                Patience::Endless => false,
                Patience::Until(end) => {
                    self.clock.instant() + pause >= end || (!fault.is_throttled() && failures >= UNANSWERED)
                }
            };
            if enough || !fault.may_pass() || self.credentials_fail(&fault, failures) {
                return Err(fault);
            }
            self.note(&fault, failures, doing);
            self.clock.sleep(pause).await;
        }
    }

    /// Whether these were so many refusals of credentials that nobody seems to renew them.
    pub(super) fn credentials_fail(&self, fault: &Fault, failures: u32) -> bool {
        const RENEWALS: u32 = 10;
        fault.is_of_credentials() && failures >= RENEWALS
    }

    /// How long to wait after so many failures: full jitter, up to the retry period.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let doubled = PACE.saturating_mul(1 << failures.min(16));
        self.random.jitter(doubled.min(self.retry_period))
    }

    /// Says so when something fails again and again.
    pub(super) fn note(&self, fault: &Fault, failures: u32, doing: &str) {
        const WORTH_IT: u32 = 3;
        if failures == WORTH_IT {
            let table = &self.table;
            tracing::warn!(table, "{doing} fails, and is tried again: {}", fault.said());
        }
    }

    /// Between a half of it and all of it, so that many processes do not ask in step.
    pub(super) fn spread(&self, wait: Duration) -> Duration {
        wait / 2 + self.random.jitter(wait / 2)
    }

    /// The table's stream. One DescribeTable.
    pub(super) async fn table(&self) -> Result<TableStream, Fault> {
        let request = self.tables.describe_table().table_name(&self.table).send();
        let answer = self.bounded(async { request.await.map_err(Fault::of) }).await?;
        let table = answer.table.unwrap_or_else(|| {
            // An answer without the table: as one without a stream.
            aws_sdk_dynamodb::types::TableDescription::builder().build()
        });
        let view = table
            .stream_specification
            .filter(|spec| spec.stream_enabled)
            .map(|spec| {
                spec.stream_view_type
                    .map_or_else(String::new, |view| view.as_str().to_owned())
            });
        Ok(TableStream {
            latest: table.latest_stream_arn.map(Lane::from),
            view,
        })
    }

    /// All shards of a stream: one DescribeStream for each hundred.
    pub(super) async fn listing(&self, stream: &str, patience: Patience) -> Result<Listing, Fault> {
        const RESTARTS: u32 = 3;
        let mut all = Listing::default();
        let mut after: Option<String> = None;
        let mut restarts = 0;
        loop {
            let page = self.patiently(patience, "listing the stream's shards", || {
                self.listing_page(stream, after.clone(), None)
            });
            let (page, next) = match page.await {
                // The shard where the page was to begin has gone meanwhile.
                Err(Fault::Gone(_)) if after.is_some() && restarts < RESTARTS => {
                    restarts += 1;
                    after = None;
                    continue;
                }
                page => page?,
            };
            all.shards.extend(page.shards);
            all.off = page.off;
            match next {
                // A page that ends where it began would be the last thing this reader does.
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => return Ok(all),
            }
        }
    }

    /// One page of a stream's shards, and where the next begins. One DescribeStream.
    pub(super) async fn listing_page(
        &self,
        stream: &str,
        after: Option<String>,
        limit: Option<i32>,
    ) -> Result<(Listing, Option<String>), Fault> {
        self.paced().await;
        let request = self
            .streams
            .describe_stream()
            .stream_arn(stream)
            .set_exclusive_start_shard_id(after)
            .set_limit(limit)
            .send();
        let answer = self.bounded(async { request.await.map_err(Fault::of) }).await?;
        let mut listing = Listing::default();
        let Some(described) = answer.stream_description else {
            return Ok((listing, None));
        };
        listing.off = matches!(described.stream_status, Some(StreamStatus::Disabled));
        for shard in described.shards.unwrap_or_default() {
            let Some(id) = shard.shard_id else { continue };
            let range = shard.sequence_number_range;
            let first = range.and_then(|range| range.starting_sequence_number);
            listing.shards.insert(
                id.into(),
                Listed {
                    parent: shard.parent_shard_id.map(Lane::from),
                    first: first.map(|first| Number::from(first.as_str())),
                },
            );
        }
        Ok((listing, described.last_evaluated_shard_id))
    }

    /// Waits until a DescribeStream may be sent. Whoever is dropped meanwhile takes nobody's turn.
    async fn paced(&self) {
        loop {
            let wait = {
                let mut next = self.next_listing.lock().unwrap_or_else(PoisonError::into_inner);
                let now = self.clock.instant();
                if *next <= now {
                    *next = now + PACE;
                    return;
                }
                *next - now
            };
            self.clock.sleep(wait).await;
        }
    }

    /// An iterator. One GetShardIterator.
    pub(super) async fn iterator(
        &self,
        stream: &str,
        shard: &str,
        place: &Place,
    ) -> Result<Option<String>, Fault> {
        use ShardIteratorType as Kind;
        let (kind, number) = match place {
            Place::Horizon => (Kind::TrimHorizon, None),
            Place::Latest => (Kind::Latest, None),
            Place::At(number) => (Kind::AtSequenceNumber, Some(number)),
            Place::After(number) => (Kind::AfterSequenceNumber, Some(number)),
        };
        let request = self
            .streams
            .get_shard_iterator()
            .stream_arn(stream)
            .shard_id(shard)
            .shard_iterator_type(kind)
            .set_sequence_number(number.map(written))
            .send();
        let answer = self.bounded(async { request.await.map_err(Fault::of) }).await?;
        Ok(answer.shard_iterator)
    }

    /// What comes next in a shard: by the iterator, or by one that is taken at `place`. One GetRecords, and without an
    /// iterator one GetShardIterator.
    pub(super) async fn records(
        self: Arc<Self>,
        stream: Lane,
        shard: Lane,
        iterator: Option<String>,
        place: Place,
    ) -> Result<Page, Fault> {
        let iterator = match iterator {
            Some(iterator) => Some(iterator),
            None => self.iterator(&stream, &shard, &place).await?,
        };
        let Some(iterator) = iterator else {
            return Ok(Page {
                records: Vec::new(),
                next: None,
            });
        };
        let request = self.streams.get_records().shard_iterator(iterator).send();
        let answer = self.bounded(async { request.await.map_err(Fault::of) }).await?;
        Ok(Page {
            records: answer.records.unwrap_or_default(),
            next: answer.next_shard_iterator,
        })
    }

    async fn bounded<T>(&self, request: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        // On the heap: the SDK's futures are large.
        let request = Box::pin(request);
        let answer = self.clock.timeout(self.attempt_timeout, request).await;
        answer.unwrap_or_else(|_| Err(Fault::unanswered(self.attempt_timeout)))
    }
}

/// A sequence number as the API takes it: the zeros in front that DynamoDB Local writes are given back.
fn written(number: &Number) -> String {
    format!("{:0>DIGITS$}", number.as_str())
}
