//! What is to be compared, as plain data.

use crate::config::S3Location;
use crate::table::Spec;

/// What is to be compared with what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Tables. A KMS key, recovery or protection that is asked for is a must; one that is not is a matter of advice. Billing
    /// and tags are their owner's choice and are not compared.
    pub tables: Vec<Spec>,
    /// The one of them, in Teleport's layout, in which what has expired is found by the index `expiry`: it must have that.
    pub expiry_index: Option<String>,
    /// Functions that read a stream. One that reads several is here once for each.
    pub functions: Vec<Function>,
    /// Prefixes of buckets.
    pub places: Vec<Place>,
}

/// A function, and the stream that it must read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name or ARN.
    pub name: String,
    /// What it does with what it reads.
    pub reads: Reads,
    /// Where that comes from.
    pub source: Source,
    /// The bucket that what Lambda gives up is brought back from; not compared if none, nor for another service.
    pub failures: Option<String>,
}

/// What a function does with the records of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// It forwards audit events.
    Audit {
        /// Whether the events of a session are promised in their order.
        ordered: bool,
    },
    /// It keeps a watch log.
    Watch,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The stream of this table, whichever it is today.
    Table(String),
    /// The stream with this ARN, as of Kinesis.
    Stream(String),
}

/// A prefix of a bucket, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where. A KMS key named here must be the one that the bucket encrypts with by default, where others write to it.
    pub location: S3Location,
    /// What is there.
    pub holds: Holds,
}

/// What is kept at a place, and so for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Records on their way to a sink: deleted when they have arrived, and until then kept by nobody else. Without versions.
    Spool,
    /// A lake. How long its files are kept is their owner's decision; but what is staged for them, the plan and the ids of
    /// what was filed must stay.
    Lake,
    /// What Lambda gave up, and the quarantine: kept until somebody brings it back.
    Failures,
    /// Delivered events. How long these are kept is their owner's decision.
    Events,
}
