//! The hub: the task that reads for everybody, who is woken by what it read, and what ends everybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use super::index::{Id, Index};
use super::ring::{Bounds, Ring, follow, merge};
use super::settings::Settings;
use super::strict::Strict;
use super::values::Fetched;
use crate::clock::{Clock, Instant};
use crate::random::Random;
use crate::watch::error::WatchError;
use crate::watch::event::Operation;
use crate::watch::filter::Filter;
use crate::watch::position::{Mark, Position};
use crate::watch::source::{Chunk, Entry, Source};

/// What all watchers together may keep of batches that they read by themselves, in KiB.
const KEPT: usize = 32 * 1024;

/// What clones of [`Watches`](super::Watches) and their watchers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) source: Box<dyn Source>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) buffer_size: usize,
    bounds: Bounds,
    /// A place for each watcher that reads by itself at the same time.
    pub(super) readers: Semaphore,
    /// What may be kept of batches, in KiB.
    pub(super) kept: Arc<Semaphore>,
    pub(super) fetched: Fetched,
    /// Held by whoever starts the reading, so that many who come at once ask the source once.
    starting: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    run: Option<Run>,
    runs: u64,
    watchers: BTreeMap<Id, Slot>,
    last: Id,
    index: Index,
}

/// A reader at work.
#[derive(Debug)]
struct Run {
    number: u64,
    ring: Ring,
    task: AbortHandle,
}

/// What the hub knows of a watcher.
#[derive(Debug)]
struct Slot {
    filter: Arc<Filter>,
    wake: Arc<Notify>,
    /// Whether it looks at the ring; otherwise it reads by itself.
    joined: bool,
    /// The first chunk that may have something for it and that it has not begun to look at, and the position in front
    /// of that chunk: there is nothing for it between what it looked at and there.
    pending: Option<(u64, Arc<Position>)>,
    failed: Option<WatchError>,
    strict: Option<Strict>,
}

/// Where a watcher is in the ring: it looks at the chunks up to `until` one by one, then at what is pending.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cursor {
    pub(super) next: u64,
    /// How many entries of that chunk it has looked at.
    pub(super) entry: usize,
    pub(super) until: u64,
}

/// What a look at the ring shows.
#[derive(Debug)]
pub(super) enum Look {
    /// The chunk at the cursor.
    Chunk(Arc<Chunk>),
    /// Nothing up to the hub's position, which is the watcher's now.
    Nothing,
    /// The watcher is not in the ring, or no more.
    Apart,
}

/// What came of an attempt to join the ring.
#[derive(Debug)]
pub(super) enum Joined {
    Yes(Cursor),
    /// What the watcher has not seen is not in the ring.
    No,
    /// Nobody reads.
    NoHub,
}

impl Shared {
    pub(super) fn new(source: Box<dyn Source>, clock: Clock, random: Random, settings: &Settings) -> Self {
        Self {
            source,
            clock,
            random,
            buffer_size: settings.buffer_size.max(1),
            bounds: Bounds {
                events: settings.buffer_size.max(1),
                bytes: settings.buffer_bytes,
            },
            readers: Semaphore::new(settings.readers.max(1)),
            kept: Arc::new(Semaphore::new(KEPT)),
            fetched: Fetched::default(),
            starting: tokio::sync::Mutex::new(()),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a watcher known. It looks at nothing yet.
    pub(super) fn enter(
        &self,
        filter: &Arc<Filter>,
        wake: &Arc<Notify>,
        strict: Option<Strict>,
    ) -> Result<Id, WatchError> {
        let mut state = self.state();
        if state.closed {
            return Err(WatchError::Closed);
        }
        state.last += 1;
        let id = state.last;
        state.index.add(id, filter);
        state.watchers.insert(
            id,
            Slot {
                filter: Arc::clone(filter),
                wake: Arc::clone(wake),
                joined: false,
                pending: None,
                failed: None,
                strict,
            },
        );
        Ok(id)
    }

    /// Forgets a watcher, and ends the reading with the last one.
    pub(super) fn leave(&self, id: Id) {
        let mut state = self.state();
        let Some(slot) = state.watchers.remove(&id) else {
            return;
        };
        state.index.remove(id, &slot.filter);
        if state.watchers.is_empty() {
            let run = state.run.take();
            // What it holds is dropped without the lock.
            drop(state);
            if let Some(run) = run {
                run.task.abort();
            }
        }
    }

    /// Sees to it that the source is read, from its present on if it is not yet.
    pub(super) async fn ensure(self: &Arc<Self>) -> Result<(), WatchError> {
        let _starting = self.starting.lock().await;
        {
            let state = self.state();
            if state.closed {
                return Err(WatchError::Closed);
            }
            if state.run.is_some() {
                return Ok(());
            }
        }
        let start = self.source.now().await?;
        let runtime = Handle::try_current()
            .map_err(|_| WatchError::BadParameter("a watch needs a tokio runtime".to_owned()))?;
        let mut state = self.state();
        if state.closed {
            return Err(WatchError::Closed);
        }
        state.runs += 1;
        let number = state.runs;
        let task = runtime.spawn(Arc::clone(self).read(number, start.clone()));
        state.run = Some(Run {
            number,
            ring: Ring::new(start, self.bounds),
            task: task.abort_handle(),
        });
        Ok(())
    }

    /// Reads until an error, or until it is aborted.
    async fn read(self: Arc<Self>, number: u64, start: Position) {
        let stopped = Stopped {
            shared: Arc::clone(&self),
            number,
        };
        let mut reader = self.source.reader(start);
        let error = loop {
            let chunks = match reader.next().await {
                Ok(chunks) => chunks,
                Err(error) => break error,
            };
            let gap = chunks.iter().rposition(|chunk| chunk.has_gap());
            for (at, chunk) in chunks.into_iter().enumerate() {
                self.push(number, chunk);
                // Whoever was woken looks at it before a large batch evicts it; but who lists again for a gap should
                // not meet the same one of the next lane.
                if gap.is_none_or(|gap| at >= gap) {
                    tokio::task::yield_now().await;
                }
            }
        };
        self.fail(number, &error);
        drop(stopped);
    }

    /// Takes a chunk into the ring, and wakes those for whom something is in it.
    fn push(&self, number: u64, chunk: Arc<Chunk>) {
        let now = self.clock.instant();
        let mut woken = Vec::new();
        // What Teleport's contract has no event for.
        let mut lost: Option<(Mark, Arc<str>)> = None;
        let mut state = self.state();
        let State {
            run, watchers, index, ..
        } = &mut *state;
        let Some(run) = run.as_mut().filter(|run| run.number == number) else {
            return;
        };
        let at = run.ring.next();
        let mut before: Option<Arc<Position>> = None;
        let mut here = || Arc::clone(before.get_or_insert_with(|| Arc::new(run.ring.head().clone())));
        for (mark, entry) in &chunk.entries {
            match entry {
                Entry::Event(event) => {
                    for id in index.candidates(&event.key) {
                        let Some(slot) = watchers.get_mut(&id).filter(|slot| slot.filter.takes(event)) else {
                            continue;
                        };
                        if slot.joined && slot.pending.is_none() {
                            slot.pending = Some((at, here()));
                            woken.push(Arc::clone(&slot.wake));
                        }
                        slot.count(now);
                        if slot.strict.is_some() && event.operation == Operation::Unknown {
                            lost = Some((mark.clone(), Arc::from("a change could not be read")));
                        }
                    }
                }
                Entry::Gap(why) => {
                    lost = Some((mark.clone(), Arc::clone(why)));
                    for slot in watchers
                        .values_mut()
                        .filter(|slot| slot.joined && slot.pending.is_none())
                    {
                        slot.pending = Some((at, here()));
                        woken.push(Arc::clone(&slot.wake));
                    }
                }
            }
        }
        run.ring.push(Arc::clone(&chunk));
        if let Some((mark, why)) = lost {
            let mut floor = run.ring.head().clone();
            floor.advance(&chunk.lane, mark);
            let error = WatchError::Compacted {
                floor: Box::new(floor),
                why: why.to_string(),
            };
            fail_strict(watchers, &error);
        }
        drop(state);
        for wake in woken {
            wake.notify_one();
        }
    }

    /// Ends a run, and everybody who looks at its ring.
    fn fail(&self, number: u64, error: &WatchError) {
        let mut state = self.state();
        let run = state.run.take_if(|run| run.number == number);
        if run.is_some() {
            for slot in state.watchers.values_mut() {
                if slot.joined || slot.strict.is_some() {
                    slot.fail(error);
                }
            }
        }
        drop(state);
    }

    /// Ends all watchers of Teleport's contract.
    pub(super) fn reset(&self, error: &WatchError) {
        fail_strict(&mut self.state().watchers, error);
    }

    /// Ends everybody, and refuses whoever comes later.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for slot in state.watchers.values_mut() {
            slot.fail(&WatchError::Closed);
        }
        let run = state.run.take();
        drop(state);
        if let Some(run) = run {
            run.task.abort();
        }
    }

    /// Joins at the hub's position; none if nobody reads.
    pub(super) fn join_at_head(&self, id: Id) -> Option<(Position, Cursor)> {
        let mut state = self.state();
        let State { run, watchers, .. } = &mut *state;
        let (ring, slot) = (&run.as_ref()?.ring, watchers.get_mut(&id)?);
        slot.join();
        if let Some(strict) = &mut slot.strict {
            strict.begin();
        }
        let cursor = Cursor {
            next: ring.next(),
            entry: 0,
            until: ring.next(),
        };
        Some((ring.head().clone(), cursor))
    }

    /// Joins at the beginning of the ring, if what `position` does not cover is in it. A position that is not known to be
    /// sound (it came from outside) must be one that the hub has passed: the source says what is wrong with others.
    pub(super) fn join(&self, id: Id, position: &Position, sound: bool) -> Result<Joined, WatchError> {
        let mut state = self.state();
        let State { run, watchers, .. } = &mut *state;
        let slot = watchers.get_mut(&id).ok_or(WatchError::Closed)?;
        if let Some(failed) = &slot.failed {
            return Err(failed.clone());
        }
        let Some(ring) = run.as_ref().map(|run| &run.ring) else {
            return Ok(Joined::NoHub);
        };
        if !ring.holds_on_from(position) || !(sound || ring.knows(position)) {
            return Ok(Joined::No);
        }
        slot.join();
        Ok(Joined::Yes(Cursor {
            next: ring.first(),
            entry: 0,
            until: ring.next(),
        }))
    }

    /// What is at the cursor, which moves on over what has nothing for this watcher, and the position with it.
    pub(super) fn look(
        &self,
        id: Id,
        cursor: &mut Cursor,
        position: &mut Position,
    ) -> Result<Look, WatchError> {
        let mut state = self.state();
        let State { run, watchers, .. } = &mut *state;
        let slot = watchers.get_mut(&id).ok_or(WatchError::Closed)?;
        if let Some(failed) = &slot.failed {
            return Err(failed.clone());
        }
        let Some(ring) = run.as_ref().map(|run| &run.ring).filter(|_| slot.joined) else {
            return Ok(Look::Apart);
        };
        if cursor.next >= cursor.until {
            let Some((pending, before)) = slot.pending.take() else {
                follow(position, ring.head());
                return Ok(Look::Nothing);
            };
            follow(position, &before);
            *cursor = Cursor {
                next: pending,
                entry: 0,
                until: ring.next(),
            };
        }
        match ring.get(cursor.next) {
            Some(chunk) => Ok(Look::Chunk(Arc::clone(chunk))),
            None => {
                slot.joined = false;
                slot.pending = None;
                Ok(Look::Apart)
            }
        }
    }

    /// The position of a watcher that has delivered all it took: the hub's, if there is nothing for it before that.
    pub(super) fn present(&self, id: Id, cursor: &Cursor, position: &mut Position) {
        let state = self.state();
        let joined = state
            .watchers
            .get(&id)
            .filter(|slot| slot.joined && slot.failed.is_none());
        if let (Some(slot), Some(run), true) = (joined, &state.run, cursor.next >= cursor.until) {
            match &slot.pending {
                None => follow(position, run.ring.head()),
                Some((_, before)) => follow(position, before),
            }
        }
    }

    /// How far the gaps go that the hub has met.
    pub(super) fn behind_gaps(&self, position: &mut Position) {
        if let Some(run) = &self.state().run
            && run.ring.head().source == position.source
        {
            merge(position, run.ring.gaps());
        }
    }

    /// A watcher of Teleport's contract got an event, or asks: whether it has been too slow for too long.
    pub(super) fn delivered(&self, id: Id) {
        let now = self.clock.instant();
        let mut state = self.state();
        if let Some(slot) = state.watchers.get_mut(&id) {
            let overflow = slot.strict.as_mut().is_some_and(|strict| strict.delivered(now));
            if overflow {
                slot.overflow();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> Option<(usize, usize, usize)> {
        self.state().run.as_ref().map(|run| run.ring.held())
    }

    #[cfg(test)]
    pub(super) fn joined(&self, id: Id) -> bool {
        self.state().watchers.get(&id).is_some_and(|slot| slot.joined)
    }

    /// A pause before the source is asked for its present again.
    pub(super) async fn pause(&self) {
        const LONGEST: Duration = Duration::from_secs(5);
        let pause = Duration::from_millis(100) + self.random.jitter(LONGEST);
        self.clock.sleep(pause).await;
    }
}

impl Slot {
    fn join(&mut self) {
        self.joined = true;
        self.pending = None;
    }

    /// The first failure counts.
    fn fail(&mut self, error: &WatchError) {
        if self.failed.is_none() {
            self.failed = Some(error.clone());
            self.joined = false;
            self.pending = None;
            // Whoever waits for its end is told by that.
            self.strict = None;
            self.wake.notify_one();
        }
    }

    /// Something for it was read.
    fn count(&mut self, now: Instant) {
        if self.strict.as_mut().is_some_and(|strict| strict.read(now)) {
            self.overflow();
        }
    }

    fn overflow(&mut self) {
        if let Some(strict) = &self.strict {
            strict.warn();
            self.fail(&WatchError::Closed);
        }
    }
}

fn fail_strict(watchers: &mut BTreeMap<Id, Slot>, error: &WatchError) {
    for slot in watchers.values_mut().filter(|slot| slot.strict.is_some()) {
        slot.fail(error);
    }
}

/// Tells the watchers when the task ends without having said why: its runtime was shut down.
struct Stopped {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let error = WatchError::Unavailable("the runtime that read the changes was shut down".to_owned());
        self.shared.fail(self.number, &error);
    }
}
