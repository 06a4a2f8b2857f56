//! What an appender has seen of a bucket: which of its records stand there already, and which were overtaken.
//!
//! The walk goes back from the newest segment while a segment's `MaxCreated` is not before the oldest creation time of
//! the records: what was appended before that cannot hold them. It ends as too far after [`WALK_LIMIT`] bytes, and
//! then nobody knows whether the records are repeats.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Log;
use super::LogError;
use super::moment::Moment;
use super::plant::Plant;
use super::requests::Tries;
use super::segment::{GapMark, Known, Summary};
use crate::clock::Clock;
use crate::watch::record::Order;

/// How much of a bucket is read to look for repeats.
const WALK_LIMIT: usize = 32 << 20;
/// For how long a remembered head serves: compaction never removes what was the newest so recently.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);
/// Events that are remembered of all buckets, at about a hundred bytes each.
const MOST_KNOWN: usize = 100_000;

/// What this process remembers of buckets, by partition. It saves reads and decides nothing: a put is refused if the
/// head is another one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    buckets: Mutex<HashMap<String, Remembered>>,
    /// Events in all of them.
    known: AtomicUsize,
}

#[derive(Debug, Default, Clone)]
struct Remembered {
    /// The newest segment known, 0 if the bucket was empty, and when that was so.
    head: Option<(u64, Moment)>,
    segments: BTreeMap<u64, Arc<Summary>>,
}

impl Memory {
    fn with<T>(&self, bucket: &str, with: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        with(buckets.entry(bucket.to_owned()).or_default())
    }

    fn newest(&self, bucket: &str) -> Option<(u64, Moment)> {
        self.with(bucket, |remembered| remembered.head)
    }

    fn segment(&self, bucket: &str, number: u64) -> Option<Arc<Summary>> {
        self.with(bucket, |remembered| remembered.segments.get(&number).cloned())
    }

    /// Notes segments that were read or written.
    fn keep(&self, bucket: &str, summaries: &[Arc<Summary>]) {
        let size = |summary: &Summary| summary.entries.len() + 1;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = buckets.entry(bucket.to_owned()).or_default();
        let mut known = self.known.load(Ordering::Relaxed);
        for summary in summaries {
            known += size(summary);
            let replaced = remembered.segments.insert(summary.number, Arc::clone(summary));
            known -= replaced.map_or(0, |replaced| size(&replaced));
        }
        while known > MOST_KNOWN {
            let longest = buckets
                .values_mut()
                .max_by_key(|remembered| remembered.segments.len());
            let Some((_, oldest)) = longest.and_then(|remembered| remembered.segments.pop_first()) else {
                break;
            };
            known -= size(&oldest);
        }
        self.known.store(known, Ordering::Relaxed);
    }

    /// Notes what was the newest segment at a time.
    fn head(&self, bucket: &str, number: u64, at: Moment) {
        self.with(bucket, |remembered| {
            if remembered.head.is_none_or(|(_, before)| before.is_before(&at)) {
                remembered.head = Some((number, at));
            }
        });
    }
}

/// What is known of a key that records are to be appended of.
#[derive(Debug, Default)]
pub(super) struct OfKey {
    orders: HashSet<Order>,
    highest: Option<(Order, u64, u32)>,
    events: Vec<Known>,
}

/// A bucket as far as it has been looked at for some records.
#[derive(Debug)]
pub(super) struct View {
    keys: HashMap<u64, OfKey>,
    gaps: HashSet<Box<str>>,
    /// Label of the records' stream.
    label: String,
    /// The newest segment, none if the bucket is empty.
    pub(super) standing: Option<Arc<Summary>>,
    /// When that was so.
    at: Moment,
    /// The walk was given up: what is not found may be there all the same.
    pub(super) too_far: bool,
}

impl View {
    /// Looks for records of these keys that were created at `oldest` or later, from the newest segment back.
    ///
    /// Requests: none if everything is remembered; else one for the newest segment and one for each 1 MB of the walk.
    pub(super) async fn look(
        log: &Log,
        memory: &Memory,
        bucket: &str,
        label: &str,
        keys: impl IntoIterator<Item = u64>,
        oldest: u64,
        tries: &mut Tries<'_>,
    ) -> Result<Self, LogError> {
        let clock = &log.inner.clock;
        let remembered = memory
            .newest(bucket)
            .filter(|(_, at)| at.is_within(REMEMBERED, clock) || log.has(Plant::RememberedForEver));
        let (mut head, at) = match remembered {
            Some((number, at)) => (Some(number), at),
            None => (None, Moment::now(clock)),
        };
        let mut view = Self {
            keys: keys.into_iter().map(|key| (key, OfKey::default())).collect(),
            gaps: HashSet::new(),
            label: label.to_owned(),
            standing: None,
            at,
            too_far: false,
        };
        let (mut limit, mut walked) = (1, 0);
        // The next segment to look at; none is the newest, whichever that is.
        let mut next = head;
        loop {
            if next == Some(0) {
                break;
            }
            let known = next.and_then(|number| memory.segment(bucket, number));
            let page = match known {
                Some(known) => vec![known],
                None => {
                    let read = tries.read(|| log.below(bucket, next, limit)).await?;
                    limit = (limit * 2).min(1024);
                    walked += read.iter().map(|segment| segment.bytes).sum::<usize>();
                    let page: Vec<_> = read.iter().map(|segment| Arc::new(segment.summary())).collect();
                    memory.keep(bucket, &page);
                    page
                }
            };
            let mut ended = page.is_empty();
            for summary in page {
                // What stands above a hole was compacted away, and with it whatever could be a repeat.
                ended = ended || next.is_some_and(|number| summary.number != number);
                if ended {
                    break;
                }
                if head.is_none() {
                    head = Some(summary.number);
                }
                ended = !view.may_hold(&summary, oldest) || log.has(Plant::WalkCutShort);
                next = Some(summary.number - 1);
                view.add(&summary);
            }
            if head.is_none() {
                head = Some(0);
            }
            if ended {
                break;
            }
            if walked > WALK_LIMIT {
                view.too_far = true;
                break;
            }
        }
        memory.head(bucket, head.unwrap_or_default(), at);
        Ok(view)
    }

    /// Whether records that were created at `oldest` or later can stand in this segment, or before it.
    fn may_hold(&self, summary: &Summary, oldest: u64) -> bool {
        oldest == 0 || summary.max_created.is_some_and(|max| max >= oldest)
    }

    /// Reads what was appended since. One request for each 1 MB of it.
    pub(super) async fn look_again(
        &mut self,
        log: &Log,
        memory: &Memory,
        bucket: &str,
        tries: &mut Tries<'_>,
    ) -> Result<(), LogError> {
        loop {
            let at = Moment::now(&log.inner.clock);
            let last = self.number();
            let (read, more) = tries.read(|| log.above(bucket, last, 1024, true)).await?;
            let page: Vec<_> = read.iter().map(|segment| Arc::new(segment.summary())).collect();
            memory.keep(bucket, &page);
            for summary in &page {
                self.add(summary);
            }
            if !more {
                self.at = at;
                memory.head(bucket, self.number(), at);
                return Ok(());
            }
        }
    }

    /// A segment of this process's own was written as the next one.
    pub(super) fn wrote(&mut self, memory: &Memory, bucket: &str, summary: Summary, at: Moment) {
        let summary = Arc::new(summary);
        memory.keep(bucket, std::slice::from_ref(&summary));
        memory.head(bucket, summary.number, at);
        self.add(&summary);
        self.at = at;
    }

    fn add(&mut self, summary: &Arc<Summary>) {
        // Numbers of another stream say nothing of this one's.
        let entries = summary.entries.iter().filter(|_| summary.stream == self.label);
        for known in entries {
            if let Some(of_key) = self.keys.get_mut(&known.key) {
                let higher = of_key
                    .highest
                    .as_ref()
                    .is_none_or(|(highest, ..)| overtakes(&known.order, highest));
                if higher {
                    of_key.highest = Some((known.order.clone(), summary.number, known.at));
                }
                of_key.orders.insert(known.order.clone());
                of_key.events.push(known.clone());
            }
        }
        self.gaps.extend(summary.gaps.iter().cloned());
        if self
            .standing
            .as_ref()
            .is_none_or(|standing| standing.number < summary.number)
        {
            self.standing = Some(Arc::clone(summary));
        }
    }

    /// The number of the newest segment, 0 if there is none.
    pub(super) fn number(&self) -> u64 {
        self.standing.as_ref().map_or(0, |standing| standing.number)
    }

    /// Whether what it knows of the head is recent enough to put the next segment.
    pub(super) fn is_fresh(&self, clock: &Clock) -> bool {
        self.at.is_within(REMEMBERED, clock)
    }

    pub(super) fn holds(&self, key: u64, order: &Order) -> bool {
        self.keys
            .get(&key)
            .is_some_and(|of_key| of_key.orders.contains(order))
    }

    /// Whether the gap with this id stands there.
    pub(super) fn holds_gap(&self, id: &str) -> bool {
        self.gaps.contains(id)
    }

    /// The events of a key that were met.
    pub(super) fn events(&self, key: u64) -> impl Iterator<Item = &Known> {
        self.keys.get(&key).into_iter().flat_map(|of_key| &of_key.events)
    }

    /// Where an event of the key stands that came after this one, if there is one: segment and place in it.
    pub(super) fn overtaken(&self, key: u64, order: &Order) -> Option<(u64, u32)> {
        let (highest, segment, at) = self.keys.get(&key)?.highest.as_ref()?;
        overtakes(highest, order).then_some((*segment, *at))
    }

    /// Where the last gap stands.
    pub(super) fn gap(&self) -> Option<GapMark> {
        self.standing.as_ref().and_then(|standing| standing.gap)
    }
}

/// Whether `this` comes after `that`, or cannot be told from it: equal times of different Kinesis records.
pub(super) fn overtakes(this: &Order, that: &Order) -> bool {
    match (this, that) {
        (Order::Sequence(this), Order::Sequence(that)) => this > that,
        (Order::Created(this, id), Order::Created(that, other)) => this > that || this == that && id != other,
        // A generation has one source.
        _ => true,
    }
}
