//! What a backend is opened with: Teleport's `storage` settings, and ours.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tidewatch::state::{Config, Layout, Partitioned};
//!
//! let mut config = Config {
//!     table_name: "state".to_owned(),
//!     region: Some("eu-west-1".to_owned()),
//!     layout: Layout::Partitioned(Partitioned::new("billing")?),
//!     ..Config::default()
//! };
//! config.check_and_set_defaults()?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::Duration;

use super::{Layout, Partitioned};
use crate::config::{AwsConfig, Secret, SecretError};
use crate::table::{Billing, Kind, Spec};

/// The name of this backend: what `type` says in Teleport's `storage` section.
pub const BACKEND_NAME: &str = "dynamodb";

/// What a backend is opened with. [`Config::default`] has every default but the table's name.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The table; required.
    pub table_name: String,
    /// Which items hold the keys. Default: the namespace `default` of a partitioned table; a Teleport file says
    /// [`Layout::Teleport`].
    pub layout: Layout,
    /// AWS region; the default chain's if none.
    pub region: Option<String>,
    /// Profile of the shared AWS configuration files.
    pub profile: Option<String>,
    /// Endpoint instead of AWS's.
    pub endpoint: Option<String>,
    /// Use FIPS endpoints. They are used too if the environment says so (`AWS_USE_FIPS_ENDPOINT`).
    pub fips: bool,
    /// Access key; the default chain's credentials if none.
    pub access_key: Option<Secret>,
    /// Secret key; goes together with the access key.
    pub secret_key: Option<Secret>,
    /// KMS key of a table to create: alias (`alias/teleport`), key id or ARN.
    pub kms_key: Option<String>,
    /// How a table to create is paid for. That of an existing one is left as it is.
    pub billing_mode: BillingMode,
    /// Read capacity units of a provisioned table to create. Default 10.
    pub read_capacity_units: u32,
    /// Write capacity units of a provisioned table to create. Default 10.
    pub write_capacity_units: u32,
    /// Turn on point-in-time recovery, also on an existing table. Default off; never turned off.
    pub continuous_backups: bool,
    /// Register the table with Application Auto Scaling if it is provisioned. Default off.
    pub auto_scaling: bool,
    /// Limits of its read capacity.
    pub read_scaling: Scaling,
    /// Limits of its write capacity.
    pub write_scaling: Scaling,
    /// Events that a watcher may be behind before it is in danger of being closed. Default 1024.
    pub buffer_size: usize,
    /// How often the stream is looked at. Default 1 s.
    pub poll_stream_period: Duration,
    /// Longest pause before a broken stream is opened again. Default 10 s.
    pub retry_period: Duration,
    /// Longest time for a call with all its retries. Default 30 s.
    pub operation_timeout: Duration,
    /// Longest time for one attempt of a call. Default 5 s.
    pub attempt_timeout: Duration,
    /// How far the clocks of those who share locks may be apart. Default 1 s.
    pub lock_skew: Duration,
    /// Only this region writes: allows locks, conditions and atomic writes on an eventually consistent global table.
    pub single_writer_region: bool,
}

/// How a table to create is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BillingMode {
    /// `pay_per_request`, Teleport's default.
    #[default]
    PayPerRequest,
    /// `provisioned`.
    Provisioned,
}

/// What Application Auto Scaling may do to a capacity. All zero until set.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scaling {
    /// Least capacity units, at least 1.
    pub min_capacity: u32,
    /// Most capacity units, at least as many.
    pub max_capacity: u32,
    /// Utilization to aim at, in percent: 20 to 90.
    pub target_value: f64,
}

/// Everything that is wrong with a [`Config`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the state configuration has {} fault(s): {}", .0.len(), list(.0))]
pub struct ConfigError(pub Vec<ConfigFault>);

/// One setting that is wrong. Never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// The setting, as Teleport names it.
    pub setting: &'static str,
    /// What is wrong, and what is due instead.
    pub message: String,
}

fn list(faults: &[ConfigFault]) -> String {
    let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
    all.join("; ")
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.message)
    }
}

impl std::str::FromStr for BillingMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "pay_per_request" => Ok(Self::PayPerRequest),
            "provisioned" => Ok(Self::Provisioned),
            _ => Err("pay_per_request or provisioned is due"),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            table_name: String::new(),
            layout: Layout::Partitioned(Partitioned::default()),
            region: None,
            profile: None,
            endpoint: None,
            fips: false,
            access_key: None,
            secret_key: None,
            kms_key: None,
            billing_mode: BillingMode::PayPerRequest,
            read_capacity_units: Billing::DEFAULT_UNITS,
            write_capacity_units: Billing::DEFAULT_UNITS,
            continuous_backups: false,
            auto_scaling: false,
            read_scaling: Scaling::default(),
            write_scaling: Scaling::default(),
            buffer_size: 1024,
            poll_stream_period: Duration::from_secs(1),
            retry_period: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(5),
            lock_skew: Duration::from_secs(1),
            single_writer_region: false,
        }
    }
}

impl Config {
    /// Checks every setting, and takes empty texts as not set. Sends nothing and reads no secret.
    ///
    /// Auto scaling needs its numbers only for a provisioned table: with `pay_per_request` they are not looked at
    /// before the table turns out to be provisioned ([`Config::scaling`]), and a warning says so.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault.
    pub fn check_and_set_defaults(&mut self) -> Result<(), ConfigError> {
        for text in [
            &mut self.region,
            &mut self.profile,
            &mut self.endpoint,
            &mut self.kms_key,
        ] {
            text.take_if(|text| text.is_empty());
        }
        let mut faults = Faults::default();
        self.check_table(&mut faults);
        self.check_access(&mut faults);
        self.check_times(&mut faults);
        match self.billing_mode {
            BillingMode::Provisioned if self.auto_scaling => self.check_scaling(&mut faults),
            BillingMode::PayPerRequest if self.auto_scaling => tracing::warn!(
                table = self.table_name,
                "auto_scaling is ignored if the table is billed per request"
            ),
            _ => {}
        }
        faults.end()
    }

    fn check_table(&self, faults: &mut Faults) {
        if self.table_name.is_empty() {
            faults.add("table_name", "is not specified");
        } else if let Err(error) = Spec::new(self.kind(), &self.table_name) {
            faults.add("table_name", error.to_string());
        }
        if let Some(key) = &self.kms_key
            && !Spec::is_kms_key(key)
        {
            faults.add(
                "kms_key",
                "is no KMS key: an alias (alias/NAME), a key id or an ARN is due",
            );
        }
        for (setting, units) in [
            ("read_capacity_units", self.read_capacity_units),
            ("write_capacity_units", self.write_capacity_units),
        ] {
            if units == 0 {
                faults.add(setting, "must be at least 1");
            }
        }
    }

    fn check_access(&self, faults: &mut Faults) {
        match (&self.access_key, &self.secret_key) {
            (Some(_), None) => faults.add("secret_key", "is missing: access_key and secret_key go together"),
            (None, Some(_)) => faults.add("access_key", "is missing: access_key and secret_key go together"),
            _ => {}
        }
        let Some(endpoint) = &self.endpoint else {
            return;
        };
        if let Err(due) = AwsConfig::check_endpoint(endpoint) {
            faults.add("endpoint", format!("is not valid: {due}"));
        }
        if self.fips {
            faults.add("endpoint", "cannot be set together with FIPS, which chooses it");
        }
    }

    fn check_times(&self, faults: &mut Faults) {
        if self.buffer_size == 0 {
            faults.add("buffer_size", "must be at least 1");
        }
        for (setting, period) in [
            ("poll_stream_period", self.poll_stream_period),
            ("retry_period", self.retry_period),
            ("operation_timeout", self.operation_timeout),
            ("attempt_timeout", self.attempt_timeout),
        ] {
            if period.is_zero() {
                faults.add(setting, "must be longer than 0");
            }
        }
    }

    fn check_scaling(&self, faults: &mut Faults) {
        let names = [
            ["read_min_capacity", "read_max_capacity", "read_target_value"],
            ["write_min_capacity", "write_max_capacity", "write_target_value"],
        ];
        for ([min, max, target], scaling) in names.into_iter().zip([self.read_scaling, self.write_scaling]) {
            if scaling.min_capacity == 0 {
                faults.add(min, "must be at least 1 with auto_scaling");
            }
            if scaling.max_capacity < scaling.min_capacity.max(1) {
                faults.add(
                    max,
                    format!("must be at least 1 and not below {min} with auto_scaling"),
                );
            }
            if !(20.0..=90.0).contains(&scaling.target_value) {
                faults.add(target, "must be a percentage from 20 to 90 with auto_scaling");
            }
        }
    }

    /// The limits of read and write capacity to register, for a table that turned out to be billed like this. None if
    /// auto scaling is off or the table is on demand, whatever `billing_mode` says: that is for creation only.
    ///
    /// # Errors
    /// [`ConfigError`] if the table is provisioned and the numbers are wrong.
    pub fn scaling(&self, live: Billing) -> Result<Option<(Scaling, Scaling)>, ConfigError> {
        if !self.auto_scaling || live == Billing::OnDemand {
            return Ok(None);
        }
        let mut faults = Faults::default();
        self.check_scaling(&mut faults);
        faults.end()?;
        Ok(Some((self.read_scaling, self.write_scaling)))
    }

    /// Which table the layout needs.
    pub fn kind(&self) -> Kind {
        match self.layout {
            Layout::Teleport => Kind::State,
            Layout::Partitioned(_) => Kind::Partitioned,
        }
    }

    /// The table to create if there is none.
    ///
    /// # Errors
    /// [`crate::table::Error::Invalid`], which [`Config::check_and_set_defaults`] tells as a fault before.
    pub fn spec(&self) -> Result<Spec, crate::table::Error> {
        let billing = match self.billing_mode {
            BillingMode::PayPerRequest => Billing::OnDemand,
            BillingMode::Provisioned => Billing::Provisioned {
                rcu: self.read_capacity_units,
                wcu: self.write_capacity_units,
            },
        };
        let spec = Spec::new(self.kind(), &self.table_name)?
            .with_billing(billing)?
            .with_recovery(self.continuous_backups);
        match &self.kms_key {
            Some(key) => spec.with_kms_key(key),
            None => Ok(spec),
        }
    }

    /// How AWS is reached, without FIPS.
    pub fn aws(&self) -> AwsConfig {
        AwsConfig {
            region: self.region.clone(),
            profile: self.profile.clone(),
            endpoint_url: self.endpoint.clone(),
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
        }
    }

    /// These settings over the AWS default chain. Secrets are read now: one request to SSM for each `ssm:` reference.
    /// It has the SDK's standard retries; a backend's own client works without them.
    ///
    /// # Errors
    /// [`SecretError`] if a key's reference cannot be read.
    pub async fn sdk_config(&self) -> Result<aws_config::SdkConfig, SecretError> {
        let loader = self.aws().loader().await?;
        // Saying no would override the environment's yes.
        let loader = if self.fips { loader.use_fips(true) } else { loader };
        Ok(loader.load().await)
    }
}

#[derive(Default)]
struct Faults(Vec<ConfigFault>);

impl Faults {
    fn add(&mut self, setting: &'static str, message: impl Into<String>) {
        self.0.push(ConfigFault {
            setting,
            message: message.into(),
        });
    }

    fn end(self) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(self.0))
        }
    }
}
