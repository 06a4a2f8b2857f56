//! Reports for people.

use tidewatch::table::{Billing, Change, Difference, Estimate, Severity, Spec, Warning};

use crate::cli::{ERROR, FAINT, GOOD, HEAD, WARN, paint};

/// Every difference with its consequence and its remedy.
pub(super) fn differences(all: &[Difference]) -> String {
    all.iter().map(difference).collect()
}

fn difference(difference: &Difference) -> String {
    let style = match difference.severity {
        Severity::Broken => ERROR,
        Severity::Degraded => WARN,
        Severity::Advice | Severity::Note => HEAD,
    };
    let severity = paint(style, format!("{:8}", difference.severity.as_str()));
    format!(
        "  {severity}  {}\n            so: {}\n            do: {}\n",
        difference.found, difference.consequence, difference.remedy
    )
}

/// Each operation the engine lacks.
pub(super) fn warnings<'a>(all: impl IntoIterator<Item = &'a Warning>) -> String {
    all.into_iter()
        .map(|warning| format!("  {}  {}\n", paint(WARN, "warning "), warning.message))
        .collect()
}

/// Changes before they are made.
pub(super) fn changes(all: &[Change]) -> String {
    let line = |change: &Change| {
        format!(
            "  {} {} [{}]\n      {}\n",
            paint(GOOD, "+"),
            change.what,
            change.operation,
            change.effect
        )
    };
    all.iter().map(line).collect()
}

/// What is to be created.
pub(super) fn spec(spec: &Spec) -> String {
    let schema = spec.schema();
    let mut lines = vec![format!(
        "keys        {} and {}",
        schema.hash.name, schema.range.name
    )];
    if let Some(index) = &schema.index {
        lines.push(format!(
            "index       {}: {} and {}, {}",
            index.name, index.hash.name, index.range.name, index.projection
        ));
    }
    let stream = if schema.stream {
        "NEW_AND_OLD_IMAGES"
    } else {
        "none"
    };
    lines.push(format!("stream      {stream}"));
    lines.push(format!("TTL         {}", schema.ttl.unwrap_or("off")));
    lines.push(match spec.billing() {
        Billing::OnDemand => "billing     on demand".to_owned(),
        Billing::Provisioned { rcu, wcu } => format!("billing     provisioned, {rcu} RCU and {wcu} WCU each"),
    });
    lines.push(format!(
        "encryption  {}",
        spec.kms_key().unwrap_or("DynamoDB's own key, free")
    ));
    lines.push(format!("recovery    {}", on(spec.recovery())));
    lines.push(format!("protection  {}", on(spec.protection())));
    lines.extend(
        spec.tags()
            .iter()
            .map(|(key, value)| format!("tag         {key}={value}")),
    );
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "{}\n{lines}",
        paint(HEAD, format!("{} table {}", spec.kind(), spec.name()))
    )
}

fn on(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What it costs, and what that assumes.
pub(super) fn estimate(estimate: &Estimate) -> String {
    let total = format!(
        "estimated cost: {} a month, and by use:",
        estimate.fixed_per_month
    );
    let mut text = format!("{}\n", paint(HEAD, total));
    for line in &estimate.lines {
        text.push_str(&format!(
            "  {:>8} a {:12}  {}\n",
            line.usd.to_string(),
            line.per,
            line.what
        ));
    }
    for assumption in &estimate.assumptions {
        text.push_str(&format!("  {}\n", paint(FAINT, format!("- {assumption}"))));
    }
    text.push_str(&format!("  {}\n", paint(FAINT, format!("- {}", estimate.prices))));
    text
}
