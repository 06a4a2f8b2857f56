//! `tidewatch table`: create, verify, plan, apply and print the tables; an index for those who insist.

mod change;
mod create;
mod index;
mod options;
mod print;
mod show;
mod verify;

use std::time::Duration;

use clap::{Args, Subcommand};
use tidewatch::clock::Clock;
use tidewatch::table::{Error, Kind, Live, Tables, guess};

use crate::cli::{Exit, Failure, Global, aws_config};

/// Arguments of `tidewatch table`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch table create --kind audit --table teleport.audit --dry-run
  tidewatch table verify --table teleport.audit
  tidewatch table plan --table teleport.audit")]
pub struct TableArgs {
    #[command(subcommand)]
    command: TableCommand,
}

#[derive(Debug, Subcommand)]
enum TableCommand {
    /// Create a table, after showing what it costs
    Create(create::CreateArgs),
    /// Compare a live table with what it must be
    Verify(verify::VerifyArgs),
    /// Show the safe changes a live table needs
    Plan(change::PlanArgs),
    /// Make the safe changes: stream, TTL, recovery, deletion protection
    Apply(change::ApplyArgs),
    /// Measure what an index on expiry adds to an attached state table, and add it for who insists
    Index(index::IndexArgs),
    /// Print the table for another tool to create
    Print(print::PrintArgs),
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`] that says what happened and what to do next.
pub async fn run(global: &Global, args: TableArgs) -> Result<Exit, Failure> {
    match args.command {
        TableCommand::Create(args) => create::run(global, args).await,
        TableCommand::Verify(args) => verify::run(global, args).await,
        TableCommand::Plan(args) => change::plan(global, args).await,
        TableCommand::Apply(args) => change::apply(global, args).await,
        TableCommand::Index(args) => index::run(global, args).await,
        TableCommand::Print(args) => print::run(global, &args),
    }
}

/// The table that `--table` names.
fn name(global: &Global) -> Result<&str, Failure> {
    global
        .table
        .as_deref()
        .ok_or_else(|| Failure::usage("which table? Name it with --table NAME"))
}

/// The tables of the endpoint and region that the global options or the document name.
async fn tables(global: &Global, wait: Duration) -> Result<Tables, Failure> {
    let config = aws_config(global).await?;
    if config.region().is_none() {
        return Err(Failure::usage(
            "which AWS region? Name it with --region, aws.region of the --config document, AWS_REGION or a --profile \
             that has one",
        ));
    }
    Ok(Tables::new(
        aws_sdk_dynamodb::Client::new(&config),
        Clock::system(),
        wait,
    ))
}

/// A table as it is, and what it is to be: as `--kind` says or else as its keys do.
struct Subject {
    live: Live,
    kind: Kind,
    guessed: bool,
}

impl Subject {
    async fn read(tables: &Tables, table: &str, kind: Option<Kind>) -> Result<Self, Failure> {
        let live = tables.read(table).await?;
        let unknown = || Error::UnknownKind {
            table: table.to_owned(),
        };
        let found = kind.or_else(|| guess(&live)).ok_or_else(unknown)?;
        Ok(Self {
            live,
            kind: found,
            guessed: kind.is_none(),
        })
    }

    /// The first line of a report.
    fn title(&self) -> String {
        let guessed = if self.guessed {
            ", judged by its keys; name another with --kind"
        } else {
            ""
        };
        format!("table {} ({}{guessed})\n", self.live.name, self.kind)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error {
            Error::Invalid { .. } | Error::UnknownKind { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self {
            exit,
            message: error.to_string(),
        }
    }
}
