//! The conformance suite of the state backend: what Teleport's own compliance suites demand of a backend, and the rules
//! of ours where they differ.
//!
//! A caller gives a constructor of [`Harness`]es (a backend on an engine, and the clock it goes by), and [`run`] runs a
//! [`Case`] on one. Each case is named by its number in Teleport's suite, works below a prefix of its
//! own, and so can share a table with others.
//!
//! [`shim_cases`] are the same cases with every write of a single item made by
//! [`atomic_write`](crate::state::Backend::atomic_write), together with a check of one key that all of them share:
//! everything that the single writes promise, promised by transactions in heavy contention.
//!
//! Where this differs from Teleport's suite, by intent: [`delete_range`](crate::state::Backend::delete_range) deletes
//! expired items too and has no cap (Teleport's ends at 20,000); [`keep_alive`](crate::state::Backend::keep_alive)
//! wants the lease's revision, and neither shortens an expiry nor gives one to a permanent item; what an engine leaves
//! unprocessed is sent again until the deadline. The last no engine shows at will, so no case does.
//!
//! ```no_run
//! # async fn example(backend: tidewatch::state::Backend) {
//! use tidewatch::random::Random;
//! use tidewatch::testkit::conformance::{Harness, Outcome, cases, run};
//!
//! for case in cases() {
//!     let outcome = run(&case, || async { Harness::new(backend.clone(), Random::system()) }).await;
//!     println!("{case}: {outcome}");
//!     assert!(!matches!(outcome, Outcome::Failed(_)));
//! }
//! # }
//! ```

mod atomic;
mod batch;
mod check;
mod contention;
mod crud;
mod expiry;
mod locks;
mod ranges;
mod store;
mod watching;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::random::Random;
use crate::state::Backend;
use crate::watch::TeleportWatches;
use store::Store;

/// A backend to test, on a table that is there.
#[derive(Debug, Clone)]
pub struct Harness {
    backend: Backend,
    second: Option<Backend>,
    watches: Option<TeleportWatches>,
    sweep: Option<Sweep>,
    random: Random,
}

/// Deletes what has expired.
#[derive(Clone)]
struct Sweep(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>);

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sweep")
    }
}

impl Harness {
    /// A backend, and the randomness that cases draw keys and values from.
    ///
    /// Time is that of [`Backend::clock`], and cases wait for expiry on it: at once on a
    /// [`manual`](crate::clock::Clock::manual) clock, which cases move, and on a
    /// [`simulated`](crate::clock::Clock::simulated) one in a paused runtime; on the machine's clock for about half a
    /// minute in all. Backends wait on it too, between attempts: on an engine that has conflicts a manual clock must be
    /// moved along by the caller as well.
    pub fn new(backend: Backend, random: Random) -> Self {
        Self {
            backend,
            second: None,
            watches: None,
            sweep: None,
            random,
        }
    }

    /// With a second backend on the same table, opened by itself and under the same clock.
    #[must_use]
    pub fn with_second(mut self, second: Backend) -> Self {
        self.second = Some(second);
        self
    }

    /// With watchers of the table. Cases wait for an event for ten seconds of the runtime's time.
    #[must_use]
    pub fn with_watcher(mut self, watches: TeleportWatches) -> Self {
        self.watches = Some(watches);
        self
    }

    /// With something that deletes what has expired, as a sweeper or DynamoDB's TTL does, by the backend's clock; it has
    /// done so when it returns.
    #[must_use]
    pub fn with_sweep<F>(mut self, sweep: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.sweep = Some(Sweep(Arc::new(move || sweep().boxed())));
        self
    }
}

/// What a case needs beyond a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Events of what is written ([`Harness::with_watcher`]).
    Watcher,
    /// Those, and something that deletes what has expired ([`Harness::with_sweep`]).
    Sweep,
    /// Those, and an engine that splits the shards of its stream.
    Splitting,
    /// Another backend on the same table ([`Harness::with_second`]).
    SecondHandle,
    /// Teleport's mode for copies of another backend, which keep what has expired.
    Mirror,
}

impl Capability {
    /// Why it is not there; none if it is.
    fn lacking(self, harness: &Harness) -> Option<&'static str> {
        match self {
            Self::Watcher => harness
                .watches
                .is_none()
                .then_some("it needs a watcher, which the harness does not have"),
            Self::Sweep => (harness.watches.is_none() || harness.sweep.is_none()).then_some(
                "it needs a watcher and something that deletes what has expired, which the harness does not have",
            ),
            Self::Splitting => Some("it needs an engine that splits shards"),
            Self::SecondHandle => harness
                .second
                .is_none()
                .then_some("it needs a second backend on the table, which the harness does not have"),
            Self::Mirror => Some("it does not apply: a mirror is of Teleport's memory backend only"),
        }
    }
}

/// Something that a backend must do.
#[derive(Clone)]
pub struct Case {
    /// Its number in Teleport's suite and what it is about.
    pub name: &'static str,
    /// What it needs beyond a backend.
    pub needs: Option<Capability>,
    shim: bool,
    run: Option<Run>,
}

type Run = for<'a> fn(&'a Store) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

impl Case {
    fn new(name: &'static str, run: Run) -> Self {
        Self {
            name,
            needs: None,
            shim: false,
            run: Some(run),
        }
    }

    fn needing(mut self, capability: Capability) -> Self {
        self.needs = Some(capability);
        self
    }

    /// A case that is written when the backend has what it needs.
    fn later(name: &'static str, capability: Capability) -> Self {
        Self {
            name,
            needs: Some(capability),
            shim: false,
            run: None,
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .field("needs", &self.needs)
            .field("shim", &self.shim)
            .finish_non_exhaustive()
    }
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The backend does what it must.
    Passed,
    /// It does not; what was seen instead.
    Failed(String),
    /// It could not be tried; why.
    NotRun(&'static str),
}

/// Every case, in the order of Teleport's suite.
pub fn cases() -> Vec<Case> {
    use Capability::{Mirror, SecondHandle, Splitting, Sweep, Watcher};
    vec![
        Case::new("01 crud", |s| Box::pin(crud::crud(s))),
        Case::new("01 long key", |s| Box::pin(crud::long_key(s))),
        Case::new("02 query range", |s| Box::pin(ranges::query_range(s))),
        Case::new("03 items", |s| Box::pin(ranges::items(s))),
        Case::new("03 items over pages", |s| Box::pin(ranges::items_over_pages(s))),
        Case::new("04 delete range", |s| Box::pin(ranges::delete_range(s))),
        Case::new("05 compare and swap", |s| Box::pin(crud::compare_and_swap(s))),
        Case::new("05 compare and swap, races", |s| {
            Box::pin(contention::swap_races(s))
        }),
        Case::new("06 expiration", |s| Box::pin(expiry::expiration(s))),
        Case::new("07 keep alive, events", |s| Box::pin(watching::keep_alive(s))).needing(Watcher),
        Case::new("07 keep alive, items", |s| Box::pin(expiry::keep_alive(s))),
        Case::new("07 keep alive, refusals", |s| {
            Box::pin(expiry::keep_alive_refusals(s))
        }),
        Case::new("08 events", |s| Box::pin(watching::events(s))).needing(Watcher),
        Case::new("08 events, expiry", |s| Box::pin(watching::expiry(s))).needing(Sweep),
        Case::new("08 expired, then written again", |s| {
            Box::pin(expiry::written_again(s))
        }),
        Case::new("09 watchers close", |s| Box::pin(watching::close(s))).needing(Watcher),
        Case::new("10 locking", |s| Box::pin(locks::locking(s))),
        Case::new("11 concurrent operations", |s| {
            Box::pin(contention::concurrent_operations(s))
        })
        .needing(SecondHandle),
        Case::later("12 mirror", Mirror),
        Case::new("13 fetch limit", |s| Box::pin(ranges::fetch_limit(s))),
        Case::new("14 limit", |s| Box::pin(ranges::limit(s))),
        Case::new("15 conditional update", |s| Box::pin(crud::conditional_update(s))),
        Case::new("16 conditional delete", |s| Box::pin(crud::conditional_delete(s))),
        Case::new("17 put batch, events", |s| Box::pin(watching::put_batch(s))).needing(Watcher),
        Case::new("17 put batch, 1,000 items of 300 KiB", |s| {
            Box::pin(watching::put_batch_of_1000(s))
        })
        .needing(Watcher),
        Case::new("17 put batch, items", |s| Box::pin(batch::put_batch(s))),
        Case::new("17 put batch, large items", |s| Box::pin(batch::large_items(s))),
        Case::new("18 delete batch, events", |s| Box::pin(watching::delete_batch(s))).needing(Watcher),
        Case::new("18 delete batch, items", |s| Box::pin(batch::delete_batch(s))),
        Case::new("delete range of 20,001 items", |s| {
            Box::pin(batch::delete_range_has_no_cap(s))
        }),
        Case::new("atomic write: move", |s| Box::pin(atomic::moves(s))),
        Case::new("atomic write: lock", |s| Box::pin(atomic::lock(s))),
        Case::new("atomic write: max", |s| Box::pin(atomic::max(s))),
        Case::new("atomic write: concurrent", |s| {
            Box::pin(contention::concurrent(s))
        }),
        Case::new("atomic write: non-conflicting", |s| {
            Box::pin(contention::non_conflicting(s))
        }),
        Case::new("atomic write: other", |s| Box::pin(atomic::other(s))),
        Case::new("atomic write: refusals", |s| Box::pin(atomic::refusals(s))),
        Case::new("atomic write: expiry", |s| Box::pin(atomic::expiry(s))),
        Case::new("watch volume", |s| Box::pin(watching::volume(s))).needing(Watcher),
        Case::later("shard splitting", Splitting),
    ]
}

/// The cases of Teleport's first suite once more, through [`atomic_write`](crate::state::Backend::atomic_write); those
/// that write nothing singly are left out.
pub fn shim_cases() -> Vec<Case> {
    let numbered = |case: &Case| case.name.starts_with(|first: char| first.is_ascii_digit());
    let batches = |case: &Case| case.name.starts_with("17") || case.name.starts_with("18");
    cases()
        .into_iter()
        .filter(|case| numbered(case) && !batches(case))
        .map(|case| Case { shim: true, ..case })
        .collect()
}

/// Runs a case on a harness made for it.
pub async fn run<F>(case: &Case, constructor: impl FnOnce() -> F) -> Outcome
where
    F: Future<Output = Harness>,
{
    let harness = constructor().await;
    if let Some(lacking) = case.needs.and_then(|needs| needs.lacking(&harness)) {
        return Outcome::NotRun(lacking);
    }
    let Some(run) = case.run else {
        return Outcome::NotRun("it is not written yet");
    };
    let store = Store::new(harness, case.shim);
    match run(&store).await {
        Ok(()) => Outcome::Passed,
        Err(what) => Outcome::Failed(what),
    }
}

/// As a line of a report.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.shim { " (by atomic writes)" } else { "" };
        write!(f, "{}{way}", self.name)
    }
}

/// As a line of a report.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(what) => write!(f, "FAILED: {what}"),
            Self::NotRun(why) => write!(f, "not run: {why}"),
        }
    }
}
