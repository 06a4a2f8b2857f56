//! The `tidewatch` command.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tidewatch_cli::cli::{Cli, Command, Exit};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        Command::Table(args) => tidewatch_cli::table::run(&cli.global, args).await,
        Command::Up(args) => tidewatch_cli::up::run(&cli.global, args).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tidewatch", &mut std::io::stdout());
            Ok(Exit::Done)
        }
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(message) => {
            anstream::eprintln!("tidewatch: {message}");
            Exit::Failed.into()
        }
    }
}
