//! `tidewatch state lock`.

use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tidewatch::state::{LockConfiguration, LockScope, RunError};
use tokio::process::Command;

use super::backend;
use crate::cli::{Exit, Failure, Global, Output, StateOptions};

/// Arguments of `tidewatch state lock`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state lock backup --table state --write -- pg_dump -f backup.sql
  tidewatch state lock deploy --ttl 1m --wait 10m --fenced --table state --write -- ./deploy.sh
  tidewatch state lock maintenance --table teleport --layout teleport --write

Runs the command while the lock is held and refreshed, then releases it. Without a command the lock is held until
Ctrl-C. The command finds the lock's key in TIDEWATCH_LOCK and, with --fenced, its number in TIDEWATCH_FENCE. If the
lock is lost the command is killed. No lock stops a process that was paused: a resource that must be safe checks the
number. Exit status: the command's; 1 if the lock was not had or was lost.")]
pub(super) struct LockArgs {
    /// Name of the lock: parts between slashes
    name: String,
    /// How long the lock stands if this process dies; it is refreshed every half of that
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// How long to wait for the lock while another holds it
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Take a number greater than every earlier holder's
    #[arg(long)]
    fenced: bool,
    /// Write the lock; without it, nothing is done
    #[arg(long, required = true)]
    write: bool,
    /// Command to run under the lock
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    state: StateOptions,
}

pub(super) async fn run(global: &Global, args: LockArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let backend = backend(global, &args.state).await?;
    let parts = args.name.trim_start_matches('/').split('/');
    let mut configuration = LockConfiguration::new(parts, args.ttl);
    if args.fenced {
        configuration = configuration.fenced();
    }
    let backend = backend.with_deadline(backend.clock().instant() + args.wait);
    let worked =
        Box::pin(backend.run_while_locked(&configuration, |scope| work(scope, output, &args.command))).await;
    match worked {
        Ok(exit) => Ok(exit),
        Err(RunError::Work { error, release }) => {
            if let Some(release) = release {
                tracing::warn!("{release}");
            }
            Err(error)
        }
        Err(error) => Err(Failure::from(error.to_string())),
    }
}

async fn work(scope: LockScope, output: Output, command: &[String]) -> Result<Exit, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        let text = format!("{}\n", scope.key());
        output.result(
            &json!({"key": scope.key().to_string(), "fence": scope.fence()}),
            &text,
        )?;
        output.say("held until Ctrl-C\n");
        let ended = tokio::signal::ctrl_c().await;
        return ended
            .map(|()| Exit::Done)
            .map_err(|error| Failure::from(format!("cannot wait for Ctrl-C: {error}")));
    };
    let mut child = Command::new(program);
    child
        .args(arguments)
        .env("TIDEWATCH_LOCK", scope.key().to_string())
        .stdin(Stdio::inherit())
        // The future is dropped when the lock is lost.
        .kill_on_drop(true);
    if let Some(number) = scope.fence() {
        child.env("TIDEWATCH_FENCE", number.to_string());
    }
    let failed = |error: std::io::Error| Failure::from(format!("{program} could not be run: {error}"));
    let status = child.spawn().map_err(failed)?.wait().await.map_err(failed)?;
    // A signal has no code; shells say 128 and its number, which is not told here.
    Ok(Exit::Command(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(128),
    ))
}
