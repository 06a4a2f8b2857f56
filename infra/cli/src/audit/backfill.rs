//! `tidewatch audit backfill`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tidewatch::clock::Clock;
use tidewatch::config::ObjectsUri;
use tidewatch::redrive::{Backfill, BackfillError, FromExport, Hand, Position, Range, Step};

use super::{When, when};
use crate::cli::{Exit, Failure, GOOD, Global, Output, audit_table, paint, stamp};
use crate::redrive::forward::ForwardOptions;
use crate::redrive::place;
use crate::state::lock::interrupted;

/// Arguments of `tidewatch audit backfill`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch audit backfill --from 2026-11-01 --table teleport.audit --function forward --dry-run
  tidewatch audit backfill --from 2026-11-01 --table teleport.audit --function forward --position november.position
  tidewatch audit backfill --export s3://my-exports/AWSDynamoDB/01693685827463-2d8752fd/ --config tidewatch.yaml

Events are read from the index timesearchV2, day by day, or from a full export of the table in DYNAMODB_JSON, which takes no
read capacity, and handed to `forward` as inserts. Without --to the range ends two hours from now, so that it overlaps what
the stream brings; repeats have the same id. On a provisioned table at most a fifth of the index's read capacity is taken; nobody
looks whether it is throttled: see to it that it is not. With --position a run that was cut goes on where it was; the file is
removed at the end.")]
pub(super) struct BackfillArgs {
    /// Events from then on: a time, a day (UTC), or an age such as 24h
    #[arg(long, value_name = "WHEN", value_parser = when)]
    from: Option<When>,
    /// Events up to then [default: now, and two hours more]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    to: Option<When>,
    /// Read this export of the table instead: the place of its manifest-summary.json
    #[arg(long, value_name = "URI", conflicts_with = "table")]
    export: Option<ObjectsUri>,
    #[command(flatten)]
    more: More,
}

/// What does not depend on the range.
#[derive(Debug, Args)]
pub(super) struct More {
    /// File for the place that the run came to; if it is there, the run goes on from it, with its range
    #[arg(long, value_name = "FILE")]
    position: Option<PathBuf>,
    /// Only for this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    #[command(flatten)]
    forward: ForwardOptions,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    from: String,
    to: String,
    records: usize,
    bytes: usize,
    no_events: usize,
    unreadable: usize,
    outside: usize,
    units: f64,
}

pub(super) async fn run(global: &Global, args: BackfillArgs) -> Result<Exit, Failure> {
    let now = Clock::system().now();
    let from = args.from.map(|from| from.from(now));
    // A day as the end is all of it.
    let to = args.to.map(|to| match to {
        When::Day(_) => to.to(now) + std::time::Duration::from_secs(1),
        _ => to.to(now),
    });
    let range = match (from, to) {
        (Some(from), Some(to)) => Some(Range::new(from, to)),
        (Some(from), None) => Some(Range::until_now(from, now)),
        (None, None) if args.export.is_some() => Some(Range::all()),
        (None, Some(to)) if args.export.is_some() => Some(Range::new(SystemTime::UNIX_EPOCH, to)),
        _ => None,
    };
    if range.is_some_and(|range| range.is_empty()) {
        return Err(Failure::usage("the range ends before it begins"));
    }
    bring(global, range, args.export.as_ref(), args.more).await
}

/// Brings a range back; that of the position's file goes before it.
pub(super) async fn bring(
    global: &Global,
    range: Option<Range>,
    export: Option<&ObjectsUri>,
    more: More,
) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let position = more.position.as_deref().map(known).transpose()?.flatten();
    let range = position.as_ref().map(Position::range).or(range);
    let range = range.ok_or_else(|| Failure::usage("from when on? Name it with --from"))?;
    let clock = Clock::system();
    let invoke = more.forward.open(global, &clock).await?;
    let hand = Hand {
        forward: &*invoke,
        clock: &clock,
        options: more.forward.options(&clock),
    };
    let (from, to) = range.times();
    let mut report = Report {
        dry_run: more.forward.dry_run,
        from: stamp(from),
        to: stamp(to),
        ..Report::default()
    };
    let spinner = output.spinner();
    // A dry run has handed nothing over.
    let file = more.position.as_deref().filter(|_| !more.forward.dry_run);
    let work = async {
        if let Some(uri) = export {
            let objects = place(global, uri).await?;
            let opened = FromExport::open(&objects, range, position.as_ref(), hand).await;
            let mut export = opened.map_err(failed)?.to_sink(more.sink);
            while let Some(step) = export.next().await.map_err(failed)? {
                report.add(&step, &spinner);
                note(file, &step)?;
            }
            return Ok(());
        }
        let table = audit_table(global).await?;
        let units = table.index_read_units().await?;
        let backfill = Backfill::new(&table, range, position.as_ref(), hand).map_err(failed)?;
        let mut backfill = backfill.to_sink(more.sink).paced(units);
        while let Some(step) = backfill.next().await.map_err(failed)? {
            report.add(&step, &spinner);
            note(file, &step)?;
        }
        Ok(())
    };
    let ended: Result<(), Failure> = tokio::select! {
        biased;
        _ = interrupted() => Err(Failure::from("ended by a signal".to_owned())),
        ended = Box::pin(work) => ended,
    };
    spinner.finish_and_clear();
    if let Err(failure) = ended {
        let hint = match file {
            Some(file) => format!("; run it again to go on from {}", file.display()),
            None => "; nothing says where it came to: name a file with --position".to_owned(),
        };
        let done = format!(
            "{} ({} records were taken){hint}",
            failure.message, report.records
        );
        return Err(Failure {
            message: done,
            ..failure
        });
    }
    if let Some(file) = file {
        let _ = std::fs::remove_file(file);
    }
    output.result(&report, &report.text())?;
    Ok(Exit::Done)
}

impl Report {
    fn add(&mut self, step: &Step, spinner: &ProgressBar) {
        self.records += step.tally.records;
        self.bytes += step.tally.bytes;
        self.no_events += step.no_events;
        self.unreadable += step.unreadable;
        self.outside += step.outside;
        self.units += step.units;
        let (records, units) = (self.records, self.units);
        spinner.set_message(format!("{}  {records} records, {units} read units", step.place));
    }

    fn text(&self) -> String {
        let what = if self.dry_run {
            "would be handed over"
        } else {
            "handed over"
        };
        let mut text = format!(
            "{} records of {} to {} {what}, {} read units\n",
            paint(GOOD, self.records),
            self.from,
            self.to,
            self.units
        );
        if self.unreadable > 0 {
            let end = if self.dry_run { "would go to the" } else { "are in" };
            text.push_str(&format!(
                "{} rows cannot be read: they {end} quarantine\n",
                self.unreadable
            ));
        }
        text
    }
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn failed(error: BackfillError) -> Failure {
    match error {
        BackfillError::OtherPosition => Failure::usage(error.to_string()),
        error => Failure::from(error.to_string()),
    }
}

/// What a position's file says; none if there is none.
fn known(file: &Path) -> Result<Option<Position>, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let position = text.trim().parse();
            let position = position.map_err(|what| Failure::usage(format!("{}: {what}", file.display())))?;
            Ok(Some(position))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::from(format!("{}: {error}", file.display()))),
    }
}

/// Notes a position, whole or not at all.
fn note(file: Option<&Path>, step: &Step) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let written = std::fs::write(&beside, format!("{}\n", step.position));
    written
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|error| Failure::from(format!("{}: {error}", file.display())))
}
