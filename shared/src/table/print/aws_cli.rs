//! Shell commands. Values that a shell could read as its own are single-quoted.

use std::fmt::Write as _;

use serde_json::json;

use super::super::{Attribute, Billing, IndexSchema, Projected, Schema, Spec};

pub(super) fn print(spec: &Spec) -> String {
    let name = spec.name();
    let mut commands = vec![
        create(spec),
        format!("aws dynamodb wait table-exists --table-name {name}"),
    ];
    if let Some(attribute) = spec.schema().ttl {
        commands.push(format!(
            "aws dynamodb update-time-to-live --table-name {name} \\\n  \
             --time-to-live-specification Enabled=true,AttributeName={attribute}"
        ));
    }
    if spec.recovery() {
        commands.push(format!(
            "aws dynamodb update-continuous-backups --table-name {name} \\\n  \
             --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        ));
    }
    format!(
        "#!/bin/sh\n# The {} table {name}.\nset -eu\nexport AWS_PAGER=\n\n{}\n",
        spec.kind(),
        commands.join("\n\n")
    )
}

fn create(spec: &Spec) -> String {
    let schema = spec.schema();
    let mut command = format!("aws dynamodb create-table --table-name {}", spec.name());
    let mut option = |text: String| {
        // Writing to a String cannot fail.
        let _ = write!(command, " \\\n  {text}");
    };
    let definitions: Vec<_> = schema.attributes().into_iter().map(definition).collect();
    option(format!("--attribute-definitions {}", definitions.join(" ")));
    option(format!(
        "--key-schema {} {}",
        key(&schema.hash, "HASH"),
        key(&schema.range, "RANGE")
    ));
    if let Some(schema) = &schema.index {
        option(format!(
            "--global-secondary-indexes {}",
            shell(&json!([index(schema, spec)]).to_string())
        ));
    }
    match spec.billing() {
        Billing::OnDemand => option("--billing-mode PAY_PER_REQUEST".to_owned()),
        Billing::Provisioned { rcu, wcu } => {
            option("--billing-mode PROVISIONED".to_owned());
            option(format!(
                "--provisioned-throughput ReadCapacityUnits={rcu},WriteCapacityUnits={wcu}"
            ));
        }
    }
    if schema.stream {
        let view = Schema::STREAM_VIEW;
        option(format!(
            "--stream-specification StreamEnabled=true,StreamViewType={}",
            view.as_str()
        ));
    }
    if spec.kms_key().is_some() {
        let key = spec
            .kms_key_id()
            .map(|key| format!(",KMSMasterKeyId={key}"))
            .unwrap_or_default();
        option(format!("--sse-specification Enabled=true,SSEType=KMS{key}"));
    }
    if spec.protection() {
        option("--deletion-protection-enabled".to_owned());
    }
    if !spec.tags().is_empty() {
        let tags: Vec<_> = spec
            .tags()
            .iter()
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect();
        option(format!("--tags {}", shell(&json!(tags).to_string())));
    }
    command
}

fn definition(attribute: &Attribute) -> String {
    format!(
        "AttributeName={},AttributeType={}",
        attribute.name,
        attribute.scalar.as_str()
    )
}

fn key(attribute: &Attribute, role: &str) -> String {
    format!("AttributeName={},KeyType={role}", attribute.name)
}

fn index(schema: &IndexSchema, spec: &Spec) -> serde_json::Value {
    let mut index = json!({
        "IndexName": schema.name,
        "KeySchema": [
            {"AttributeName": schema.hash.name, "KeyType": "HASH"},
            {"AttributeName": schema.range.name, "KeyType": "RANGE"},
        ],
        "Projection": projection(schema.projection),
    });
    if let (Billing::Provisioned { rcu, wcu }, Some(index)) = (spec.billing(), index.as_object_mut()) {
        let throughput = json!({"ReadCapacityUnits": rcu, "WriteCapacityUnits": wcu});
        index.insert("ProvisionedThroughput".to_owned(), throughput);
    }
    index
}

fn projection(projected: Projected) -> serde_json::Value {
    let kind = projected.projection_type();
    match projected {
        Projected::All => json!({"ProjectionType": kind.as_str()}),
        Projected::Include(names) => json!({"ProjectionType": kind.as_str(), "NonKeyAttributes": names}),
    }
}

/// In single quotes, within which a POSIX shell reads everything as it is.
fn shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
