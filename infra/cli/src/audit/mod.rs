//! `tidewatch audit`: search the audit log, export it, follow it, bring events back from it.

mod backfill;
mod export;
mod file;
mod gaps;
mod import_cursor;
mod search;
mod show;
mod tail;

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use tidewatch::audit::log::{Condition, LogError};
use tidewatch::state::ErrorKind;

use crate::cli::{Exit, Failure, Global};

/// Arguments of `tidewatch audit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch audit search --type user.login --table teleport.audit
  tidewatch audit export year.ndjson --from 365d --config /etc/teleport.yaml
  tidewatch audit tail --table teleport.audit

The table is --table, or the first dynamodb:// in audit_events_uri of Teleport's own file. It is only read.")]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show events of a time
    Search(search::SearchArgs),
    /// Write the events of a range, a line of JSON each
    Export(export::ExportArgs),
    /// Show new events as they are written
    Tail(tail::TailArgs),
    /// Hand events that the stream no longer has to `forward`
    Backfill(backfill::BackfillArgs),
    /// Look for events that a sink has not
    Gaps(gaps::GapsArgs),
    /// Go on where Teleport's event-handler stopped
    ImportCursor(import_cursor::ImportCursorArgs),
}

/// Which events.
#[derive(Debug, Args)]
struct FilterOptions {
    /// Only events of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<String>,
    /// Only events for which this holds: equals(NAME, VALUE), contains(NAME, VALUE), &&, ||, !
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
}

impl FilterOptions {
    fn condition(&self) -> Result<Option<Condition>, Failure> {
        let parsed = self.condition.as_deref().map(str::parse).transpose();
        parsed.map_err(|error: tidewatch::audit::log::ConditionError| {
            Failure::usage(format!("--where: {error}"))
        })
    }
}

/// A time: a day or an instant, or so long ago.
#[derive(Debug, Clone, Copy)]
enum When {
    At(SystemTime),
    Day(SystemTime),
    Ago(Duration),
}

fn when(text: &str) -> Result<When, &'static str> {
    if let Ok(at) = humantime::parse_rfc3339_weak(text) {
        return Ok(When::At(at));
    }
    if let Ok(at) = humantime::parse_rfc3339_weak(&format!("{text}T00:00:00Z")) {
        return Ok(When::Day(at));
    }
    match humantime::parse_duration(text) {
        Ok(ago) => Ok(When::Ago(ago)),
        Err(_) => Err(
            "a time such as 2026-11-20T10:00:00Z, a day (UTC) such as 2026-11-20, or an age such as 24h is due",
        ),
    }
}

impl When {
    /// As the beginning of a range.
    fn from(self, now: SystemTime) -> SystemTime {
        match self {
            Self::At(at) | Self::Day(at) => at,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }

    /// As its end: that of the day.
    fn to(self, now: SystemTime) -> SystemTime {
        match self {
            Self::Day(at) => at + Duration::from_secs(86_399),
            _ => self.from(now),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`].
pub async fn run(global: &Global, args: AuditArgs) -> Result<Exit, Failure> {
    match args.command {
        Command::Search(args) => search::run(global, args).await,
        Command::Export(args) => export::run(global, args).await,
        Command::Tail(args) => tail::run(global, args).await,
        Command::Backfill(args) => Box::pin(backfill::run(global, args)).await,
        Command::Gaps(args) => Box::pin(gaps::run(global, args)).await,
        Command::ImportCursor(args) => Box::pin(import_cursor::run(global, args)).await,
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let exit = match error.kind() {
            ErrorKind::BadParameter => Exit::Usage,
            _ => Exit::Failed,
        };
        Self {
            exit,
            message: error.to_string(),
        }
    }
}
