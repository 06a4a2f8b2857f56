//! What each table must be. Facts: Teleport's DynamoDB backends (`lib/backend/dynamo`, `lib/events/dynamoevents`).

use std::fmt;

use aws_sdk_dynamodb::types::{ScalarAttributeType, StreamViewType};

/// Which of Teleport's two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The audit log: one item an event, searched by time.
    Audit,
    /// The cluster state: one item a key, all in one partition.
    State,
}

/// An attribute that is part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, case-sensitive.
    pub name: &'static str,
    /// Its type; DynamoDB allows S, N and B in keys.
    pub scalar: ScalarAttributeType,
}

/// A global secondary index. Its projection is always ALL: readers take whole events from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSchema {
    /// Its name, case-sensitive.
    pub name: &'static str,
    /// Partition key.
    pub hash: Attribute,
    /// Sort key.
    pub range: Attribute,
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
    /// The attribute with the expiry in unix seconds.
    pub ttl: &'static str,
    /// The attribute with the time of writing in unix seconds: as TTL attribute it would delete live items.
    pub written: &'static str,
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
    }),
    ttl: "Expires",
    written: "CreatedAt",
};

static STATE: Schema = Schema {
    kind: Kind::State,
    hash: string("HashKey"),
    range: string("FullPath"),
    index: None,
    ttl: "Expires",
    written: "Timestamp",
};

/// The index of audit tables before Teleport 6.2; its one constant partition key made it a hot spot.
pub(super) const OLD_AUDIT_INDEX: &str = "timesearch";

/// Key attribute of state tables from before 2017, which Teleport refuses as `unsupported schema`.
pub(super) const OLD_STATE_KEY: &str = "Key";

impl Kind {
    /// Both, in the order of `--help`.
    pub const ALL: [Self; 2] = [Self::Audit, Self::State];

    /// `audit` or `state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::State => "state",
        }
    }

    /// What a table of this kind must be.
    pub fn schema(self) -> &'static Schema {
        match self {
            Self::Audit => &AUDIT,
            Self::State => &STATE,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
