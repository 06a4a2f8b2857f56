//! The last chunks that the hub read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::watch::position::{Lane, Mark, Position};
use crate::watch::source::{Chunk, Entry};

/// What a chunk counts for beside its contents.
const CHUNK: usize = 256;

/// How much of the past is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// The last chunks, numbered through. One at least is kept, however large it is.
#[derive(Debug)]
pub(super) struct Ring {
    bounds: Bounds,
    chunks: VecDeque<Arc<Chunk>>,
    /// The number of the first of them.
    first: u64,
    events: usize,
    bytes: usize,
    /// Behind everything that was read.
    head: Position,
    /// Behind everything that was evicted; at first where the reading began.
    evicted: Position,
    /// Behind the last gap of each lane that has one.
    gaps: Position,
}

impl Ring {
    pub(super) fn new(start: Position, bounds: Bounds) -> Self {
        Self {
            bounds,
            chunks: VecDeque::new(),
            first: 0,
            events: 0,
            bytes: 0,
            evicted: start.clone(),
            gaps: Position::new(Arc::clone(&start.source)),
            head: start,
        }
    }

    pub(super) fn head(&self) -> &Position {
        &self.head
    }

    pub(super) fn gaps(&self) -> &Position {
        &self.gaps
    }

    /// The number of the oldest chunk.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the chunk to come.
    pub(super) fn next(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// A chunk; none if it has been evicted, or is yet to come.
    pub(super) fn get(&self, number: u64) -> Option<&Arc<Chunk>> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.chunks.get(place)
    }

    /// Whether a watcher at `position` has seen all that was evicted. A lane of its that nobody knows here may have been
    /// done with and evicted.
    pub(super) fn holds_on_from(&self, position: &Position) -> bool {
        let known = |lane| self.evicted.lanes.contains_key(lane) || self.head.lanes.contains_key(lane);
        position.source == self.evicted.source
            && includes(position, &self.evicted)
            && position.lanes.keys().all(known)
    }

    /// Whether `position` is nowhere ahead of what was read.
    pub(super) fn knows(&self, position: &Position) -> bool {
        position.source == self.head.source && includes(&self.head, position)
    }

    /// Adds a chunk, evicts what is too much then.
    pub(super) fn push(&mut self, chunk: Arc<Chunk>) {
        go(&mut self.head, &chunk.lane, chunk.end.clone());
        for (mark, entry) in &chunk.entries {
            if matches!(entry, Entry::Gap(_)) {
                self.gaps.advance(&chunk.lane, mark.clone());
            }
        }
        self.events += chunk.entries.len();
        self.bytes += chunk.bytes + CHUNK;
        self.chunks.push_back(chunk);
        while self.chunks.len() > 1 && (self.events > self.bounds.events || self.bytes > self.bounds.bytes) {
            if let Some(oldest) = self.chunks.pop_front() {
                self.first += 1;
                self.events -= oldest.entries.len();
                self.bytes -= oldest.bytes + CHUNK;
                go(&mut self.evicted, &oldest.lane, oldest.end.clone());
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize, usize) {
        (self.chunks.len(), self.events, self.bytes)
    }
}

/// Whether `position` is at or behind `other` in each of its lanes.
fn includes(position: &Position, other: &Position) -> bool {
    other.lanes.iter().all(|(lane, mark)| {
        let own = position.lanes.get(lane);
        own.is_some_and(|own| own == mark || (own > mark && !(is_name(own) && is_name(mark))))
    })
}

/// Whether a mark is a name that a source gave to its present, of which another is neither before nor after.
fn is_name(mark: &Mark) -> bool {
    matches!(mark, Mark::At(number, _) if number.as_str() == "0")
}

/// Goes on in a lane. One that is done is left out: what follows it is in the position by then.
pub(super) fn go(position: &mut Position, lane: &Lane, mark: Mark) {
    if mark == Mark::Done {
        position.lanes.remove(lane);
    } else {
        position.advance(lane, mark);
    }
}

/// Goes on to `other` in each lane that it has; never back.
pub(super) fn merge(position: &mut Position, other: &Position) {
    for (lane, mark) in &other.lanes {
        // Marks hold numbers as texts: those that are there already are not copied.
        if !position.covers(lane, mark) {
            position.advance(lane, mark.clone());
        }
    }
}

/// Goes on to where the hub was: lanes that it has no more are done.
pub(super) fn follow(position: &mut Position, hub: &Position) {
    merge(position, hub);
    if position.lanes.len() > hub.lanes.len() {
        position.lanes.retain(|lane, _| hub.lanes.contains_key(lane));
    }
}

/// Whether `mark` in `lane` is new to a watcher at `position`.
pub(super) fn is_new(position: &Position, lane: &Lane, mark: &Mark) -> bool {
    !position.covers(lane, mark)
}
