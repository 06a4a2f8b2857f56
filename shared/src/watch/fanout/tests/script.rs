//! A source in memory: what it has is written by the test, how it answers is drawn from a seed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::random::Random;
use crate::state::Key;
use crate::watch::position::{Lane, Mark, Position};
use crate::watch::source::{Chunk, Entry, Reader, Source};
use crate::watch::{Cause, Delete, Event, Operation, Put, Value, WatchError};

#[derive(Debug, Default)]
struct Content {
    lanes: BTreeMap<Lane, Vec<Arc<Entry>>>,
    /// How many of a lane are not there any more.
    trimmed: BTreeMap<Lane, usize>,
    /// What the next read of any reader answers instead.
    fault: Option<WatchError>,
    /// What the next question for the present answers instead.
    not_now: Option<WatchError>,
}

#[derive(Debug)]
struct Inner {
    content: Mutex<Content>,
    changed: Notify,
    clock: Clock,
    random: Random,
    /// Longest wait before an answer.
    delay: Duration,
    /// Readers that there are, the most there were, and all there ever were.
    readers: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
    asked: AtomicUsize,
}

#[derive(Debug, Clone)]
pub(super) struct Script(Arc<Inner>);

pub(super) const NAME: &str = "script";

pub(super) fn lane(n: usize) -> Lane {
    n.to_string().into()
}

/// A put of a key; the revision is what tells it from others.
pub(super) fn put(key: &str, revision: &str, clock: &Clock) -> Event {
    Event {
        key: Key::from(key),
        operation: Operation::Put(Put {
            expires: None,
            revision: revision.into(),
            value: Value::Inline(revision.as_bytes().to_vec()),
        }),
        created: Some(clock.now()),
    }
}

pub(super) fn delete(key: &str, clock: &Clock) -> Event {
    Event {
        key: Key::from(key),
        operation: Operation::Delete(Delete {
            cause: Cause::Deleted,
            previous: None,
        }),
        created: Some(clock.now()),
    }
}

impl Script {
    pub(super) fn new(lanes: usize, clock: &Clock, random: &Random, delay: Duration) -> Self {
        let content = Content {
            lanes: (0..lanes).map(|n| (lane(n), Vec::new())).collect(),
            ..Content::default()
        };
        Self(Arc::new(Inner {
            content: Mutex::new(content),
            changed: Notify::new(),
            clock: clock.clone(),
            random: random.clone(),
            delay,
            readers: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        }))
    }

    pub(super) fn append(&self, number: usize, event: Event) {
        self.entry(number, Entry::Event(Arc::new(event)));
    }

    pub(super) fn gap(&self, number: usize) {
        self.entry(number, Entry::Gap("a test's gap".into()));
    }

    fn entry(&self, number: usize, entry: Entry) {
        let mut content = self.0.content.lock().unwrap();
        content
            .lanes
            .get_mut(&lane(number))
            .unwrap()
            .push(Arc::new(entry));
        drop(content);
        self.0.changed.notify_waiters();
    }

    pub(super) fn fail_next_read(&self, error: WatchError) {
        self.0.content.lock().unwrap().fault = Some(error);
        self.0.changed.notify_waiters();
    }

    pub(super) fn fail_next_now(&self, error: WatchError) {
        self.0.content.lock().unwrap().not_now = Some(error);
    }

    /// Forgets all that there is.
    pub(super) fn trim(&self) {
        let mut content = self.0.content.lock().unwrap();
        let lengths: Vec<_> = content
            .lanes
            .iter()
            .map(|(lane, all)| (lane.clone(), all.len()))
            .collect();
        content.trimmed.extend(lengths);
    }

    pub(super) fn readers(&self) -> usize {
        self.0.readers.load(Ordering::SeqCst)
    }

    pub(super) fn most_readers(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }

    pub(super) fn opened(&self) -> usize {
        self.0.opened.load(Ordering::SeqCst)
    }

    pub(super) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// How many hold the events of the source beside it.
    pub(super) fn held(&self) -> usize {
        let content = self.0.content.lock().unwrap();
        let events = content
            .lanes
            .values()
            .flatten()
            .filter_map(|entry| match &**entry {
                Entry::Event(event) => Some(Arc::strong_count(event) - 1),
                Entry::Gap(_) => None,
            });
        events.filter(|holders| *holders > 0).count()
    }

    /// What a lane has behind a position, by revision (`-` and key for a delete).
    pub(super) fn behind(&self, position: &Position) -> Vec<(Lane, Vec<Arc<Event>>)> {
        let content = self.0.content.lock().unwrap();
        let lanes = content.lanes.iter().map(|(lane, all)| {
            let seen = seen(position.lanes.get(lane).unwrap_or(&Mark::Start));
            let events = all[seen..].iter().filter_map(|entry| match &**entry {
                Entry::Event(event) => Some(Arc::clone(event)),
                Entry::Gap(_) => None,
            });
            (lane.clone(), events.collect())
        });
        lanes.collect()
    }

    async fn delay(&self) {
        if self.0.delay > Duration::ZERO {
            self.0.clock.sleep(self.0.random.jitter(self.0.delay)).await;
        }
    }

    fn end(&self) -> Position {
        let content = self.0.content.lock().unwrap();
        let mut end = Position::new(NAME.into());
        for (lane, all) in &content.lanes {
            end.advance(lane, mark(all.len()));
        }
        end
    }
}

pub(super) fn mark(seen: usize) -> Mark {
    if seen == 0 {
        Mark::Start
    } else {
        Mark::behind((seen as u64).into())
    }
}

fn seen(mark: &Mark) -> usize {
    match mark {
        Mark::At(number, _) => usize::try_from(number.segment().unwrap()).unwrap(),
        _ => 0,
    }
}

impl Source for Script {
    fn now(&self) -> BoxFuture<'_, Result<Position, WatchError>> {
        async {
            self.0.asked.fetch_add(1, Ordering::SeqCst);
            self.delay().await;
            if let Some(error) = self.0.content.lock().unwrap().not_now.take() {
                return Err(error);
            }
            let end = self.end();
            self.delay().await;
            Ok(end)
        }
        .boxed()
    }

    fn beginning(&self) -> BoxFuture<'_, Result<Position, WatchError>> {
        async {
            self.delay().await;
            let content = self.0.content.lock().unwrap();
            let mut start = Position::new(NAME.into());
            for lane in content.lanes.keys() {
                start.advance(lane, mark(*content.trimmed.get(lane).unwrap_or(&0)));
            }
            Ok(start)
        }
        .boxed()
    }

    fn reader(&self, from: Position) -> Box<dyn Reader> {
        let readers = self.0.readers.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(readers, Ordering::SeqCst);
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        Box::new(ScriptReader {
            script: self.clone(),
            position: from,
        })
    }
}

struct ScriptReader {
    script: Script,
    position: Position,
}

impl Drop for ScriptReader {
    fn drop(&mut self) {
        self.script.0.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ScriptReader {
    fn read(&mut self) -> Result<Vec<Arc<Chunk>>, WatchError> {
        let random = &self.script.0.random;
        let mut content = self.script.0.content.lock().unwrap();
        if let Some(fault) = content.fault.take() {
            return Err(fault);
        }
        let mut floor = self.position.clone();
        for (lane, trimmed) in &content.trimmed {
            floor.advance(lane, mark(*trimmed));
        }
        let known = |(lane, all): (&Lane, &Vec<_>)| {
            self.position
                .lanes
                .get(lane)
                .is_some_and(|mark| seen(mark) <= all.len())
        };
        if &*self.position.source != NAME || !content.lanes.iter().all(known) || floor != self.position {
            return Err(WatchError::Compacted {
                floor: Box::new(floor),
                why: "not kept".to_owned(),
            });
        }
        let mut chunks = Vec::new();
        for (lane, all) in &content.lanes {
            let from = seen(&self.position.lanes[lane]);
            // All of a lane, a part of it, or nothing this time.
            let most = usize::try_from(random.below(8)).unwrap();
            let to = (from + most).min(all.len());
            for part in (from..to).collect::<Vec<_>>().chunks(3) {
                let entry = |n: usize| match &*all[n] {
                    Entry::Event(event) => Entry::Event(Arc::clone(event)),
                    Entry::Gap(why) => Entry::Gap(Arc::clone(why)),
                };
                chunks.push(Arc::new(Chunk {
                    lane: lane.clone(),
                    entries: part.iter().map(|n| (mark(n + 1), entry(*n))).collect(),
                    end: mark(part.last().unwrap() + 1),
                    bytes: 100 * part.len(),
                }));
            }
            self.position.advance(lane, mark(to));
        }
        Ok(chunks)
    }
}

impl Reader for ScriptReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Arc<Chunk>>, WatchError>> {
        async {
            let end = self.script.end();
            loop {
                let script = self.script.clone();
                let changed = script.0.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                script.delay().await;
                // Nothing is awaited after a read.
                let chunks = self.read()?;
                if !chunks.is_empty() {
                    return Ok(chunks);
                }
                if self.position == self.script.end() || self.position == end {
                    // Once more after a while too: a part of what there was may have been left.
                    let nap = script.0.clock.sleep(Duration::from_millis(700));
                    tokio::select! { () = changed => {}, () = nap => {} }
                }
            }
        }
        .boxed()
    }
}
