//! `tidewatch watch-log`: make, show, compact, break and reconfigure the watch log of a state table.

mod change;
mod create;
mod show;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use tidewatch::clock::{Clock, Instant};
use tidewatch::watch::log::{Description, Log, Transport};

use crate::cli::{Consent, Exit, Failure, Global, NamedLog, Output, WatchLogOptions, watch_log};

/// Arguments of `tidewatch watch-log`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch watch-log create --table teleport --log-table watch
  tidewatch watch-log show --table teleport --log-table watch
  tidewatch watch-log compact --table teleport --log-table watch --yes

The table of logs is made by `tidewatch table create --kind watch-log`, and --table is the state table. The log is
written by the function `forward`, and read by `tidewatch state watch --log`.")]
pub struct WatchLogArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the log in its table
    Create(create::CreateArgs),
    /// Show what the log is, and what its buckets hold
    Show(show::ShowArgs),
    /// Remove what is past its retention
    Compact(change::CompactArgs),
    /// Make every watcher list again, because changes were lost
    Break(change::BreakArgs),
    /// Change the number of buckets, or the source
    Reconfigure(change::ReconfigureArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SourceOption {
    /// The table's own stream
    Stream,
    /// Kinesis Data Streams for DynamoDB, with creation times in microseconds
    Kinesis,
}

impl From<SourceOption> for Transport {
    fn from(source: SourceOption) -> Self {
        match source {
            SourceOption::Stream => Self::Stream,
            SourceOption::Kinesis => Self::Kinesis,
        }
    }
}

fn name_of(source: Transport) -> &'static str {
    match source {
        Transport::Stream => "stream",
        Transport::Kinesis => "kinesis",
    }
}

/// Options of a command that changes a log.
#[derive(Debug, Args)]
struct ChangeOptions {
    /// Show what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
}

/// How long the requests of a command may take.
const LIMIT: Duration = Duration::from_secs(60);

fn stop() -> Instant {
    Clock::system().instant() + LIMIT
}

/// Runs the command.
///
/// # Errors
/// [`Failure`].
pub async fn run(global: &Global, args: WatchLogArgs) -> Result<Exit, Failure> {
    match args.command {
        Command::Create(args) => create::run(global, args).await,
        Command::Show(args) => show::run(global, args).await,
        Command::Compact(args) => change::compact(global, args).await,
        Command::Break(args) => change::break_all(global, args).await,
        Command::Reconfigure(args) => change::reconfigure(global, args).await,
    }
}

/// A log that is there, and what it is.
async fn existing(
    global: &Global,
    options: &WatchLogOptions,
) -> Result<(NamedLog, Log, Description), Failure> {
    let named = watch_log(global, options).await?;
    let log = named.open(global).await?;
    let described = log.describe(stop()).await?;
    named.is_of(&described.table)?;
    Ok((named, log, described))
}

/// Nothing was changed, because it was only to be shown.
fn shown(output: Output, preface: &str, json: &serde_json::Value) -> Result<Exit, Failure> {
    output.result(json, &format!("{preface}nothing was changed (--dry-run)\n"))?;
    Ok(Exit::Done)
}
