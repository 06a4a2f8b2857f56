//! Where the audit log is kept and for how long: Teleport's settings of its `storage` section, and ours.

use std::time::Duration;

use super::Dynamo;
use super::uri::{AuditUri, DynamoUri};
use crate::config::{AwsConfig, Fault, Faults, Node, Section, warn_of_literals};
use crate::state::{self, BACKEND_NAME};

/// What an audit log is opened with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its backends: every event goes to each of them, and searches go to the first that can answer them.
    pub backends: Vec<AuditUri>,
    /// How long a table keeps an event, from when it is stored; 0 for ever. Default 365 days.
    pub retention: Duration,
    /// The table of the state, which must be another one.
    pub state_table: Option<String>,
    /// How AWS is reached where a URI says nothing else.
    pub aws: AwsConfig,
    /// Whether FIPS endpoints are used where a URI says nothing else.
    pub fips: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backends: Vec::new(),
            retention: Dynamo::RETENTION,
            state_table: None,
            aws: AwsConfig::default(),
            fips: false,
        }
    }
}

/// The settings that are read here.
const SETTINGS: [&str; 12] = [
    "type",
    "table_name",
    "region",
    "access_key",
    "secret_key",
    "endpoint",
    "use_fips_endpoint",
    "audit_events_uri",
    "audit_table_name",
    "retention_period",
    "audit_retention_period",
    "<<",
];

impl Config {
    /// Reads the audit log's settings in Teleport's own file; `place` names it in faults. `audit_events_uri` is a URI or
    /// a list of them; the older `audit_table_name` names a table beside the state's, and counts only without it.
    /// `retention_period`, or the older `audit_retention_period`, 0 keeps events for ever. Without any of them there are
    /// no backends: Teleport then logs to a directory of its own.
    ///
    /// # Errors
    /// Every fault there is, each with its place.
    pub fn parse_teleport(text: &str, place: &str) -> Result<Self, Faults> {
        let mut faults = Vec::new();
        let node = Node::parse(text, place, &mut faults);
        faults.retain(concerns_us);
        if !node.has("teleport") && !faults.is_empty() {
            return Err(Faults(faults));
        }
        let mut document = Section::new(node, "", &mut faults);
        let config = document.section("teleport", |teleport| {
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

    /// Refuses state and audit in one table: their keys differ, and one of them could store nothing (#2542 of Teleport).
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        for backend in &self.backends {
            if let (AuditUri::Dynamodb(uri), Some(state)) = (backend, &self.state_table)
                && uri.table == *state
            {
                return Err(format!(
                    "the audit log and the state cannot be in one table, {state}: name another one for the audit log"
                ));
            }
        }
        Ok(())
    }

    /// How AWS is reached for a table, without FIPS.
    pub fn aws_of(&self, uri: &DynamoUri) -> AwsConfig {
        AwsConfig {
            region: uri.region.clone().or_else(|| self.aws.region.clone()),
            endpoint_url: uri.endpoint.clone().or_else(|| self.aws.endpoint_url.clone()),
            ..self.aws.clone()
        }
    }

    /// Whether FIPS endpoints are used for a table.
    pub fn fips_of(&self, uri: &DynamoUri) -> bool {
        uri.use_fips_endpoint.unwrap_or(self.fips) && self.aws_of(uri).endpoint_url.is_none()
    }
}

/// The rest of the file is Teleport's affair, and may hold YAML that we do not read.
fn concerns_us(fault: &Fault) -> bool {
    let path = fault.path.as_str();
    let setting = path.strip_prefix("teleport.storage.");
    ["", "teleport", "teleport.storage"].contains(&path)
        || setting.is_some_and(|setting| SETTINGS.contains(&setting))
}

fn read(storage: &mut Section<'_>) -> Config {
    let mut text = |key| {
        let read = storage.setting(key, |text| Ok::<_, &str>(text.to_owned()));
        read.filter(|text| !text.is_empty())
    };
    let on_dynamodb = text("type").as_deref() == Some(BACKEND_NAME);
    let mut config = Config {
        state_table: text("table_name").filter(|_| on_dynamodb),
        aws: AwsConfig {
            region: text("region"),
            profile: None,
            endpoint_url: text("endpoint"),
            access_key: text("access_key").and_then(|text| text.parse().ok()),
            secret_key: text("secret_key").and_then(|text| text.parse().ok()),
        },
        ..Config::default()
    };
    let table = text("audit_table_name");
    warn_of_literals(
        "teleport.storage",
        [&config.aws.access_key, &config.aws.secret_key],
    );
    if config.aws.access_key.is_some() != config.aws.secret_key.is_some() {
        storage.fault("access_key", "access_key and secret_key go together");
    }
    config.fips = storage
        .setting("use_fips_endpoint", state::teleport::boolean)
        .unwrap_or_default();
    let uris = storage.texts("audit_events_uri").unwrap_or_default();
    let uris: Vec<String> = uris.into_iter().filter(|uri| !uri.is_empty()).collect();
    for uri in &uris {
        match uri.parse() {
            Ok(uri) => config.backends.push(uri),
            Err(error) => storage.fault("audit_events_uri", error),
        }
    }
    let setting = match (&table, uris.is_empty()) {
        (Some(table), true) => {
            match format!("dynamodb://{table}").parse() {
                Ok(uri) => config.backends.push(uri),
                Err(error) => storage.fault("audit_table_name", error),
            }
            "audit_table_name"
        }
        (Some(_), false) => {
            tracing::warn!("audit_table_name is ignored beside audit_events_uri");
            "audit_events_uri"
        }
        (None, _) => "audit_events_uri",
    };
    for key in ["audit_retention_period", "retention_period"] {
        if let Some(period) = storage.setting(key, state::teleport::duration) {
            if !period.is_zero() && period < Duration::from_secs(1) {
                storage.fault(
                    key,
                    "a period of a second at least is due, or 0 to keep events for ever",
                );
            }
            config.retention = period;
        }
    }
    if let Err(what) = config.check() {
        storage.fault(setting, what);
    }
    config
}
