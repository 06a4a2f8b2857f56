//! Options that several table commands share.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tidewatch::table::{Billing, Kind, Spec};

use crate::cli::Failure;

/// `--kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KindOption {
    /// Teleport's audit log: SessionID and EventIndex, index timesearchV2
    Audit,
    /// Teleport's cluster state: HashKey and FullPath
    State,
    /// State of our own: Part and Key, index expiry
    Partitioned,
    /// Watch logs: Log and Segment
    WatchLog,
}

impl From<KindOption> for Kind {
    fn from(kind: KindOption) -> Self {
        match kind {
            KindOption::Audit => Self::Audit,
            KindOption::State => Self::State,
            KindOption::Partitioned => Self::Partitioned,
            KindOption::WatchLog => Self::WatchLog,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BillingOption {
    /// Per request
    OnDemand,
    /// Per hour of reserved capacity
    Provisioned,
}

/// What the creator of a table may choose.
#[derive(Debug, Args)]
pub(super) struct SpecOptions {
    /// Which table
    #[arg(long)]
    kind: KindOption,
    /// How reads and writes are paid for
    #[arg(long, value_enum, default_value = "on-demand")]
    billing: BillingOption,
    /// Read capacity units of the table and of its index, with --billing provisioned [default: 10; 5 keeps both
    /// tables within the free tier]
    #[arg(long, value_name = "UNITS")]
    rcu: Option<u32>,
    /// Write capacity units of the table and of its index, with --billing provisioned [default: 10]
    #[arg(long, value_name = "UNITS")]
    wcu: Option<u32>,
    /// Encrypt with this KMS key: an alias (alias/NAME), a key id or an ARN
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,
    /// Turn on point-in-time recovery
    #[arg(long)]
    pitr: bool,
    /// Refuse DeleteTable until this is turned off
    #[arg(long)]
    deletion_protection: bool,
    /// Tag the table; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl SpecOptions {
    /// The checked specification of a table of this name.
    pub(super) fn spec(&self, name: &str) -> Result<Spec, Failure> {
        let spec = Spec::new(self.kind.into(), name)?.with_billing(self.billing()?)?;
        let mut spec = spec
            .with_recovery(self.pitr)
            .with_protection(self.deletion_protection);
        if let Some(key) = &self.kms_key {
            spec = spec.with_kms_key(key)?;
        }
        for (key, value) in &self.tags {
            spec = spec.with_tag(key, value)?;
        }
        Ok(spec)
    }

    fn billing(&self) -> Result<Billing, Failure> {
        match self.billing {
            BillingOption::Provisioned => Ok(Billing::Provisioned {
                rcu: self.rcu.unwrap_or(Billing::DEFAULT_UNITS),
                wcu: self.wcu.unwrap_or(Billing::DEFAULT_UNITS),
            }),
            BillingOption::OnDemand if self.rcu.is_some() || self.wcu.is_some() => Err(Failure::usage(
                "--rcu and --wcu need --billing provisioned: on-demand tables have no capacity",
            )),
            BillingOption::OnDemand => Ok(Billing::OnDemand),
        }
    }
}

/// How long to wait for a table.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct WaitOption {
    /// Wait this long for the table and its index to be ACTIVE
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
}

impl WaitOption {
    pub(super) fn limit(self) -> Duration {
        Duration::from_secs(self.wait)
    }
}
