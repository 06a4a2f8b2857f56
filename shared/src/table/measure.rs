//! How often the items of an attached state table that expire are written: measured before an index on their expiry is put
//! on the table, whose every such write it repeats.
//!
//! Two looks at the same items some seconds apart, and what changed between them is counted. Nothing less will do: when
//! Teleport renews a lease only `Expires` moves, not `Timestamp` and not `Revision`, so one look cannot tell; the stream,
//! which would, has two readers at most; and CloudWatch counts writes, not those to what expires.
//!
//! The looks go stretch by stretch, so that each item is seen twice at about the same distance however big the table is:
//! short against a lease's renewals, for of two within it only one is seen.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use super::cost::{MILLION_READS, Usd};
use super::{Billing, Error, Kind, Live, ServiceError, Tables};
use crate::clock::Instant;

/// How much a measurement may read, how fast, and how far apart its looks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Read units at most, both looks together; a page, of about a second's units, may go beyond.
    pub units: u32,
    /// Read units a second.
    pub units_per_second: u32,
    /// Between two looks at an item.
    pub apart: Duration,
}

/// What a measurement found.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Measured {
    /// Items that were looked at, with and without an expiry.
    pub looked_at: u64,
    /// Those of them with an expiry, which the index would hold.
    pub expiring: u64,
    /// Read units that it took.
    pub units: f64,
    /// Whether the whole table was looked at; else its first part in the order of its keys, which need not be like the rest.
    pub whole: bool,
    /// Seconds between the looks, on average over the items.
    pub apart: f64,
    /// Items whose expiry had moved.
    pub renewed: u64,
    /// Items with another revision and the same expiry.
    pub rewritten: u64,
    /// Items that came, or got an expiry.
    pub added: u64,
    /// Items that went, or lost it.
    pub removed: u64,
}

impl Measure {
    /// What is gentle on a table: a tenth of its read capacity, and on demand 50 units a second; 5,000 units in all; looks
    /// 30 s apart, a tenth of Teleport's usual lease.
    pub fn gentle(live: &Live) -> Self {
        let units_per_second = match live.billing {
            Billing::OnDemand => 50,
            Billing::Provisioned { rcu, .. } => (rcu / 10).max(1),
        };
        Self {
            units: 5_000,
            units_per_second,
            apart: Duration::from_secs(30),
        }
    }

    /// What it costs at most, on demand; provisioned capacity is paid for already.
    pub fn cost(&self) -> Usd {
        MILLION_READS.part(u64::from(self.units), 1_000_000)
    }

    /// About how long it takes at most.
    pub fn longest(&self) -> Duration {
        let reading = Duration::from_secs(u64::from(self.units / self.units_per_second.max(1)));
        // Only in the last stretch is the distance waited for.
        reading + self.apart
    }

    /// So many items that reading them takes about a second's units.
    fn page(&self, live: &Live) -> i32 {
        const UNIT: u64 = 8 * 1024; // Eventually consistent.
        let size = live.bytes.checked_div(live.items).unwrap_or(1024).max(100);
        let items = u64::from(self.units_per_second).saturating_mul(UNIT) / size;
        i32::try_from(items.clamp(1, 10_000)).unwrap_or(10_000)
    }
}

/// What an item with an expiry is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    expires: String,
    revision: Option<String>,
}

/// The key to go on after.
type After = Option<HashMap<String, AttributeValue>>;

impl Tables {
    /// Looks twice at the items of an attached state table, within the bounds of `measure`. It reads only, eventually
    /// consistent, and stops at the first refused request. Memory: the keys of what is read in `measure.apart`.
    ///
    /// Requests: about two Scans for each second that it takes, paced by the capacity they used. Dropping it does no harm.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub async fn measure(&self, live: &Live, measure: Measure) -> Result<Measured, Error> {
        let mut run = Measuring {
            tables: self,
            table: &live.name,
            measure,
            page: measure.page(live),
            measured: Measured::new(),
        };
        let mut from: After = None;
        loop {
            let (next, more) = Box::pin(run.stretch(from)).await?;
            from = next;
            if from.is_none() || !more {
                run.measured.whole = from.is_none();
                return Ok(run.measured.averaged(measure.apart));
            }
        }
    }
}

struct Measuring<'a> {
    tables: &'a Tables,
    table: &'a str,
    measure: Measure,
    page: i32,
    measured: Measured,
}

impl Measuring<'_> {
    /// Two looks at what is read in one distance. Answers where the next begins, and whether the budget has more.
    async fn stretch(&mut self, from: After) -> Result<(After, bool), Error> {
        let begun = self.tables.clock.instant();
        let used = self.measured.units;
        let (mut first, mut after) = (HashMap::new(), from.clone());
        loop {
            let page = self.look(after).await?;
            self.measured.looked_at += u64::try_from(page.scanned_count).unwrap_or_default();
            first.extend(page.items().iter().filter_map(seen));
            after = page.last_evaluated_key;
            let spent = self.measured.units - used;
            let left = f64::from(self.measure.units) - self.measured.units;
            // The second look costs as much again.
            if after.is_none() || self.since(begun) >= self.measure.apart || spent >= left {
                break;
            }
        }
        self.tables
            .clock
            .sleep(self.measure.apart.saturating_sub(self.since(begun)))
            .await;
        let apart = self.since(begun).as_secs_f64();
        let end = after.as_ref().and_then(path);
        let (mut second, mut at) = (HashMap::new(), from);
        loop {
            let page = self.look(at).await?;
            let within = |(key, _): &(String, Seen)| end.as_ref().is_none_or(|end| key <= end);
            second.extend(page.items().iter().filter_map(seen).filter(within));
            at = page.last_evaluated_key;
            let passed = match (&at, &end) {
                (None, _) => true,
                (Some(at), Some(end)) => path(at).is_some_and(|at| at >= *end),
                (Some(_), None) => false,
            };
            if passed {
                break;
            }
        }
        self.measured.compare(&first, &second, apart);
        let more = self.measured.units < f64::from(self.measure.units);
        Ok((after, more))
    }

    fn since(&self, begun: Instant) -> Duration {
        self.tables.clock.instant() - begun
    }

    /// One page, and a pause as long as its units are to take.
    async fn look(&mut self, after: After) -> Result<ScanOutput, Error> {
        let page = self
            .tables
            .client
            .scan()
            .table_name(self.table)
            .projection_expression("#p, #e, #r")
            .filter_expression("attribute_exists(#e)")
            .expression_attribute_names("#p", Kind::State.schema().range.name)
            .expression_attribute_names("#e", "Expires")
            .expression_attribute_names("#r", "Revision")
            .limit(self.page)
            .set_exclusive_start_key(after)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let page = page.send().await.map_err(|error| Error::Request {
            operation: "Scan",
            table: self.table.to_owned(),
            source: ServiceError::new(&error),
        })?;
        let units = page.consumed_capacity().and_then(|used| used.capacity_units());
        // An engine that does not tell is taken to have read something.
        let units = units.unwrap_or(1.0).max(0.5);
        self.measured.units += units;
        let pause = units / f64::from(self.measure.units_per_second.max(1));
        self.tables.clock.sleep(Duration::from_secs_f64(pause)).await;
        Ok(page)
    }
}

/// An item's place in the order of the table: all are under one partition key.
fn path(key: &HashMap<String, AttributeValue>) -> Option<String> {
    let path = key.get(Kind::State.schema().range.name)?;
    path.as_s().ok().cloned()
}

fn seen(item: &HashMap<String, AttributeValue>) -> Option<(String, Seen)> {
    let revision = item.get("Revision").and_then(|revision| revision.as_s().ok());
    let seen = Seen {
        // One that is no number is not in an index, and its writes would be refused.
        expires: item.get("Expires")?.as_n().ok()?.clone(),
        revision: revision.cloned(),
    };
    Some((path(item)?, seen))
}

impl Measured {
    const fn new() -> Self {
        Self {
            looked_at: 0,
            expiring: 0,
            units: 0.0,
            whole: false,
            apart: 0.0,
            renewed: 0,
            rewritten: 0,
            added: 0,
            removed: 0,
        }
    }

    fn compare(&mut self, first: &HashMap<String, Seen>, second: &HashMap<String, Seen>, apart: f64) {
        for (key, was) in first {
            match second.get(key) {
                None => self.removed += 1,
                Some(is) if is.expires != was.expires => self.renewed += 1,
                Some(is) if is.revision != was.revision => self.rewritten += 1,
                Some(_) => {}
            }
        }
        self.added += count(second.keys().filter(|key| !first.contains_key(*key)).count());
        self.expiring += count(first.len());
        // A sum until `averaged`.
        self.apart += apart * first.len() as f64;
    }

    fn averaged(mut self, due: Duration) -> Self {
        self.apart = match self.expiring {
            0 => due.as_secs_f64(),
            items => self.apart / items as f64,
        };
        self
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
