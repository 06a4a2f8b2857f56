//! The watch log is kept: what is past its retention goes, and the gaps that nobody reported are appended.
//!
//! What a run costs: a description of the table and a list of its mappings, which are free; four reads of the log's control
//! item, and a write of it where a mapping is enabled; and two reads a bucket, of its newest segment and of its oldest. In an
//! idle bucket these are one and the same, and empty: twelve read units and a write unit in all for a log of four buckets, run
//! after run, however long nothing happens. Removing a segment costs what writing it did.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use serde::Serialize;

#[cfg(feature = "lambda")]
use super::verify::{Mapping, mappings};
use super::{Metric, Report, Run};
use crate::aws::describe;
use crate::clock::Clock;
#[cfg(feature = "lambda")]
use crate::watch::log::MappingFacts;
use crate::watch::log::{BucketStatus, Facts, Finding, Log, LogError, Transport};

/// What is kept, and how.
#[derive(Debug, Clone)]
pub(super) struct WatchLog {
    pub(super) log: Log,
    /// Over the state table.
    pub(super) client: Client,
    /// The state table.
    pub(super) table: String,
    /// Where its changes come from.
    pub(super) transport: Transport,
    pub(super) retention: Duration,
    /// The function whose mapping feeds the log.
    #[cfg(feature = "lambda")]
    pub(super) function: Option<String>,
    #[cfg(feature = "lambda")]
    pub(super) lambda: aws_sdk_lambda::Client,
}

/// What a run found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WatchLogReport {
    /// Nothing was written.
    pub dry_run: bool,
    /// ARN of the table's stream, if it is on and was looked at.
    pub stream: Option<String>,
    /// The mapping that feeds the log, if there is one and it was looked at.
    pub mapping: Option<String>,
    /// What of the two could not be looked at, or is not there or off, and why: gaps that they would tell of are not found.
    pub not_checked: Vec<String>,
    /// What may have been lost; every bucket has its gap then. Of a dry run: would have.
    pub findings: Vec<Finding>,
    /// Segments that were removed.
    pub removed: u64,
    /// Buckets that had something to remove; of a dry run only.
    pub due_buckets: Vec<u32>,
    /// Something is left to remove, for lack of time.
    pub unfinished: bool,
}

impl Report for WatchLogReport {
    fn metrics(&self) -> Vec<Metric> {
        let removed = usize::try_from(self.removed).unwrap_or(usize::MAX);
        vec![
            Metric::count("watch_log_gaps", self.findings.len()),
            Metric::count("watch_log_removed", removed),
            Metric::count("watch_log_unfinished", usize::from(self.unfinished)),
            Metric::count("watch_log_not_checked", self.not_checked.len()),
        ]
    }

    fn is_complete(&self) -> bool {
        let due = !self.due_buckets.is_empty() || self.dry_run && !self.findings.is_empty();
        self.not_checked.is_empty() && !self.unfinished && !due
    }
}

impl WatchLog {
    /// Examines, then compacts until `run.stop`. Cancel-safe: each write is right by itself, and the next run goes on.
    ///
    /// # Errors
    /// [`LogError`]; what was done stays.
    pub(super) async fn run(&self, clock: &Clock, run: Run) -> Result<WatchLogReport, LogError> {
        let mut report = WatchLogReport {
            dry_run: run.dry_run,
            ..WatchLogReport::default()
        };
        let facts = self.facts(clock, run, &mut report).await;
        report.stream.clone_from(&facts.stream);
        report.mapping = facts.mapping.as_ref().map(|mapping| mapping.id.clone());
        if run.dry_run {
            report.findings = self.log.findings(&facts, run.stop).await?;
            let statuses = self.log.bucket_statuses(run.stop).await?;
            let now = clock.now();
            let due = |status: &&BucketStatus| {
                let oldest = status.oldest.as_ref();
                let age = oldest.and_then(|oldest| now.duration_since(oldest.appended).ok());
                // The newest of a bucket stays as it is if it is empty.
                let alone =
                    status.newest == status.oldest && oldest.is_some_and(|oldest| oldest.entries == 0);
                age.is_some_and(|age| age > self.retention) && !alone
            };
            report.due_buckets = statuses.iter().filter(due).map(|status| status.bucket).collect();
            return Ok(report);
        }
        report.findings = self.log.examine(&facts, run.stop).await?;
        let compacted = self.log.compact(self.retention, run.last_call).await?;
        report.removed = compacted.removed;
        report.unfinished = compacted.unfinished;
        Ok(report)
    }

    /// What the table and Lambda say. What they do not say is told, and is in nobody's way.
    async fn facts(&self, clock: &Clock, run: Run, report: &mut WatchLogReport) -> Facts {
        let mut facts = Facts::default();
        let left = run.stop.saturating_duration_since(clock.instant()) / 4;
        if self.transport == Transport::Stream {
            let described = clock.timeout(left, Box::pin(self.stream())).await;
            match described.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(Some(stream)) => facts.stream = Some(stream),
                Ok(None) => report.not_checked.push(format!(
                    "the table {} has no stream: no change of it reaches the log",
                    self.table
                )),
                Err(error) => report
                    .not_checked
                    .push(format!("the stream of {}: {error}", self.table)),
            }
            if facts.stream.is_none() {
                return facts;
            }
        }
        #[cfg(feature = "lambda")]
        {
            let mapping = clock
                .timeout(left, Box::pin(self.mapping(facts.stream.as_deref())))
                .await;
            match mapping.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(Some(mapping)) => {
                    if !mapping.enabled {
                        report.not_checked.push(format!(
                            "the mapping {} is off: no change reaches the log",
                            mapping.id
                        ));
                    }
                    facts.mapping = Some(mapping);
                }
                Ok(None) => report
                    .not_checked
                    .push("no mapping of the function feeds the log: no change reaches it".to_owned()),
                Err(error) => report
                    .not_checked
                    .push(format!("the mapping that feeds the log: {error}")),
            }
        }
        facts
    }

    /// The table's stream, if it is on. One request.
    async fn stream(&self) -> Result<Option<String>, String> {
        let described = self.client.describe_table().table_name(&self.table).send().await;
        let table = described.map_err(describe)?.table;
        Ok(table.and_then(|table| {
            let on = table
                .stream_specification
                .is_some_and(|specification| specification.stream_enabled);
            table.latest_stream_arn.filter(|_| on)
        }))
    }

    /// The function's mapping from the table's stream, or else from Kinesis; of several one that is on.
    #[cfg(feature = "lambda")]
    async fn mapping(&self, stream: Option<&str>) -> Result<Option<MappingFacts>, String> {
        let Some(function) = &self.function else {
            return Err("whose it is `maintain.function` must say".to_owned());
        };
        let mappings = mappings(&self.lambda, function).await;
        let mut mappings = mappings.map_err(|unread| unread.reason)?;
        mappings.retain(|mapping| match stream {
            Some(stream) => mapping.source == stream,
            None => mapping.source.contains(":kinesis:"),
        });
        let on = mappings.iter().find(|mapping| mapping.is_on());
        Ok(on.or(mappings.first()).map(Mapping::facts))
    }
}
