//! `tidewatch up`: the whole system on one machine.

use clap::Args;

use crate::cli::{Exit, Global};

/// Arguments of `tidewatch up`.
#[derive(Debug, Args)]
pub struct UpArgs {}

/// Runs the command.
pub async fn run(_global: &Global, _args: UpArgs) -> Result<Exit, String> {
    Ok(Exit::Done)
}
