//! The `tidewatch` command.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::CommandFactory;
use tidewatch_cli::cli::{Exit, Failure, Global, Output};
use tidewatch_cli::command::{Cli, Command};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let (cli, applies) = Cli::read();
    // What the pipeline says of each record is for a function's log; `up` shows it in its own way.
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,tidewatch::forward=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
    let ended = match applies {
        Ok(()) => run(cli.command, &cli.global).await,
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            Output::new(&cli.global).failure(&failure);
            failure.exit.into()
        }
    }
}

async fn run(command: Command, global: &Global) -> Result<Exit, Failure> {
    match command {
        Command::Table(args) => tidewatch_cli::table::run(global, args).await,
        Command::State(args) => tidewatch_cli::state::run(global, args).await,
        Command::Audit(args) => Box::pin(tidewatch_cli::audit::run(global, args)).await,
        Command::Redrive(args) => Box::pin(tidewatch_cli::redrive::run(global, args)).await,
        Command::WatchLog(args) => tidewatch_cli::watch_log::run(global, args).await,
        Command::Maintain(args) => Box::pin(tidewatch_cli::maintain::run(global, args)).await,
        Command::Config(args) => tidewatch_cli::config::run(global, args).await,
        Command::Iam(args) => tidewatch_cli::iam::run(global, &args),
        Command::Up(args) => Ok(tidewatch_cli::up::run(global, args).await?),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tidewatch", &mut std::io::stdout());
            Ok(Exit::Done)
        }
    }
}
