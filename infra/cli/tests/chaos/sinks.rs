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

use crate::faults::{Counted, Dice};

/// What befalls a call.
pub(crate) const FATES: [&str; 6] = [
    "sink: refused",
    "sink: answer lost",
    "sink: partial",
    "sink: slow",
    "sink: hung",
    "sink: hung late",
];
/// What befalls all calls of a while.
pub(crate) const OUTAGES: [&str; 2] = ["sink: down", "sink: hangs"];

/// A sink's fate, the same in all environments.
#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) counted: Counted,
    pub(crate) dice: Dice,
    /// From when, until when, and whether it hangs instead of failing.
    pub(crate) outages: Vec<(SystemTime, SystemTime, bool)>,
    /// Every so many calls the last record is acknowledged and not written.
    pub(crate) spoils: Option<u64>,
    /// What goes well is done once more.
    pub(crate) twice: bool,
    pub(crate) calls: AtomicU64,
    /// Times that each record was given to the sink itself.
    pub(crate) given: Mutex<BTreeMap<u128, u64>>,
    /// Records that were given and not acknowledged.
    pub(crate) unanswered: AtomicU64,
}

impl Weather {
    /// Deliveries beyond the first of each record.
    pub(crate) fn repeats(&self) -> u64 {
        let given = self.given.lock().unwrap();
        given.values().map(|times| times.saturating_sub(1)).sum()
    }

    fn draw(&self, records: usize) -> Option<&'static str> {
        let now = self.clock.now();
        let during = |(from, to, _): &&(SystemTime, SystemTime, bool)| (*from..*to).contains(&now);
        let drawn = match self.outages.iter().find(during) {
            Some((_, _, hangs)) => Some(OUTAGES[usize::from(*hangs)]),
            None => self.dice.draw(),
        };
        // There is no part of a single one.
        let drawn = drawn.filter(|fate| *fate != "sink: partial" || records > 1);
        if let Some(fate) = drawn {
            self.counted.add(fate, 1);
        }
        drawn
    }
}

/// A sink in this weather.
#[derive(Debug)]
pub(crate) struct Unsteady {
    pub(crate) inner: Arc<dyn Sink>,
    pub(crate) weather: Arc<Weather>,
}

/// A call: what it gave, less what it acknowledged, is counted when it ends, however it ends.
struct Call<'a> {
    weather: &'a Weather,
    unanswered: usize,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let unanswered = self.unanswered as u64;
        self.weather.unanswered.fetch_add(unanswered, Ordering::Relaxed);
    }
}

impl Unsteady {
    async fn give(&self, call: &mut Call<'_>, records: &[Outgoing<'_>]) -> Result<usize, SinkError> {
        call.unanswered += records.len();
        {
            let mut given = self.weather.given.lock().unwrap();
            records
                .iter()
                .for_each(|record| *given.entry(record.key).or_default() += 1);
        }
        let number = self.weather.calls.fetch_add(1, Ordering::Relaxed);
        let taken = match records.split_last() {
            Some((_, rest))
                if self
                    .weather
                    .spoils
                    .is_some_and(|each| number.is_multiple_of(each)) =>
            {
                let taken = if rest.is_empty() {
                    0
                } else {
                    self.inner.deliver(rest).await?
                };
                Ok(if taken == rest.len() { records.len() } else { taken })
            }
            _ => self.inner.deliver(records).await,
        };
        // Of what an answer leaves out nothing was taken: the archive takes one day at a time.
        let left = records
            .get(*taken.as_ref().unwrap_or(&records.len())..)
            .unwrap_or_default();
        call.unanswered -= left.len();
        let mut given = self.weather.given.lock().unwrap();
        for record in left {
            *given.entry(record.key).or_default() -= 1;
        }
        drop(given);
        taken
    }
}

impl Sink for Unsteady {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        async move {
            let mut call = Call {
                weather: &self.weather,
                unanswered: 0,
            };
            let lost = || SinkError("planned".to_owned());
            let taken = match self.weather.draw(records.len()) {
                Some("sink: refused" | "sink: down") => return Err(lost()),
                Some("sink: hung" | "sink: hangs") => std::future::pending().await,
                Some("sink: hung late") => {
                    self.give(&mut call, records).await?;
                    std::future::pending().await
                }
                Some("sink: answer lost") => {
                    self.give(&mut call, records).await?;
                    return Err(lost());
                }
                Some("sink: partial") => {
                    self.give(&mut call, &records[..records.len().div_ceil(2)])
                        .await?
                }
                Some(_) => {
                    let pause = self.weather.random.jitter(Duration::from_millis(700));
                    self.weather.clock.sleep(pause).await;
                    self.give(&mut call, records).await?
                }
                None => self.give(&mut call, records).await?,
            };
            if self.weather.twice {
                let mut again = Call {
                    weather: &self.weather,
                    unanswered: 0,
                };
                let _ = self.give(&mut again, records).await;
                again.unanswered = 0;
            }
            call.unanswered -= taken.min(call.unanswered);
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
