//! What a table costs, before it is created.
//!
//! The constants are AWS's list prices for us-east-1, table class Standard, as of November 2024, after the cut of
//! on-demand requests. They are not fetched, other regions cost more, and what AWS charges is what counts:
//! [`PRICES_SOURCE`] says where to check.

use std::fmt;

use super::{Billing, Projected, Spec};

/// What the prices are, and where to check them.
pub const PRICES_SOURCE: &str =
    "prices as of November 2024, table class Standard; check https://aws.amazon.com/dynamodb/pricing/";

/// A read capacity unit for an hour: $0.00013.
pub(super) const RCU_HOUR: Usd = Usd(130);
/// A write capacity unit for an hour: $0.00065.
pub(super) const WCU_HOUR: Usd = Usd(650);
/// AWS's month.
pub(super) const HOURS: u64 = 730;
/// A million write request units: $0.625.
pub(super) const MILLION_WRITES: Usd = Usd(625_000);
/// A million read request units: $0.125.
pub(super) const MILLION_READS: Usd = Usd(125_000);
/// A GB stored for a month: $0.25.
const GB_MONTH: Usd = Usd(250_000);
/// A GB of table under point-in-time recovery for a month: $0.20. Indexes are not counted.
const RECOVERY_GB_MONTH: Usd = Usd(200_000);
/// A customer-managed KMS key for a month: $1, shared by all that uses it.
const KEY_MONTH: Usd = Usd(1_000_000);

/// US dollars, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(u64);

impl Usd {
    pub(super) const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `count` of what costs this for `each`, rounded up.
    pub(super) const fn part(self, count: u64, each: u64) -> Self {
        Self(self.0.saturating_mul(count).div_ceil(each))
    }

    /// In millionths of a dollar.
    pub fn micros(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Usd {
    /// To the cent; below a dollar to the tenth of a cent, so that $0.625 stays what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("$0")
        } else if self.0 >= 1_000_000 {
            let cents = self.0.saturating_add(5_000) / 10_000;
            write!(f, "${}.{:02}", cents / 100, cents % 100)
        } else {
            write!(f, "$0.{:03}", self.0.saturating_add(500) / 1_000)
        }
    }
}

impl serde::Serialize for Usd {
    /// A number of dollars.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[allow(clippy::cast_precision_loss)] // Far below 2^53 for any real table.
        serializer.serialize_f64(self.0 as f64 / 1e6)
    }
}

/// One line of an [`Estimate`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// What is paid for.
    pub what: String,
    /// How much, per `per`.
    pub usd: Usd,
    /// `month`, `million`, `GB and month`.
    pub per: &'static str,
}

/// What a table costs a month, as far as that is known before it is used.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Estimate {
    /// What is charged however little the table is used.
    pub fixed_per_month: Usd,
    /// Everything, fixed and by use.
    pub lines: Vec<Line>,
    /// What it assumes.
    pub assumptions: Vec<&'static str>,
    /// Where the prices come from.
    pub prices: &'static str,
}

/// What a table of this specification costs. Sends nothing.
///
/// Provisioned: capacity of table and index x 730 h. On demand: per million writes, of which the index takes one more
/// each, and per million reads. Both: storage, recovery and a named KMS key. An index that holds a few attributes of
/// some items is counted as one that holds all, but for storage.
pub fn estimate(spec: &Spec) -> Estimate {
    let index = spec.schema().index.as_ref();
    let copies = 1 + u64::from(index.is_some());
    let with_index = if index.is_some() { ", table and index" } else { "" };
    let line = |what: String, usd: Usd, per: &'static str| Line { what, usd, per };
    let mut lines = match spec.billing() {
        Billing::Provisioned { rcu, wcu } => vec![
            line(
                format!("{rcu} RCU x {copies} x {HOURS} h{with_index}"),
                RCU_HOUR.times(u64::from(rcu) * copies * HOURS),
                MONTH,
            ),
            line(
                format!("{wcu} WCU x {copies} x {HOURS} h{with_index}"),
                WCU_HOUR.times(u64::from(wcu) * copies * HOURS),
                MONTH,
            ),
        ],
        Billing::OnDemand => vec![
            line(
                format!("writes of up to 1 KB{with_index}"),
                MILLION_WRITES.times(copies),
                "million",
            ),
            line(
                "strongly consistent reads of up to 4 KB; eventually consistent ones cost half".to_owned(),
                MILLION_READS,
                "million",
            ),
        ],
    };
    if let Some(key) = spec.kms_key().filter(|key| !key.contains("alias/aws/")) {
        lines.push(line(
            format!("KMS key {key}, if it is not paid for already"),
            KEY_MONTH,
            MONTH,
        ));
    }
    let fixed = lines
        .iter()
        .filter(|line| line.per == MONTH)
        .fold(Usd(0), |sum, line| sum.plus(line.usd));
    let whole = index.is_some_and(|index| index.projection == Projected::All);
    lines.push(line(
        format!("storage{}", if whole { with_index } else { "" }),
        GB_MONTH.times(1 + u64::from(whole)),
        "GB and month",
    ));
    if spec.recovery() {
        lines.push(line(
            "point-in-time recovery of the table".to_owned(),
            RECOVERY_GB_MONTH,
            "GB and month",
        ));
    }
    Estimate {
        fixed_per_month: fixed,
        lines,
        assumptions: assumptions(spec),
        prices: PRICES_SOURCE,
    }
}

const MONTH: &str = "month";

fn assumptions(spec: &Spec) -> Vec<&'static str> {
    let mut all = vec![
        "list prices of us-east-1 without taxes and discounts; AWS charges, and its bill is what counts",
        "the free tier (25 GB, and 25 RCU and WCU of provisioned capacity, for the whole account) is not deducted",
    ];
    match spec.schema().index.as_ref().map(|index| index.projection) {
        Some(Projected::All) => all.push("every item is in the index once more, whole"),
        Some(Projected::Include(_)) => all.push(
            "every item has an expiry and is in the index once more, by its keys and its revision; one without is not, \
             and its writes cost half; a write that moves an expiry costs one more",
        ),
        None => {}
    }
    if matches!(spec.billing(), Billing::Provisioned { .. }) {
        all.push("capacity stays as it is: no auto scaling");
    }
    if spec.kms_key().is_some() {
        all.push("KMS requests ($0.03 for 10,000) come on top");
    }
    if spec.schema().stream {
        all.push(
            "the stream is free to Lambda; other readers pay $0.02 for 100,000 requests after 2.5 million a month",
        );
    }
    all
}
