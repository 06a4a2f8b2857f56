//! `tidewatch audit import-cursor`.

use std::path::PathBuf;

use clap::Args;
use tidewatch::clock::Clock;
use tidewatch::redrive::Range;
use tidewatch::redrive::event_handler::stopped;

use super::backfill::{More, bring};
use crate::cli::{Exit, Failure, Global, Output};

/// Arguments of `tidewatch audit import-cursor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch audit import-cursor /var/lib/teleport/plugins/event-handler
  tidewatch audit import-cursor /var/lib/teleport/plugins/event-handler --start --table teleport.audit --function forward --position cutover.position

Reads where Teleport's event-handler stopped; its files are not changed. Stop it first, and let `forward` read the table's
stream before that. With --start everything since 48 hours before its place is handed over, up to now and two hours more;
what it has sent already, or the stream brings too, comes with the same id.")]
pub(super) struct ImportCursorArgs {
    /// Its storage directory, or the folder <host>_<port> in it
    directory: PathBuf,
    /// Begin the backfill
    #[arg(long)]
    start: bool,
    #[command(flatten)]
    more: More,
}

pub(super) async fn run(global: &Global, args: ImportCursorArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let stopped = stopped(&args.directory).map_err(|error| Failure::usage(error.to_string()))?;
    let told = format!(
        "the event-handler has sent what was written up to {} (its {})\n",
        stopped.at, stopped.told_by
    );
    if !args.start {
        let next = format!("tidewatch audit backfill --from {}", stopped.from);
        output.result(&stopped, &format!("{told}go on with: {next}\n"))?;
        return Ok(Exit::Done);
    }
    output.say(told);
    let range = Range::until_now(stopped.begin, Clock::system().now());
    bring(global, Some(range), None, args.more).await
}
