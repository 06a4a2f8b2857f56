//! Which shards there are, how they descend from each other, and how far each has been read. No requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::calls::{Listing, PACE, Place};
use crate::clock::Instant;
use crate::watch::position::{Lane, Mark, Number, Position};
use crate::watch::source::Chunk;

/// A shard as a reader knows it.
#[derive(Debug)]
pub(super) struct Shard {
    parent: Option<Lane>,
    /// Below the number of its first record, or that.
    first: Option<Number>,
    /// How far it has been read.
    pub(super) mark: Mark,
    pub(super) stage: Stage,
    /// It has a mark in the positions of those who read.
    placed: bool,
    pub(super) iterator: Option<String>,
    /// When to ask for records next.
    pub(super) due: Instant,
    /// How long to wait after the next page without any.
    pub(super) pause: Duration,
    /// Failures since the last answer.
    pub(super) failures: u32,
    /// A request is under way.
    pub(super) busy: bool,
}

/// What is left to do of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// To read on.
    Reading,
    /// All has been read, but nobody has been told: if the mark were dropped, nothing in a position would say so.
    Ended,
    /// Nothing. It is kept as long as it is listed, so as not to be taken for a new one.
    Over,
}

/// The shards of a stream as one reader knows them.
#[derive(Debug, Default)]
pub(super) struct Shards(pub(super) BTreeMap<Lane, Shard>);

impl Shard {
    fn new(mark: Mark, stage: Stage, placed: bool, now: Instant) -> Self {
        Self {
            parent: None,
            first: None,
            mark,
            stage,
            placed,
            iterator: None,
            due: now,
            pause: PACE,
            failures: 0,
            busy: false,
        }
    }

    /// Where an iterator for what comes next is taken.
    pub(super) fn place(&self) -> Place {
        match &self.mark {
            Mark::Start | Mark::Done => Place::Horizon,
            // A kept iterator that is gone. At its first record, so that it shows if that is not kept any more.
            Mark::At(number, _) if *number == 0.into() => match self.first_mark() {
                Mark::At(first, _) => Place::At(first),
                _ => Place::Horizon,
            },
            Mark::At(number, u32::MAX) => Place::After(number.clone()),
            Mark::At(number, _) => Place::At(number.clone()),
        }
    }

    /// The mark of a shard of which nothing has been read, for positions. Unlike [`Mark::Start`] it finds out if the
    /// first records are not kept any more when someone goes on from there.
    fn first_mark(&self) -> Mark {
        let first = self.first.clone().filter(|first| *first != 0.into());
        first.map_or(Mark::Start, |first| Mark::At(first, 0))
    }
}

impl Shards {
    /// The shards as the first look finds them, from a position on.
    pub(super) fn begin(position: &Position, listing: &Listing, now: Instant) -> Self {
        let mut behind: BTreeSet<&Lane> = BTreeSet::new();
        for lane in position.lanes.keys() {
            let mut next = listing.shards.get(lane).and_then(|shard| shard.parent.as_ref());
            while let Some(parent) = next.filter(|parent| behind.insert(*parent)) {
                next = listing.shards.get(parent).and_then(|shard| shard.parent.as_ref());
            }
        }
        let mut shards = Self::default();
        for (lane, mark) in &position.lanes {
            let stage = match mark {
                Mark::Done => Stage::Over,
                _ => Stage::Reading,
            };
            let shard = Shard::new(mark.clone(), stage, true, now);
            shards.0.insert(Arc::clone(lane), shard);
        }
        for lane in behind {
            if listing.shards.contains_key(lane) {
                let over = || Shard::new(Mark::Done, Stage::Over, false, now);
                shards.0.entry(Arc::clone(lane)).or_insert_with(over);
            }
        }
        shards
    }

    /// Takes in a listing: new shards, and those that have gone from it. Answers what there is to tell.
    pub(super) fn take_in(&mut self, listing: Listing, now: Instant) -> Vec<Arc<Chunk>> {
        let mut told = Vec::new();
        self.0.retain(|lane, shard| {
            let stays = shard.stage == Stage::Reading || listing.shards.contains_key(lane);
            if !stays && shard.stage == Stage::Ended {
                told.push(mark(lane, Mark::Done));
            }
            stays
        });
        for (lane, listed) in listing.shards {
            let new = || Shard::new(Mark::Start, Stage::Reading, false, now);
            let shard = self.0.entry(lane).or_insert_with(new);
            shard.parent = listed.parent;
            shard.first = listed.first;
        }
        told.extend(self.settle());
        told
    }

    /// What there is to tell of shards that have been read to their ends: first where their children begin, so that
    /// there is no position that has neither.
    pub(super) fn settle(&mut self) -> Vec<Arc<Chunk>> {
        let mut told = Vec::new();
        let ended: Vec<Lane> = self.at(Stage::Ended).map(Arc::clone).collect();
        for parent in ended {
            let mut children = self.children(&parent).peekable();
            if children.peek().is_none() {
                continue;
            }
            for (lane, child) in children {
                if !child.placed {
                    child.placed = true;
                    told.push(mark(lane, child.first_mark()));
                }
            }
            told.push(mark(&parent, Mark::Done));
            if let Some(shard) = self.0.get_mut(&parent) {
                shard.stage = Stage::Over;
            }
        }
        told
    }

    fn children<'a>(&'a mut self, parent: &'a Lane) -> impl Iterator<Item = (&'a Lane, &'a mut Shard)> {
        self.0
            .iter_mut()
            .filter(move |(_, shard)| shard.parent.as_ref() == Some(parent))
    }

    /// Whether a shard is known to be closed: it has a child.
    pub(super) fn is_closed(&self, lane: &Lane) -> bool {
        self.0.values().any(|shard| shard.parent.as_ref() == Some(lane))
    }

    /// The shards at a stage.
    pub(super) fn at(&self, stage: Stage) -> impl Iterator<Item = &Lane> {
        self.0
            .iter()
            .filter(move |(_, shard)| shard.stage == stage)
            .map(|(lane, _)| lane)
    }

    /// The shards that may be asked for records, each with the time of it: those whose parents have been read to their
    /// ends, or are not kept any more.
    pub(super) fn readable(&self) -> impl Iterator<Item = (&Lane, Instant)> {
        let reading = |lane: &Lane| {
            self.0
                .get(lane)
                .is_some_and(|shard| shard.stage == Stage::Reading)
        };
        self.0
            .iter()
            .filter(|(_, shard)| shard.stage == Stage::Reading && !shard.busy)
            .filter(move |(_, shard)| !shard.parent.as_ref().is_some_and(reading))
            .map(|(lane, shard)| (lane, shard.due))
    }
}

/// A chunk that tells a mark and nothing else.
fn mark(lane: &Lane, end: Mark) -> Arc<Chunk> {
    Arc::new(Chunk {
        lane: Arc::clone(lane),
        entries: Vec::new(),
        end,
        bytes: 0,
    })
}
