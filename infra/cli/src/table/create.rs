//! `tidewatch table create`.

use clap::Args;
use serde_json::json;
use tidewatch::table::{Created, Error, Estimate, Spec, Step, estimate};

use super::options::{SpecOptions, WaitOption};
use super::{name, show, tables};
use crate::cli::{Consent, Exit, Failure, GOOD, Global, Output, paint};

/// Arguments of `tidewatch table create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch table create --kind audit --table teleport.audit --pitr --deletion-protection
  tidewatch table create --kind state --table teleport --billing provisioned --rcu 5 --wcu 5
  tidewatch table create --kind partitioned --table state --pitr
  tidewatch table create --kind watch-log --table watch --deletion-protection
  tidewatch table create --kind audit --table audit --kms-key alias/teleport --tag team=access --dry-run
  tidewatch table create --kind audit --table audit --endpoint-url http://127.0.0.1:8000 --yes

A table that exists is never changed. Without a terminal, --yes is needed.")]
pub(super) struct CreateArgs {
    #[command(flatten)]
    spec: SpecOptions,
    /// Show what would be created and what it costs; create nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    wait: WaitOption,
}

pub(super) async fn run(global: &Global, args: CreateArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let spec = args.spec.spec(name(global)?)?;
    let tables = tables(global, args.wait.limit()).await?;
    if tables.exists(spec.name()).await? {
        return Err(Error::Exists {
            table: spec.name().to_owned(),
            kind: spec.kind(),
        }
        .into());
    }
    let cost = estimate(&spec);
    let preface = format!("{}{}", show::spec(&spec), show::estimate(&cost));
    if args.dry_run {
        let text = format!(
            "{preface}nothing was created (--dry-run); it would send {}\n",
            requests(&spec).join(", ")
        );
        output.result(&report(&spec, &cost, None), &text)?;
        return Ok(Exit::Done);
    }
    args.consent
        .ask(output, &preface, &format!("Create {}?", spec.name()))?;

    let spinner = output.spinner();
    let progress = |step: &Step| spinner.set_message(format!("{}: {step}", spec.name()));
    let created = tables.create(&spec, &progress).await;
    spinner.finish_and_clear();
    let created = created?;
    output.result(&report(&spec, &cost, Some(&created)), &text(&spec, &created))?;
    Ok(Exit::Done)
}

fn requests(spec: &Spec) -> Vec<&'static str> {
    let mut all = vec!["CreateTable", "DescribeTable until it is ACTIVE"];
    if spec.schema().ttl.is_some() {
        all.push("UpdateTimeToLive");
    }
    if spec.recovery() {
        all.push("UpdateContinuousBackups");
    }
    all
}

fn text(spec: &Spec, created: &Created) -> String {
    let mut text = format!(
        "{} {} table {}\n",
        paint(GOOD, "created"),
        spec.kind(),
        spec.name()
    );
    for (what, arn) in [("table ", &created.arn), ("stream", &created.stream_arn)] {
        if let Some(arn) = arn {
            text.push_str(&format!("  {what}  {arn}\n"));
        }
    }
    text + &show::warnings(&created.warnings)
}

fn report(spec: &Spec, cost: &Estimate, created: Option<&Created>) -> serde_json::Value {
    let schema = spec.schema();
    json!({
        "table": spec.name(),
        "kind": spec.kind(),
        "created": created.is_some(),
        "arn": created.and_then(|created| created.arn.as_deref()),
        "stream_arn": created.and_then(|created| created.stream_arn.as_deref()),
        "warnings": created.map(|created| created.warnings.as_slice()).unwrap_or_default(),
        "requests": requests(spec),
        "settings": {
            "keys": [schema.hash.name, schema.range.name],
            "index": schema.index.as_ref().map(|index| index.name),
            "ttl": schema.ttl,
            "billing": spec.billing(),
            "kms_key": spec.kms_key(),
            "recovery": spec.recovery(),
            "deletion_protection": spec.protection(),
            "tags": spec.tags(),
        },
        "estimate": cost,
    })
}
