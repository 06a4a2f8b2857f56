//! `tidewatch state lock`.

use std::io::IsTerminal as _;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use futures_util::future::{Either, select};
use serde_json::json;
use tidewatch::state::{LockConfiguration, LockScope, RunError};
use tokio::process::{Child, Command};

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
number. INT, TERM and HUP are passed on to the command, whose end is waited for; what the
command itself has started must mind its end. Exit status: the command's; 1 if the lock was not had or was lost.")]
pub(super) struct LockArgs {
    /// Name of the lock: parts between slashes
    name: String,
    /// How long the lock stands if this process dies; it is refreshed every half of that
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// How long to wait for the lock while another holds it; 1s at least
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
    // Also as `ls` shows it.
    let name = args.name.strip_prefix(".locks/").unwrap_or(&args.name);
    let parts = name.trim_start_matches('/').split('/');
    let mut configuration = LockConfiguration::new(parts, args.ttl);
    if args.fenced {
        configuration = configuration.fenced();
    }
    // The acquisition itself takes a moment, also where nobody is to be waited for.
    let wait = args.wait.max(Duration::from_secs(1));
    let until = backend.clock().instant().checked_add(wait);
    let backend = backend.with_deadline(until.ok_or_else(|| Failure::usage("--wait is too long"))?);
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
        interrupted().await;
        return Ok(Exit::Done);
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
    let mut child = child.spawn().map_err(failed)?;
    loop {
        let signal = {
            let ended = std::pin::pin!(child.wait());
            match select(ended, Box::pin(interrupted())).await {
                Either::Left((status, _)) => {
                    let code = status.map_err(failed)?.code();
                    // A signal has no code; shells say 128 and its number, which is not told here.
                    let code = code.and_then(|code| u8::try_from(code).ok());
                    return Ok(Exit::Command(code.unwrap_or(128)));
                }
                Either::Right((signal, _)) => signal,
            }
        };
        pass_on(&child, signal);
    }
}

/// A signal that asks to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Interrupt,
    Terminate,
    HangUp,
}

/// Waits for a signal that asks to end: INT, TERM or HUP.
pub(crate) async fn interrupted() -> Asked {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::terminate(), SignalKind::hangup()].map(signal);
        if let [Ok(mut terminate), Ok(mut hang_up)] = kinds {
            let interrupt = Box::pin(tokio::signal::ctrl_c());
            let others = select(Box::pin(terminate.recv()), Box::pin(hang_up.recv()));
            return match select(interrupt, others).await {
                Either::Left(_) => Asked::Interrupt,
                Either::Right((Either::Left(_), _)) => Asked::Terminate,
                Either::Right((Either::Right(_), _)) => Asked::HangUp,
            };
        }
    }
    // Without handlers nothing more is told than this.
    let _ = tokio::signal::ctrl_c().await;
    Asked::Interrupt
}

/// Tells the command. A terminal has told it of an interrupt already.
fn pass_on(child: &Child, asked: Asked) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = match asked {
            Asked::Interrupt if std::io::stdin().is_terminal() => return,
            Asked::Interrupt => Signal::INT,
            Asked::Terminate => Signal::TERM,
            Asked::HangUp => Signal::HUP,
        };
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }
    #[cfg(not(unix))]
    let _ = (child, asked);
}
