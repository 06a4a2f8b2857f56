//! What a table is, as its endpoint describes it.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, IndexStatus, KeySchemaElement, KeyType, MultiRegionConsistency,
    Projection, ProjectionType, ScalarAttributeType, StreamViewType, TableDescription, TableStatus,
    TimeToLiveDescription, TimeToLiveStatus,
};

use super::Billing;

/// The keys of a table or an index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    /// Partition key.
    pub hash: String,
    /// Sort key.
    pub range: Option<String>,
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: Keys,
    /// What it holds of each item.
    pub projection: ProjectionType,
    /// The attributes that an INCLUDE projection names.
    pub included: Vec<String>,
    /// Its status; a local index has none and counts as active.
    pub status: IndexStatus,
}

/// An enabled stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// What a record holds.
    pub view: StreamViewType,
    /// Its ARN, which an event source mapping names.
    pub arn: Option<String>,
}

/// Time to live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ttl {
    /// Off, or being turned off.
    Off,
    /// On, or being turned on, for this attribute.
    On(String),
    /// The engine cannot tell.
    Unknown,
}

/// Point-in-time recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Off.
    Off,
    /// On.
    On,
    /// The engine cannot tell.
    Unknown,
}

/// Whether a table has replicas in other regions, and what a read of one sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Regions {
    /// One region only.
    One,
    /// A global table, eventually consistent: the last writer wins, so conditions hold within one region only.
    Eventual,
    /// A global table, strongly consistent: without transactions and without time to live.
    Strong,
}

/// An operation that the engine lacks, and what therefore was not done or not checked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// DynamoDB's name of the operation.
    pub operation: &'static str,
    /// What was not done.
    pub message: String,
}

impl Warning {
    pub(super) fn lacking(operation: &'static str, left_out: &str) -> Self {
        Self {
            operation,
            message: format!("this engine has no {operation}: {left_out}"),
        }
    }
}

/// A table as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: Option<String>,
    /// Its status.
    pub status: TableStatus,
    /// Its keys.
    pub keys: Keys,
    /// The type of each declared attribute.
    pub attributes: BTreeMap<String, ScalarAttributeType>,
    /// Its secondary indexes, global ones first.
    pub indexes: Vec<Index>,
    /// Its stream, if enabled.
    pub stream: Option<Stream>,
    /// Time to live.
    pub ttl: Ttl,
    /// Point-in-time recovery.
    pub recovery: Recovery,
    /// Deletion protection.
    pub protection: bool,
    /// How it is paid for.
    pub billing: Billing,
    /// The KMS key it is encrypted with; none if DynamoDB owns the key.
    pub kms_key_arn: Option<String>,
    /// Whether it is a global table.
    pub regions: Regions,
    /// The regions of its replicas, as far as the endpoint names them.
    pub replicas: Vec<String>,
    /// How many items it has, as DynamoDB counted them some hours ago.
    pub items: u64,
    /// How many bytes these are.
    pub bytes: u64,
    /// What could not be read.
    pub warnings: Vec<Warning>,
}

impl Live {
    /// From DescribeTable's answer; TTL and recovery are read by other operations and unknown here.
    pub(super) fn from_description(name: &str, table: &TableDescription) -> Self {
        let global = table.global_secondary_indexes().iter().map(|index| Index {
            name: index.index_name().unwrap_or_default().to_owned(),
            keys: keys(index.key_schema()),
            projection: projection(index.projection()),
            included: included(index.projection()),
            status: index.index_status().cloned().unwrap_or(IndexStatus::Active),
        });
        let local = table.local_secondary_indexes().iter().map(|index| Index {
            name: index.index_name().unwrap_or_default().to_owned(),
            keys: keys(index.key_schema()),
            projection: projection(index.projection()),
            included: included(index.projection()),
            status: IndexStatus::Active,
        });
        Self {
            name: name.to_owned(),
            arn: table.table_arn().map(str::to_owned),
            status: table.table_status().cloned().unwrap_or(TableStatus::Active),
            keys: keys(table.key_schema()),
            attributes: table.attribute_definitions().iter().map(attribute).collect(),
            indexes: global.chain(local).collect(),
            stream: stream(table),
            ttl: Ttl::Unknown,
            recovery: Recovery::Unknown,
            protection: table.deletion_protection_enabled().unwrap_or(false),
            billing: billing(table),
            kms_key_arn: table
                .sse_description()
                .and_then(|sse| sse.kms_master_key_arn())
                .map(str::to_owned),
            regions: regions(table),
            replicas: replicas(table),
            items: counted(table.item_count()),
            bytes: counted(table.table_size_bytes()),
            warnings: Vec::new(),
        }
    }
}

impl Ttl {
    pub(super) fn from_description(ttl: Option<&TimeToLiveDescription>) -> Self {
        let Some(ttl) = ttl else { return Self::Off };
        match (ttl.time_to_live_status(), ttl.attribute_name()) {
            (Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling), Some(name)) => {
                Self::On(name.to_owned())
            }
            _ => Self::Off,
        }
    }
}

fn counted(count: Option<i64>) -> u64 {
    count
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or_default()
}

fn attribute(attribute: &AttributeDefinition) -> (String, ScalarAttributeType) {
    (
        attribute.attribute_name().to_owned(),
        attribute.attribute_type().clone(),
    )
}

fn keys(schema: &[KeySchemaElement]) -> Keys {
    // An index may have several attributes in each role: joined, they equal no single name.
    let of = |role: KeyType| {
        let names: Vec<_> = schema
            .iter()
            .filter(|key| *key.key_type() == role)
            .map(KeySchemaElement::attribute_name)
            .collect();
        names.join("+")
    };
    Keys {
        hash: of(KeyType::Hash),
        range: Some(of(KeyType::Range)).filter(|names| !names.is_empty()),
    }
}

fn projection(projection: Option<&Projection>) -> ProjectionType {
    projection
        .and_then(Projection::projection_type)
        .cloned()
        .unwrap_or(ProjectionType::KeysOnly)
}

fn included(projection: Option<&Projection>) -> Vec<String> {
    projection
        .map(|projection| projection.non_key_attributes().to_vec())
        .unwrap_or_default()
}

fn regions(table: &TableDescription) -> Regions {
    match table.multi_region_consistency() {
        Some(MultiRegionConsistency::Strong) => Regions::Strong,
        Some(_) => Regions::Eventual,
        // The version alone tells of a global table of 2017, whose replicas another operation lists.
        None if !table.replicas().is_empty() || table.global_table_version().is_some() => Regions::Eventual,
        None => Regions::One,
    }
}

fn replicas(table: &TableDescription) -> Vec<String> {
    let names = table
        .replicas()
        .iter()
        .filter_map(|replica| replica.region_name());
    names.map(str::to_owned).collect()
}

fn stream(table: &TableDescription) -> Option<Stream> {
    let spec = table
        .stream_specification()
        .filter(|spec| spec.stream_enabled())?;
    Some(Stream {
        view: spec
            .stream_view_type()
            .cloned()
            .unwrap_or(StreamViewType::KeysOnly),
        arn: table.latest_stream_arn().map(str::to_owned),
    })
}

fn billing(table: &TableDescription) -> Billing {
    // No summary means provisioned: the table never was on demand.
    if table
        .billing_mode_summary()
        .and_then(|summary| summary.billing_mode())
        == Some(&BillingMode::PayPerRequest)
    {
        return Billing::OnDemand;
    }
    let units = |units: Option<i64>| {
        units
            .and_then(|units| u32::try_from(units).ok())
            .unwrap_or_default()
    };
    let throughput = table.provisioned_throughput();
    Billing::Provisioned {
        rcu: units(throughput.and_then(|throughput| throughput.read_capacity_units())),
        wcu: units(throughput.and_then(|throughput| throughput.write_capacity_units())),
    }
}
