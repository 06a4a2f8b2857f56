//! `tidewatch table`: create, verify, plan, apply and print the tables.

use clap::Args;

use crate::cli::{Exit, Global};

/// Arguments of `tidewatch table`.
#[derive(Debug, Args)]
pub struct TableArgs {}

/// Runs the command.
pub async fn run(_global: &Global, _args: TableArgs) -> Result<Exit, String> {
    Ok(Exit::Done)
}
