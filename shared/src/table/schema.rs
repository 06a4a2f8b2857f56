//! What each table must be. Facts on Teleport's two: its DynamoDB backends (`lib/backend/dynamo`,
//! `lib/events/dynamoevents`). The partitioned one and the watch log are ours.

use std::fmt;

use aws_sdk_dynamodb::types::{ProjectionType, ScalarAttributeType, StreamViewType};

use super::Index;

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Teleport's audit log: one item an event, searched by time.
    Audit,
    /// Teleport's cluster state: one item a key, all in one partition.
    State,
    /// State of our own: one item a key, in as many partitions as its namespaces have.
    Partitioned,
    /// Watch logs: segments of changes, one after the other in each bucket.
    #[serde(rename = "watch-log")]
    WatchLog,
}

/// An attribute that is part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, case-sensitive.
    pub name: &'static str,
    /// Its type; DynamoDB allows S, N and B in keys.
    pub scalar: ScalarAttributeType,
}

/// A global secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSchema {
    /// Its name, case-sensitive.
    pub name: &'static str,
    /// Partition key.
    pub hash: Attribute,
    /// Sort key.
    pub range: Attribute,
    /// What it holds of each item.
    pub projection: Projected,
}

/// What an index holds of each item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projected {
    /// All of it: readers take whole events from it.
    All,
    /// The keys of table and index, and these attributes.
    Include(&'static [&'static str]),
}

/// What a table of one [`Kind`] must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Which table.
    pub kind: Kind,
    /// Partition key.
    pub hash: Attribute,
    /// Sort key.
    pub range: Attribute,
    /// The one index it has, if any.
    pub index: Option<IndexSchema>,
    /// The attribute with the expiry in unix seconds; none if DynamoDB must delete nothing.
    pub ttl: Option<&'static str>,
    /// The attribute with the time of writing in unix seconds: as TTL attribute it would delete live items.
    pub written: Option<&'static str>,
    /// Whether it has a stream. The others have [`Schema::STREAM_VIEW`].
    pub stream: bool,
    /// Whether point-in-time recovery is of use: a log that is restored would tell of changes that are not so any more.
    pub recovery: bool,
}

const fn string(name: &'static str) -> Attribute {
    Attribute {
        name,
        scalar: ScalarAttributeType::S,
    }
}

const fn number(name: &'static str) -> Attribute {
    Attribute {
        name,
        scalar: ScalarAttributeType::N,
    }
}

static AUDIT: Schema = Schema {
    kind: Kind::Audit,
    hash: string("SessionID"),
    range: number("EventIndex"),
    index: Some(IndexSchema {
        name: "timesearchV2",
        hash: string("CreatedAtDate"),
        range: number("CreatedAt"),
        projection: Projected::All,
    }),
    ttl: Some("Expires"),
    written: Some("CreatedAt"),
    stream: true,
    recovery: true,
};

pub(super) static STATE: Schema = Schema {
    kind: Kind::State,
    hash: string("HashKey"),
    range: string("FullPath"),
    index: None,
    ttl: Some("Expires"),
    written: Some("Timestamp"),
    stream: true,
    recovery: true,
};

static PARTITIONED: Schema = Schema {
    kind: Kind::Partitioned,
    hash: string("Part"),
    range: string("Key"),
    // Only what expires is in it: a sweep reads what is due, and deletes on the revision it read.
    index: Some(IndexSchema {
        name: "expiry",
        hash: number("ExpiryShard"),
        range: number("Expires"),
        projection: Projected::Include(&["Revision"]),
    }),
    ttl: Some("Expires"),
    written: Some("Timestamp"),
    stream: true,
    recovery: true,
};

/// An index that an operator may insist on for an attached state table, beside what its owner needs. All its entries are
/// under the one partition key that all items of that layout share: see [`Added`](super::Added) for what that means.
pub(super) static STATE_EXPIRY: IndexSchema = IndexSchema {
    name: "expiry",
    hash: string("HashKey"),
    range: number("Expires"),
    projection: Projected::Include(&["Revision"]),
};

static WATCH_LOG: Schema = Schema {
    kind: Kind::WatchLog,
    hash: string("Log"),
    range: number("Segment"),
    index: None,
    // The newest segment of a bucket must stay, whatever its age: numbers would start again. Compaction knows.
    ttl: None,
    written: None,
    stream: false,
    recovery: false,
};

/// The index of audit tables before Teleport 6.2; its one constant partition key made it a hot spot.
pub(super) const OLD_AUDIT_INDEX: &str = "timesearch";

/// Key attribute of state tables from before 2017, which Teleport refuses as `unsupported schema`. It is the sort key
/// of partitioned tables too, so that Teleport refuses those.
pub(super) const OLD_STATE_KEY: &str = "Key";

impl Kind {
    /// All, in the order of `--help`.
    pub const ALL: [Self; 4] = [Self::Audit, Self::State, Self::Partitioned, Self::WatchLog];

    /// `audit`, `state`, `partitioned` or `watch-log`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::State => "state",
            Self::Partitioned => "partitioned",
            Self::WatchLog => "watch-log",
        }
    }

    /// What a table of this kind must be.
    pub fn schema(self) -> &'static Schema {
        match self {
            Self::Audit => &AUDIT,
            Self::State => &STATE,
            Self::Partitioned => &PARTITIONED,
            Self::WatchLog => &WATCH_LOG,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Projected {
    /// DynamoDB's name for it.
    pub fn projection_type(self) -> ProjectionType {
        match self {
            Self::All => ProjectionType::All,
            Self::Include(_) => ProjectionType::Include,
        }
    }

    /// The attributes beside the keys that are named one by one.
    pub fn included(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Include(names) => names,
        }
    }

    /// Whether `index` holds as much.
    pub(super) fn is_covered_by(self, index: &Index) -> bool {
        let holds = |name: &&str| index.included.iter().any(|included| included == name);
        index.projection == ProjectionType::All
            || matches!(self, Self::Include(names) if names.iter().all(holds))
    }
}

impl fmt::Display for Projected {
    /// `ALL`, or `INCLUDE` and the names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.projection_type().as_str())?;
        match self {
            Self::All => Ok(()),
            Self::Include(names) => write!(f, " {}", names.join(", ")),
        }
    }
}

impl Schema {
    /// The view of the streams we create. Teleport creates NEW_IMAGE on the state table and accepts this one; the
    /// old image adds what was deleted and what an update replaced.
    pub const STREAM_VIEW: StreamViewType = StreamViewType::NewAndOldImages;

    /// Every attribute that is part of a key of the table or its index: the only ones a table declares.
    pub fn attributes(&self) -> Vec<&Attribute> {
        let mut all = vec![&self.hash, &self.range];
        if let Some(index) = &self.index {
            all.extend([&index.hash, &index.range]);
        }
        all
    }
}
