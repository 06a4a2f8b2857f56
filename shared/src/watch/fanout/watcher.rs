//! A watcher: what it does next.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tokio::sync::Notify;

use super::backlog::{Backlog, Step, What};
use super::hub::{Cursor, Joined, Look, Shared};
use super::index::Id;
use super::listed::{Listed, Verdict};
use super::ring::{go, is_new};
use super::strict::Strict;
use super::values::Values;
use crate::clock::{Clock, Instant};
use crate::watch::Event;
use crate::watch::error::WatchError;
use crate::watch::filter::Filter;
use crate::watch::position::Position;
use crate::watch::source::{Chunk, Entry};

/// How long a watcher that reads by itself waits for the source before it lets others.
const TURN: Duration = Duration::from_secs(5);

/// How many batches without anything for it such a watcher reads before it lets others.
const BATCHES: usize = 16;

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A change.
    Event {
        /// The change; shared with the other watchers of the process.
        event: Arc<Event>,
        /// The list may show this change already, or a later one of the key: see
        /// [`list_and_watch`](super::Watches::list_and_watch). Never set without a list.
        may_precede_list: bool,
    },
    /// Nothing for this watcher up to here. It promises the position, not the present: how far the source itself is
    /// behind nobody here knows.
    Progress(Position),
}

/// Gets the changes that its filter takes, each once, those of a key in order.
///
/// It holds a position, and little else: changes that it has not asked for yet stay in the memory that all watchers of
/// the process share, or in the source. However slow it is, nothing is lost as long as the source keeps it. Dropping it
/// ends it; the last one ends the reading.
pub struct Watcher {
    member: Member,
    values: Values,
    progress: Option<Duration>,
    /// When there was a notice last.
    last: Instant,
    /// Behind the last notice.
    position: Position,
    /// The position is of the source or of the hub, not from outside.
    sound: bool,
    cursor: Cursor,
    backlog: Backlog,
    listed: Option<Box<Listed>>,
    ended: Option<WatchError>,
}

/// A watcher's entry in the hub, which ends with it.
pub(super) struct Member {
    pub(super) shared: Arc<Shared>,
    pub(super) id: Id,
    pub(super) filter: Arc<Filter>,
    pub(super) wake: Arc<Notify>,
}

impl Member {
    pub(super) fn enter(
        shared: &Arc<Shared>,
        filter: Filter,
        strict: Option<Strict>,
    ) -> Result<Self, WatchError> {
        let (filter, wake) = (Arc::new(filter), Arc::new(Notify::new()));
        Ok(Self {
            id: shared.enter(&filter, &wake, strict)?,
            shared: Arc::clone(shared),
            filter,
            wake,
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.leave(self.id);
    }
}

/// How a wait ended.
enum Waited<T> {
    Done(T),
    /// The hub has something.
    Woken,
    /// It is time to tell of the progress.
    Due,
}

impl Watcher {
    /// At a position, in the ring if there is a cursor; `sound` if it is the source's or the hub's own.
    pub(super) fn new(
        member: Member,
        values: Values,
        progress: Option<Duration>,
        position: Position,
        cursor: Option<Cursor>,
        sound: bool,
    ) -> Self {
        Self {
            values,
            progress,
            last: member.shared.clock.instant(),
            position,
            sound,
            cursor: cursor.unwrap_or_default(),
            backlog: Backlog::default(),
            listed: None,
            ended: None,
            member,
        }
    }

    pub(super) fn set_listed(&mut self, listed: Listed) {
        self.listed = Some(Box::new(listed));
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.member.shared
    }

    pub(super) fn id(&self) -> Id {
        self.member.id
    }

    /// Whether it reads values that the source leaves out.
    pub(super) fn fetches(&self) -> bool {
        matches!(self.values, Values::Fetch(_))
    }

    /// What comes next: waits until there is something. Cancel-safe: what a dropped call would have answered the next one
    /// does.
    ///
    /// # Errors
    /// Why nothing more will come; the same at each call from then on.
    /// [`Compacted`](WatchError::Compacted): changes were missed, list again.
    pub async fn next(&mut self) -> Result<Notice, WatchError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let next = self.seek().await;
        match &next {
            Ok(_) => self.last = self.clock().instant(),
            Err(error) => {
                self.ended = Some(error.clone());
                self.backlog = Backlog::default();
                self.listed = None;
                // The hub has nothing more to do for it.
                self.shared().leave(self.id());
            }
        }
        next
    }

    /// Where it is: a watch that starts [`At`](super::Start::At) it, with the same filter, goes on behind the last notice.
    pub fn position(&self) -> Position {
        let mut position = self.position.clone();
        if self.backlog.is_empty() && self.ended.is_none() {
            self.shared().present(self.id(), &self.cursor, &mut position);
        }
        position
    }

    /// The notices as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Notice, WatchError>> + Send + use<> {
        stream::unfold(self, |mut watcher| async move {
            if watcher.ended.is_some() {
                return None;
            }
            let next = watcher.next().await;
            Some((next, watcher))
        })
    }

    async fn seek(&mut self) -> Result<Notice, WatchError> {
        loop {
            if let Some(notice) = self.deliver().await? {
                return Ok(notice);
            }
            let look = self
                .member
                .shared
                .look(self.member.id, &mut self.cursor, &mut self.position)?;
            let notice = match look {
                Look::Chunk(chunk) => {
                    self.take(&chunk);
                    None
                }
                Look::Nothing => match self.wait(std::future::pending::<()>()).await {
                    Waited::Due => Some(Notice::Progress(self.position.clone())),
                    Waited::Done(()) | Waited::Woken => None,
                },
                Look::Apart => self.read_on().await?,
            };
            if let Some(notice) = notice {
                return Ok(notice);
            }
        }
    }

    /// The next event of the backlog; what is in it before that is dealt with. It is taken out once it is sure to be
    /// delivered: nothing is awaited after that.
    async fn deliver(&mut self) -> Result<Option<Notice>, WatchError> {
        while let Some(Step { lane, mark, what }) = self.backlog.front().cloned() {
            let mut notice = None;
            match what {
                What::Nothing => {}
                What::Gap(why) => {
                    let mut floor = self.position.clone();
                    floor.advance(&lane, mark);
                    // Gaps that follow, and those of other lanes, are part of the same loss.
                    for (lane, mark) in self.backlog.gaps() {
                        floor.advance(lane, mark.clone());
                    }
                    self.shared().behind_gaps(&mut floor);
                    return Err(WatchError::Compacted {
                        floor: Box::new(floor),
                        why: why.to_string(),
                    });
                }
                What::Event(event) => {
                    let verdict = self
                        .listed
                        .as_ref()
                        .map_or(Verdict::Follows, |listed| listed.verdict(&event));
                    if verdict == Verdict::Shown {
                        self.settle(&event, verdict);
                    } else {
                        let shared = Arc::clone(self.shared());
                        let found = shared
                            .fetched
                            .of(&self.values, &self.position.source, &lane, &mark, &event)
                            .await?;
                        self.settle(&event, verdict);
                        notice = Some(Notice::Event {
                            event: found,
                            may_precede_list: verdict == Verdict::MayPrecede,
                        });
                    }
                }
            }
            self.backlog.pop();
            go(&mut self.position, &lane, mark);
            if notice.is_some() {
                return Ok(notice);
            }
        }
        Ok(None)
    }

    fn settle(&mut self, event: &Event, verdict: Verdict) {
        let now = self.clock().instant();
        if let Some(listed) = &mut self.listed {
            listed.settle(event, verdict, now);
        }
    }

    /// Takes what is for it out of the chunk at the cursor: the next event or gap, or nothing.
    fn take(&mut self, chunk: &Chunk) {
        for (place, (mark, entry)) in chunk.entries.iter().enumerate().skip(self.cursor.entry) {
            if !is_new(&self.position, &chunk.lane, mark) {
                continue;
            }
            let what = match entry {
                Entry::Event(event) if self.member.filter.takes(event) => What::Event(Arc::clone(event)),
                Entry::Event(_) => continue,
                Entry::Gap(why) => What::Gap(Arc::clone(why)),
            };
            self.backlog.push(Step {
                lane: Arc::clone(&chunk.lane),
                mark: mark.clone(),
                what,
            });
            self.cursor.entry = place + 1;
            return;
        }
        go(&mut self.position, &chunk.lane, chunk.end.clone());
        self.cursor.next += 1;
        self.cursor.entry = 0;
    }

    /// Joins the ring, or reads the source until there is something for it, for a while at most.
    async fn read_on(&mut self) -> Result<Option<Notice>, WatchError> {
        let shared = Arc::clone(self.shared());
        match self.join()? {
            Joined::Yes(_) => return Ok(None),
            Joined::NoHub => return self.start().await,
            Joined::No => {}
        }
        let _place = match self.wait(shared.readers.acquire()).await {
            Waited::Done(place) => place,
            Waited::Woken => return Ok(None),
            Waited::Due => return Ok(Some(Notice::Progress(self.position.clone()))),
        };
        let mut reader = shared.source.reader(self.position.clone());
        for _ in 0..BATCHES {
            // What the hub read meanwhile may do.
            if matches!(self.join()?, Joined::Yes(_)) {
                return Ok(None);
            }
            let batch = match self.wait(shared.clock.timeout(TURN, reader.next())).await {
                Waited::Done(Ok(batch)) => batch?,
                // While nobody else waits for the place it stays.
                Waited::Done(Err(_)) if shared.readers.available_permits() > 0 => continue,
                Waited::Done(Err(_)) | Waited::Woken => return Ok(None),
                Waited::Due => return Ok(Some(Notice::Progress(self.position.clone()))),
            };
            self.sound = true;
            self.backlog
                .take(&batch, &self.position, &self.member.filter, &shared.kept);
            while let Some(Step {
                lane,
                mark,
                what: What::Nothing,
            }) = self.backlog.front().cloned()
            {
                go(&mut self.position, &lane, mark);
                self.backlog.pop();
            }
            if !self.backlog.is_empty() {
                return Ok(None);
            }
            if self.due().is_some_and(|due| due.is_zero()) {
                return Ok(Some(Notice::Progress(self.position.clone())));
            }
        }
        Ok(None)
    }

    /// Has the source read for everybody again: the hub ended while it read by itself.
    async fn start(&self) -> Result<Option<Notice>, WatchError> {
        let shared = self.shared();
        let started = match self.wait(shared.ensure()).await {
            Waited::Done(Err(WatchError::Unavailable(_))) => self.wait(shared.pause()).await,
            Waited::Done(started) => Waited::Done(started?),
            Waited::Woken => Waited::Woken,
            Waited::Due => Waited::Due,
        };
        Ok(matches!(started, Waited::Due).then(|| Notice::Progress(self.position.clone())))
    }

    /// Looks at the ring from now on, if it may.
    fn join(&mut self) -> Result<Joined, WatchError> {
        let joined = self.shared().join(self.id(), &self.position, self.sound)?;
        if let Joined::Yes(cursor) = joined {
            self.cursor = cursor;
            self.sound = true;
        }
        Ok(joined)
    }

    /// How long until it is to tell of the progress.
    fn due(&self) -> Option<Duration> {
        let passed = self.clock().instant().saturating_duration_since(self.last);
        self.progress.map(|progress| progress.saturating_sub(passed))
    }

    /// Awaits something else too: being woken, and the time to tell of the progress.
    async fn wait<T>(&self, other: impl Future<Output = T>) -> Waited<T> {
        let due = async {
            match self.due() {
                Some(due) => self.clock().sleep(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.member.wake.notified() => Waited::Woken,
            done = other => Waited::Done(done),
            () = due => Waited::Due,
        }
    }

    fn clock(&self) -> &Clock {
        &self.member.shared.clock
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("filter", &self.member.filter)
            .field("position", &self.position)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
