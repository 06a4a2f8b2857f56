//! `tidewatch watch-log create`.

use clap::Args;
use serde_json::json;
use tidewatch::watch::Prefix;
use tidewatch::watch::log::{Description, LogErrorKind, LogSpec};

use super::{ChangeOptions, SourceOption, name_of, show, shown, stop};
use crate::cli::{Exit, Failure, GOOD, Global, Output, WatchLogOptions, paint, watch_log};

/// Arguments of `tidewatch watch-log create`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch watch-log create --table teleport --log-table watch
  tidewatch watch-log create --table teleport --log-table watch --buckets 8 --prefix /nodes --prefix /locks --yes
  tidewatch watch-log create --table teleport --log-table watch --source kinesis --dry-run
  tidewatch watch-log create --table state --namespace default --log-table watch

The function `forward` makes the log too, as it is configured: this is for other settings, or to make it before.
A log that is there is not changed. The table of logs must exist: `tidewatch table create --kind watch-log`.")]
pub(super) struct CreateArgs {
    #[command(flatten)]
    log: WatchLogOptions,
    /// How many buckets: appends to one come one after the other, and each costs every reader a request a poll
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    buckets: u32,
    /// Where the changes come from
    #[arg(long, value_enum, default_value = "stream")]
    source: SourceOption,
    /// Log only this key and what lies below it; may be given several times [default: all keys]
    #[arg(long = "prefix", value_name = "PREFIX")]
    prefixes: Vec<String>,
    #[command(flatten)]
    change: ChangeOptions,
}

pub(super) async fn run(global: &Global, args: CreateArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let named = watch_log(global, &args.log).await?;
    let table = named
        .state
        .clone()
        .ok_or_else(|| Failure::usage("the log of which state table? Name it with --table NAME"))?;
    let spec = LogSpec {
        transport: args.source.into(),
        buckets: args.buckets,
        prefixes: args
            .prefixes
            .iter()
            .map(|key| Prefix::component(key.as_str()))
            .collect(),
        layout: named.layout.clone(),
        ..LogSpec::new(table)
    };
    let log = named.open(global).await?;
    match log.describe(stop()).await {
        Ok(found) => {
            named.is_of(&found.table)?;
            let text = format!(
                "there is this log already, and it was not changed\n{}",
                show::description(&named, &found)
            );
            output.result(
                &json!({"created": false, "log": show::description_json(&named, &found)}),
                &text,
            )?;
            return Ok(if is(&found, &spec) {
                Exit::Done
            } else {
                Exit::Found
            });
        }
        // What else may be wrong the creation tells.
        Err(error) if error.kind() == LogErrorKind::WrongLog => {}
        Err(error) => return Err(error.into()),
    }
    let keys = if args.prefixes.is_empty() {
        "all keys".to_owned()
    } else {
        args.prefixes.join(", ")
    };
    let preface = format!(
        "makes the log {} in {}: {keys} of {}, source {}, {} buckets\n",
        named.name,
        named.table,
        spec.table,
        name_of(spec.transport),
        spec.buckets
    );
    if args.change.dry_run {
        return shown(output, &preface, &json!({"created": false}));
    }
    let question = format!("Make it in {}?", named.table);
    args.change.consent.ask(output, &preface, &question)?;
    log.create(&spec, stop()).await?;
    let made = log.describe(stop()).await?;
    let text = format!("{}\n{}", paint(GOOD, "made"), show::description(&named, &made));
    output.result(
        &json!({"created": true, "log": show::description_json(&named, &made)}),
        &text,
    )?;
    Ok(Exit::Done)
}

fn is(found: &Description, spec: &LogSpec) -> bool {
    (found.buckets, found.source, &found.prefixes) == (spec.buckets, spec.transport, &spec.prefixes)
}
