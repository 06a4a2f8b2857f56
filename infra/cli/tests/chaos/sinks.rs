//! Sinks that refuse, answer in part or not at all, are down for a while, and count what they are given.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tidewatch::clock::Clock;
use tidewatch::forward::{Outgoing, Sink, SinkError};
use tidewatch::random::Random;

/// What a sink may suffer.
const FATES: [&str; 6] = ["refused", "answer lost", "partial", "slow", "hung", "hung late"];

/// A sink's fate, the same in all environments.
#[derive(Debug)]
pub(crate) struct Weather {
    clock: Clock,
    random: Random,
    /// Faults that are still to come; none at all in calm weather.
    left: AtomicU64,
    /// From when, until when, and whether it hangs instead of failing.
    outages: Vec<(SystemTime, SystemTime, bool)>,
    /// Every so many calls the last record is acknowledged and not written.
    pub(crate) spoils: Option<u64>,
    calls: AtomicU64,
    /// Times that each record was given to the sink itself.
    given: Mutex<BTreeMap<u128, u64>>,
    /// Calls that had no answer, or that said less than what was done.
    pub(crate) broken: AtomicU64,
    pub(crate) suffered: Mutex<BTreeMap<&'static str, u64>>,
}

impl Weather {
    pub(crate) fn new(
        clock: &Clock,
        random: &Random,
        faults: u64,
        outages: Vec<(SystemTime, SystemTime, bool)>,
    ) -> Self {
        Self {
            clock: clock.clone(),
            random: random.clone(),
            left: AtomicU64::new(faults),
            outages,
            spoils: None,
            calls: AtomicU64::new(0),
            given: Mutex::default(),
            broken: AtomicU64::new(0),
            suffered: Mutex::default(),
        }
    }

    /// No more faults.
    pub(crate) fn settle(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    /// Deliveries beyond the first of each record.
    pub(crate) fn repeats(&self) -> u64 {
        self.given.lock().unwrap().values().map(|times| times - 1).sum()
    }

    fn draw(&self) -> Option<&'static str> {
        let now = self.clock.now();
        if let Some((_, _, hangs)) = self
            .outages
            .iter()
            .find(|(from, to, _)| (*from..*to).contains(&now))
        {
            return Some(if *hangs { "hung" } else { "refused" });
        }
        let fate = FATES.get(usize::try_from(self.random.below(60)).unwrap())?;
        let take = |left: u64| left.checked_sub(1);
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok().then_some(*fate)
    }
}

/// A sink in this weather.
#[derive(Debug)]
pub(crate) struct Unsteady {
    pub(crate) inner: Arc<dyn Sink>,
    pub(crate) weather: Arc<Weather>,
}

impl Unsteady {
    async fn give(&self, records: &[Outgoing<'_>]) -> Result<usize, SinkError> {
        {
            let mut given = self.weather.given.lock().unwrap();
            records
                .iter()
                .for_each(|record| *given.entry(record.key).or_default() += 1);
        }
        let call = self.weather.calls.fetch_add(1, Ordering::Relaxed);
        match records.split_last() {
            Some((_, rest)) if self.weather.spoils.is_some_and(|each| call % each == 0) => {
                let taken = if rest.is_empty() {
                    0
                } else {
                    self.inner.deliver(rest).await?
                };
                Ok(if taken == rest.len() { records.len() } else { taken })
            }
            _ => self.inner.deliver(records).await,
        }
    }
}

/// A call, until it is answered.
struct Call<'a>(&'a Weather, bool);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Sink for Unsteady {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        async move {
            let mut call = Call(&self.weather, false);
            let fate = self.weather.draw();
            if let Some(fate) = fate {
                *self.weather.suffered.lock().unwrap().entry(fate).or_default() += 1;
            }
            let lost = || SinkError("planned".to_owned());
            let taken = match fate {
                Some("refused") => return Err(lost()),
                Some("hung") => std::future::pending().await,
                Some("hung late") => {
                    self.give(records).await?;
                    std::future::pending().await
                }
                Some("answer lost") => {
                    self.give(records).await?;
                    return Err(lost());
                }
                Some("partial") => self.give(&records[..records.len().div_ceil(2)]).await?,
                Some(_) => {
                    self.weather
                        .clock
                        .sleep(self.weather.random.jitter(Duration::from_millis(700)))
                        .await;
                    self.give(records).await?
                }
                None => self.give(records).await?,
            };
            call.1 = true;
            Ok(taken)
        }
        .boxed()
    }
}

/// Keeps lines in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory(pub(crate) Mutex<Vec<Vec<u8>>>);

impl Sink for Memory {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        let lines = records.iter().map(|record| record.line.to_vec());
        self.0.lock().unwrap().extend(lines);
        std::future::ready(Ok(records.len())).boxed()
    }
}
