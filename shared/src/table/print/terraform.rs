//! A Terraform resource, aligned as `terraform fmt` aligns it.

use super::super::{Attribute, Billing, Projected, Schema, Spec};

/// A line of a block: an argument, or anything else.
type Argument = (&'static str, String);

pub(super) fn print(spec: &Spec) -> String {
    let schema = spec.schema();
    let kind = spec.kind().as_str().replace('-', "_");
    let mut head: Vec<Argument> = vec![("name", quoted(spec.name()))];
    head.extend(billing(spec));
    head.push(("hash_key", quoted(schema.hash.name)));
    head.push(("range_key", quoted(schema.range.name)));
    if schema.stream {
        head.push(("stream_enabled", "true".to_owned()));
        head.push(("stream_view_type", quoted(Schema::STREAM_VIEW.as_str())));
    }
    head.push(("deletion_protection_enabled", spec.protection().to_string()));

    let mut blocks: Vec<String> = schema.attributes().into_iter().map(attribute).collect();
    blocks.extend(index(spec));
    if let Some(attribute) = schema.ttl {
        let ttl = [
            ("attribute_name", quoted(attribute)),
            ("enabled", "true".to_owned()),
        ];
        blocks.push(block("ttl", &ttl));
    }
    blocks.push(block(
        "point_in_time_recovery",
        &[("enabled", spec.recovery().to_string())],
    ));
    blocks.extend(encryption(spec));
    blocks.extend(tags(spec));
    blocks.push(block("lifecycle", &[("prevent_destroy", "true".to_owned())]));

    let body = format!("{}\n{}", arguments(&head), blocks.join("\n"));
    format!(
        "{}resource \"aws_dynamodb_table\" \"{kind}\" {{\n{}}}\n",
        key_data(spec),
        indent(&body)
    )
}

fn billing(spec: &Spec) -> Vec<Argument> {
    match spec.billing() {
        Billing::OnDemand => vec![("billing_mode", quoted("PAY_PER_REQUEST"))],
        Billing::Provisioned { .. } => {
            let mut all = vec![("billing_mode", quoted("PROVISIONED"))];
            all.extend(capacity(spec));
            all
        }
    }
}

fn capacity(spec: &Spec) -> Vec<Argument> {
    match spec.billing() {
        Billing::OnDemand => Vec::new(),
        Billing::Provisioned { rcu, wcu } => {
            vec![
                ("read_capacity", rcu.to_string()),
                ("write_capacity", wcu.to_string()),
            ]
        }
    }
}

fn attribute(attribute: &Attribute) -> String {
    block(
        "attribute",
        &[
            ("name", quoted(attribute.name)),
            ("type", quoted(attribute.scalar.as_str())),
        ],
    )
}

fn index(spec: &Spec) -> Option<String> {
    let index = spec.schema().index.as_ref()?;
    let mut all = vec![
        ("name", quoted(index.name)),
        ("hash_key", quoted(index.hash.name)),
        ("range_key", quoted(index.range.name)),
        (
            "projection_type",
            quoted(index.projection.projection_type().as_str()),
        ),
    ];
    if let Projected::Include(names) = index.projection {
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        all.push(("non_key_attributes", format!("[{}]", names.join(", "))));
    }
    all.extend(capacity(spec));
    Some(block("global_secondary_index", &all))
}

/// The provider takes a key's ARN only; anything else is looked up.
fn key_data(spec: &Spec) -> String {
    match spec.kms_key_id() {
        Some(key) if !is_key_arn(key) => format!(
            "{}\n",
            block("data \"aws_kms_key\" \"table\"", &[("key_id", quoted(key))])
        ),
        _ => String::new(),
    }
}

fn is_key_arn(key: &str) -> bool {
    key.starts_with("arn:") && key.contains(":key/")
}

fn encryption(spec: &Spec) -> Option<String> {
    spec.kms_key()?;
    let mut all = vec![("enabled", "true".to_owned())];
    match spec.kms_key_id() {
        Some(key) if is_key_arn(key) => all.push(("kms_key_arn", quoted(key))),
        Some(_) => all.push(("kms_key_arn", "data.aws_kms_key.table.arn".to_owned())),
        None => {}
    }
    Some(block("server_side_encryption", &all))
}

fn tags(spec: &Spec) -> Option<String> {
    let tags: Vec<_> = spec
        .tags()
        .iter()
        .map(|(key, value)| (quoted(key), quoted(value)))
        .collect();
    let width = tags.iter().map(|(key, _)| key.chars().count()).max()?;
    let lines: String = tags
        .iter()
        .map(|(key, value)| format!("  {key:width$} = {value}\n"))
        .collect();
    Some(format!("tags = {{\n{lines}}}\n"))
}

fn arguments(arguments: &[Argument]) -> String {
    let width = arguments
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    arguments
        .iter()
        .map(|(name, value)| format!("{name:width$} = {value}\n"))
        .collect()
}

fn block(head: &str, body: &[Argument]) -> String {
    format!("{head} {{\n{}}}\n", indent(&arguments(body)))
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("  {line}\n")
            }
        })
        .collect()
}

/// A string of Terraform's language: JSON's, with its two template markers escaped.
fn quoted(text: &str) -> String {
    super::quoted(text).replace("${", "$${").replace("%{", "%%{")
}
