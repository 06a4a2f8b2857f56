//! `tidewatch watch-log compact`, `break` and `reconfigure`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::watch::log::MIN_RETENTION;

use super::{ChangeOptions, SourceOption, existing, name_of, show, shown, stop};
use crate::cli::{Exit, Failure, GOOD, Global, Output, WARN, WatchLogOptions, paint};

/// Arguments of `tidewatch watch-log compact`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch watch-log compact --table teleport --log-table watch --yes
  tidewatch watch-log compact --table teleport --log-table watch --retention 7days --dry-run

Watchers whose position is older than the retention list again. To be run daily or so; each removal is a write of what
was written. Exit status 3 if something is left for lack of time.")]
pub(super) struct CompactArgs {
    #[command(flatten)]
    log: WatchLogOptions,
    /// Keep what was appended within this time: 48h at least
    #[arg(long, value_name = "DURATION", default_value = "72h", value_parser = humantime::parse_duration)]
    retention: Duration,
    /// Work at most so long
    #[arg(long = "for", value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    time: Duration,
    #[command(flatten)]
    change: ChangeOptions,
}

pub(super) async fn compact(global: &Global, args: CompactArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    if args.retention < MIN_RETENTION {
        return Err(Failure::usage(
            "--retention is 48h at least: a change that is delivered again must be found in the log",
        ));
    }
    let (named, log, _) = existing(global, &args.log).await?;
    let now = Clock::system().now();
    let statuses = log.bucket_statuses(stop()).await?;
    let old = |status: &&tidewatch::watch::log::BucketStatus| {
        let age = status
            .oldest
            .as_ref()
            .and_then(|oldest| now.duration_since(oldest.appended).ok());
        age.is_some_and(|age| age > args.retention)
    };
    let due: Vec<u32> = statuses.iter().filter(old).map(|status| status.bucket).collect();
    let preface = format!(
        "removes segments appended more than {} ago from the log {} in {}: {} of {} buckets have some\n",
        humantime::format_duration(args.retention),
        named.name,
        named.table,
        due.len(),
        statuses.len()
    );
    if args.change.dry_run {
        return shown(output, &preface, &json!({"removed": 0, "due": due}));
    }
    args.change.consent.ask(output, &preface, "Remove them?")?;
    let until = Clock::system().instant().checked_add(args.time);
    let until = until.ok_or_else(|| Failure::usage("--for is too long"))?;
    let spinner = output.spinner();
    let done = log.compact(args.retention, until).await;
    spinner.finish_and_clear();
    let done = done?;
    let mut text = format!("{} {} segments\n", paint(GOOD, "removed"), done.removed);
    if done.unfinished {
        text.push_str(&format!(
            "{}: run it again, or longer\n",
            paint(WARN, "not finished")
        ));
    }
    output.result(&done, &text)?;
    Ok(if done.unfinished { Exit::Found } else { Exit::Done })
}

/// Arguments of `tidewatch watch-log break`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch watch-log break --why restored --table teleport --log-table watch
  tidewatch watch-log break --why mapping-was-off --log-table watch --log-name teleport --yes

To be used when changes did not reach the log and nothing has noticed: every bucket gets a gap, and every watcher ends
with it or lists again. A gap too many costs each watcher a listing.")]
pub(super) struct BreakArgs {
    #[command(flatten)]
    log: WatchLogOptions,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    why: String,
    #[command(flatten)]
    change: ChangeOptions,
}

pub(super) async fn break_all(global: &Global, args: BreakArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let (named, log, described) = existing(global, &args.log).await?;
    let preface = format!(
        "appends a gap to each of the {} buckets of the log {} in {}: all watchers of {} list again\n",
        described.buckets, named.name, named.table, described.table
    );
    if args.change.dry_run {
        return shown(output, &preface, &json!({"broken": false}));
    }
    args.change.consent.ask(output, &preface, "Break it?")?;
    // Each call is a loss of its own.
    let id = format!("operator/{}", Random::system().uuid().hyphenated());
    log.break_all(&args.why, &id, None, stop()).await?;
    let text = format!("{}: {}\n", paint(GOOD, "broken"), args.why);
    output.result(&json!({"broken": true, "why": args.why}), &text)?;
    Ok(Exit::Done)
}

/// Arguments of `tidewatch watch-log reconfigure`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch watch-log reconfigure --buckets 16 --table teleport --log-table watch
  tidewatch watch-log reconfigure --source kinesis --table teleport --log-table watch --yes

The buckets are sealed, and the log goes on in new ones: every watcher lists again. What was cut half-way is finished
by a repetition, or by whoever appends next.")]
pub(super) struct ReconfigureArgs {
    #[command(flatten)]
    log: WatchLogOptions,
    /// How many buckets there are to be [default: as many as now]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=64))]
    buckets: Option<u32>,
    /// Where the changes are to come from [default: as now]
    #[arg(long, value_enum, required_unless_present = "buckets")]
    source: Option<SourceOption>,
    #[command(flatten)]
    change: ChangeOptions,
}

pub(super) async fn reconfigure(global: &Global, args: ReconfigureArgs) -> Result<Exit, Failure> {
    let output = Output::new(global);
    let (named, log, found) = existing(global, &args.log).await?;
    let buckets = args.buckets.unwrap_or(found.buckets);
    let source = args.source.map_or(found.source, Into::into);
    let report = |changed: bool, described| {
        let json: Value = json!({"changed": changed, "log": show::description_json(&named, described)});
        json
    };
    if (buckets, source) == (found.buckets, found.source) && found.changing.is_none() {
        let text = format!("it is so already\n{}", show::description(&named, &found));
        output.result(&report(false, &found), &text)?;
        return Ok(Exit::Done);
    }
    let preface = format!(
        "log {} in {}: {} buckets by {} become {buckets} by {}; all watchers of {} list again\n",
        named.name,
        named.table,
        found.buckets,
        name_of(found.source),
        name_of(source),
        found.table
    );
    if args.change.dry_run {
        return shown(output, &preface, &report(false, &found));
    }
    args.change.consent.ask(output, &preface, "Change it?")?;
    log.reconfigure(buckets, source, stop()).await?;
    let changed = log.describe(stop()).await?;
    let text = format!(
        "{}\n{}",
        paint(GOOD, "changed"),
        show::description(&named, &changed)
    );
    output.result(&report(true, &changed), &text)?;
    Ok(Exit::Done)
}
