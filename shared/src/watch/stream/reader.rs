//! Reading on: one request a shard under way, the listing beside them, and what they tell in order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::calls::{Listing, PACE, Page, Patience};
use super::fault::Fault;
use super::shards::{Shards, Stage};
use super::{CONCURRENCY, Inner, name_of, record};
use crate::clock::Instant;
use crate::watch::WatchError;
use crate::watch::position::{Lane, Mark, Position};
use crate::watch::source::{Chunk, Reader};

/// The least time between two listings, also where shards end one after the other.
const SOON: Duration = Duration::from_secs(1);

/// Reads the stream from a position on. Requests under way belong to it, not to the call that began them: a call that is
/// dropped loses nothing.
pub(super) struct StreamReader {
    source: Arc<Inner>,
    stream: Lane,
    /// Where to begin; none once the shards are known.
    from: Option<Position>,
    shards: Shards,
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// Shards among them.
    reading: usize,
    listing: Looks,
    /// The stream is off, and all of its shards are known.
    off: bool,
    /// What to tell next.
    ready: Vec<Arc<Chunk>>,
    /// Why there is nothing more after that.
    failed: Option<WatchError>,
}

/// When to list the shards.
struct Looks {
    /// At this time, if no listing is under way.
    due: Option<Instant>,
    last: Instant,
    /// How long after the next one.
    wait: Duration,
    /// The longest.
    period: Duration,
}

enum Answer {
    Listed(Result<Listing, Fault>),
    Read {
        shard: Lane,
        asked: Instant,
        page: Result<Page, Fault>,
    },
    /// From where to go on after a loss, and what it was.
    Floor(Position, String),
}

impl Reader for StreamReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Arc<Chunk>>, WatchError>> {
        async move {
            loop {
                if !self.ready.is_empty() {
                    return Ok(std::mem::take(&mut self.ready));
                }
                match &self.failed {
                    // The next call tries again.
                    Some(WatchError::AccessDenied(_) | WatchError::Unavailable(_)) => {
                        if let Some(error) = self.failed.take() {
                            return Err(error);
                        }
                    }
                    Some(error) => return Err(error.clone()),
                    None => self.step().await,
                }
            }
        }
        .boxed()
    }
}

impl StreamReader {
    pub(super) fn new(source: Arc<Inner>, from: Position) -> Self {
        let now = source.calls.clock.instant();
        let (least, most) = (Duration::from_secs(10), Duration::from_secs(30));
        let period = source.poll_period.saturating_mul(10).clamp(least, most);
        Self {
            stream: Arc::clone(&from.source),
            failed: source.check(&from).err(),
            from: Some(from),
            shards: Shards::default(),
            under_way: FuturesUnordered::new(),
            reading: 0,
            listing: Looks {
                due: Some(now),
                last: now,
                wait: period,
                period,
            },
            off: false,
            ready: Vec::new(),
            source,
        }
    }

    /// Sends what is due, and waits for one answer or for what is due next.
    async fn step(&mut self) {
        let due = self.send();
        let wait = due.map(|due| due.saturating_duration_since(self.source.calls.clock.instant()));
        let timer = async {
            match wait {
                Some(wait) => self.source.calls.clock.sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            biased;
            Some(answer) = self.under_way.next() => answer,
            () = timer => return,
        };
        match answer {
            Answer::Listed(listing) => self.listed(listing),
            Answer::Read { shard, asked, page } => self.read(&shard, asked, page),
            Answer::Floor(floor, why) => {
                self.failed = Some(WatchError::Compacted {
                    floor: Box::new(floor),
                    why,
                });
            }
        }
    }

    /// Sends what is due, and answers when something will be.
    fn send(&mut self) -> Option<Instant> {
        let now = self.source.calls.clock.instant();
        let calls = &self.source.calls;
        if self.listing.due.is_some_and(|due| due <= now) {
            let (calls, stream) = (Arc::clone(calls), Arc::clone(&self.stream));
            let listing = async move { Answer::Listed(calls.listing(&stream, Patience::Endless).await) };
            self.under_way.push(listing.boxed());
            self.listing.due = None;
            self.listing.last = now;
        }
        let mut readable: Vec<(Instant, Lane)> = match self.from {
            Some(_) => Vec::new(),
            None => self
                .shards
                .readable()
                .map(|(lane, due)| (due, Arc::clone(lane)))
                .collect(),
        };
        readable.sort();
        let mut next = None;
        for (due, lane) in readable {
            if due > now {
                next = Some(due);
                break;
            }
            if self.reading >= CONCURRENCY {
                break;
            }
            let Some(shard) = self.shards.0.get_mut(&lane) else {
                continue;
            };
            shard.busy = true;
            self.reading += 1;
            let page = Arc::clone(calls).records(
                Arc::clone(&self.stream),
                Arc::clone(&lane),
                shard.iterator.clone(),
                shard.place(),
            );
            let read = async move {
                Answer::Read {
                    shard: lane,
                    asked: now,
                    page: page.await,
                }
            };
            self.under_way.push(read.boxed());
        }
        [next, self.listing.due].into_iter().flatten().min()
    }

    fn listed(&mut self, listing: Result<Listing, Fault>) {
        let now = self.source.calls.clock.instant();
        let listing = match listing {
            Ok(listing) => listing,
            // What is known of it may still be readable; what is not, nobody can find any more.
            Err(Fault::Gone(_)) if self.from.is_none() => {
                self.off = true;
                self.end_if_off();
                return;
            }
            Err(Fault::Gone(said)) => return self.lost(said),
            Err(fault) => {
                self.listing.due = Some(now + self.listing.period);
                self.failed = Some(fault.told("listing the stream's shards"));
                return;
            }
        };
        if let Some(from) = self.from.take() {
            self.shards = Shards::begin(&from, &listing, now);
            for (lane, shard) in &mut self.shards.0 {
                shard.iterator = self.source.kept(lane, &shard.mark);
            }
        }
        self.off |= listing.off;
        self.ready.extend(self.shards.take_in(listing, now));
        // Shards that have ended have children that are not listed yet; but the last ones of a stream never will.
        let waits = self.shards.at(Stage::Ended).next().is_some();
        let wait = if waits {
            self.listing.wait
        } else {
            self.listing.period
        };
        self.listing.wait = (wait * 2).min(self.listing.period);
        // Later by chance, so that many processes do not ask in step.
        let more = self.source.calls.random.jitter(wait / 2);
        self.listing.due = Some(now + wait + more);
        self.end_if_off();
    }

    fn read(&mut self, lane: &Lane, asked: Instant, page: Result<Page, Fault>) {
        self.reading -= 1;
        let calls = &self.source.calls;
        let closed = self.shards.is_closed(lane);
        let Some(shard) = self.shards.0.get_mut(lane) else {
            return;
        };
        shard.busy = false;
        let page = match page {
            Ok(page) => page,
            Err(fault) => {
                shard.failures += 1;
                shard.due = (asked + PACE).max(calls.clock.instant() + calls.backoff(shard.failures));
                if let Fault::Expired = fault {
                    shard.iterator = None;
                }
                let doing = format!("reading the shard {lane}");
                if let Fault::Trimmed(said) | Fault::Gone(said) = fault {
                    self.lost(format!("{doing}: {said}"));
                } else if !fault.may_pass() || calls.credentials_fail(&fault, shard.failures) {
                    shard.failures = 0;
                    self.failed = Some(fault.told(&doing));
                } else {
                    calls.note(&fault, shard.failures, &doing);
                }
                return;
            }
        };
        shard.failures = 0;
        if page.records.is_empty() && !closed {
            // Open, and nothing new: less often, up to the period.
            let period = self.source.poll_period.max(PACE);
            shard.due = asked + calls.spread(shard.pause).max(PACE);
            shard.pause = (shard.pause * 2).min(period);
        } else {
            shard.due = asked + PACE;
            shard.pause = PACE;
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        let before = shard.mark.clone();
        let mut nameless = false;
        for streamed in page.records {
            // Without a number it could not be told from what was read before, nor gone on behind.
            let Some(number) = record::number(&streamed) else {
                nameless = true;
                break;
            };
            let mark = Mark::behind(number.clone());
            if mark <= shard.mark {
                continue;
            }
            shard.mark = mark.clone();
            if let Some(entry) = record::entry(streamed, number, &self.source.layout) {
                bytes += record::weight(&entry);
                entries.push((mark, entry));
            }
        }
        if shard.mark != before || !entries.is_empty() {
            self.ready.push(Arc::new(Chunk {
                lane: Arc::clone(lane),
                entries,
                end: shard.mark.clone(),
                bytes,
            }));
        }
        if nameless {
            return self.lost(format!("a record of the shard {lane} has no SequenceNumber"));
        }
        shard.iterator = page.next;
        match (&shard.iterator, name_of(&shard.mark)) {
            (Some(next), Some(name)) => {
                let renewed = [(Arc::clone(lane), next.clone())].into();
                self.source.keep(name, renewed);
            }
            (Some(_), None) => {}
            (None, _) => self.ended(lane),
        }
    }

    /// A shard has been read to its end: its children come next, and if none is known it is time to look.
    fn ended(&mut self, lane: &Lane) {
        if let Some(shard) = self.shards.0.get_mut(lane) {
            shard.stage = Stage::Ended;
        }
        self.ready.extend(self.shards.settle());
        if self.shards.at(Stage::Ended).any(|ended| ended == lane) {
            self.listing.wait = SOON;
            let soon = (self.listing.last + SOON).max(self.source.calls.clock.instant());
            self.listing.due = self.listing.due.map(|due| due.min(soon));
        }
        self.end_if_off();
    }

    /// The end of a stream that is off: all of it has been read.
    fn end_if_off(&mut self) {
        if self.off && self.shards.at(Stage::Reading).next().is_none() {
            self.lost("the table's stream was turned off".to_owned());
        }
    }

    /// Changes are missing from here on. From where one can go on is asked first.
    fn lost(&mut self, why: String) {
        let (source, stream) = (Arc::clone(&self.source), Arc::clone(&self.stream));
        // Nothing else matters any more.
        self.under_way = FuturesUnordered::new();
        self.shards = Shards::default();
        self.listing.due = None;
        let floor = async move { Answer::Floor(source.floor(&stream).await, why) };
        self.under_way.push(floor.boxed());
    }
}
