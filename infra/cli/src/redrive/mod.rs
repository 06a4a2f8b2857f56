//! `tidewatch redrive`: hand over again what Lambda gave up, or what is in quarantine.

pub(crate) mod forward;

use std::fmt::Write as _;

use clap::Args;
use tidewatch::clock::Clock;
use tidewatch::config::ObjectsUri;
use tidewatch::objects::Objects;
use tidewatch::random::Random;
use tidewatch::redrive::{Hand, failures, quarantine};

use self::forward::ForwardOptions;
use crate::cli::{Exit, FAINT, Failure, GOOD, Global, Output, WARN, aws_config, paint};
use crate::state::lock::interrupted;

/// Arguments of `tidewatch redrive`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch redrive --from s3://my-audit/failed/ --list
  tidewatch redrive --from s3://my-audit/failed/ --function forward
  tidewatch redrive --quarantine s3://my-audit/quarantine/ --dry-run
  tidewatch redrive --quarantine s3://my-audit/quarantine/ --config tidewatch.yaml

Objects of Lambda's on-failure destination are handed over in the order of their shards and deleted when every record of
theirs is acknowledged. One without records (as SQS gets it) stays: bring its time back with `tidewatch audit backfill`.
Records in quarantine are handed over one by one; what is still not taken stays. A run that is cut is run again: records
may come twice then, with the same id, and none is lost.
Exit status: 0 nothing is left; 3 something stays; 1 the run ended early.")]
pub struct RedriveArgs {
    /// Place of on-failure objects: s3://bucket/prefix or file:///dir
    #[arg(long, value_name = "URI", required_unless_present = "quarantine")]
    from: Option<ObjectsUri>,
    /// Place of quarantined records
    #[arg(long, value_name = "URI", conflicts_with = "from")]
    quarantine: Option<ObjectsUri>,
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
    let output = Output::new(global);
    let clock = Clock::system();
    let mut forward = args.forward;
    forward.dry_run |= args.list;
    let invoke = forward.open(global, &clock).await?;
    let hand = Hand {
        forward: &*invoke,
        clock: &clock,
        options: forward.options(&clock),
    };
    let spinner = output.spinner();
    let work = async {
        if let Some(uri) = &args.from {
            let objects = place(global, uri).await?;
            let told = |report: &failures::Report| {
                spinner.set_message(format!(
                    "{} of {} objects, {} records",
                    report.objects, report.waiting, report.tally.records
                ));
            };
            let report = failures::redrive(&objects, hand, &told).await;
            spinner.finish_and_clear();
            output.result(&report, &of_failures(&report, args.list))?;
            return ended(report.error, report.stay > 0);
        }
        let Some(uri) = &args.quarantine else {
            return Err(Failure::usage("--from or --quarantine is due"));
        };
        let objects = place(global, uri).await?;
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
    };
    tokio::select! {
        biased;
        _ = interrupted() => Err(Failure::from("ended by a signal; run it again to go on".to_owned())),
        ended = Box::pin(work) => ended,
    }
}

fn ended(error: Option<String>, stays: bool) -> Result<Exit, Failure> {
    match error {
        Some(error) => Err(Failure::from(error)),
        None if stays => Ok(Exit::Found),
        None => Ok(Exit::Done),
    }
}

fn of_failures(report: &failures::Report, list: bool) -> String {
    let mut text = String::new();
    if list {
        for found in &report.found {
            let failures::Found {
                name,
                shard,
                sequence_number,
                records,
                bytes,
            } = found;
            let _ = writeln!(
                text,
                "{name}  {records} records, {bytes} bytes, from {sequence_number}  {}",
                paint(FAINT, shard)
            );
        }
        let more = report.waiting.saturating_sub(report.found.len());
        if more > 0 {
            let _ = writeln!(text, "and {more} more");
        }
    }
    for owed in &report.owed {
        let unknown = "an unknown time";
        let _ = writeln!(
            text,
            "{} {}: it holds no records; bring back what was written from {} to {}, then remove it",
            paint(WARN, "backfill"),
            owed.name,
            owed.from.as_deref().unwrap_or(unknown),
            owed.to.as_deref().unwrap_or(unknown),
        );
    }
    for left in &report.left {
        let _ = writeln!(text, "{} {}: {}", paint(WARN, "stays"), left.name, left.why);
    }
    let _ = match report.dry_run {
        true => writeln!(text, "{} objects wait to be replayed", report.waiting),
        false => writeln!(
            text,
            "{} {} of {} objects, {} records; {} objects stay",
            paint(GOOD, "replayed"),
            report.objects,
            report.waiting,
            report.tally.records,
            report.stay
        ),
    };
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
        let part = |part: &Option<String>| part.as_deref().unwrap_or("-").to_owned();
        let _ = writeln!(
            text,
            "{}  {}  {}: {}{}  {}",
            part(&entry.sequence_number),
            entry.sink.as_deref().unwrap_or("all sinks"),
            part(&entry.kind),
            part(&entry.reason),
            entry
                .error
                .as_deref()
                .map(|error| format!("; {error}"))
                .unwrap_or_default(),
            paint(FAINT, &entry.object)
        );
    }
    if named > 0 && report.stay > named {
        let _ = writeln!(text, "and {} more", report.stay - named);
    }
    let _ = match report.dry_run {
        true => writeln!(text, "{} records in {} objects", report.stay, report.objects),
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
