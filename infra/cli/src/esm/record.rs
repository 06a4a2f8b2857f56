//! One record of a stream, as Lambda hands it to a function.

use std::cmp::Ordering;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A sequence number: up to 40 digits, ordered by length, then by bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SequenceNumber(String);

impl SequenceNumber {
    /// The number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SequenceNumber {
    fn from(digits: &str) -> Self {
        Self(digits.to_owned())
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// One record: its JSON and what the mapping needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub(super) sequence: SequenceNumber,
    pub(super) created: SystemTime,
    /// The whole item key: what Lambda keeps in order when the ParallelizationFactor is above 1.
    pub(super) item: String,
    pub(super) json: String,
}

/// A JSON value that is no stream record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stream record needs dynamodb.{0}")]
pub struct InvalidRecord(&'static str);

impl Record {
    /// Reads what the mapping needs; the JSON goes to the function unchanged.
    ///
    /// # Errors
    /// [`InvalidRecord`] without `SequenceNumber`, `ApproximateCreationDateTime` or `Keys`.
    pub fn new(json: &Value) -> Result<Self, InvalidRecord> {
        let field = |name| {
            json.get("dynamodb")
                .and_then(|change| change.get(name))
                .ok_or(InvalidRecord(name))
        };
        let sequence = field("SequenceNumber")?
            .as_str()
            .ok_or(InvalidRecord("SequenceNumber"))?;
        let created = field("ApproximateCreationDateTime")?
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or(InvalidRecord("ApproximateCreationDateTime"))?;
        Ok(Self {
            sequence: sequence.into(),
            created: SystemTime::UNIX_EPOCH + created,
            item: field("Keys")?.to_string(),
            json: json.to_string(),
        })
    }

    /// Its sequence number.
    pub fn sequence(&self) -> &SequenceNumber {
        &self.sequence
    }
}
