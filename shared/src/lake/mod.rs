//! The lake: audit events as Parquet files that Teleport's Athena backend and its exporter read beside their own.
//!
//! That reader lists `<prefix>/<yyyy-mm-dd>/*.parquet` by itself and keeps its place by file name and row, so a file
//! must be written once and never again: not rewritten, compacted or moved. Records, on the other hand, come in small
//! batches and come again. So the sink ([`sinks::lake`](crate::forward::sinks::lake)) only stages them, and this task,
//! alone, makes files of what is staged, each event once.
//!
//! | object | what it is |
//! |---|---|
//! | `_staging/…ndjson` | envelopes, not yet in a file |
//! | `_lake/plan.json` | what a run takes in |
//! | `<yyyy-mm-dd>/<uuid>.parquet` | events of a UTC day |
//! | `_ids/<yyyy-mm-dd>/<uuid>.ids` | the sidecar of that file: its events' ids, 16 bytes each, the start of their SHA-256 |
//! | `_quarantine/<uuid>.ndjson` | lines that are no rows: `reason`, `input`, and `line` (or `base64`) whole |
//!
//! # The protocol
//! 1. Create the plan under its one name (`If-None-Match`): a fresh uuid, names of staged objects. One that is there is
//!    carried out instead, whoever made it.
//! 2. Only then read its inputs; one that is missing has been consumed. Drop repeats: of each other, and of the ids in
//!    the sidecars of their day, those of this very plan excepted.
//! 3. Create the quarantine's object, then each day's file and then its sidecar, all named by the plan's uuid
//!    (`If-None-Match`; a name that is taken is done).
//! 4. Delete the inputs, then the plan if it is still this one (`If-Match`).
//!
//! Any number of runs may do this at once, be cut anywhere, and have requests that arrive long after they have ended:
//! - While a plan stands nobody writes for another, so all who carry it out look at the same sidecars.
//! - The first input is deleted after someone has read them all and has written everything. So who misses an input
//!   finds every name taken; what it would have written, which is less, goes nowhere.
//! - A plan that is created late, of inputs that another has consumed, finds none of them.
//! - A staged object that comes again has the same content under the same name; its ids are in sidecars.
//! - An event's day and its id follow from the event alone, so a repeat finds the sidecar of the first.
//!
//! The simulation looks at all of this with requests lost, late and cut, and finds each mistake that it plants. A lock
//! keeps runs from doing the work twice; nothing rests on it. **Sidecars must be kept**: what comes again after its
//! sidecar is gone is visible twice.
//!
//! # Rows
//! Columns are those of Teleport's table. `event_data` is the event as canonical JSON; `event_time` is cut to
//! milliseconds. Teleport's paging parses `uid`: one that is no UUID as Teleport writes them becomes a UUIDv5 of the
//! event's id, in `event_data` too, where `tidewatch_uid` holds what stood there. An event without a type or a time, or
//! of a day more than 400 days before its arrival or more than one after, goes to the quarantine, as do lines of more
//! than 4 MiB and those that cannot be read. It arrived at `created` of its envelope, else when the plan was made.

mod file;
mod gather;
mod plan;
mod plant;
mod report;
mod row;
#[cfg(all(test, feature = "s3", feature = "dynamodb"))]
mod simulation;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use self::gather::Gathered;
use self::plan::{PLAN, Plan};
use self::plant::Plant;
pub use self::report::{Output, Report};
use crate::audit::Day;
use crate::clock::{Clock, Instant};
use crate::forward::sinks::lake::{QUARANTINE, SIDECARS};
use crate::objects::{Objects, ObjectsError, Tag};
use crate::random::Random;

/// Where events are staged and filed.
#[derive(Debug)]
pub struct Lake {
    objects: Objects,
    limits: Limits,
    clock: Clock,
    random: Random,
    #[cfg(test)]
    plant: Option<Plant>,
}

/// How much a plan takes in: what a run holds in memory, a few times over, and what it must read again after a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most inputs.
    pub inputs: usize,
    /// Most bytes of inputs; an object that is larger is left where it is, and counted. A file has at most about twice
    /// the bytes of its lines: with the 24 MiB that this may be at most (and is by default) none has more than 64 MB.
    pub bytes: u64,
}

const MOST_BYTES: u64 = 24 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            inputs: 500,
            bytes: MOST_BYTES,
        }
    }
}

/// Requests that are under way at once.
const AT_ONCE: usize = 8;

/// Why a run ended before its time. The next one goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A request failed.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The plan is not one that this version makes; nothing is done until it is looked at.
    #[error("{0} is no plan that this version can carry out")]
    Plan(String),
    /// A sidecar is damaged; what is in its file cannot be told.
    #[error("{0} is no sidecar")]
    Sidecar(String),
    /// Parquet could not be written.
    #[error("rows could not be written as Parquet: {0}")]
    Encode(String),
}

/// A run that failed, and what it had done by then.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// What it did.
    pub report: Box<Report>,
    /// Why it ended.
    #[source]
    pub error: LakeError,
}

impl Lake {
    /// A lake at a place, the one that the sink's URI names.
    pub fn new(objects: Objects, limits: Limits, clock: Clock, random: Random) -> Self {
        let limits = Limits {
            inputs: limits.inputs.max(1),
            bytes: limits.bytes.min(MOST_BYTES),
        };
        Self {
            objects,
            limits,
            clock,
            random,
            #[cfg(test)]
            plant: None,
        }
    }

    /// Files what is staged, plan after plan, until nothing is left or until `stop`; then [`Report::complete`] is
    /// false and the next run goes on. A run comes further if it has time to read a plan's inputs and sidecars and to
    /// write one day.
    ///
    /// Cost of a plan: GET, LIST, PUT and GET for the plan and a DELETE; a GET and a DELETE an input; and for each day
    /// of events a LIST, a GET for each sidecar of the day, and two PUTs. Run it every quarter of an hour or so: a
    /// day's sidecars are as many as its runs. Cancel-safe.
    ///
    /// # Errors
    /// [`Failed`]; what was done stays, and the next run goes on.
    pub async fn run(&self, stop: Instant) -> Result<Report, Failed> {
        self.until(stop, false).await
    }

    /// Tells what the next plan, or the one that is there, would come to, and writes nothing.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn dry_run(&self, stop: Instant) -> Result<Report, Failed> {
        self.until(stop, true).await
    }

    async fn until(&self, stop: Instant, dry_run: bool) -> Result<Report, Failed> {
        let mut report = Report {
            dry_run,
            ..Report::default()
        };
        let left = stop.saturating_duration_since(self.clock.instant());
        let work = self.clock.timeout(left, Box::pin(self.work(&mut report)));
        match work.await {
            Ok(Ok(())) => {
                report.complete = true;
                Ok(report)
            }
            Err(_) => Ok(report),
            Ok(Err(error)) => Err(Failed {
                report: Box::new(report),
                error,
            }),
        }
    }

    async fn work(&self, report: &mut Report) -> Result<(), LakeError> {
        loop {
            let mut early = None;
            let (plan, tag) = match Plan::find(&self.objects).await? {
                Some(found) => {
                    report.plans_found += 1;
                    found
                }
                None => {
                    let staged = plan::staged(&self.objects, self.limits).await?;
                    report.inputs_too_large = staged.too_large;
                    if staged.names.is_empty() {
                        return Ok(());
                    }
                    let plan = Plan::new(staged.names, &self.clock, &self.random);
                    if report.dry_run {
                        let gathered = self.gather(&plan, report).await?;
                        return self.write(&plan, gathered, report).await;
                    }
                    if self.has(Plant::InputsReadBeforePlan) {
                        early = Some((plan.id.clone(), self.gather(&plan, report).await?));
                    }
                    report.plans_created += u64::from(plan.create(&self.objects).await?);
                    // Another may have been faster, or have carried out this one already.
                    match Plan::find(&self.objects).await? {
                        Some(found) => found,
                        None => continue,
                    }
                }
            };
            if self.has(Plant::InputsDeletedFirst) {
                let gathered = self.gather(&plan, report).await?;
                self.consume(&plan).await?;
                early = Some((plan.id.clone(), gathered));
            }
            let gathered = match early {
                Some((id, gathered)) if id == plan.id => gathered,
                _ => self.gather(&plan, report).await?,
            };
            self.write(&plan, gathered, report).await?;
            if report.dry_run {
                return Ok(());
            }
            self.consume(&plan).await?;
            self.remove(&tag).await?;
            report.plans_done += 1;
        }
    }

    /// Creates what a plan comes to.
    async fn write(&self, plan: &Plan, gathered: Gathered, report: &mut Report) -> Result<(), LakeError> {
        if !gathered.quarantine.is_empty() && !report.dry_run {
            let name = format!("{QUARANTINE}{}.ndjson", plan.id);
            self.objects.create(&name, gathered.quarantine).await?;
        }
        for (day, mut rows) in gathered.days {
            let day = Day::new(Some(day));
            let mut ids: Vec<u128> = rows.iter().map(|row| row.key).collect();
            ids.sort_unstable();
            let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
            let body = file::encode(&mut rows).map_err(|error| LakeError::Encode(error.to_string()))?;
            let output = Output {
                name: format!("{day}/{}.parquet", plan.id),
                rows: rows.len(),
                bytes: body.len(),
            };
            drop(rows);
            if !report.dry_run {
                if !self.create(&output.name, body).await? {
                    report.outputs_found += 1;
                    self.objects.create(&sidecar(day, &plan.id), ids).await?;
                    continue;
                }
                self.objects.create(&sidecar(day, &plan.id), ids).await?;
            }
            report.rows += output.rows;
            report.outputs.push(output);
        }
        Ok(())
    }

    async fn create(&self, name: &str, body: Vec<u8>) -> Result<bool, LakeError> {
        if self.has(Plant::OutputsOverwritten) {
            self.objects.replace(name, body).await?;
            return Ok(true);
        }
        Ok(self.objects.create(name, body).await?)
    }

    /// Deletes a plan's inputs.
    async fn consume(&self, plan: &Plan) -> Result<(), LakeError> {
        let deletes: Vec<_> = plan.inputs.iter().map(|name| self.objects.delete(name)).collect();
        let deleted = stream::iter(deletes).buffer_unordered(AT_ONCE);
        Ok(deleted.try_collect().await?)
    }

    /// Deletes a plan that is done, unless another stands there.
    async fn remove(&self, tag: &Tag) -> Result<(), LakeError> {
        if self.has(Plant::PlanDeletedUnconditionally) {
            return Ok(self.objects.delete(PLAN).await?);
        }
        Ok(self.objects.delete_if(PLAN, tag).await.map(drop)?)
    }
}

/// The sidecar of a plan's file.
fn sidecar(day: Day, plan: &str) -> String {
    format!("{}{plan}.ids", sidecars(day))
}

/// What the names of a day's sidecars begin with.
fn sidecars(day: Day) -> String {
    format!("{SIDECARS}{day}/")
}
