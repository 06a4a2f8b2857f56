//! `tidewatch redrive`: hand over again what Lambda gave up, or what is in quarantine.

pub(crate) mod forward;

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use tidewatch::clock::Clock;
use tidewatch::config::ObjectsUri;
use tidewatch::objects::Objects;
use tidewatch::random::Random;
use tidewatch::redrive::{Hand, failures, quarantine};

use self::forward::ForwardOptions;
use crate::cli::{Exit, FAINT, Failure, GOOD, Global, Output, WARN, audit_table, aws_config, paint, stamp};
use crate::state::lock::interrupted;

/// Arguments of `tidewatch redrive`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch redrive --from s3://my-audit-failures/aws/lambda/ --list
  tidewatch redrive --from s3://my-audit-failures/aws/lambda/ --function forward
  tidewatch redrive --from s3://my-audit-failures/aws/lambda/ --function forward --backfill --table teleport.audit
  tidewatch redrive --quarantine s3://my-audit-failures/quarantine/ --dry-run
  tidewatch redrive --quarantine s3://my-audit-failures/quarantine/ --config tidewatch.yaml

Objects of Lambda's on-failure destination are handed over in the order of their shards and deleted when every record of
theirs is acknowledged. Lambda puts them under aws/lambda/ of a bucket. One without records (as SQS gets it) stays until its time
is brought back: by --backfill, if they are of the table that is named, or by `tidewatch audit backfill` and your hand. On a
provisioned table --backfill takes at most a fifth of the index's read capacity; nobody looks whether it is throttled: see to it
that it is not. Records in quarantine are handed over one by one; what is still not taken stays. A run
that is cut is run again: records may come twice then, with the same id, and none is lost.
Exit status: 0 nothing is left, or it was only looked at; 3 something stays, or there is more than one run looks at; 1 the run
ended early.")]
pub struct RedriveArgs {
    /// Place of on-failure objects: s3://bucket/aws/lambda/ or file:///dir
    #[arg(long, value_name = "URI", required_unless_present = "quarantine")]
    from: Option<ObjectsUri>,
    /// Place of quarantined records
    #[arg(long, value_name = "URI", conflicts_with = "from")]
    quarantine: Option<ObjectsUri>,
    /// Bring back from the audit table what objects without records name of it, then delete them
    #[arg(long, conflicts_with_all = ["quarantine", "list"])]
    backfill: bool,
    /// List what is there, and hand nothing over
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    forward: ForwardOptions,
}

/// Opens a place of objects.
pub(crate) async fn place(global: &Global, uri: &ObjectsUri) -> Result<Objects, Failure> {
    let sdk = match uri {
        ObjectsUri::S3(_) => Some(aws_config(global).await?),
        ObjectsUri::File(_) => None,
    };
    Objects::open(uri, sdk.as_ref(), Random::system()).map_err(Failure::usage)
}

/// Runs the command.
///
/// # Errors
/// [`Failure`].
pub async fn run(global: &Global, args: RedriveArgs) -> Result<Exit, Failure> {
    if global.table.is_some() && !args.backfill {
        return Err(Failure::usage(
            "`tidewatch redrive` works on objects: it takes --table only with --backfill",
        ));
    }
    let clock = Clock::system();
    let mut forward = args.forward.clone();
    forward.dry_run |= args.list;
    let invoke = forward.open(global, &clock).await?;
    let hand = Hand {
        forward: &*invoke,
        clock: &clock,
        options: forward.options(&clock),
    };
    tokio::select! {
        biased;
        _ = interrupted() => Err(Failure::from("ended by a signal; run it again to go on".to_owned())),
        ended = Box::pin(work(global, &args, hand)) => ended,
    }
}

async fn work(global: &Global, args: &RedriveArgs, hand: Hand<'_>) -> Result<Exit, Failure> {
    let output = Output::new(global);
    if let Some(uri) = &args.from {
        let objects = place(global, uri).await?;
        let bar = output.bar(0);
        let count = |count: usize| u64::try_from(count).unwrap_or_default();
        let told = |report: &failures::Report| {
            bar.set_length(count(report.waiting.objects));
            bar.set_position(count(report.objects));
        };
        let mut report = failures::redrive(&objects, hand, &told).await;
        bar.finish_and_clear();
        if args.backfill && report.error.is_none() && !report.dry_run && !report.owed.is_empty() {
            let table = audit_table(global).await?;
            let units = table.index_read_units().await?;
            let spinner = output.spinner();
            let told = |report: &failures::Report| {
                spinner.set_message(format!("backfill: {} records", report.tally.records));
            };
            failures::repay(&objects, &table, units, hand, &mut report, &told).await;
            spinner.finish_and_clear();
        }
        let mut text = of_failures(&report, args.list);
        if report.error.is_none() && report.waiting.objects == 0 && report.stay + report.repaid == 0 {
            let _ = writeln!(
                text,
                "{} {} holds no object; Lambda's are under aws/lambda/ of their bucket",
                paint(WARN, "nothing found:"),
                objects.place("")
            );
        }
        output.result(&report, &text)?;
        let left = left(&report);
        return ended(report.error, left);
    }
    let Some(uri) = &args.quarantine else {
        return Err(Failure::usage("--from or --quarantine is due"));
    };
    let objects = place(global, uri).await?;
    let spinner = output.spinner();
    let told = |report: &quarantine::Report| {
        spinner.set_message(format!(
            "{} objects, {} records taken, {} stay",
            report.objects, report.tally.records, report.stay
        ));
    };
    let report = quarantine::redrive(&objects, hand, &told).await;
    spinner.finish_and_clear();
    output.result(&report, &of_quarantine(&report, args.list))?;
    ended(report.error, report.stay > 0 && !report.dry_run)
}

/// Whether another run is due.
fn left(report: &failures::Report) -> bool {
    !report.dry_run && (report.stay > 0 || report.more)
}

fn ended(error: Option<String>, stays: bool) -> Result<Exit, Failure> {
    match error {
        Some(error) => Err(Failure::from(format!("{error}; run it again to go on"))),
        None if stays => Ok(Exit::Found),
        None => Ok(Exit::Done),
    }
}

/// `, the oldest 3h old`, where that is known.
fn old(seconds: Option<u64>) -> String {
    let text = |seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string();
    seconds
        .map(|seconds| format!(", the oldest there for {}", text(seconds)))
        .unwrap_or_default()
}

fn of_failures(report: &failures::Report, list: bool) -> String {
    let mut text = String::new();
    if list {
        for found in &report.found {
            let _ = writeln!(
                text,
                "{}  {}  {} records, {} bytes, from {}  {}",
                Output::plain(found.from.as_deref().unwrap_or("-")),
                Output::plain(&found.name),
                found.records,
                found.bytes,
                found.sequence_number,
                paint(FAINT, Output::plain(&found.shard))
            );
        }
        let more = report.waiting.objects.saturating_sub(report.found.len());
        if more > 0 {
            let _ = writeln!(text, "and {more} more");
        }
    }
    for owed in &report.owed {
        let what = match owed.range() {
            Some(range) => {
                let (from, to) = range.times();
                let (from, to) = (stamp(from), stamp(to));
                let table = Output::plain(owed.table.as_deref().unwrap_or("its table"));
                format!(
                    "bring it back with --backfill, or with `tidewatch audit backfill --from {from} --to {to}`, and remove it; it is of {table}"
                )
            }
            None => "it does not say of when they are".to_owned(),
        };
        let name = Output::plain(&owed.name);
        let _ = writeln!(
            text,
            "{} {name}: it holds no records; {what}",
            paint(WARN, "backfill")
        );
    }
    for left in &report.left {
        let _ = writeln!(
            text,
            "{} {}: {}",
            paint(WARN, "stays"),
            Output::plain(&left.name),
            Output::plain(&left.why)
        );
    }
    let waiting = &report.waiting;
    let _ = match report.dry_run {
        true => writeln!(
            text,
            "{} objects wait to be replayed: {} records, {} bytes{}; {} others stay",
            waiting.objects,
            waiting.records,
            waiting.bytes,
            old(waiting.oldest_seconds),
            report.stay
        ),
        false => writeln!(
            text,
            "{} {} of {} objects, {} records; {} objects stay",
            paint(GOOD, "replayed"),
            report.objects,
            waiting.objects,
            report.tally.records,
            report.stay
        ),
    };
    if report.repaid > 0 {
        let _ = writeln!(
            text,
            "{} of {} objects without records",
            paint(GOOD, "backfilled"),
            report.repaid
        );
    }
    if report.more {
        let _ = writeln!(text, "there are more: run it again");
    }
    text
}

fn of_quarantine(report: &quarantine::Report, list: bool) -> String {
    let mut text = String::new();
    let mut named = 0;
    for entry in report
        .entries
        .iter()
        .filter(|entry| list || entry.error.is_some())
    {
        named += 1;
        let part = |part: &Option<String>| Output::plain(part.as_deref().unwrap_or("-"));
        let _ = writeln!(
            text,
            "{}  {}  {}: {}{}  {}",
            part(&entry.sequence_number),
            Output::plain(entry.sink.as_deref().unwrap_or("all sinks")),
            part(&entry.kind),
            part(&entry.reason),
            entry
                .error
                .as_deref()
                .map(|error| format!("; {}", Output::plain(error)))
                .unwrap_or_default(),
            paint(FAINT, Output::plain(&entry.object))
        );
    }
    if named > 0 && report.stay > named {
        let _ = writeln!(text, "and {} more", report.stay - named);
    }
    let _ = match report.dry_run {
        true => writeln!(
            text,
            "{} records in {} objects{}",
            report.stay,
            report.objects,
            old(report.oldest_seconds)
        ),
        false => writeln!(
            text,
            "{} {} records; {} stay",
            paint(GOOD, "taken"),
            report.tally.records,
            report.stay
        ),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_run_looks_at_is_left() {
        let all = failures::Report::default();
        let more = failures::Report {
            more: true,
            ..all.clone()
        };
        let looked = failures::Report {
            dry_run: true,
            ..more.clone()
        };
        assert_eq!([left(&all), left(&more), left(&looked)], [false, true, false]);
    }
}
