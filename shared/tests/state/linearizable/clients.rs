//! The clients of one history.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{
    Action, Backend, Condition, ConditionalAction, Config, Error, ErrorKind, Item, Key, Layout, Lease,
    Revision,
};

use super::history::{Act, Call, Effect, History, KEYS, Must, Operation, Outcome, Stored, Write};
use super::plants::Plant;
use super::wire::{ATTEMPT, Shared, Trouble, Wire};
use crate::engine::{Engine, config, partitioned};

/// The calls of all clients; each history ends with a read of every key besides.
const CALLS: usize = 40;
/// When a history begins: seconds since 1970.
const START: u64 = 1_800_000_000;

/// What a history is made with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setting {
    pub(crate) plant: Option<Plant>,
    /// How long a request may be on its way, after its clock was read.
    pub(crate) delay: Duration,
    /// How far apart the clients' clocks may be.
    pub(crate) skew: Duration,
}

/// An engine with tables of both layouts.
pub(crate) async fn engine() -> Engine {
    let engine = Engine::new();
    let clock = Clock::simulated(UNIX_EPOCH + Duration::from_secs(START));
    for (table, layout) in layouts() {
        engine.backend(table, layout, &clock, 0).await;
    }
    engine
}

fn layouts() -> [(&'static str, Layout); 2] {
    [("teleport", Layout::Teleport), ("partitioned", partitioned(3))]
}

/// What the clients have told one another.
#[derive(Debug, Default)]
struct Known {
    stored: Vec<(usize, Stored)>,
    values: u32,
    operations: Vec<Operation>,
}

struct Client {
    number: usize,
    keys: usize,
    backend: Backend,
    wire: Wire,
    shared: Arc<Shared>,
    known: Arc<Mutex<Known>>,
    seed: u64,
    calls: usize,
}

/// Runs the history of a seed to its end, in a paused runtime.
pub(crate) async fn run(engine: &Engine, seed: u64, setting: Setting) -> History {
    let random = Random::seeded(seed);
    let start = UNIX_EPOCH + Duration::from_secs(START);
    let trouble = Trouble {
        percent: [10, 25, 40][pick(&random, 3)],
        delay: setting.delay,
    };
    let shared = Arc::new(Shared::new(Clock::simulated(start), random.clone(), trouble));
    let known = Arc::new(Mutex::new(Known::default()));
    let (table, layout) = layouts()[pick(&random, 2)].clone();
    let keys = 2 + pick(&random, KEYS - 1);
    let config = Config {
        attempt_timeout: ATTEMPT,
        operation_timeout: Duration::from_millis([700, 1500, 3000][pick(&random, 3)]),
        ..config(table, layout)
    };
    let clients = 4 + pick(&random, 2);
    let client = |number| {
        let clock = Clock::simulated(start + random.jitter(setting.skew));
        let wire = Wire::new(engine, &shared, &clock, setting.plant);
        let client = Engine::client_over(wire.clone());
        let backend = Backend::unverified(&client, config.clone(), clock, random.clone());
        let backend = match setting.plant {
            Some(Plant::Repeat) => backend.at_least_once(),
            _ => backend,
        };
        Client {
            number,
            keys,
            backend,
            wire,
            shared: Arc::clone(&shared),
            known: Arc::clone(&known),
            seed,
            calls: CALLS / clients,
        }
    };
    let clients: Vec<Client> = (0..clients).map(client).collect();
    futures_util::future::join_all(clients.iter().map(Client::work)).await;
    shared.trouble.lock().unwrap().percent = 0;
    for key in 0..keys {
        clients[0].make(Call::Get(key)).await;
    }
    engine.sent();
    let operations = std::mem::take(&mut known.lock().unwrap().operations);
    History { seed, operations }
}

fn pick(random: &Random, bound: usize) -> usize {
    usize::try_from(random.below(bound as u64)).unwrap()
}

impl Client {
    async fn work(&self) {
        for _ in 0..self.calls {
            let pause = [0, 60, 250, 700][pick(&self.shared.random, 4)];
            let pause = self.shared.random.jitter(Duration::from_millis(pause));
            self.shared.clock.sleep(pause).await;
            self.make(self.choose()).await;
        }
    }

    /// Something that was stored under a key as somebody saw it; the latest for the most part.
    fn seen(&self, key: usize) -> Option<Stored> {
        let known = self.known.lock().unwrap();
        let mut of_key = known
            .stored
            .iter()
            .rev()
            .filter(|(of, _)| *of == key)
            .map(|(_, stored)| *stored);
        match self.shared.random.below(4) {
            0 => of_key.nth(pick(&self.shared.random, 4)),
            _ => of_key.next(),
        }
    }

    fn expiry(&self) -> i64 {
        let passed = self.shared.clock.now().duration_since(self.shared.start).unwrap();
        i64::try_from(passed.as_secs() + self.shared.random.below(3)).unwrap()
    }

    fn write(&self, key: usize) -> Write {
        let mut known = self.known.lock().unwrap();
        known.values += 1;
        Write {
            key,
            value: known.values,
            expires: (self.shared.random.below(10) < 7).then(|| self.expiry()),
        }
    }

    fn choose(&self) -> Call {
        let random = &self.shared.random;
        let key = pick(random, self.keys);
        let seen = self.seen(key);
        match (random.below(100), seen) {
            (0..6, _) => Call::Put(self.write(key)),
            (6..20, _) => Call::Create(self.write(key)),
            (20..26, _) => Call::Update(self.write(key)),
            (26..32, _) => Call::Delete(key),
            (32..46, _) => self.atomic_write(),
            (46..55, Some(seen)) => Call::CompareAndSwap(seen.value, self.write(key)),
            (55..64, Some(seen)) => Call::ConditionalUpdate(seen.revision, self.write(key)),
            (64..69, Some(seen)) => Call::ConditionalDelete(key, seen.revision),
            (69..80, Some(seen)) => Call::KeepAlive {
                key,
                revision: seen.revision,
                expires: self.expiry(),
            },
            _ => Call::Get(key),
        }
    }

    fn atomic_write(&self) -> Call {
        let random = &self.shared.random;
        let mut keys: Vec<usize> = (0..self.keys).collect();
        let mut acts = Vec::new();
        for _ in 0..2 + pick(random, 3) {
            if keys.is_empty() {
                break;
            }
            let key = keys.swap_remove(pick(random, keys.len()));
            let condition = match (random.below(6), self.seen(key)) {
                (0..3, _) => Must::Whatever,
                (3, _) => Must::Exist,
                (4.., Some(seen)) => Must::Revision(seen.revision),
                _ => Must::NotExist,
            };
            let effect = match random.below(6) {
                0 if condition != Must::Whatever && !acts.is_empty() => Effect::Nop,
                // The first writes, so that the whole does.
                1 => Effect::Delete,
                _ => {
                    let Write { value, expires, .. } = self.write(key);
                    Effect::Put { value, expires }
                }
            };
            acts.push(Act {
                key,
                condition,
                effect,
            });
        }
        Call::AtomicWrite(acts)
    }

    /// Makes a call and notes what came of it.
    async fn make(&self, call: Call) {
        self.wire.begin(matches!(call, Call::Get(_)));
        let called = self.shared.stamp();
        let outcome = match self.send(&call).await {
            Ok(outcome) => outcome,
            Err(error) => match error.kind() {
                ErrorKind::OutcomeUnknown => Outcome::Unknown,
                ErrorKind::Throttled
                | ErrorKind::Contended
                | ErrorKind::Unavailable
                | ErrorKind::AccessDenied => Outcome::NotApplied(error.kind()),
                kind => Outcome::Refused(kind),
            },
        };
        let mut known = self.known.lock().unwrap();
        let mut learn = |key, value, expires, revision| {
            let stored = Stored {
                value,
                expires,
                revision,
            };
            known.stored.push((key, stored));
        };
        match (&call, outcome) {
            (Call::Get(key), Outcome::Read(stored)) => {
                learn(*key, stored.value, stored.expires, stored.revision);
            }
            (
                Call::Put(write)
                | Call::Create(write)
                | Call::Update(write)
                | Call::CompareAndSwap(_, write)
                | Call::ConditionalUpdate(_, write),
                Outcome::Applied(Some(revision)),
            ) => learn(write.key, write.value, write.expires, revision),
            (Call::AtomicWrite(acts), Outcome::Applied(Some(revision))) => {
                for act in acts {
                    if let Effect::Put { value, expires } = act.effect {
                        learn(act.key, value, expires, revision);
                    }
                }
            }
            _ => {}
        }
        known.operations.push(Operation {
            client: self.number,
            call,
            called,
            attempts: self.wire.end(),
            returned: self.shared.stamp(),
            outcome,
        });
    }

    async fn send(&self, call: &Call) -> Result<Outcome, Error> {
        let backend = &self.backend;
        let done = |lease: Lease| Outcome::Applied(Some(self.shared.number(lease.revision.as_str())));
        match call {
            Call::Get(key) => backend.get(&self.key(*key)).await.map(|item| self.read(&item)),
            Call::Put(write) => backend.put(&self.item(write)).await.map(done),
            Call::Create(write) => backend.create(&self.item(write)).await.map(done),
            Call::Update(write) => backend.update(&self.item(write)).await.map(done),
            Call::CompareAndSwap(expected, write) => {
                let expected = Item::new(self.key(write.key), expected.to_string());
                backend
                    .compare_and_swap(&expected, &self.item(write))
                    .await
                    .map(done)
            }
            Call::ConditionalUpdate(revision, write) => {
                let item = self.item(write).at(self.revision(*revision));
                backend.conditional_update(&item).await.map(done)
            }
            Call::Delete(key) => backend
                .delete(&self.key(*key))
                .await
                .map(|()| Outcome::Applied(None)),
            Call::ConditionalDelete(key, revision) => {
                let (key, revision) = (self.key(*key), self.revision(*revision));
                let deleted = backend.conditional_delete(&key, &revision).await;
                deleted.map(|()| Outcome::Applied(None))
            }
            Call::KeepAlive {
                key,
                revision,
                expires,
            } => {
                let lease = Lease {
                    key: self.key(*key),
                    revision: self.revision(*revision),
                };
                let kept = backend.keep_alive(&lease, self.time(*expires));
                kept.await.map(|()| Outcome::Applied(None))
            }
            Call::AtomicWrite(acts) => {
                let actions: Vec<ConditionalAction> = acts.iter().map(|act| self.action(act)).collect();
                let revision = backend.atomic_write(&actions).await?;
                let revision = revision.map(|revision| self.shared.number(revision.as_str()));
                Ok(Outcome::Applied(revision))
            }
        }
    }

    fn key(&self, key: usize) -> Key {
        Key::from(format!("/{}/{key}", self.seed).as_str())
    }

    fn revision(&self, number: u32) -> Revision {
        Revision::from(self.shared.revision(number).as_str())
    }

    fn time(&self, second: i64) -> std::time::SystemTime {
        self.shared.start + Duration::from_secs(second.unsigned_abs())
    }

    fn item(&self, write: &Write) -> Item {
        Item {
            expires: write.expires.map(|second| self.time(second)),
            ..Item::new(self.key(write.key), write.value.to_string())
        }
    }

    fn action(&self, act: &Act) -> ConditionalAction {
        let condition = match act.condition {
            Must::Whatever => Condition::Whatever,
            Must::Exist => Condition::Exists,
            Must::NotExist => Condition::NotExists,
            Must::Revision(revision) => Condition::Revision(self.revision(revision)),
        };
        let action = match act.effect {
            Effect::Put { value, expires } => Action::Put(self.item(&Write {
                key: act.key,
                value,
                expires,
            })),
            Effect::Delete => Action::Delete,
            Effect::Nop => Action::Nop,
        };
        ConditionalAction {
            key: self.key(act.key),
            condition,
            action,
        }
    }

    fn read(&self, item: &Item) -> Outcome {
        let second = |at: std::time::SystemTime| at.duration_since(self.shared.start).unwrap().as_secs();
        Outcome::Read(Stored {
            value: std::str::from_utf8(&item.value).unwrap().parse().unwrap(),
            expires: item.expires.map(|at| i64::try_from(second(at)).unwrap()),
            revision: self.shared.number(item.revision.as_str()),
        })
    }
}
