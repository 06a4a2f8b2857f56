//! Teleport's own file: the section `storage` of `teleport:`, read as it stands.
//!
//! ```yaml
//! teleport:
//!   storage:
//!     type: dynamodb
//!     table_name: teleport
//!     region: eu-west-1
//!     poll_stream_period: 1000000000   # nanoseconds, as Teleport writes it; 1s is understood too
//!     audit_events_uri: ['dynamodb://teleport.audit']
//! ```
//! As Teleport does, it takes zeros and empty texts as not set and passes over what it does not know: settings of the
//! audit log and of sessions stand in the same section. Two settings are ours and ignored by Teleport, called as in its
//! `s3://` URIs: `endpoint` and `use_fips_endpoint`.

use std::time::Duration;

use super::{BACKEND_NAME, Config, Layout};
use crate::config::{Fault, Faults, Node, Section, warn_of_literals};

/// The top-level key that makes a document Teleport's.
const TOP: &str = "teleport";
const STORAGE: &str = "teleport.storage";

impl Config {
    /// Whether a document is Teleport's own: whether it has `teleport:` at its top.
    pub fn is_teleport(text: &str) -> bool {
        // The second is for a document that is not YAML: its faults should be told as a Teleport file's.
        Node::parse(text, "", &mut Vec::new()).has(TOP)
            || text.lines().any(|line| line.trim_end() == format!("{TOP}:"))
    }

    /// Reads Teleport's own file, for its own layout, and checks it; `place` names it in faults. A key that stands in
    /// it as text is accepted with a warning.
    ///
    /// # Errors
    /// Every fault there is, each with its line and column.
    pub fn parse_teleport(text: &str, place: &str) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let node = Node::parse(text, place, &mut faults);
        faults.retain(concerns_us);
        if !node.has(TOP) && !faults.is_empty() {
            return Err(Faults(faults));
        }
        let mut document = Section::new(node, "", &mut faults);
        let config = document.section(TOP, |teleport| {
            let config = teleport.section("storage", |storage| {
                let config = read(storage);
                storage.pass_over_rest();
                config
            });
            teleport.pass_over_rest();
            config
        });
        document.pass_over_rest();
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(Faults(faults))
        }
    }
}

/// The rest of the file is Teleport's affair, and may hold YAML that we do not read.
fn concerns_us(fault: &Fault) -> bool {
    let path = fault.path.as_str();
    let setting = path.strip_prefix(STORAGE).and_then(|rest| rest.strip_prefix('.'));
    ["", TOP, STORAGE].contains(&path) || setting.is_some_and(|setting| SETTINGS.contains(&setting))
}

/// The settings that are read here.
const SETTINGS: [&str; 22] = [
    "type",
    "table_name",
    "region",
    "access_key",
    "secret_key",
    "kms_key",
    "billing_mode",
    "read_capacity_units",
    "write_capacity_units",
    "buffer_size",
    "poll_stream_period",
    "retry_period",
    "continuous_backups",
    "auto_scaling",
    "read_min_capacity",
    "read_max_capacity",
    "read_target_value",
    "write_min_capacity",
    "write_max_capacity",
    "write_target_value",
    "endpoint",
    "use_fips_endpoint",
];

fn read(storage: &mut Section<'_>) -> Config {
    let mut config = Config {
        layout: Layout::Teleport,
        ..Config::default()
    };
    let backend = storage.setting("type", |text| {
        if text == BACKEND_NAME {
            Ok(())
        } else {
            Err("another backend's; dynamodb is due")
        }
    });
    if backend.is_none() {
        if storage.is_clean("type") {
            storage.fault("type", "is required: dynamodb");
        } else {
            // What follows is meant for something else.
            return config;
        }
    }
    texts(storage, &mut config);
    numbers(storage, &mut config);
    warn_of_literals("teleport.storage", [&config.access_key, &config.secret_key]);
    if let Err(error) = config.check_and_set_defaults() {
        let clean = error
            .0
            .into_iter()
            .filter(|fault| storage.is_clean(fault.setting));
        for fault in clean.collect::<Vec<_>>() {
            storage.fault(fault.setting, fault.message);
        }
    }
    config
}

fn texts(storage: &mut Section<'_>, config: &mut Config) {
    let mut text = |key| {
        let read = storage.setting(key, |text| Ok::<_, &str>(text.to_owned()));
        read.filter(|text| !text.is_empty())
    };
    config.table_name = text("table_name").unwrap_or_default();
    config.region = text("region");
    config.endpoint = text("endpoint");
    config.kms_key = text("kms_key");
    config.access_key = text("access_key").and_then(|text| text.parse().ok());
    config.secret_key = text("secret_key").and_then(|text| text.parse().ok());
}

fn numbers(storage: &mut Section<'_>, config: &mut Config) {
    if let Some(Some(mode)) = storage.setting("billing_mode", |text| match text {
        "" => Ok(None),
        text => text.parse().map(Some),
    }) {
        config.billing_mode = mode;
    }
    for (key, number) in [
        ("read_capacity_units", &mut config.read_capacity_units),
        ("write_capacity_units", &mut config.write_capacity_units),
        ("read_min_capacity", &mut config.read_scaling.min_capacity),
        ("read_max_capacity", &mut config.read_scaling.max_capacity),
        ("write_min_capacity", &mut config.write_scaling.min_capacity),
        ("write_max_capacity", &mut config.write_scaling.max_capacity),
    ] {
        set(number, storage.setting(key, whole));
    }
    set(&mut config.buffer_size, storage.setting("buffer_size", whole));
    for (key, target) in [
        ("read_target_value", &mut config.read_scaling.target_value),
        ("write_target_value", &mut config.write_scaling.target_value),
    ] {
        if let Some(percent) = storage.setting(key, |text| text.parse::<f64>().map_err(|_| "a number is due"))
        {
            *target = percent;
        }
    }
    for (key, period) in [
        ("poll_stream_period", &mut config.poll_stream_period),
        ("retry_period", &mut config.retry_period),
    ] {
        if let Some(read) = storage.setting(key, duration).filter(|read| !read.is_zero()) {
            *period = read;
        }
    }
    for (key, on) in [
        ("continuous_backups", &mut config.continuous_backups),
        ("auto_scaling", &mut config.auto_scaling),
        ("use_fips_endpoint", &mut config.fips),
    ] {
        *on = storage.setting(key, boolean).unwrap_or_default();
    }
}

/// Zero is Go's way to say that nothing is set.
fn set<T: TryFrom<u32>>(setting: &mut T, read: Option<u32>) {
    if let Some(read) = read
        .filter(|read| *read != 0)
        .and_then(|read| read.try_into().ok())
    {
        *setting = read;
    }
}

fn whole(text: &str) -> Result<u32, &'static str> {
    digits(text)
        .and_then(|number| number.try_into().ok())
        .ok_or("a whole number is due, such as 10")
}

/// YAML 1.1 allows underscores within a number, and a sign.
fn digits(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    if let Some(nanoseconds) = digits(text) {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    humantime::parse_duration(text).map_err(|_| "a duration is due, such as 1s or 1000000000 (nanoseconds)")
}

/// As Go's YAML 1.1 has them.
pub(crate) fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Ok(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err("yes or no is due"),
    }
}
