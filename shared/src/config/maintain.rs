//! The tasks that run now and then: where their leases are, what they work on, and to whom they hand records.

use std::num::NonZeroU32;
use std::time::Duration;

use super::ObjectsUri;
use super::document::Section;
use super::watch::{WatchConfig, layout, prefixes, required_table};
use crate::state::Layout;
use crate::watch::Prefix;
use crate::watch::log::MIN_RETENTION;

/// What the tasks work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintainConfig {
    /// The function that records are handed to, by name or ARN; without it neither drain nor redrive.
    pub function: Option<String>,
    /// The function that feeds the watch log, by name or ARN: the mapping that watch-log and verify look at is its.
    pub feed: Option<String>,
    /// Where Lambda puts what it gave up; without it no redrive.
    pub failures: Option<ObjectsUri>,
    /// The state table: it has the leases of the tasks, and expire and locks work on it. None if the document names
    /// neither it nor that of `watch`: tasks cannot be run, and whoever else reads the document needs none.
    pub state: Option<StateTable>,
    /// How expired items are deleted.
    pub expire: ExpireConfig,
    /// How long the watch log is kept.
    pub retention: Duration,
    /// The audit table that verify and canary look at.
    pub audit: Option<AuditTable>,
}

/// A state table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTable {
    /// Its name.
    pub table: String,
    /// Which of its items hold keys.
    pub layout: Layout,
}

/// How expired items are deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpireConfig {
    /// An invocation repeats its pass so often; once where nothing is said.
    pub every: Option<Duration>,
    /// Which keys: these and what lies below them; none for all.
    pub prefixes: Vec<Prefix>,
    /// Most capacity units that it takes in a second; the task's default where nothing is said.
    pub units_per_second: Option<NonZeroU32>,
    /// A table in Teleport's layout has the index `expiry`, and what has expired is found by it if there is no watch log.
    pub index: bool,
}

/// An audit table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditTable {
    /// Its name.
    pub table: String,
    /// Only Tidewatch writes it: marked events may be put there.
    pub owned: bool,
}

/// How long the watch log is kept unless somebody says otherwise: what a stream can still bring, and a day more.
const RETENTION: Duration = Duration::from_hours(72);
/// Bounds of `expire.every`: a pass costs requests, and a scheduler can do a minute by itself.
const EVERY: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);

impl ExpireConfig {
    /// Reads how often a pass is repeated, such as `5s`.
    ///
    /// # Errors
    /// What is due instead.
    pub(crate) fn parse_every(text: &str) -> Result<Duration, &'static str> {
        match humantime::parse_duration(text) {
            Ok(every) if EVERY.contains(&every) => Ok(every),
            _ => Err("a duration from 1s to 5m is due, such as 5s"),
        }
    }

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            every: section.setting("every", Self::parse_every),
            prefixes: section
                .texts("prefixes")
                .map(|texts| prefixes(section, "prefixes", texts))
                .unwrap_or_default(),
            units_per_second: section.setting("units_per_second", |text| match text.parse::<NonZeroU32>() {
                Ok(units) if units.get() <= 40_000 => Ok(units),
                _ => Err("a number from 1 to 40000 is due"),
            }),
            index: section.truth("index").unwrap_or_default(),
        }
    }
}

impl MaintainConfig {
    /// `watch`: the document's section of that name. What is absent is no fault: `forward` may read the same document,
    /// and what `maintain` is told by variables is not told to it.
    pub(super) fn read(section: &mut Section<'_>, watch: Option<&WatchConfig>) -> Self {
        let (function, feed) = (
            section.setting("function", function),
            section.setting("feed", function),
        );
        let failures = section.setting("failures", str::parse);
        let state = if section.has("state") {
            section.section("state", StateTable::read)
        } else {
            watch.map(StateTable::of)
        };
        let expire = section.section("expire", ExpireConfig::read);
        let retention = section.setting("retention", |text| match humantime::parse_duration(text) {
            Ok(retention) if retention >= MIN_RETENTION => Ok(retention),
            _ => Err(
                "a duration of 48h at least is due: a change that is delivered again must be found in the log",
            ),
        });
        let audit = section
            .has("audit")
            .then(|| section.section("audit", AuditTable::read));
        Self {
            feed: feed.or_else(|| function.clone()),
            function,
            failures,
            state,
            expire,
            retention: retention.unwrap_or(RETENTION),
            audit: audit.flatten(),
        }
    }
}

impl StateTable {
    fn of(watch: &WatchConfig) -> Self {
        Self {
            table: watch.table.clone(),
            layout: watch.layout.clone(),
        }
    }

    fn read(section: &mut Section<'_>) -> Option<Self> {
        let table = required_table(section, "table");
        let layout = layout(section);
        Some(Self {
            table: table?,
            layout: layout?,
        })
    }
}

impl AuditTable {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let table = required_table(section, "table");
        let owned = section.truth("owned");
        Some(Self {
            table: table?,
            owned: owned.unwrap_or_default(),
        })
    }
}

/// Lambda's own bounds, for names as for ARNs.
fn function(text: &str) -> Result<String, &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:$./".contains(&byte);
    match (1..=256).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("a Lambda function's name or ARN is due"),
    }
}

/// The section as the document holds it, for the schema.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "MaintainConfig", deny_unknown_fields)]
#[allow(dead_code)] // Only its shape is used.
pub(super) struct Document {
    /// Lambda function (name or ARN) that records are handed to: needed by drain and redrive.
    function: Option<String>,
    /// Lambda function (name or ARN) that feeds the watch log, if that is another one: watch-log and verify look at its
    /// mapping.
    feed: Option<String>,
    /// Where the mapping puts what Lambda gave up, s3://bucket/aws/lambda/ or file:///dir: needed by redrive.
    failures: Option<String>,
    /// The state table: it has the leases of the tasks, and expire and locks work on it. That of watch, if none;
    /// maintain does not start without one of the two.
    state: Option<StateDocument>,
    /// How expired items are deleted.
    expire: Option<ExpireDocument>,
    /// How long the watch log is kept: 72h, if none; 48h at least.
    retention: Option<String>,
    /// The audit table, for verify and canary.
    audit: Option<AuditDocument>,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "MaintainStateConfig", deny_unknown_fields)]
#[allow(dead_code)] // Only its shape is used.
struct StateDocument {
    /// The table.
    table: String,
    /// Its layout.
    layout: super::watch::LayoutName,
    /// The namespace of a partitioned table: default, if none.
    namespace: Option<String>,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "ExpireConfig", deny_unknown_fields)]
#[allow(dead_code)] // Only its shape is used.
struct ExpireDocument {
    /// How often an invocation repeats its pass, 1s to 5m, until its time is over; once, if none.
    every: Option<String>,
    /// Which keys: these and what lies below them; all, if none.
    prefixes: Option<super::watch::Texts>,
    /// Most capacity units that it takes in a second.
    #[schemars(range(min = 1, max = 40000))]
    units_per_second: Option<u32>,
    /// Whether a table in layout teleport has the index `expiry` that `tidewatch table index --add` makes, by which what
    /// has expired is found if there is no watch log: false, if none.
    index: Option<bool>,
}

#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "MaintainAuditConfig", deny_unknown_fields)]
#[allow(dead_code)] // Only its shape is used.
struct AuditDocument {
    /// The table.
    table: String,
    /// Whether only Tidewatch writes it, so that marked events may be put there: false, if none.
    owned: Option<bool>,
}
