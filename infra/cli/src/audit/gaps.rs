//! `tidewatch audit gaps`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use tidewatch::clock::Clock;
use tidewatch::config::{Config, ObjectsUri};
use tidewatch::redrive::gaps::{Counts, Look, Report};

use super::{When, when};
use crate::cli::{
    Document, ERROR, Exit, Failure, GOOD, Global, HEAD, Output, WARN, audit_table, document, paint, stamp,
};
use crate::redrive::place;
use crate::state::lock::interrupted;

/// Arguments of `tidewatch audit gaps`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch audit gaps --from 7d --sink archive --config tidewatch.yaml --table teleport.audit
  tidewatch audit gaps --from 2026-11-01 --to 2026-11-20 --sink lake --failures s3://my-audit-failures/aws/lambda/ --json --config tidewatch.yaml --table teleport.audit

Events in the table's index timesearchV2 are compared by id with what the sink holds: objects in S3, files, or the lake. What
is not there must have been filtered, or wait in the spool, in quarantine, for the lake task, or where Lambda puts what it
gives up (--failures); all else is missing and listed. A batch that was given up without its records does not say which they
were: as many of its table and time as it had are OWED, a guess, and none but a backfill brings them back. Bring what is missing
back with `tidewatch audit backfill --sink`. Of a sink whose contents cannot be read only counts are told. Filters are those of
the document as it is now. What readers or a lifecycle have removed from the sink is missing too. Nothing is changed.
Exit status: 0 nothing is missing, or what the sink holds cannot be read; 3 something is missing, or rows of the table cannot be
read, whatever the sink.")]
pub(super) struct GapsArgs {
    /// Events from then on: a time, a day (UTC), or an age such as 24h
    #[arg(long, value_name = "WHEN", value_parser = when)]
    from: When,
    /// Events up to then [default: 10 minutes ago; later ones may be under way]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    to: Option<When>,
    /// Sink of the document that --config names
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// Place of Lambda's on-failure objects
    #[arg(long, value_name = "URI")]
    failures: Option<ObjectsUri>,
}

/// How long an event may be under way.
const UNDER_WAY: Duration = Duration::from_mins(10);

pub(super) async fn run(global: &Global, args: GapsArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let config = config(global).await?;
    let Some(sink) = config.sinks.get(&args.sink) else {
        let known: Vec<&str> = config.sinks.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!(
            "the document has no sink {}; it has {}",
            args.sink,
            known.join(", ")
        )));
    };
    let now = Clock::system().now();
    let (from, to) = (
        args.from.from(now),
        args.to.map_or(now - UNDER_WAY, |to| to.to(now)),
    );
    if to < from {
        return Err(Failure::usage("the range ends before it begins"));
    }
    let open = async |uri: Option<&ObjectsUri>| match uri {
        Some(uri) => place(global, uri).await.map(Some),
        None => Ok(None),
    };
    let objects = open(sink.uri.place().as_ref()).await?;
    let spool = open(config.spool.as_ref()).await?;
    let quarantine = open(config.quarantine.as_ref()).await?;
    let failures = open(args.failures.as_ref()).await?;
    let look = Look {
        name: &args.sink,
        sink,
        objects: objects.as_ref(),
        spool: spool.as_ref(),
        quarantine: quarantine.as_ref(),
        failures: failures.as_ref(),
    };
    let table = audit_table(global).await?;
    let spinner = output.spinner();
    let told = |report: &Report| {
        let day = report.days.keys().next_back().map_or("", String::as_str);
        let Counts { events, missing, .. } = report.total;
        spinner.set_message(format!("{day}  {events} events, {missing} missing"));
    };
    let looked = tokio::select! {
        biased;
        _ = interrupted() => Err(Failure::from("ended by a signal".to_owned())),
        looked = Box::pin(look.gaps(&table, (from, to), &told)) => looked.map_err(|error| Failure::from(error.to_string())),
    };
    spinner.finish_and_clear();
    let report = looked?;
    output.result(&report, &text(&report))?;
    let missing = report.compared && report.total.missing > 0;
    Ok(match missing || report.unreadable > 0 {
        true => Exit::Found,
        false => Exit::Done,
    })
}

async fn config(global: &Global) -> Result<Config, Failure> {
    let document = document(global).await;
    match document.map_err(|error| Failure::usage(error.to_string()))? {
        Document::Tidewatch(config) => Ok(config),
        Document::Teleport(_) => Err(Failure::usage(
            "which sinks? Name the document of `forward` with --config, and the table with --table",
        )),
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let head = format!(
        "{:<10}{:>10}{:>10}{:>10}{:>8}{:>8}{:>12}{:>8}{:>8}{:>9}",
        "DAY",
        "EVENTS",
        "DELIVERED",
        "FILTERED",
        "STAGED",
        "SPOOLED",
        "QUARANTINED",
        "REDRIVE",
        "OWED",
        "MISSING"
    );
    let _ = writeln!(text, "{}", paint(HEAD, head));
    let mut row = |name: &str, counts: &Counts| {
        let _ = writeln!(
            text,
            "{name:<10}{:>10}{:>10}{:>10}{:>8}{:>8}{:>12}{:>8}{:>8}{:>9}",
            counts.events,
            counts.delivered,
            counts.filtered,
            counts.staged,
            counts.spooled,
            counts.quarantined,
            counts.redrive,
            counts.owed,
            counts.missing
        );
    };
    for (day, counts) in &report.days {
        row(day, counts);
    }
    row("all", &report.total);
    for gap in &report.gaps {
        let _ = writeln!(
            text,
            "{}  {}  {}/{}  {}",
            paint(WARN, "missing"),
            stamp(gap.time()),
            Output::plain(&gap.session_id),
            gap.event_index,
            Output::plain(&gap.id)
        );
    }
    let more = report.total.missing.saturating_sub(report.gaps.len());
    if report.compared && more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    if report.unreadable > 0 {
        let _ = writeln!(
            text,
            "{} {} rows cannot be read and have no id",
            paint(ERROR, "unknown:"),
            report.unreadable
        );
    }
    let sink = &report.sink;
    let _ = match (report.compared, report.total.missing) {
        (false, _) => writeln!(
            text,
            "what {sink} holds cannot be read: MISSING is what it must have been given"
        ),
        (true, 0) if report.unreadable > 0 => writeln!(text, "{sink} lacks nothing of what can be read"),
        (true, 0) => writeln!(text, "{}: {sink} lacks nothing", paint(GOOD, "no gaps")),
        (true, missing) => writeln!(text, "{}: {sink} lacks {missing} events", paint(ERROR, "gaps")),
    };
    text
}
