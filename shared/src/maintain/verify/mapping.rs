//! An event source mapping as Lambda tells of it.

use crate::watch::log::MappingFacts;

/// An event source mapping as Lambda tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its UUID.
    pub id: String,
    /// ARN of what it reads.
    pub source: String,
    /// `Enabled`, `Disabled` or one of the states between.
    pub state: String,
    /// What came of Lambda's last attempt, in its words.
    pub last_result: String,
    /// Where it began, or would begin: `TRIM_HORIZON`, `LATEST` or `AT_TIMESTAMP`; none for a queue.
    pub starting_position: Option<String>,
    /// Records an invocation at most.
    pub batch_size: i32,
    /// How long Lambda gathers records, in seconds.
    pub window: i32,
    /// Whether a batch is split when the function fails.
    pub bisect: bool,
    /// How often a batch is tried again; -1 for ever.
    pub retries: i32,
    /// How old a record may get before it is given up, in seconds; -1 for any age.
    pub record_age: i32,
    /// Batches of a shard at once.
    pub parallelization: i32,
    /// Whether it heeds the records that the function reports as failed.
    pub reports_failures: bool,
    /// ARN of where what is given up goes.
    pub failure_destination: Option<String>,
    /// A tumbling window, in seconds; 0 for none.
    pub tumbling_window: i32,
    /// The patterns of its filter; none if they could not be read.
    pub filters: Option<Vec<String>>,
}

impl Mapping {
    /// Whether Lambda reads its source.
    pub fn is_on(&self) -> bool {
        matches!(self.state.as_str(), "Enabled" | "Updating")
    }

    /// What the examination of a watch log wants to know of it.
    pub fn facts(&self) -> MappingFacts {
        MappingFacts {
            id: self.id.clone(),
            enabled: self.is_on(),
            from_trim_horizon: self.starting_position.as_deref() == Some("TRIM_HORIZON"),
        }
    }

    /// Whether it reads a stream of this table, of today or of before.
    pub(super) fn is_of_table(&self, table: &str) -> bool {
        self.source.contains(&format!(":table/{table}/stream/"))
    }
}
