//! A sink in trouble: it refuses, answers in part, is slow, hangs and is down, drawn from a seed and counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use tidewatch::clock::Clock;
use tidewatch::forward::{Forwarder, Outgoing, Sink, SinkError};
use tidewatch::random::Random;

/// What a sink can suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// A call fails and nothing is written.
    Refusal,
    /// All is written, and the call fails.
    LostAnswer,
    /// The first records are written and acknowledged.
    Partial,
    /// The call takes its time.
    Slow,
    /// Every call fails for a while.
    Down,
    /// The call never ends.
    Hang,
    /// All is written, and the call never ends.
    LateHang,
}

impl Trouble {
    /// All of them. Those that hold a batch up come last.
    pub const ALL: [Self; 7] = [
        Self::Refusal,
        Self::LostAnswer,
        Self::Partial,
        Self::Slow,
        Self::Down,
        Self::Hang,
        Self::LateHang,
    ];

    /// Its name in summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::LostAnswer => "lost answer",
            Self::Partial => "partial",
            Self::Slow => "slow",
            Self::Down => "down",
            Self::Hang => "hang",
            Self::LateHang => "late hang",
        }
    }

    /// Whether it may come again after its first time.
    fn again(self, happened: u64, plan: &Plan) -> bool {
        match self {
            Self::Down => false,
            Self::Hang | Self::LateHang => happened < plan.most_hangs,
            Self::Refusal | Self::LostAnswer | Self::Partial | Self::Slow => true,
        }
    }
}

/// How often each trouble happened.
pub type TroubleCounts = BTreeMap<Trouble, u64>;

/// How much trouble there is. Each kind comes once, as early as it can, and then at its rate; an outage comes once.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of a thousand calls, how many meet with each kind.
    pub per_mille: u64,
    /// Hangs of each kind, at most.
    pub most_hangs: u64,
    /// The longest delay of a slow call.
    pub delay: Duration,
    /// How long the sink is down.
    pub outage: Duration,
}

/// Brings trouble to the sinks of a forwarder, and counts it.
#[derive(Debug)]
pub struct Troubles {
    plan: Plan,
    clock: Clock,
    random: Random,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    counts: TroubleCounts,
    down_until: Option<SystemTime>,
}

impl Troubles {
    /// Counts on from what an earlier run counted.
    pub fn new(plan: Plan, counts: &TroubleCounts, clock: &Clock, random: Random) -> Arc<Self> {
        let of = |trouble| counts.get(&trouble).copied().unwrap_or_default();
        Arc::new(Self {
            plan,
            clock: clock.clone(),
            random,
            state: Mutex::new(State {
                counts: Trouble::ALL.map(|trouble| (trouble, of(trouble))).into(),
                down_until: None,
            }),
        })
    }

    /// One outage from the first call on, and nothing else.
    pub fn down(outage: Duration, clock: &Clock) -> Arc<Self> {
        let plan = Plan {
            per_mille: 0,
            most_hangs: 0,
            delay: Duration::ZERO,
            outage,
        };
        let others = Trouble::ALL
            .into_iter()
            .filter(|trouble| *trouble != Trouble::Down);
        let before = others.map(|trouble| (trouble, 1)).collect();
        Self::new(plan, &before, clock, Random::seeded(0))
    }

    /// Puts a troubled sink before each sink.
    pub fn before(self: &Arc<Self>, forwarder: Forwarder) -> Forwarder {
        let troubles = Arc::clone(self);
        forwarder.map_sinks(move |_, inner| troubles.around(inner))
    }

    /// A sink in trouble.
    pub fn around(self: &Arc<Self>, inner: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(Troubled {
            inner,
            troubles: Arc::clone(self),
        })
    }

    /// How often each trouble happened, those that did not included.
    pub fn counts(&self) -> TroubleCounts {
        self.state().counts.clone()
    }

    /// What the next call meets with.
    fn draw(&self, records: usize) -> Option<Trouble> {
        let mut state = self.state();
        let now = self.clock.now();
        if state.down_until.is_some_and(|until| now < until) {
            return Some(Trouble::Down);
        }
        let can = |trouble: &Trouble| *trouble != Trouble::Partial || records > 1;
        let happened = |trouble| state.counts.get(&trouble).copied().unwrap_or_default();
        let drawn = Trouble::ALL
            .into_iter()
            .filter(can)
            .find(|trouble| happened(*trouble) == 0)
            .or_else(|| {
                Trouble::ALL.into_iter().filter(can).find(|trouble| {
                    trouble.again(happened(*trouble), &self.plan)
                        && self.random.below(1000) < self.plan.per_mille
                })
            });
        if drawn == Some(Trouble::Down) {
            state.down_until = Some(now + self.plan.outage);
        }
        drawn
    }

    fn happened(&self, trouble: Trouble) {
        *self.state().counts.entry(trouble).or_default() += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sink in trouble, before a good one.
#[derive(Debug)]
struct Troubled {
    inner: Arc<dyn Sink>,
    troubles: Arc<Troubles>,
}

impl Sink for Troubled {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        let troubles = &self.troubles;
        let Some(trouble) = troubles.draw(records.len()) else {
            return self.inner.deliver(records);
        };
        async move {
            // Counted once it has come to pass: an invocation may be dropped before.
            match trouble {
                Trouble::Refusal | Trouble::Down => {
                    troubles.happened(trouble);
                    Err(SinkError(trouble.name().to_owned()))
                }
                Trouble::LostAnswer => {
                    self.inner.deliver(records).await?;
                    troubles.happened(trouble);
                    Err(SinkError(trouble.name().to_owned()))
                }
                Trouble::Partial => {
                    let most = records.len().saturating_sub(1);
                    let some = troubles.random.below(most as u64) as usize + 1;
                    let acked = self.inner.deliver(records.get(..some).unwrap_or(records)).await?;
                    troubles.happened(trouble);
                    Ok(acked)
                }
                Trouble::Slow => {
                    let delay = troubles.random.jitter(troubles.plan.delay);
                    troubles.clock.sleep(delay).await;
                    troubles.happened(trouble);
                    self.inner.deliver(records).await
                }
                Trouble::Hang => {
                    troubles.happened(trouble);
                    std::future::pending().await
                }
                Trouble::LateHang => {
                    self.inner.deliver(records).await?;
                    troubles.happened(trouble);
                    std::future::pending().await
                }
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn troubles(per_mille: u64, counts: &TroubleCounts) -> Arc<Troubles> {
        let plan = Plan {
            per_mille,
            most_hangs: 1,
            delay: Duration::ZERO,
            outage: Duration::from_secs(1),
        };
        Troubles::new(plan, counts, &Clock::simulated(UNIX_EPOCH), Random::seeded(1))
    }

    #[tokio::test(start_paused = true)]
    async fn each_comes_once_and_then_at_its_rate() {
        let troubles = troubles(0, &TroubleCounts::new());
        let mut drawn = Vec::new();
        for _ in 0..20 {
            let Some(trouble) = troubles.draw(2) else { break };
            troubles.happened(trouble);
            drawn.push(trouble);
            troubles.clock.sleep(Duration::from_secs(2)).await;
        }
        assert_eq!(drawn, Trouble::ALL);
    }

    #[tokio::test(start_paused = true)]
    async fn while_down_every_call_fails() {
        let before = Trouble::ALL.map(|trouble| (trouble, u64::from(trouble != Trouble::Down)));
        let troubles = troubles(0, &before.into());
        for _ in 0..3 {
            assert_eq!(troubles.draw(2), Some(Trouble::Down));
            troubles.happened(Trouble::Down);
        }
        troubles.clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(troubles.draw(2), None);
    }

    #[test]
    fn hangs_are_bounded_and_counted_on_from_an_earlier_run() {
        let troubles = troubles(500, &Trouble::ALL.map(|trouble| (trouble, 1)).into());
        let drawn: Vec<_> = (0..500).filter_map(|_| troubles.draw(2)).collect();
        for trouble in Trouble::ALL {
            let bounded = matches!(trouble, Trouble::Down | Trouble::Hang | Trouble::LateHang);
            assert_eq!(drawn.contains(&trouble), !bounded, "{trouble:?}");
        }
        assert!((0..500).all(|_| troubles.draw(1) != Some(Trouble::Partial)));
    }
}
