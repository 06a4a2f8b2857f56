//! `tidewatch audit export`.

use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::TryStreamExt;
use serde_json::json;
use tidewatch::audit::log::{Export, Part, Position};

use super::file::{ExportFile, Progress};
use super::{FilterOptions, When, when};
use crate::cli::{Exit, Failure, GOOD, Global, Output, audit_table, paint};
use crate::state::lock::interrupted;

/// Arguments of `tidewatch audit export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch audit export year.ndjson --from 365d --config /etc/teleport.yaml
  tidewatch audit export year.ndjson --resume --config /etc/teleport.yaml
  tidewatch audit export --from 2026-11-01 --to 2026-11-20 --type session.start --table teleport.audit | gzip > november.gz

A line is an event as it is stored, every number exact. Lines of a day are in the order of time; with --parallel 1 the
days are too. A file is readable by its owner only. One that was cut, by a signal or a power switch, is gone on with by
--resume, without a repeated or a missing line; range and filters are those that it began with. Until it is whole, a file
of the same name and .position stands beside it.")]
pub(super) struct ExportArgs {
    /// File to write; it must not exist [default: standard output]
    file: Option<PathBuf>,
    /// Events from then on: a time, a day (UTC), or an age such as 24h
    #[arg(long, value_name = "WHEN", value_parser = when, required_unless_present = "resume")]
    from: Option<When>,
    /// Events up to then [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    to: Option<When>,
    /// Days that are read at a time, a page of each in memory
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
    /// Go on with a file that was cut
    #[arg(long, requires = "file", conflicts_with_all = ["from", "to", "types", "condition"])]
    resume: bool,
    #[command(flatten)]
    filter: FilterOptions,
}

/// Where lines go.
enum To {
    File(ExportFile),
    Stdout,
}

pub(super) async fn run(global: &Global, args: ExportArgs) -> Result<Exit, Failure> {
    args.filter.condition()?;
    let output = Output::new(global);
    let table = audit_table(global).await?;
    let now = table.clock().now();
    let begun = |filter: FilterOptions| Progress {
        bytes: 0,
        events: 0,
        unreadable: 0,
        position: None,
        types: filter.types,
        condition: filter.condition,
    };
    let (mut to, mut progress) = match (&args.file, args.resume) {
        (Some(path), true) => {
            let (file, progress) = ExportFile::resume(path)?;
            (To::File(file), progress)
        }
        (Some(path), false) => (To::File(ExportFile::create(path)?), begun(args.filter)),
        (None, _) => (To::Stdout, begun(args.filter)),
    };
    let position: Option<Position> = match progress.position.as_deref().map(str::parse).transpose() {
        Ok(position) => position,
        Err(what) => return Err(Failure::from(what.to_owned())),
    };
    let (from, until) = match (&position, args.from) {
        (Some(position), _) => position.range(),
        (None, Some(from)) => (from.from(now), args.to.map_or(now, |to| to.to(now))),
        (None, None) => {
            return Err(Failure::usage(
                "nothing was exported yet: delete the file and begin again",
            ));
        }
    };
    let filter = FilterOptions {
        types: progress.types.clone(),
        condition: progress.condition.clone(),
    };
    let export = Export {
        condition: filter.condition()?,
        types: filter.types,
        parallel: args.parallel.into(),
        position,
        ..Export::new(from, until)
    };
    let spinner = output.spinner();
    let ended = {
        let written = write(&mut to, table.export(export), &mut progress, &spinner);
        tokio::select! {
            biased;
            _ = interrupted() => Err(Failure::from("ended by a signal".to_owned())),
            written = Box::pin(written) => written,
        }
    };
    spinner.finish_and_clear();
    let units = match ended {
        Ok(units) => units,
        Err(failure) => {
            let hint = match (&args.file, to) {
                // Nothing of it counts yet.
                (_, To::File(file)) if progress.position.is_none() => {
                    file.discard();
                    String::new()
                }
                (Some(path), _) => format!(
                    "; go on with `tidewatch audit export {} --resume`",
                    path.display()
                ),
                (None, _) => String::new(),
            };
            return Err(Failure {
                message: failure.message + &hint,
                ..failure
            });
        }
    };
    finish(output, to, args.file.as_deref(), &progress, units)
}

fn finish(
    output: Output,
    to: To,
    path: Option<&Path>,
    progress: &Progress,
    units: f64,
) -> Result<Exit, Failure> {
    let events = progress.events;
    let left_out = match progress.unreadable {
        0 => String::new(),
        rows => format!("{rows} rows cannot be read and were left out\n"),
    };
    match (to, path) {
        (To::File(file), Some(path)) => {
            file.finish()?;
            let text = format!(
                "{} {events} events to {}\n{left_out}",
                paint(GOOD, "exported"),
                path.display()
            );
            let report = json!({"events": events, "file": path.display().to_string(), "units": units,
                "unreadable": progress.unreadable});
            output.result(&report, &text)?;
        }
        _ => output.say(format!("{} {events} events\n{left_out}", paint(GOOD, "exported"))),
    }
    Ok(Exit::Done)
}

async fn write(
    to: &mut To,
    parts: impl futures_util::Stream<Item = Result<Part, tidewatch::audit::log::LogError>>,
    progress: &mut Progress,
    spinner: &indicatif::ProgressBar,
) -> Result<f64, Failure> {
    let mut units = 0.0;
    let mut parts = std::pin::pin!(parts);
    while let Some(part) = parts.try_next().await? {
        let mut text = String::new();
        for event in &part.events {
            text.push_str(&event.json);
            text.push('\n');
        }
        units += part.units;
        progress.events += u64::try_from(part.events.len()).unwrap_or_default();
        progress.bytes += u64::try_from(text.len()).unwrap_or_default();
        progress.unreadable += u64::try_from(part.unreadable).unwrap_or_default();
        match to {
            To::File(file) => {
                file.write(text.as_bytes())?;
                // Only now: what was not written whole does not count.
                progress.position = Some(part.position.to_string());
                file.note(progress)?;
            }
            To::Stdout => {
                match print(text).await {
                    // Nobody wants more.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(units),
                    Err(error) => return Err(Failure::from(format!("standard output: {error}"))),
                    Ok(()) => {}
                }
            }
        }
        if part.unreadable > 0 {
            spinner.println(format!(
                "{}: {} rows cannot be read and were left out",
                part.day, part.unreadable
            ));
        }
        spinner.set_message(format!(
            "{}  {} events, {} MiB, {units} read units",
            part.day,
            progress.events,
            progress.bytes >> 20
        ));
    }
    Ok(units)
}

/// Writes to standard output on a thread of its own, which nobody waits for at the end: a reader that takes its time must
/// hold up neither requests nor Ctrl-C.
async fn print(text: String) -> io::Result<()> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let text = Output::shown(text);
        let mut out = io::stdout().lock();
        let _ = tell.send(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    });
    told.await.unwrap_or_else(|ended| Err(io::Error::other(ended)))
}
