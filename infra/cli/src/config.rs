//! `tidewatch config`: check a configuration document, apply it as a new version, print its schema.

mod apply;

use clap::{Args, Subcommand};
use serde_json::json;
use tidewatch::config::{Config, LoadError};
use tidewatch::state;

use crate::cli::{Document, Exit, Failure, GOOD, Global, Output, document, paint};

/// Arguments of `tidewatch config`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch config check --config tidewatch.yaml
  tidewatch config apply tidewatch.yaml --to s3://my-audit/tidewatch/
  tidewatch config versions s3://my-audit/tidewatch/
  tidewatch config schema > tidewatch.schema.json")]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a document as `forward` would, or Teleport's own file, and tell every fault with its place
    #[command(after_help = "Examples:
  tidewatch config check --config tidewatch.yaml
  TIDEWATCH_SINKS__ARCHIVE__URI=s3://bucket/events tidewatch config check --config s3://bucket/tidewatch.yaml
  tidewatch config check --config ssm:/tidewatch/config --region eu-west-1 --profile audit
  tidewatch config check --config /etc/teleport.yaml

Environment variables override single settings, as they do for the function; not those of Teleport's own file, which
is known by its top-level `teleport:`. Secrets are not read. A document in S3 or SSM is read with --region, --profile and --endpoint-url over the AWS default chain.
Exit status: 0 in order; 1 the document cannot be read; 2 it has faults.")]
    Check,
    /// Make a document the newest version of a place that functions read their configuration from
    Apply(apply::ApplyArgs),
    /// List the versions that records of the last 48 hours are handled by, newest first
    #[command(after_help = "Example:
  tidewatch config versions s3://my-audit/tidewatch/ --json")]
    Versions(apply::VersionsArgs),
    /// Print the document's JSON schema
    #[command(after_help = "Example, for editors that complete YAML:
  tidewatch config schema > tidewatch.schema.json")]
    Schema,
}

/// Runs the command. One request for a document in S3 or SSM, by the global options.
///
/// # Errors
/// [`Failure`] with every fault of the document.
pub async fn run(global: &Global, args: ConfigArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    match args.command {
        Command::Apply(args) => return apply::apply(global, args).await,
        Command::Versions(args) => return apply::versions(global, args).await,
        Command::Schema => {
            let schema = Config::schema();
            let text = format!("{schema:#}\n");
            output.result(&schema, &text)?;
        }
        Command::Check => {
            let config = document(global).await.map_err(|error| match error {
                LoadError::Faults(faults) => Failure::usage(faults.to_string()),
                LoadError::Read { .. } => Failure::from(error.to_string()),
            })?;
            match config {
                Document::Tidewatch(config) => forward_in_order(output, &config)?,
                Document::Teleport(config) => state_in_order(output, &config)?,
            }
        }
    }
    Ok(Exit::Done)
}

fn forward_in_order(output: Output, config: &Config) -> Result<(), Failure> {
    let sinks: Vec<&str> = config.sinks.keys().map(String::as_str).collect();
    let mut parts = Vec::new();
    if !sinks.is_empty() {
        parts.push(format!("sinks {}", sinks.join(", ")));
    }
    if let Some(watch) = &config.watch {
        let (table, layout) = (&watch.table, watch.layout.name());
        let log = &watch.log;
        parts.push(format!(
            "watch log {} in table {} of state table {table}, layout {layout}",
            log.name, log.table
        ));
    }
    let watch = config.watch.as_ref().map(|watch| {
        json!({"table": watch.table, "layout": watch.layout.name(),
            "log": {"table": watch.log.table, "name": watch.log.name}})
    });
    let mut report = json!({"valid": true, "sinks": sinks});
    if let (Some(report), Some(watch)) = (report.as_object_mut(), watch) {
        report.insert("watch".to_owned(), watch);
    }
    let text = format!("{}: {}\n", paint(GOOD, "in order"), parts.join("; "));
    output.result(&report, &text)
}

fn state_in_order(output: Output, config: &state::Config) -> Result<(), Failure> {
    let text = format!(
        "{}: state table {}, layout {}\n",
        paint(GOOD, "in order"),
        config.table_name,
        config.layout.name()
    );
    let report = json!({"valid": true, "table": config.table_name, "layout": config.layout.name()});
    output.result(&report, &text)
}
