//! The one configuration document: typed, every fault reported at once with its place.
//!
//! ```yaml
//! quarantine: s3://my-audit/quarantine       # required: where records go that can never be delivered
//! sinks:
//!   archive: { uri: "s3://my-audit/events?compression=gzip", format: envelope }
//!   local:   { uri: file:///var/audit, timeout: 5s, filter: { deny: [{ types: [session.command] }] } }
//! spool: s3://my-audit/spool                 # where records wait for a sink that is down
//! watch:                                     # a state table's watch log; alone, or beside the two above
//!   table: teleport-state
//!   layout: teleport
//!   log: { table: teleport-watch }
//! maintain:                                  # for the function `maintain`; `forward` reads and does not use it
//!   function: tidewatch-forward
//!   failures: s3://my-audit/aws/lambda/
//!   expire: { every: 5s }
//! ```
//! `TIDEWATCH_CONFIG` names the document; `TIDEWATCH_QUARANTINE` or `TIDEWATCH_SINKS__ARCHIVE__URI` override single
//! settings (two underscores are a dot; names in lower case). Its JSON schema is printed by `tidewatch config schema`.

mod aws;
mod document;
mod filter;
mod load;
#[cfg(feature = "dynamodb")]
mod maintain;
mod secret;
mod uri;
mod versions;
#[cfg(feature = "dynamodb")]
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

pub use aws::AwsConfig;
pub use document::{Fault, Faults};
pub(crate) use document::{Node, Section};
pub use filter::{FilterConfig, Pattern, RuleConfig};
#[cfg(any(feature = "s3", feature = "ssm"))]
pub use load::read_text_with;
pub use load::{LoadError, read_text};
#[cfg(feature = "dynamodb")]
pub use maintain::{AuditTable, ExpireConfig, MaintainConfig, StateTable};
#[cfg(feature = "dynamodb")]
pub(crate) use secret::warn_of_literals;
pub use secret::{Secret, SecretError};
pub use uri::{Compression, ObjectsUri, S3Location, SinkUri};
pub use versions::{
    Applied, Candidate, Chain, Draining, KEPT, LEAD, Version, Versions, VersionsError, versions_place,
};
#[cfg(feature = "dynamodb")]
pub use watch::{WatchConfig, WatchLogConfig};

/// The variable that names the document; every other variable with its prefix overrides a setting.
pub const CONFIG_VARIABLE: &str = "TIDEWATCH_CONFIG";
const PREFIX: &str = "TIDEWATCH_";

/// The configuration of `forward` and of `maintain`: the same document serves both.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
#[cfg_attr(
    all(feature = "schema", feature = "dynamodb"),
    schemars(extend("anyOf" = [{"required": ["quarantine", "sinks"]}, {"required": ["watch"]}, {"required": ["maintain"]}],
        "dependentRequired" = {"quarantine": ["sinks"]},
        "dependentSchemas" = {"sinks": {"anyOf": [{"required": ["quarantine"]}, {"required": ["maintain"]}]}}))
)]
#[cfg_attr(
    all(feature = "schema", not(feature = "dynamodb")),
    schemars(extend("required" = ["quarantine", "sinks"]))
)]
pub struct Config {
    /// Where records go that can never be delivered: file:///dir or s3://bucket/prefix. Required with sinks, as they are
    /// with it: only a function that keeps nothing but a watch log, or runs nothing but tasks, has neither; the latter may
    /// have sinks alone.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub quarantine: Option<ObjectsUri>,
    /// Sinks by name; at least one. A name is 1 to 64 of a-z, 0-9, - and _.
    #[cfg_attr(feature = "schema", schemars(default, extend("minProperties" = 1)))]
    pub sinks: BTreeMap<String, SinkConfig>,
    /// Where records wait for sinks that are down, a folder a sink: file:///dir or s3://bucket/prefix.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub spool: Option<ObjectsUri>,
    /// Where events go that are too large for a sink, which gets a pointer: file:///dir or s3://bucket/prefix.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub spill: Option<ObjectsUri>,
    /// What becomes of a MODIFY record without an old image whose event is not from about then: skip (default) or
    /// forward.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub modify_unproven: ModifyUnproven,
    /// The watch log of a state table, if one is kept.
    #[cfg(feature = "dynamodb")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<watch::Document>"))]
    pub watch: Option<WatchConfig>,
    /// What the function `maintain` does. `forward` does not use it: a fault in what is written stops both, and what is
    /// absent only `maintain`.
    #[cfg(feature = "dynamodb")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<maintain::Document>"))]
    pub maintain: Option<MaintainConfig>,
    /// How AWS is reached; the default chain where nothing is said.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub aws: AwsConfig,
}

/// A sink.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(deny_unknown_fields))]
pub struct SinkConfig {
    /// stdout://, file:///dir or s3://bucket/prefix.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub uri: SinkUri,
    /// event: the event alone, as stored (default of stdout and file); envelope: with id, exact index and sequence
    /// number beside it (default of s3, and the only one of a lake).
    #[cfg_attr(feature = "schema", schemars(with = "Option<Format>"))]
    pub format: Format,
    /// Longest time for one try, such as 10s (default); half the function's time-out at most.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub timeout: Duration,
    /// Which events it gets; all where nothing is said.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub filter: FilterConfig,
    /// What becomes of records that it does not take: spool, they wait in the spool and go out later (default where
    /// there is a spool); retry, Lambda delivers them again to all sinks, and the shard waits.
    #[cfg_attr(feature = "schema", schemars(with = "Option<OnFailure>"))]
    pub on_failure: OnFailure,
    /// failure: records go to the spool when it fails (default); always: all do, so that a slow sink holds up nobody.
    #[cfg_attr(feature = "schema", schemars(with = "Option<SpoolUse>"))]
    pub spool: SpoolUse,
    /// Longest time for all tries of a batch before it goes to the spool, such as 10s (default).
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub budget: Duration,
    /// Most bytes of a line. A larger event goes to the spill, and a pointer to the sink. No limit where nothing is said.
    pub max_event_bytes: Option<usize>,
}

/// What becomes of records that a sink does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "lowercase"))]
pub enum OnFailure {
    /// They wait in the spool, in order, and so does what follows them.
    Spool,
    /// They are tried until the invocation ends, and reported to Lambda.
    Retry,
}

/// When a sink's records go to the spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "lowercase"))]
pub enum SpoolUse {
    /// When the sink fails.
    #[default]
    Failure,
    /// Always.
    Always,
}

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "lowercase"))]
pub enum Format {
    /// The event alone, as stored.
    Event,
    /// The event in an envelope with its id, exact index and sequence number.
    Envelope,
}

/// What becomes of a MODIFY that cannot be told from a mere change of the row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "lowercase"))]
pub enum ModifyUnproven {
    /// Skipped and counted: an operator who repairs `Expires` forwards no year again.
    #[default]
    Skip,
    /// Forwarded.
    Forward,
}

const TIMEOUT: Duration = Duration::from_secs(10);
const BUDGET: Duration = Duration::from_secs(10);
/// Least for `max_event_bytes`: a pointer must fit.
const LEAST_LIMIT: usize = 4096;

/// The process's environment variables that override settings. A value that is no text becomes one that nothing
/// accepts, so that it is told as a fault.
pub fn overrides() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((
            name,
            value.into_string().unwrap_or_else(|_| "\u{fffd}".to_owned()),
        ))
    })
}

impl Config {
    /// Reads the document at `uri`, as `TIDEWATCH_CONFIG` names it (none: an empty one), with the overrides of the
    /// process's environment. One request for s3:// and ssm:, with the AWS default chain.
    ///
    /// # Errors
    /// [`LoadError`] if the document cannot be read, or with every fault of it.
    pub async fn load(uri: Option<&str>) -> Result<Self, LoadError> {
        let (place, text) = match uri.filter(|uri| !uri.is_empty()) {
            Some(uri) => (uri, read_text(uri).await?),
            None => ("no document", String::new()),
        };
        Ok(Self::parse(&text, place, overrides())?)
    }

    /// Reads a document; `place` names it in faults. `variables` are environment variables: those that begin with
    /// `TIDEWATCH_` override settings.
    ///
    /// # Errors
    /// Every fault there is, each with its place.
    pub fn parse(
        text: &str,
        place: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let mut node = Node::parse(text, place, &mut faults);
        for (name, value) in variables {
            if let Some(setting) = name.strip_prefix(PREFIX).filter(|_| name != CONFIG_VARIABLE) {
                let path: Vec<String> = setting.split("__").map(str::to_lowercase).collect();
                node.set(&path, &name, &value);
            }
        }
        let mut section = Section::new(node, "", &mut faults);
        // A function may forward, keep a watch log, or both; or run tasks, one of which looks for lakes among the sinks.
        let watched = section.has("watch");
        #[cfg(feature = "dynamodb")]
        let maintained = section.has("maintain");
        #[cfg(not(feature = "dynamodb"))]
        let maintained = false;
        let forwards = section.has("quarantine") || !maintained && (!watched || section.has("sinks"));
        let quarantine: Option<ObjectsUri> = section.setting("quarantine", str::parse);
        // A spool that is there but wrong is one fault, not another for each sink that needs it.
        let places = Places {
            spool: section.has("spool"),
            spill: section.has("spill"),
        };
        let spool = section.setting("spool", str::parse);
        let spill = section.setting("spill", str::parse);
        let mut sinks = BTreeMap::new();
        section.sections("sinks", |name, section| {
            if let Some(sink) = SinkConfig::read(name, section, places) {
                sinks.insert(name.to_owned(), sink);
            }
        });
        let modify_unproven = section.setting("modify_unproven", |text| match text {
            "skip" => Ok(ModifyUnproven::Skip),
            "forward" => Ok(ModifyUnproven::Forward),
            _ => Err("skip or forward is due"),
        });
        let aws = section.section("aws", AwsConfig::read);
        #[cfg(feature = "dynamodb")]
        let watch = watched
            .then(|| section.section("watch", WatchConfig::read))
            .flatten();
        #[cfg(not(feature = "dynamodb"))]
        section.refuse("watch", "needs a build with the feature `watch`");
        #[cfg(feature = "dynamodb")]
        let maintain = maintained.then(|| {
            section.section("maintain", |section| {
                MaintainConfig::read(section, watch.as_ref())
            })
        });
        #[cfg(not(feature = "dynamodb"))]
        section.pass_over("maintain");
        if forwards && quarantine.is_none() && section.is_clean("quarantine") {
            section.fault("quarantine", "is required: file:///dir or s3://bucket/prefix");
        }
        if forwards && sinks.is_empty() && section.is_clean("sinks") {
            section.fault("sinks", "at least one is required");
        }
        #[cfg(feature = "dynamodb")]
        let failures = maintain.as_ref().and_then(|maintain| maintain.failures.clone());
        #[cfg(not(feature = "dynamodb"))]
        let failures = None;
        let shared = [
            ("quarantine", &quarantine),
            ("spool", &spool),
            ("spill", &spill),
            ("maintain.failures", &failures),
        ];
        let places: Vec<(String, ObjectsUri)> = shared
            .into_iter()
            .filter_map(|(setting, place)| Some((setting.to_owned(), place.clone()?)))
            .chain(sinks.iter().filter_map(|(name, sink): (&String, &SinkConfig)| {
                Some((format!("sinks.{name}"), sink.uri.place()?))
            }))
            .collect();
        for (at, (setting, place)) in places.iter().enumerate() {
            // Sinks may share a place with each other, though not with what is read back or deleted.
            let others = places
                .iter()
                .skip(at + 1)
                .filter(|_| !setting.starts_with("sinks."));
            for (other, _) in others.filter(|(_, other)| place.overlaps(other)) {
                section.fault(
                    setting,
                    format!("lies in the place of {other}, or that in it: each needs its own"),
                );
            }
        }
        section.end();
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        Ok(Self {
            quarantine,
            sinks,
            spool,
            spill,
            modify_unproven: modify_unproven.unwrap_or_default(),
            #[cfg(feature = "dynamodb")]
            watch,
            #[cfg(feature = "dynamodb")]
            maintain,
            aws,
        })
    }

    /// The JSON schema of the document.
    #[cfg(feature = "schema")]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Which of the places that sinks share there are.
#[derive(Debug, Clone, Copy)]
struct Places {
    spool: bool,
    spill: bool,
}

impl SinkConfig {
    fn read(name: &str, section: &mut Section<'_>, places: Places) -> Option<Self> {
        let named = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
        if !named || !(1..=64).contains(&name.len()) {
            section.fault("", "a sink's name is 1 to 64 of a-z, 0-9, - and _");
        }
        let uri: Option<SinkUri> = section.setting("uri", str::parse);
        if uri.is_none() && section.is_clean("uri") {
            section.fault("uri", "is required: stdout://, file:///dir or s3://bucket/prefix");
        }
        let format = section.setting("format", |text| match text {
            "event" => Ok(Format::Event),
            "envelope" => Ok(Format::Envelope),
            _ => Err("event or envelope is due"),
        });
        let duration = |text: &str| match humantime::parse_duration(text) {
            Ok(time) if (Duration::from_millis(100)..=Duration::from_secs(450)).contains(&time) => Ok(time),
            _ => Err("a duration from 100ms to 450s is due, such as 10s"),
        };
        let timeout = section.setting("timeout", duration);
        let filter = section.section("filter", FilterConfig::read);
        let on_failure = section.setting("on_failure", |text| match text {
            "spool" if places.spool => Ok(OnFailure::Spool),
            "spool" => Err("needs a spool: set `spool` of the document"),
            "retry" => Ok(OnFailure::Retry),
            _ => Err("spool or retry is due"),
        });
        let retries = on_failure == Some(OnFailure::Retry);
        let spool = section.setting("spool", |text| match text {
            "always" if retries => Err("always and on_failure: retry exclude each other"),
            "always" if places.spool => Ok(SpoolUse::Always),
            "always" => Err("needs a spool: set `spool` of the document"),
            "failure" => Ok(SpoolUse::Failure),
            _ => Err("failure or always is due"),
        });
        let budget = section.setting("budget", duration);
        let max_event_bytes = section.setting("max_event_bytes", |text| match text.parse() {
            Ok(bytes) if bytes >= LEAST_LIMIT && places.spill => Ok(bytes),
            Ok(bytes) if bytes >= LEAST_LIMIT => Err("needs a spill: set `spill` of the document"),
            _ => Err("a number of bytes from 4096 is due"),
        });
        let uri = uri?;
        if matches!(uri, SinkUri::Lake(_)) && max_event_bytes.is_some() {
            section.fault(
                "max_event_bytes",
                "a lake takes events of every size, and could not file a pointer",
            );
        }
        if matches!(uri, SinkUri::Lake(_)) && format == Some(Format::Event) {
            section.fault(
                "format",
                "a lake takes envelopes: the id that drops repeats is there",
            );
        }
        let default = if matches!(uri, SinkUri::S3 { .. } | SinkUri::Lake(_)) {
            Format::Envelope
        } else {
            Format::Event
        };
        Some(Self {
            uri,
            format: format.unwrap_or(default),
            timeout: timeout.unwrap_or(TIMEOUT),
            filter,
            on_failure: on_failure.unwrap_or(if places.spool {
                OnFailure::Spool
            } else {
                OnFailure::Retry
            }),
            spool: spool.unwrap_or_default(),
            budget: budget.unwrap_or(BUDGET),
            max_event_bytes,
        })
    }
}
