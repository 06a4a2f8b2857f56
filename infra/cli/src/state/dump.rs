//! `tidewatch state dump`.

use std::path::PathBuf;

use clap::Args;
use futures_util::future::{Either, select};
use serde_json::json;
use tidewatch::state::Range;
use tidewatch::state::dump::dump;

use super::backend;
use super::file::DumpFile;
use super::lock::interrupted;
use super::seal::Seal;
use crate::cli::{Exit, Failure, GOOD, Global, Output, StateOptions, aws_config, paint};

/// Arguments of `tidewatch state dump`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state dump backup.ndjson --config /etc/teleport.yaml
  tidewatch state dump nodes.ndjson --prefix /nodes/ --table teleport --layout teleport
  tidewatch state dump backup.sealed --kms-key alias/backups --table state

The file holds values, which may be secrets: its mode is 0600, and --kms-key encrypts it. Revisions and expiry are kept.
It is read page by page: an atomic write meanwhile may be torn; for one moment in time use DynamoDB's export to S3.")]
pub(super) struct DumpArgs {
    /// File to write; it must not exist
    file: PathBuf,
    /// Only keys that begin with this [default: all keys]
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Encrypt the file under this KMS key: alias, id or ARN
    #[arg(long, value_name = "KEY")]
    kms_key: Option<String>,
    #[command(flatten)]
    state: StateOptions,
}

pub(super) async fn run(global: &Global, args: DumpArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let backend = backend(global, &args.state).await?;
    let seal = match &args.kms_key {
        Some(key) => {
            let kms = aws_sdk_kms::Client::new(&aws_config(global).await?);
            Some(Seal::new(&kms, key).await?)
        }
        None => None,
    };
    let mut file = DumpFile::create(&args.file, seal)?;
    let spinner = output.spinner();
    let range = Range::prefix(args.prefix);
    let progress = |count: u64| {
        if count.is_multiple_of(100) {
            spinner.set_message(format!("{count} items"));
        }
    };
    let dumped = Box::pin(dump(&backend, range, |line| file.line(line), progress));
    let ended = match select(dumped, Box::pin(interrupted())).await {
        Either::Left((count, _)) => count.map_err(|error| error.to_string()),
        // Dropping the file removes what was written of it.
        Either::Right(_) => Err("ended by a signal; nothing was kept".to_owned()),
    };
    spinner.finish_and_clear();
    let count = ended?;
    file.finish()?;
    let text = format!(
        "{} {count} items to {}\n",
        paint(GOOD, "dumped"),
        args.file.display()
    );
    output.result(
        &json!({"items": count, "file": args.file.display().to_string()}),
        &text,
    )?;
    Ok(Exit::Done)
}
