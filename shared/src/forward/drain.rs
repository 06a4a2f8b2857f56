//! The task that delivers what waits in the spool, in order, once the sinks take it.
//!
//! Of each sink's queue the lowest name is taken, its records are handed to `forward` for that sink, and that very object
//! is deleted when all of them are acknowledged; then the lowest name is asked for again. One that has been put
//! meanwhile, or by a zombie, is so found, and nothing is overtaken. The first payload of a run is what tries whether
//! the sink is there: if nothing of it is taken, the run ends for this sink.
//!
//! Several drainers at once deliver records twice, never the first time out of order: each goes on only from what was
//! acknowledged, and only in the order of names. A lease around it spares the repeats.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::SystemTime;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::OBJECT_TRY;
use super::handed::{Handed, Origin};
use super::invoke::{Invoke, first_failed};
use super::record;
use super::spool::Spool;
use crate::clock::{Clock, Instant};
use crate::objects::{Listed, ObjectsError};

/// What a run did, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing was delivered, only looked at.
    pub dry_run: bool,
    /// Why the spool could not be looked at; what is told of sinks is not all then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Sinks for which anything waited, by name.
    pub sinks: BTreeMap<String, SinkReport>,
}

/// What a run did for a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkReport {
    /// Objects all of whose records were acknowledged, and that were deleted.
    pub objects: usize,
    /// Records that were acknowledged.
    pub records: usize,
    /// Bytes of those, as they wait.
    pub bytes: usize,
    /// Why the run ended before the queue did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What waits now.
    pub left: Left,
}

/// What waits for a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Objects.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// For how long the oldest of those has waited, in seconds, where the place tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<u64>,
    /// There are more than were counted.
    pub more: bool,
}

/// Until when a run goes on, and whether it does anything.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// No payload is handed over after this; one that is under way then is given up a little later, at `deadline`.
    pub last_call: Instant,
    /// When the run must have ended.
    pub deadline: Instant,
    /// Only look.
    pub dry_run: bool,
}

/// Pages of names that are counted for [`Left`].
const PAGES: usize = 10;
/// Objects that a run finds gone, because another drainer was there, before it leaves the queue to that one.
const GONE: usize = 100;

/// Drains the queues of all sinks, each by itself. Cost: a LIST a sink, and for each object a LIST, a GET, a DELETE and an
/// invocation for each 4 MB. Cancel-safe: what was not deleted is handed over again.
pub async fn drain(spool: &Spool, forward: &dyn Invoke, clock: &Clock, options: Options) -> Report {
    let mut report = Report {
        dry_run: options.dry_run,
        ..Report::default()
    };
    let sinks = match bounded(clock, options, spool.sinks()).await {
        Ok(sinks) => sinks,
        Err(error) => {
            report.error = Some(error);
            return report;
        }
    };
    let runs = sinks.into_iter().map(|sink| async move {
        let mut run = Run {
            spool,
            forward,
            clock,
            options,
            sink: &sink,
            report: SinkReport::default(),
        };
        if !options.dry_run
            && let Err(error) = run.all().await
        {
            tracing::warn!(sink, error, "the spool is not drained to its end");
            run.report.error = Some(error);
        }
        match run.left().await {
            Ok(left) => run.report.left = left,
            Err(error) => run.report.error = Some(run.report.error.unwrap_or(error)),
        }
        let report = run.report;
        (sink, report)
    });
    report.sinks = join_all(runs).await.into_iter().collect();
    report
}

/// One sink's part of a run.
struct Run<'a> {
    spool: &'a Spool,
    forward: &'a dyn Invoke,
    clock: &'a Clock,
    options: Options,
    sink: &'a str,
    report: SinkReport,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), String> {
        let mut gone = 0;
        while let Some(object) = self.lowest().await? {
            self.in_time()?;
            match self.read(&object).await? {
                Some(text) => {
                    self.object(&text).await?;
                    self.request(self.spool.remove(&object.name)).await?;
                    self.report.objects += 1;
                }
                None if gone < GONE => gone += 1,
                None => return Err("another drainer is at work".to_owned()),
            }
        }
        Ok(())
    }

    async fn lowest(&self) -> Result<Option<Listed>, String> {
        let lowest = self.request(self.spool.lowest(self.sink)).await?;
        match &lowest {
            // Whatever it is, its lines are no records to deliver and it is not for us to delete.
            Some(object) if !is_ours(&object.name) => {
                Err(format!("{} is no object of a spool: move it away", object.name))
            }
            _ => Ok(lowest),
        }
    }

    async fn read(&self, object: &Listed) -> Result<Option<String>, String> {
        self.request(self.spool.read(&object.name)).await
    }

    async fn request<T>(&self, request: impl Future<Output = Result<T, ObjectsError>>) -> Result<T, String> {
        bounded(self.clock, self.options, request).await
    }

    fn in_time(&self) -> Result<(), String> {
        if self.clock.instant() < self.options.last_call {
            Ok(())
        } else {
            Err("no time was left".to_owned())
        }
    }

    /// Hands an object's records over until all are acknowledged.
    async fn object(&mut self, text: &str) -> Result<(), String> {
        let records: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let handed = Handed {
            origin: Origin::Drain,
            sink: Some(self.sink.into()),
            range: None,
        };
        let mut at = 0;
        while let Some(rest) = records.get(at..).filter(|rest| !rest.is_empty()) {
            self.in_time()?;
            let (payload, count) = handed.payload(rest.iter().copied());
            let left = self
                .options
                .deadline
                .saturating_duration_since(self.clock.instant());
            let answer = self.clock.timeout(left, self.forward.invoke(payload)).await;
            let answer = answer.map_err(|_| "no answer in time".to_owned())?;
            let answer = answer.map_err(|error| error.to_string())?;
            let failed = first_failed(&answer).map_err(|error| error.to_string())?;
            let given = rest.get(..count).unwrap_or_default();
            let done = match &failed {
                None => count,
                // The number may stand on several records; before the first of them all are done.
                Some(failed) => given
                    .iter()
                    .position(|raw| record::header(raw).sequence_number.as_deref() == Some(failed))
                    .ok_or("the answer names a record that was not handed over")?,
            };
            at += done;
            self.report.records += done;
            self.report.bytes += given.iter().take(done).map(|raw| raw.len() + 1).sum::<usize>();
            if done == 0 {
                return Err("the sink takes nothing yet".to_owned());
            }
        }
        Ok(())
    }

    /// What waits now.
    async fn left(&self) -> Result<Left, String> {
        let mut left = Left::default();
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let listed = self.request(self.spool.page(self.sink, after.as_deref())).await?;
            // Names of different shards do not tell which came first.
            let modified = listed.objects.iter().filter_map(|object| object.modified).min();
            let age = modified.map(|at| seconds_since(self.clock.now(), at));
            left.oldest_seconds = left.oldest_seconds.max(age);
            left.objects += listed.objects.len();
            left.bytes += listed.objects.iter().map(|object| object.size).sum::<u64>();
            left.more = listed.more;
            after = listed.objects.into_iter().next_back().map(|object| object.name);
            if !left.more {
                break;
            }
        }
        Ok(left)
    }
}

/// A request, and as long as it may take: a connection that died must not stop every queue.
async fn bounded<T>(
    clock: &Clock,
    options: Options,
    request: impl Future<Output = Result<T, ObjectsError>>,
) -> Result<T, String> {
    let left = options.deadline.saturating_duration_since(clock.instant());
    match clock.timeout(left.min(OBJECT_TRY), request).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("the spool did not answer in time".to_owned()),
    }
}

/// Whether a name is one that the spool gives: `<sink>/<40 digits>-<content hash>.ndjson`.
fn is_ours(name: &str) -> bool {
    let name = name.split_once('/').map(|(_, name)| name);
    let number = name.and_then(|name| name.strip_suffix(".ndjson"));
    number.is_some_and(|name| name.len() >= 40 && name.bytes().take(40).all(|byte| byte.is_ascii_digit()))
}

fn seconds_since(now: SystemTime, at: SystemTime) -> u64 {
    now.duration_since(at).unwrap_or_default().as_secs()
}
