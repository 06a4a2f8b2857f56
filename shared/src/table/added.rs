//! An index on the expiry of an attached state table: what it adds to its owner's writes, and that index itself.
//!
//! `expire` goes by the due list of a watch log there, which costs the owner nothing. Without that log it reads the whole
//! table, unless its operator insists on this index.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::update_table::builders::UpdateTableFluentBuilder;
use aws_sdk_dynamodb::types::{CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate};

use super::cost::{HOURS, MILLION_WRITES, RCU_HOUR, Usd, WCU_HOUR};
use super::create::{definitions, keys, projection, throughput};
use super::schema::{STATE, STATE_EXPIRY};
use super::tables::incomplete;
use super::{Billing, Error, IndexSchema, Live, Measured, Progress, Tables};

/// Write units a second that one partition takes. All entries of such an index are under one partition key and in the
/// order of their expiry, so renewals all write near its end, which DynamoDB cannot take apart.
pub const MAX_WRITES: f64 = 1_000.0;

/// What an index on the expiry of an attached state table would add, by a measurement.
///
/// A renewal moves an entry: it is deleted and put again, two writes beside the owner's one. An entry that comes, goes or
/// gets another revision is one.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Added {
    /// Entries that the index would have.
    pub entries: u64,
    /// Renewals of leases a second.
    pub renewals_per_second: f64,
    /// Writes to the index a second, of a unit each.
    pub writes_per_second: f64,
    /// Of what one partition takes, the part that these are.
    pub of_a_partition: f64,
    /// Writes to the index a second if every lease is renewed within a minute, as after an outage.
    pub burst_per_second: f64,
    /// Whether such a burst is more than the index takes, by its own capacity or that of one partition: then the owner's
    /// writes are throttled.
    pub burst_throttles: bool,
    /// Write capacity that the index gets, on a provisioned table: what is measured twice over, and the table's own at
    /// least.
    pub provisioned: Option<u32>,
    /// What it costs a month, without storage.
    pub per_month: Usd,
    /// What filling it costs once, on demand.
    pub filling: Usd,
    /// Whether the figures are those of a part, by which the whole table was reckoned.
    pub reckoned: bool,
}

impl Added {
    /// By what was measured on the table.
    pub fn new(live: &Live, measured: &Measured) -> Self {
        let looked_at = measured.looked_at.max(1);
        let factor = match measured.whole {
            true => 1.0,
            false => (live.items.max(looked_at) as f64) / (looked_at as f64),
        };
        let each_second = |count: u64| factor * count as f64 / measured.apart.max(1.0);
        let renewals = each_second(measured.renewed);
        let others = measured.rewritten + measured.added + measured.removed;
        let writes = 2.0 * renewals + each_second(others);
        let entries = rounded(factor * measured.expiring as f64);
        let burst = 2.0 * entries as f64 / 60.0;
        let (provisioned, per_month) = match live.billing {
            Billing::OnDemand => {
                let month = rounded(writes * 3600.0 * HOURS as f64);
                (None, MILLION_WRITES.part(month, 1_000_000))
            }
            Billing::Provisioned { rcu, wcu } => {
                let due = u32::try_from(rounded(2.0 * writes)).unwrap_or(u32::MAX);
                let units = due.max(wcu);
                let hourly = WCU_HOUR
                    .times(u64::from(units))
                    .plus(RCU_HOUR.times(u64::from(rcu)));
                (Some(units), hourly.times(HOURS))
            }
        };
        let filling = match live.billing {
            Billing::OnDemand => MILLION_WRITES.part(entries, 1_000_000),
            Billing::Provisioned { .. } => MILLION_WRITES.times(0),
        };
        Self {
            entries,
            renewals_per_second: renewals,
            writes_per_second: writes,
            of_a_partition: writes / MAX_WRITES,
            burst_per_second: burst,
            burst_throttles: burst > provisioned.map_or(MAX_WRITES, |units| f64::from(units).min(MAX_WRITES)),
            provisioned,
            per_month,
            filling,
            reckoned: !measured.whole,
        }
    }

    /// Whether the owner's writes are throttled by the next outage, or soon without one, for all that is known: of a table
    /// that was looked at in part not enough is.
    pub fn is_dangerous(&self) -> bool {
        self.reckoned || self.burst_throttles || self.writes_per_second > MAX_WRITES / 2.0
    }

    /// What such an index is.
    pub fn index() -> &'static IndexSchema {
        &STATE_EXPIRY
    }
}

impl Tables {
    /// Adds [`Added::index`] to an attached state table and waits until DynamoDB has filled it. From then on each renewal
    /// is written twice more, a write whose `Expires` is no number is refused, and so is what the index cannot take.
    ///
    /// Requests: one UpdateTable, DescribeTable before and until the index is ACTIVE. Cancelled after the first it is made
    /// all the same.
    ///
    /// # Errors
    /// [`Error::Request`] if DynamoDB refuses it, also if there is such an index; [`Error::StillWaiting`] if filling it
    /// takes longer than this waits, while it goes on.
    pub async fn add_index(&self, live: &Live, added: &Added, progress: Progress<'_>) -> Result<(), Error> {
        let table = live.name.as_str();
        let billing = match (live.billing, added.provisioned) {
            (Billing::Provisioned { rcu, .. }, Some(wcu)) => Billing::Provisioned { rcu, wcu },
            (billing, _) => billing,
        };
        let creation = creation(billing).map_err(|error| incomplete("UpdateTable", table, &error))?;
        let declared = definitions([&STATE.hash, &STATE.range, &STATE_EXPIRY.range]);
        let declared = declared.map_err(|error| incomplete("UpdateTable", table, &error))?;
        self.wait_active(table, progress).await?;
        let ask = |request: UpdateTableFluentBuilder| {
            let request = request.set_attribute_definitions(Some(declared));
            request.global_secondary_index_updates(creation)
        };
        self.update(table, ask, progress).await?;
        Ok(())
    }
}

fn creation(billing: Billing) -> Result<GlobalSecondaryIndexUpdate, BuildError> {
    let index = &STATE_EXPIRY;
    let create = CreateGlobalSecondaryIndexAction::builder()
        .index_name(index.name)
        .set_key_schema(Some(keys(&index.hash, &index.range)?))
        .projection(projection(index.projection))
        .set_provisioned_throughput(throughput(billing)?);
    Ok(GlobalSecondaryIndexUpdate::builder()
        .create(create.build()?)
        .build())
}

/// Up, to a whole number; none is negative.
fn rounded(number: f64) -> u64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It saturates.
    let whole = number.ceil() as u64;
    whole
}
