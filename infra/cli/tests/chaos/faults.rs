//! What goes wrong on the wires to the table and to S3, drawn from a seed, bounded and counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewatch::clock::Clock;
use tidewatch::random::Random;

use crate::engine::{Engine, Fate, refusal};
use crate::world::{Plant, start};

/// What befalls a put into the table.
const TABLE: [&str; 5] = [
    "table: request lost",
    "table: answer lost",
    "table: request late",
    "table: throttled",
    "table: failed",
];
/// What befalls a request to S3.
pub(crate) const S3: [&str; 5] = [
    "S3: request lost",
    "S3: answer lost",
    "S3: request late",
    "S3: refused",
    "S3: slow",
];
/// Puts that are refused while the table refuses all.
const REFUSED: &str = "table: refuses all";
/// When that is, in seconds: longer than `emit` tries.
const REFUSES: std::ops::Range<u64> = 200..250;

/// What happened, and how often. What must happen is there from the beginning.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Counted {
    /// This must happen.
    pub(crate) fn expect<'a>(&self, what: impl IntoIterator<Item = &'a &'static str>) {
        what.into_iter().for_each(|what| self.add(what, 0));
    }

    pub(crate) fn add(&self, what: &'static str, times: usize) {
        *self.0.lock().unwrap().entry(what).or_default() += times as u64;
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap().clone()
    }
}

/// Decides which calls meet with a fault: one in so many, kind after kind, until the bound.
#[derive(Debug)]
pub(crate) struct Dice {
    random: Random,
    one_in: u64,
    left: AtomicU64,
    kinds: &'static [&'static str],
    next: AtomicUsize,
}

impl Dice {
    pub(crate) fn new(random: &Random, one_in: u64, bound: usize, kinds: &'static [&'static str]) -> Self {
        Self {
            random: random.clone(),
            one_in,
            left: AtomicU64::new(bound as u64),
            kinds,
            next: AtomicUsize::new(0),
        }
    }

    pub(crate) fn draw(&self) -> Option<&'static str> {
        if self.random.below(self.one_in) > 0 {
            return None;
        }
        let take = |left: u64| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        let kind = self.next.fetch_add(1, Ordering::Relaxed) % self.kinds.len();
        Some(self.kinds[kind])
    }

    /// No more faults.
    pub(crate) fn settle(&self) {
        self.left.store(0, Ordering::Relaxed);
    }
}

/// Fates of requests to S3 over one wire.
pub(crate) fn s3(
    dice: &Arc<Dice>,
    counted: &Counted,
    random: &Random,
) -> impl FnMut(&str, &str) -> Fate + Send + 'static {
    let (dice, counted, random) = (Arc::clone(dice), counted.clone(), random.clone());
    move |_, _| {
        let Some(kind) = dice.draw() else {
            return Fate::Served;
        };
        counted.add(kind, 1);
        match kind {
            "S3: request lost" => Fate::Dropped,
            "S3: answer lost" => Fate::AnswerLost,
            "S3: request late" => Fate::Late(random.jitter(Duration::from_secs(15))),
            "S3: refused" => Fate::Answered(503, "<Error><Code>SlowDown</Code></Error>".to_owned()),
            _ => Fate::Delayed {
                before: random.jitter(Duration::from_secs(3)),
                after: random.jitter(Duration::from_secs(3)),
            },
        }
    }
}

/// The same, with the mistake of an environment whose spool answers well to what it has not written.
pub(crate) fn unwritten(
    mut fates: impl FnMut(&str, &str) -> Fate + Send + 'static,
    plant: Option<Plant>,
) -> impl FnMut(&str, &str) -> Fate + Send + 'static {
    let mut puts = 0;
    move |method, key| {
        if plant == Some(Plant::SpoolUnwritten) && method == "PUT" && key.starts_with("spool/") {
            puts += 1;
            if puts % 3 == 0 {
                return Fate::Answered(200, String::new());
            }
        }
        fates(method, key)
    }
}

/// Makes the table's wire break now and then, and refuse everything for a while.
pub(crate) fn trouble(engine: &Engine, events: usize, counted: &Counted, clock: &Clock, random: &Random) {
    counted.expect(&TABLE);
    counted.expect(&[REFUSED]);
    let (clock, counted, random) = (clock.clone(), counted.clone(), random.clone());
    let dice = Dice::new(&random, 8, events / 5, &TABLE);
    engine.plan(move |operation, _| {
        if operation != "PutItem" {
            return Fate::Served;
        }
        let since = clock.now().duration_since(start()).unwrap_or_default().as_secs();
        if REFUSES.contains(&since) {
            counted.add(REFUSED, 1);
            return refusal("ProvisionedThroughputExceededException");
        }
        let Some(kind) = dice.draw() else {
            return Fate::Served;
        };
        counted.add(kind, 1);
        match kind {
            "table: request lost" => Fate::Dropped,
            "table: answer lost" => Fate::AnswerLost,
            "table: request late" => Fate::Late(random.jitter(Duration::from_secs(10))),
            "table: throttled" => refusal("ThrottlingException"),
            _ => Fate::Answered(
                500,
                r#"{"__type":"x#InternalServerError","message":""}"#.to_owned(),
            ),
        }
    });
}
