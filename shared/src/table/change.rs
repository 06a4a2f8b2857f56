//! What can safely be changed on a live table. Never a key, an index, a stream's view or another TTL attribute.

use std::fmt;

use super::{Difference, Kind, Live, Recovery, Schema, Severity, Ttl, verify};

/// A change that takes nothing away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Enable the stream with NEW_AND_OLD_IMAGES.
    Stream,
    /// Turn on TTL for the schema's attribute.
    Ttl,
    /// Turn on point-in-time recovery.
    Recovery,
    /// Turn on deletion protection.
    DeletionProtection,
}

impl ChangeKind {
    /// All of them, in the order in which they are made: what loses events first.
    pub const ALL: [Self; 4] = [Self::Stream, Self::Ttl, Self::Recovery, Self::DeletionProtection];

    /// The operation that makes it.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Stream | Self::DeletionProtection => "UpdateTable",
            Self::Ttl => "UpdateTimeToLive",
            Self::Recovery => "UpdateContinuousBackups",
        }
    }

    fn describe(self, schema: &Schema) -> (String, &'static str) {
        match self {
            Self::Stream => (
                format!("enable the stream, view {}", Schema::STREAM_VIEW.as_str()),
                "changes made from now on are in it for 24 hours; free until something reads it, and Lambda reads \
                 for free",
            ),
            Self::Ttl => (
                format!("turn on time to live for {}", schema.ttl.unwrap_or_default()),
                "DynamoDB deletes items whose time has passed, usually within days and without using capacity",
            ),
            Self::Recovery => (
                "turn on point-in-time recovery".to_owned(),
                "the table can be restored to any second of the last 35 days; paid for by its size, $0.20 a GB and \
                 month in us-east-1",
            ),
            Self::DeletionProtection => (
                "turn on deletion protection".to_owned(),
                "DeleteTable is refused until it is turned off; free",
            ),
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "stream",
            Self::Ttl => "ttl",
            Self::Recovery => "recovery",
            Self::DeletionProtection => "deletion-protection",
        })
    }
}

/// One change, in words.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Which.
    pub kind: ChangeKind,
    /// The operation that makes it.
    pub operation: &'static str,
    /// What is done.
    pub what: String,
    /// What that means, and what it costs.
    pub effect: &'static str,
}

/// What would be done to a table, and what is left to its owner.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Plan {
    /// The table.
    pub table: String,
    /// Its kind.
    pub kind: Kind,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// What these do not repair, worst first.
    pub manual: Vec<Difference>,
}

/// The safe changes among `wanted` that `live` needs. If its keys are not those of `kind` there are none: TTL on a
/// table of another program could delete its items.
pub fn plan(kind: Kind, live: &Live, wanted: &[ChangeKind]) -> Plan {
    let differences = verify(kind, live);
    let foreign = differences
        .iter()
        .any(|found| matches!(found.code, "keys" | "key-type" | "old-schema"));
    let needed =
        |change: &ChangeKind| !foreign && wanted.contains(change) && change.is_needed(kind.schema(), live);
    let chosen: Vec<ChangeKind> = ChangeKind::ALL.into_iter().filter(needed).collect();
    let left =
        |found: &Difference| found.severity > Severity::Note && !chosen.iter().any(|c| c.repairs(found));
    Plan {
        table: live.name.clone(),
        kind,
        manual: differences.into_iter().filter(left).collect(),
        changes: chosen
            .iter()
            .map(|change| change.in_words(kind.schema()))
            .collect(),
    }
}

impl ChangeKind {
    fn is_needed(self, schema: &Schema, live: &Live) -> bool {
        match self {
            Self::Stream => schema.stream && live.stream.is_none(),
            Self::Ttl => schema.ttl.is_some() && live.ttl == Ttl::Off,
            Self::Recovery => schema.recovery && live.recovery == Recovery::Off,
            Self::DeletionProtection => !live.protection,
        }
    }

    fn repairs(self, difference: &Difference) -> bool {
        difference.code
            == match self {
                Self::Stream => "stream",
                Self::Ttl => "ttl",
                Self::Recovery => "recovery",
                Self::DeletionProtection => "deletion-protection",
            }
    }

    fn in_words(self, schema: &Schema) -> Change {
        let (what, effect) = self.describe(schema);
        Change {
            kind: self,
            operation: self.operation(),
            what,
            effect,
        }
    }
}
