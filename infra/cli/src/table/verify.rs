//! `tidewatch table verify`.

use clap::Args;
use serde_json::json;
use tidewatch::table::{Difference, Tables, verify};

use super::options::KindOption;
use super::{Subject, name, show, tables};
use crate::cli::{Exit, Failure, GOOD, Global, Output, paint};

/// Arguments of `tidewatch table verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch table verify --table teleport.audit
  tidewatch table verify --kind state --table teleport --json

Differences are broken (something fails or loses data), degraded (works in part, or not for long), advice (a risk) or
a note. Exit status 3 if one is broken or degraded. Reads the table's description only: three requests, no capacity.")]
pub(super) struct VerifyArgs {
    /// Which table it is to be [default: as its keys say]
    #[arg(long)]
    kind: Option<KindOption>,
}

pub(super) async fn run(global: &Global, args: VerifyArgs) -> Result<Exit, Failure> {
    let name = name(global)?;
    let tables = tables(global, Tables::WAIT).await?;
    let subject = Subject::read(&tables, name, args.kind.map(Into::into)).await?;
    let found = verify(subject.kind, &subject.live);
    let warnings = &subject.live.warnings;
    let verdict = verdict(&found);
    let text = format!(
        "{}{}{}{verdict}\n",
        subject.title(),
        show::differences(&found),
        show::warnings(warnings)
    );
    let report = json!({
        "table": subject.live.name,
        "kind": subject.kind,
        "kind_guessed": subject.guessed,
        "ok": ended(&found) == Exit::Done,
        "differences": found,
        "warnings": warnings,
    });
    Output::new(global).result(&report, &text)?;
    Ok(ended(&found))
}

/// How a command that found these ends.
pub(super) fn ended(found: &[Difference]) -> Exit {
    if found.iter().any(|difference| difference.severity.fails()) {
        Exit::Found
    } else {
        Exit::Done
    }
}

/// The last line of a report.
pub(super) fn verdict(found: &[Difference]) -> String {
    match found
        .iter()
        .filter(|difference| difference.severity.fails())
        .count()
    {
        0 => paint(GOOD, "it is what it must be"),
        1 => "1 difference to repair".to_owned(),
        count => format!("{count} differences to repair"),
    }
}
