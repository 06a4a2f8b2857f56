//! The tasks that only look: `verify`, and `canary`, which may put a marked event where that is its own.

use std::time::SystemTime;

use super::canary::Canary;
use super::outcome::Done;
use super::run::Maintain;
use super::verify::{Function, Holds, NotChecked, Place, Reads, Settings, Source, Verified, Verify};
use super::{Run, Task, Verdict};
use crate::audit::log::Dynamo;
use crate::config::{ExpireConfig, ObjectsUri, SinkUri, WatchConfig};
use crate::redrive::gaps::Look;
use crate::state::Layout;
use crate::table::{Kind, Spec, Tables};
use crate::watch::log::Transport;

impl Maintain {
    /// Each table is looked at in its region. By which key a table is encrypted is not compared: no setting names one.
    pub(super) async fn verify(&self, run: Run) -> Done {
        let mut verified = Verified::default();
        for (settings, client) in [(self.of_audit(), &self.audit), (self.of_state(), &self.client)] {
            let tables = Tables::new(client.clone(), self.clock.clone(), Tables::WAIT);
            let verify = Verify::new(settings, tables, self.clock.clone());
            #[cfg(feature = "lambda")]
            let verify = verify.with_lambda(self.lambda.clone());
            #[cfg(feature = "s3")]
            let verify = verify.with_s3(self.sdk.clone());
            let found = Box::pin(verify.run(run)).await;
            verified.checked += found.checked;
            verified.drifts.extend(found.drifts);
            verified.not_checked.extend(found.not_checked);
        }
        verified.not_checked.extend(self.unset());
        let worst = |drift: &super::verify::Drift| std::cmp::Reverse(drift.difference.severity);
        verified.drifts.sort_by_key(worst);
        let drifts = verified.failing() > 0;
        Done::of(&verified, None).finding(drifts)
    }

    /// What the document shows to be there, while the section does not say where.
    fn unset(&self) -> impl Iterator<Item = NotChecked> {
        let (config, document) = (&self.config, &self.document);
        let forwards = document.quarantine.is_some();
        let streamed = |watch: &WatchConfig| watch.source == Transport::Stream;
        let watches = document.watch.as_ref().is_some_and(streamed);
        let parts = [
            (
                forwards && config.audit.is_none(),
                "the audit table",
                "maintain.audit.table",
            ),
            (
                forwards && config.function.is_none(),
                "the function that forwards",
                "maintain.function",
            ),
            (
                watches && config.feed.is_none(),
                "the function that feeds the watch log",
                "maintain.feed",
            ),
        ];
        let unset = |(unset, resource, setting): (bool, &str, &str)| {
            unset.then(|| NotChecked::unset(resource, setting))
        };
        parts.into_iter().filter_map(unset)
    }

    /// The audit table, its mapping, and all places.
    fn of_audit(&self) -> Settings {
        let audit = self.config.audit.as_ref();
        let document = &self.document;
        let kept = [
            (document.spool.clone(), Holds::Spool),
            (self.config.failures.clone(), Holds::Failures),
            (document.quarantine.clone(), Holds::Failures),
        ];
        let sinks = document.sinks.values();
        let sinks = sinks.map(|sink| match &sink.uri {
            SinkUri::Lake(place) => (Some(place.clone()), Holds::Lake),
            other => (other.place(), Holds::Events),
        });
        let places = kept
            .into_iter()
            .chain(sinks)
            .filter_map(|(place, holds)| match place? {
                ObjectsUri::S3(location) => Some(Place { location, holds }),
                ObjectsUri::File(_) => None,
            });
        let reads = Reads::Audit { ordered: true };
        let failures = match &self.config.failures {
            Some(ObjectsUri::S3(location)) => Some(location.bucket.clone()),
            _ => None,
        };
        Settings {
            tables: audit
                .and_then(|audit| Spec::new(Kind::Audit, &audit.table).ok())
                .into_iter()
                .collect(),
            expiry_index: None,
            functions: audit
                .and_then(|audit| of(self.config.function.as_ref(), reads, &audit.table))
                .map(|function| Function { failures, ..function })
                .into_iter()
                .collect(),
            places: places.collect(),
        }
    }

    /// The state table, if it has more than leases, its watch log and its mapping.
    pub(super) fn of_state(&self) -> Settings {
        let watch = self.document.watch.as_ref();
        let swept = self.config.expire != ExpireConfig::default();
        let swept = swept.then_some((&self.state.table, &self.state.layout));
        let watched = watch.map(|watch| (&watch.table, &watch.layout));
        let swept = swept.filter(|(table, _)| watched.is_none_or(|(watched, _)| watched != *table));
        let by_index = self.config.expire.index && self.log_of_state().is_none();
        let kind = |layout: &Layout| match layout {
            Layout::Teleport => Kind::State,
            Layout::Partitioned(_) => Kind::Partitioned,
        };
        let states = watched.into_iter().chain(swept);
        let states = states.filter_map(|(table, layout)| Spec::new(kind(layout), table).ok());
        let log = watch.and_then(|watch| Spec::new(Kind::WatchLog, &watch.log.table).ok());
        // Which stream of Kinesis it is the configuration does not say.
        let streamed = watch.filter(|watch| watch.source == Transport::Stream);
        Settings {
            tables: states.chain(log).collect(),
            expiry_index: by_index.then(|| self.state.table.clone()),
            functions: streamed
                .and_then(|watch| of(self.config.feed.as_ref(), Reads::Watch, &watch.table))
                .into_iter()
                .collect(),
            places: Vec::new(),
        }
    }

    pub(super) async fn canary(&self, run: Run) -> Done {
        let Some(audit) = &self.config.audit else {
            return Done::lacking(Task::Canary, "`maintain.audit.table`");
        };
        if self.sinks.is_empty() {
            return Done::lacking(Task::Canary, "the `sinks`");
        }
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let log = Dynamo::unverified(&self.audit, &audit.table, Dynamo::RETENTION, clock, random);
        let looks = self.sinks.iter().map(|(name, (sink, objects))| Look {
            name,
            sink,
            objects: objects.as_ref(),
            spool: self.parked.as_ref(),
            quarantine: self.quarantine.as_ref(),
            failures: self.failures.as_ref(),
        });
        let looks: Vec<Look<'_>> = looks.collect();
        let canary = Canary {
            log: &log,
            looks: &looks,
            marked: audit.owned,
            since: match audit.owned {
                true => None,
                false => self.stream_began(&audit.table, run).await,
            },
            limit: Canary::LIMIT,
        };
        match Box::pin(canary.run(run)).await {
            Ok(report) => {
                let missing = report.sinks.iter().any(|sink| sink.verdict == Verdict::Missing);
                Done::of(&report, report.error()).finding(missing)
            }
            Err(error) => Done::failed(error),
        }
    }

    /// When the audit table's stream was turned on; none if it is off, or if that cannot be told. One request.
    async fn stream_began(&self, table: &str, run: Run) -> Option<SystemTime> {
        let left = run.stop.saturating_duration_since(self.clock.instant()) / 8;
        let described = self.audit.describe_table().table_name(table).send();
        let described = self.clock.timeout(left, Box::pin(described)).await.ok()?.ok()?;
        let table = described.table?;
        let on = table.stream_specification?.stream_enabled;
        // A stream's label is when it was made, without a zone: of UTC.
        let label = table.latest_stream_label.filter(|_| on)?;
        humantime::parse_rfc3339_weak(&label).ok()
    }
}

/// A function that is to read a table's stream.
fn of(name: Option<&String>, reads: Reads, table: &str) -> Option<Function> {
    Some(Function {
        name: name?.clone(),
        reads,
        source: Source::Table(table.to_owned()),
        failures: None,
    })
}
