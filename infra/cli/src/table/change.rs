//! `tidewatch table plan` and `tidewatch table apply`.

use clap::{Args, ValueEnum};
use serde_json::json;
use tidewatch::table::{Applied, ChangeKind, Outcome, Plan, Step, Tables};

use super::options::{KindOption, WaitOption};
use super::verify::{ended, verdict};
use super::{Subject, name, show, tables};
use crate::cli::{Consent, Exit, Failure, GOOD, Global, HEAD, Output, paint};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ChangeOption {
    /// Enable the stream, NEW_AND_OLD_IMAGES
    Stream,
    /// Turn on time to live
    Ttl,
    /// Turn on point-in-time recovery
    Pitr,
    /// Turn on deletion protection
    DeletionProtection,
}

impl From<ChangeOption> for ChangeKind {
    fn from(change: ChangeOption) -> Self {
        match change {
            ChangeOption::Stream => Self::Stream,
            ChangeOption::Ttl => Self::Ttl,
            ChangeOption::Pitr => Self::Recovery,
            ChangeOption::DeletionProtection => Self::DeletionProtection,
        }
    }
}

/// Arguments of `tidewatch table plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch table plan --table teleport.audit
  tidewatch table plan --table teleport --only stream,ttl --json

Keys, indexes, a stream's view and another TTL attribute are never changed; they are listed as left to you.")]
pub(super) struct PlanArgs {
    /// Which table it is to be [default: as its keys say]
    #[arg(long)]
    kind: Option<KindOption>,
    /// Only these changes [default: all that are needed]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CHANGES")]
    only: Vec<ChangeOption>,
}

/// Arguments of `tidewatch table apply`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch table apply --table teleport.audit
  tidewatch table apply --table teleport --only stream --yes
  tidewatch table apply --table teleport --only stream --dry-run

Shows the plan, asks, makes the changes one by one and verifies the table again. Exit status 3 if it is still broken
or degraded afterwards; a dry run that could read the table ends with 0, as `tidewatch table plan` does.")]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Show the plan; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    wait: WaitOption,
}

impl PlanArgs {
    async fn read(&self, tables: &Tables, table: &str) -> Result<(Subject, Plan), Failure> {
        let subject = Subject::read(tables, table, self.kind.map(Into::into)).await?;
        let wanted: Vec<ChangeKind> = self.only.iter().copied().map(Into::into).collect();
        let wanted = if wanted.is_empty() {
            ChangeKind::ALL.as_slice()
        } else {
            &wanted
        };
        let plan = tidewatch::table::plan(subject.kind, &subject.live, wanted);
        Ok((subject, plan))
    }
}

pub(super) async fn plan(global: &Global, args: PlanArgs) -> Result<Exit, Failure> {
    let name = name(global)?;
    let tables = tables(global, Tables::WAIT).await?;
    let (subject, plan) = args.read(&tables, name).await?;
    let text = format!(
        "{}{}",
        text(&subject, &plan),
        if plan.changes.is_empty() { "" } else { APPLY }
    );
    Output::new(global).result(&report(&subject, &plan), &text)?;
    Ok(Exit::Done)
}

const APPLY: &str = "make these changes with `tidewatch table apply`\n";

pub(super) async fn apply(global: &Global, args: ApplyArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let name = name(global)?;
    let tables = tables(global, args.wait.limit()).await?;
    let (subject, plan) = args.plan.read(&tables, name).await?;
    if args.dry_run {
        let text = format!("{}nothing was changed (--dry-run)\n", text(&subject, &plan));
        output.result(&report(&subject, &plan), &text)?;
        return Ok(Exit::Done);
    }
    if plan.changes.is_empty() {
        output.result(&report(&subject, &plan), &text(&subject, &plan))?;
        return Ok(ended(&plan.manual));
    }
    args.consent
        .ask(output, &text(&subject, &plan), &format!("Change {}?", plan.table))?;

    let spinner = output.spinner();
    let progress = |step: &Step| spinner.set_message(format!("{}: {step}", plan.table));
    let applied = tables.apply(&plan, &progress).await;
    spinner.finish_and_clear();
    let applied = applied?;
    let mut report = report(&subject, &plan);
    if let Some(report) = report.as_object_mut() {
        report.insert("outcomes".to_owned(), json!(applied.outcomes));
        report.insert("stream_arn".to_owned(), json!(stream_arn(&applied)));
        report.insert("differences".to_owned(), json!(applied.left));
        report.insert("warnings".to_owned(), json!(applied.live.warnings));
    }
    output.result(&report, &done(&applied))?;
    Ok(ended(&applied.left))
}

fn stream_arn(applied: &Applied) -> Option<&str> {
    applied
        .live
        .stream
        .as_ref()
        .and_then(|stream| stream.arn.as_deref())
}

fn text(subject: &Subject, plan: &Plan) -> String {
    let mut text = subject.title();
    if plan.changes.is_empty() {
        text.push_str("  nothing to change\n");
    }
    text.push_str(&show::changes(&plan.changes));
    if !plan.manual.is_empty() {
        text.push_str(&format!(
            "{}\n{}",
            paint(HEAD, "left to you:"),
            show::differences(&plan.manual)
        ));
    }
    text + &show::warnings(&subject.live.warnings)
}

fn report(subject: &Subject, plan: &Plan) -> serde_json::Value {
    json!({
        "table": plan.table,
        "kind": plan.kind,
        "kind_guessed": subject.guessed,
        "changes": plan.changes,
        "manual": plan.manual,
        "outcomes": [],
        "warnings": subject.live.warnings,
    })
}

fn done(applied: &Applied) -> String {
    let mut text = String::new();
    for outcome in &applied.outcomes {
        match outcome {
            Outcome::Made { change } => text.push_str(&format!("  {}  {change}\n", paint(GOOD, "changed "))),
            Outcome::Lacking { warning, .. } => text.push_str(&show::warnings([warning])),
        }
    }
    if let Some(arn) = stream_arn(applied) {
        text.push_str(&format!("  stream    {arn}\n"));
    }
    text.push_str(&show::differences(&applied.left));
    text.push_str(&show::warnings(&applied.live.warnings));
    text + &verdict(&applied.left) + "\n"
}
