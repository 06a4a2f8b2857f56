//! A CloudFormation template.

use std::fmt::Write as _;

use super::super::{Attribute, Billing, Kind, Projected, Schema, Spec};
use super::quoted;

pub(super) fn print(spec: &Spec) -> String {
    let schema = spec.schema();
    let id = match spec.kind() {
        Kind::Audit => "AuditTable",
        Kind::State | Kind::Partitioned => "StateTable",
        Kind::WatchLog => "WatchLogTable",
    };
    let properties = [
        format!("TableName: {}\n", quoted(spec.name())),
        attributes(schema),
        keys(&schema.hash, &schema.range),
        index(spec),
        billing(spec),
        stream(schema),
        ttl(schema),
        format!(
            "PointInTimeRecoverySpecification:\n  PointInTimeRecoveryEnabled: {}\n",
            spec.recovery()
        ),
        format!("DeletionProtectionEnabled: {}\n", spec.protection()),
        encryption(spec),
        tags(spec),
    ];
    let kind = spec.kind();
    let resource = format!(
        "{id}:\n  Type: AWS::DynamoDB::Table\n  DeletionPolicy: Retain\n  UpdateReplacePolicy: Retain\n  \
         Properties:\n"
    );
    let mut outputs = format!("TableName:\n  Value: !Ref {id}\nTableArn:\n  Value: !GetAtt {id}.Arn\n");
    if schema.stream {
        outputs.push_str(&format!("StreamArn:\n  Value: !GetAtt {id}.StreamArn\n"));
    }
    format!(
        "AWSTemplateFormatVersion: \"2010-09-09\"\n\
         Description: The {kind} table; deleting this stack keeps it.\n\
         Resources:\n\
         {}{}\
         Outputs:\n\
         {}",
        indent(2, &resource),
        indent(6, &properties.concat()),
        indent(2, &outputs),
    )
}

fn stream(schema: &Schema) -> String {
    if !schema.stream {
        return String::new();
    }
    let view = Schema::STREAM_VIEW;
    format!("StreamSpecification:\n  StreamViewType: {}\n", view.as_str())
}

fn ttl(schema: &Schema) -> String {
    let ttl =
        |attribute| format!("TimeToLiveSpecification:\n  AttributeName: {attribute}\n  Enabled: true\n");
    schema.ttl.map(ttl).unwrap_or_default()
}

fn indent(by: usize, text: &str) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

fn attributes(schema: &Schema) -> String {
    let attributes = schema.attributes().into_iter().map(|attribute| {
        format!(
            "  - AttributeName: {}\n    AttributeType: {}\n",
            attribute.name,
            attribute.scalar.as_str()
        )
    });
    format!("AttributeDefinitions:\n{}", attributes.collect::<String>())
}

fn keys(hash: &Attribute, range: &Attribute) -> String {
    format!(
        "KeySchema:\n  - AttributeName: {}\n    KeyType: HASH\n  - AttributeName: {}\n    KeyType: RANGE\n",
        hash.name, range.name
    )
}

fn index(spec: &Spec) -> String {
    let Some(index) = &spec.schema().index else {
        return String::new();
    };
    let keys = keys(&index.hash, &index.range);
    let item = format!(
        "IndexName: {}\n{keys}{}{}",
        index.name,
        projection(index.projection),
        throughput(spec)
    );
    let item = indent(4, &item);
    format!("GlobalSecondaryIndexes:\n  - {}", item.trim_start())
}

fn projection(projected: Projected) -> String {
    let kind = projected.projection_type();
    let mut text = format!("Projection:\n  ProjectionType: {}\n", kind.as_str());
    if let Projected::Include(names) = projected {
        text.push_str("  NonKeyAttributes:\n");
        text.extend(names.iter().map(|name| format!("    - {name}\n")));
    }
    text
}

fn throughput(spec: &Spec) -> String {
    match spec.billing() {
        Billing::OnDemand => String::new(),
        Billing::Provisioned { rcu, wcu } => {
            format!("ProvisionedThroughput:\n  ReadCapacityUnits: {rcu}\n  WriteCapacityUnits: {wcu}\n")
        }
    }
}

fn billing(spec: &Spec) -> String {
    let mode = match spec.billing() {
        Billing::OnDemand => "PAY_PER_REQUEST",
        Billing::Provisioned { .. } => "PROVISIONED",
    };
    format!("BillingMode: {mode}\n{}", throughput(spec))
}

fn encryption(spec: &Spec) -> String {
    if spec.kms_key().is_none() {
        return String::new();
    }
    let key = spec
        .kms_key_id()
        .map(|key| format!("  KMSMasterKeyId: {}\n", quoted(key)))
        .unwrap_or_default();
    format!("SSESpecification:\n  SSEEnabled: true\n  SSEType: KMS\n{key}")
}

fn tags(spec: &Spec) -> String {
    if spec.tags().is_empty() {
        return String::new();
    }
    let mut text = "Tags:\n".to_owned();
    for (key, value) in spec.tags() {
        // Writing to a String cannot fail.
        let _ = write!(text, "  - Key: {}\n    Value: {}\n", quoted(key), quoted(value));
    }
    text
}
