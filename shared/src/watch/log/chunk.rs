//! The next segment in the making: what becomes of each record of a bucket's share.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use super::Log;
use super::append::{Inline, ROUNDED};
use super::plant::Plant;
use super::segment::{Known, Logged, Segment, millis};
use super::swept::Note;
use super::view::{View, overtakes};
use crate::watch::event::{Cause, Event, Operation};
use crate::watch::record::{Order, Record};

/// The most bytes of a segment's events, unless it is a single one.
const SEGMENT: usize = 64 * 1024;
/// A creation time further ahead than this is a mistake, and counts as absent. Longer than a record can come again after,
/// or it would be one at first and none later.
const AHEAD: Duration = Duration::from_secs(25 * 3600);
const OVERTAKEN: &str = "a change came after a later one of its key";
const UNPROVEN: &str = "whether a late change stands in the log could not be told";

/// A record of a batch on its way into a bucket.
#[derive(Clone, Copy)]
pub(super) struct Due<'a> {
    pub(super) at: usize,
    pub(super) key: u64,
    pub(super) record: &'a Record,
    /// What a sweep noted before it deleted the key.
    pub(super) note: Option<&'a Note>,
}

/// A bucket's share of a batch.
pub(super) enum Share<'a> {
    Record(Due<'a>),
    Gap {
        at: usize,
        /// It stands for the record in the report: one of all buckets does.
        counts: bool,
        id: Option<&'a str>,
        created: Option<SystemTime>,
    },
}

impl Share<'_> {
    pub(super) fn counts(&self) -> bool {
        match self {
            Self::Record(_) => true,
            Self::Gap { counts, .. } => *counts,
        }
    }

    pub(super) fn at(&self) -> usize {
        match self {
            Self::Record(due) => due.at,
            Self::Gap { at, .. } => *at,
        }
    }
}

/// The next segment in the making.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) events: Vec<Logged>,
    size: usize,
    /// How many of the share it takes.
    pub(super) taken: usize,
    pub(super) appended: usize,
    /// Records that stand in the share before, and are in this segment then.
    pub(super) repeats: usize,
    orders: HashSet<(u64, Order)>,
    last_gap: Option<usize>,
    pub(super) max_created: Option<u64>,
}

impl Chunk {
    /// The events of the next segment, from the front of the share.
    pub(super) fn of(log: &Log, inline: &Inline, view: &View, label: &str, share: &[Share<'_>]) -> Self {
        let now = log.inner.clock.now();
        let mut chunk = Self::default();
        // The highest of each key within this chunk, and its place.
        let mut highest: HashMap<u64, (&Order, usize)> = HashMap::new();
        let standing = view.standing.as_deref();
        if standing.is_some_and(|standing| !standing.stream.is_empty() && standing.stream.as_str() < label) {
            chunk.push(Logged::gap("the table's stream was replaced", None, None), None);
        }
        for next in share {
            let (created, logged) = match next {
                Share::Gap { created, id, .. } => {
                    let created = sound(*created, now);
                    let known = id.is_some_and(|id| view.holds_gap(id));
                    let gap = Logged::gap("a record could not be read", *id, created);
                    (created, (!known).then_some(gap))
                }
                // Kinesis brings a record twice in one batch, too.
                Share::Record(due) if !chunk.orders.insert((due.key, due.record.order.clone())) => {
                    chunk.repeats += 1;
                    (None, None)
                }
                Share::Record(due) => {
                    let order = &due.record.order;
                    let created = sound(due.record.event.created, now);
                    let before = highest.get(&due.key).filter(|(other, _)| overtakes(other, order));
                    let logged = if let Some((_, place)) = before {
                        (chunk.last_gap <= Some(*place)).then(|| Logged::gap(OVERTAKEN, None, created))
                    } else if let Some(place) = view
                        .overtaken(due.key, order)
                        .filter(|_| !log.has(Plant::OvertakenAppended))
                    {
                        let marked = chunk.last_gap.is_some()
                            || view.gap().is_some_and(|gap| (gap.segment, gap.count - 1) > place);
                        (!marked).then(|| Logged::gap(OVERTAKEN, None, created))
                    } else if view.too_far {
                        let marked = chunk.last_gap.is_some() || covers(view, created);
                        (!marked).then(|| Logged::gap(UNPROVEN, None, created))
                    } else {
                        highest.insert(due.key, (order, chunk.events.len()));
                        let carried = inline.carries(&due.record.event);
                        let before = share_of(share, due.key).chain(view.events(due.key).cloned());
                        if due.note.is_some_and(|note| note.is_of(due.record, before)) {
                            Some(Logged::event(&expired(&due.record.event), order, carried))
                        } else {
                            Some(Logged::event(&due.record.event, order, carried))
                        }
                    };
                    (created, logged)
                }
            };
            if logged.is_some_and(|logged| !chunk.push(logged, created)) {
                break;
            }
            chunk.taken += 1;
        }
        chunk
    }

    /// Adds an event or a gap; false if there is no room for it.
    fn push(&mut self, logged: Logged, created: Option<SystemTime>) -> bool {
        let length = Segment::encode(std::slice::from_ref(&logged)).len();
        if self.size + length > SEGMENT && !self.events.is_empty() {
            return false;
        }
        self.size += length;
        self.max_created = self.max_created.max(created.map(millis));
        if logged.is_gap() {
            self.last_gap = Some(self.events.len());
        } else {
            self.appended += 1;
        }
        self.events.push(logged);
        true
    }
}

/// How many records a part of a share stands for.
pub(super) fn count(share: &[Share<'_>]) -> usize {
    share.iter().filter(|share| share.counts()).count()
}

/// The records of a share that are of a key.
fn share_of<'s>(share: &'s [Share<'_>], key: u64) -> impl Iterator<Item = Known> + 's {
    share.iter().filter_map(move |share| match share {
        Share::Record(due) if due.key == key => Some(Known::of(key, &due.record.event, &due.record.order)),
        _ => None,
    })
}

/// A delete, as a sweep's.
fn expired(event: &Event) -> Event {
    let mut event = event.clone();
    if let Operation::Delete(delete) = &mut event.operation {
        delete.cause = Cause::Expired;
    }
    event
}

/// A creation time that can be one.
pub(super) fn sound(created: Option<SystemTime>, now: SystemTime) -> Option<SystemTime> {
    created.filter(|created| *created <= now + AHEAD)
}

/// Whether a gap stands that was appended after a change surely had been made: who met it has listed the change.
fn covers(view: &View, created: Option<SystemTime>) -> bool {
    match (view.gap(), created) {
        (Some(gap), Some(created)) => gap.appended > millis(created + ROUNDED),
        _ => false,
    }
}
