//! The mapping itself: forms batches, calls the function, and acts on what it answers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tokio::task::JoinSet;

use super::answer::Verdict;
use super::failure::{Condition, OnFailure};
use super::faults::{Counts, Fault, Faults};
use super::record::{Record, SequenceNumber};
use super::settings::{InvalidSettings, Settings};
use super::shard::{Placed, Stream};

/// Lambda's limit on the payload of an invocation.
const MOST_BYTES: usize = 6 * 1024 * 1024;

/// A function: payload and deadline in, answer or error out.
pub type Handler =
    Arc<dyn Fn(String, SystemTime) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// Told how far a mapping got.
type Progress = Box<dyn Fn(&Stream, &Counts) + Send + Sync>;

/// An event source mapping between one stream and one function.
pub struct Mapping {
    pub(super) settings: Settings,
    stream: Arc<Stream>,
    pub(super) handler: Handler,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) faults: Faults,
    counts: Mutex<Counts>,
    last_error: Mutex<Option<String>>,
    /// Called after each answer that moved a checkpoint.
    progress: Progress,
    /// Invocations that were given up and go on running.
    pub(super) zombies: Mutex<JoinSet<()>>,
}

/// Records to be tried together.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) records: Vec<Placed>,
    /// Retries used, of [`Settings::maximum_retry_attempts`].
    retries: u32,
    invocations: u32,
}

/// One lane of a shard: batches follow each other.
#[derive(Debug)]
struct Lane<'a> {
    shard: &'a str,
    number: u32,
    /// Position of the next record to read.
    next: u64,
    /// What has been read and is not yet answered, in order.
    pending: VecDeque<Attempt>,
}

impl Mapping {
    /// A mapping without faults.
    ///
    /// # Errors
    /// [`InvalidSettings`] that Lambda would refuse.
    pub fn new(
        settings: Settings,
        stream: Arc<Stream>,
        handler: Handler,
        clock: Clock,
        random: Random,
    ) -> Result<Self, InvalidSettings> {
        settings.check()?;
        Ok(Self {
            settings,
            stream,
            handler,
            clock,
            random,
            faults: Faults::none(),
            counts: Mutex::default(),
            last_error: Mutex::default(),
            progress: Box::new(|_, _| {}),
            zombies: Mutex::default(),
        })
    }

    /// Injects these faults.
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Counts on from what an earlier run counted.
    pub fn with_counts(self, counts: Counts) -> Self {
        Self {
            counts: Mutex::new(counts),
            ..self
        }
    }

    /// Calls this after each answer that moved a checkpoint.
    pub fn with_progress(self, progress: impl Fn(&Stream, &Counts) + Send + Sync + 'static) -> Self {
        Self {
            progress: Box::new(progress),
            ..self
        }
    }

    /// The counters.
    pub fn counts(&self) -> Counts {
        self.counters().clone()
    }

    /// The last function error that no fault caused.
    pub fn last_error(&self) -> Option<String> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads the stream until every shard is closed and answered, then waits for the last zombie.
    pub async fn run(&self) {
        let mut changes = self.stream.subscribe();
        let mut shards = FuturesUnordered::new();
        loop {
            changes.borrow_and_update();
            for shard in self.stream.claim(self.settings.parallelization_factor) {
                shards.push(self.shard(shard));
            }
            if self.stream.finished() {
                break;
            }
            tokio::select! {
                Some(()) = shards.next() => {}
                Ok(()) = changes.changed() => {}
                else => break,
            }
        }
        let mut zombies = std::mem::take(&mut *self.zombies.lock().unwrap_or_else(PoisonError::into_inner));
        while zombies.join_next().await.is_some() {}
    }

    /// Reads one shard to its end.
    async fn shard(&self, id: String) {
        join_all((0..self.settings.parallelization_factor).map(|lane| self.lane(&id, lane))).await;
        self.stream.finish(&id);
        self.progressed();
    }

    async fn lane(&self, shard: &str, number: u32) {
        let mut lane = Lane {
            shard,
            number,
            next: 0,
            pending: VecDeque::new(),
        };
        loop {
            let attempt = match lane.pending.pop_front() {
                Some(attempt) => attempt,
                None => match self.next_batch(&mut lane).await {
                    Some(attempt) => attempt,
                    None => return,
                },
            };
            let attempt = self.give_up_old(&lane, attempt);
            if !attempt.records.is_empty() {
                self.attempt(&mut lane, attempt).await;
            }
        }
    }

    /// The next batch of a lane: full, or as large as it got within the window. None at the shard's end.
    async fn next_batch(&self, lane: &mut Lane<'_>) -> Option<Attempt> {
        let mut changes = self.stream.subscribe();
        let mut since = None;
        loop {
            changes.borrow_and_update();
            let peek = self.peek(lane, lane.next, self.settings.batch_size);
            if peek.records.is_empty() {
                if peek.closed || changes.changed().await.is_err() {
                    return None;
                }
                continue;
            }
            let waited = self.clock.instant() - *since.get_or_insert_with(|| self.clock.instant());
            let left = self.settings.batch_window.saturating_sub(waited);
            if peek.full || peek.closed || left.is_zero() {
                let attempt = Attempt {
                    records: peek.records,
                    retries: 0,
                    invocations: 0,
                };
                lane.next = attempt.records.last().map_or(lane.next, |last| last.position + 1);
                return Some(self.recut(lane, attempt));
            }
            let _ = self.clock.timeout(left, changes.changed()).await;
        }
    }

    fn peek(&self, lane: &Lane<'_>, position: u64, most: usize) -> super::shard::Peek {
        self.stream
            .peek(lane.shard, lane.number, position, most, MOST_BYTES)
    }

    /// Gives up the records at the front that are too old.
    fn give_up_old(&self, lane: &Lane<'_>, mut attempt: Attempt) -> Attempt {
        let Some(most) = self.settings.maximum_record_age else {
            return attempt;
        };
        let now = self.clock.now();
        let too_old = |placed: &Placed| {
            now.duration_since(placed.record.created)
                .is_ok_and(|age| age > most)
        };
        let old = attempt
            .records
            .iter()
            .take_while(|placed| too_old(placed))
            .count();
        if old > 0 {
            let rest = attempt.records.split_off(old);
            self.counters().too_old += old as u64;
            self.give_up(lane, &attempt, Condition::RecordAgeExceeded);
            attempt.records = rest;
        }
        attempt
    }

    /// Calls the function once and puts back what has to come again.
    async fn attempt(&self, lane: &mut Lane<'_>, mut attempt: Attempt) {
        let fault = self.faults.draw();
        attempt.invocations += 1;
        {
            let mut counts = self.counters();
            counts.invocations += 1;
            counts.records += attempt.records.len() as u64;
        }
        let answer = self.invoke(&attempt, fault).await;
        if fault == Some(Fault::Redelivery) && answer.is_ok() {
            self.fired(Fault::Redelivery);
            let attempt = self.recut(lane, attempt);
            lane.pending.push_front(attempt);
            return;
        }
        let numbers: Vec<&SequenceNumber> = attempt
            .records
            .iter()
            .map(|placed| &placed.record.sequence)
            .collect();
        match Verdict::of(&answer, &numbers, self.settings.report_batch_item_failures) {
            Verdict::Success => {
                self.counters().successes += 1;
                self.answered(lane, &attempt.records);
            }
            Verdict::From(place) => {
                self.counters().partial += 1;
                let rest = attempt.records.split_off(place);
                self.answered(lane, &attempt.records);
                let rest = Attempt {
                    records: rest,
                    ..attempt
                };
                if place > 0 && self.settings.bisect_on_function_error {
                    self.counters().bisected += 1;
                    lane.pending.push_front(rest);
                } else {
                    self.retry(lane, rest).await;
                }
            }
            Verdict::Failure(error) => {
                self.counters().errors += 1;
                if !matches!(fault, Some(Fault::Crash | Fault::Zombie)) {
                    *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
                if self.settings.bisect_on_function_error && attempt.records.len() > 1 {
                    self.counters().bisected += 1;
                    let second = attempt.records.split_off(attempt.records.len() / 2);
                    let (retries, invocations) = (attempt.retries, attempt.invocations);
                    lane.pending.push_front(Attempt {
                        records: second,
                        retries,
                        invocations,
                    });
                    lane.pending.push_front(attempt);
                } else {
                    self.retry(lane, attempt).await;
                }
            }
        }
    }

    /// Uses up one retry, or gives the records up.
    async fn retry(&self, lane: &mut Lane<'_>, mut attempt: Attempt) {
        if self
            .settings
            .maximum_retry_attempts
            .is_some_and(|most| attempt.retries >= most)
        {
            self.counters().exhausted += attempt.records.len() as u64;
            self.give_up(lane, &attempt, Condition::RetryAttemptsExhausted);
            return;
        }
        let doublings = attempt.retries.min(6);
        attempt.retries += 1;
        self.counters().retries += 1;
        self.clock
            .sleep(self.settings.retry_delay * 2_u32.pow(doublings))
            .await;
        let attempt = self.recut(lane, attempt);
        lane.pending.push_front(attempt);
    }

    /// Cuts a batch anew if the seed says so: from the same record on, with another size.
    fn recut(&self, lane: &mut Lane<'_>, attempt: Attempt) -> Attempt {
        let Some(first) = attempt.records.first().filter(|_| self.faults.draw_recut()) else {
            return attempt;
        };
        let other = (0..4).find_map(|_| {
            let most = usize::try_from(1 + self.random.below(self.settings.batch_size as u64)).unwrap_or(1);
            let records = self.peek(lane, first.position, most).records;
            (!records.is_empty() && records.len() != attempt.records.len()).then_some(records)
        });
        let Some(records) = other else { return attempt };
        self.fired(Fault::Recut);
        lane.pending.clear();
        lane.next = records.last().map_or(lane.next, |last| last.position + 1);
        Attempt { records, ..attempt }
    }

    /// Writes the records to the on-failure destination and goes on behind them.
    fn give_up(&self, lane: &Lane<'_>, attempt: &Attempt, condition: Condition) {
        if let Some(directory) = &self.settings.on_failure {
            let records: Vec<&Record> = attempt.records.iter().map(|placed| &*placed.record).collect();
            let written = OnFailure {
                condition,
                function: &self.settings.function,
                stream_arn: self.stream.arn(),
                shard: lane.shard,
                records: &records,
                invocations: attempt.invocations,
                at: self.clock.now(),
                id: &format!("{:016x}", self.random.u64()),
            }
            .write(directory);
            if let Err(error) = written {
                tracing::warn!(%error, shard = lane.shard, "the on-failure payload was not written");
                self.counters().destination_failures += 1;
            }
        }
        self.answered(lane, &attempt.records);
    }

    /// Moves the checkpoint behind these records.
    fn answered(&self, lane: &Lane<'_>, records: &[Placed]) {
        if let Some(last) = records.last() {
            self.stream.answered(lane.shard, lane.number, last.position);
            self.progressed();
        }
    }

    pub(super) fn fired(&self, fault: Fault) {
        self.faults.fired(fault);
        self.counters().fired(fault);
    }

    fn progressed(&self) {
        let counts = self.counts();
        (self.progress)(&self.stream, &counts);
    }

    pub(super) fn counters(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
