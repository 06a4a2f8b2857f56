//! `tidewatch maintain`: run one of the tasks that `maintain` runs by schedule, once and now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tidewatch::clock::Clock;
use tidewatch::config::{Config, MaintainConfig};
use tidewatch::maintain::{Ended, Maintain, Order, Outcome, Task};
use tidewatch::random::Random;

use crate::cli::{
    Consent, Document, Exit, FAINT, Failure, GOOD, Global, Output, WARN, aws_config, document, options, over,
    paint,
};
use crate::redrive::forward::in_process;
use crate::state::lock::interrupted;

/// Arguments of `tidewatch maintain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch maintain verify --config tidewatch.yaml
  tidewatch maintain expire --dry-run --config tidewatch.yaml
  tidewatch maintain expire --every 5s --for 10m --yes --config tidewatch.yaml
  tidewatch maintain drain --config tidewatch.yaml --json

Tasks: expire deletes what has expired from the state table; locks releases what nobody holds; watch-log removes old segments and
appends gaps that nobody reported; lake files what is staged; drain delivers what waits in the spool; redrive hands over again what
Lambda gave up; verify compares what is there with what must be; canary tells whether events still come out.
What a task works on is in the document's section maintain, which the function of that name goes by too. A task that the function
runs just now is left to it; but expire with --every waits its turn, and the function's sweep gives way to it, as it does to the
function's next one: where a schedule runs it, that is within a minute.
Records are handed to the function that the section names, or else to this process.
One document is gone by here, not the versions of `config apply`: what waits for the lake of a sink that was removed, the function files.
Exit status: 0 nothing is left, or it was only looked at and nothing is due; 3 something is left or found, or another runs the task;
1 it failed, and the next run goes on where it was.")]
pub struct MaintainArgs {
    /// Task to run: expire, locks, watch-log, lake, drain, redrive, verify or canary
    task: Task,
    /// Only look; change nothing and hand nothing over
    #[arg(long)]
    dry_run: bool,
    /// Begin nothing more after this time
    #[arg(long = "for", value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Repeat the pass so often for that time, or until the next in line, such as 5s: of expire only [default: one pass]
    #[arg(long, value_name = "DURATION", value_parser = every)]
    every: Option<Duration>,
    #[command(flatten)]
    consent: Consent,
}

/// What a task has after its last call, to end what is under way: an invocation of Lambda at its longest.
const LAST: Duration = Duration::from_secs(900);

fn every(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if every >= Duration::from_secs(1) => Ok(every),
        _ => Err("1s at least is due, such as 5s".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// [`Failure`].
pub async fn run(global: &Global, args: MaintainArgs) -> Result<Exit, Failure> {
    if args.every.is_some() && args.task != Task::Expire {
        return Err(Failure::usage(
            "--every is for expire: no other task repeats itself",
        ));
    }
    let clock = Clock::system();
    let last_call = clock.instant().checked_add(args.time);
    let last_call = last_call.ok_or_else(|| Failure::usage("--for is too long"))?;
    let (mut config, section) = configured(global).await?;
    as_asked(&mut config, &args);
    let sdk = aws_config(global).await?;
    let maintain = Maintain::new(&config, &BTreeMap::new(), &sdk, clock.clone(), Random::system());
    let mut maintain = maintain.map_err(|error| Failure::usage(error.to_string()))?;
    let hands = matches!(args.task, Task::Drain | Task::Redrive);
    if hands && section.function.is_none() && !args.dry_run {
        maintain = maintain.handing_to(Arc::from(in_process(global, &clock).await?));
    }
    let output = Output::new(global);
    if let Some(preface) = changes(args.task, &section, &config).filter(|_| !args.dry_run) {
        args.consent.ask(output, &preface, "Do it?")?;
    }
    let order = Order {
        task: args.task,
        dry_run: args.dry_run,
        every: args.every,
    };
    let spinner = output.spinner();
    spinner.set_message(args.task.name());
    let ran = tokio::select! {
        biased;
        _ = interrupted() => None,
        outcome = Box::pin(maintain.run(order, last_call, last_call + LAST)) => Some(outcome),
    };
    spinner.finish_and_clear();
    let outcome = ran.ok_or_else(|| {
        Failure::from(
            "ended by a signal; the task's lease stands for up to a minute, and the next run goes on"
                .to_owned(),
        )
    })?;
    output.result(&outcome, &text(&outcome))?;
    ended(outcome)
}

/// By hand a pass is one unless somebody says otherwise: a run that repeats itself pushes the function's out.
fn as_asked(config: &mut Config, args: &MaintainArgs) {
    if let Some(section) = config.maintain.as_mut().filter(|_| args.task == Task::Expire) {
        section.expire.every = args.every;
    }
}

/// The document, under the global options, and its section.
async fn configured(global: &Global) -> Result<(Config, MaintainConfig), Failure> {
    let read = document(global).await;
    let mut config = match read.map_err(|error| Failure::usage(error.to_string()))? {
        Document::Tidewatch(config) => config,
        Document::Teleport(_) => {
            return Err(Failure::usage(
                "Teleport's own file has no section maintain: name a document that has with --config",
            ));
        }
    };
    config.aws = over(options(global), config.aws);
    if let Some(watch) = &mut config.watch {
        watch.region = global.region.clone().or(watch.region.take());
        watch.endpoint = global.endpoint_url.clone().or(watch.endpoint.take());
    }
    let section = config.maintain.clone().ok_or_else(|| {
        Failure::usage("what are the tasks to work on? Name a document with a section maintain with --config")
    })?;
    Ok((config, section))
}

/// What a task deletes; none for one that deletes nothing, or only what was delivered.
fn changes(task: Task, section: &MaintainConfig, config: &Config) -> Option<String> {
    let table = section.state.as_ref().map_or("", |state| state.table.as_str());
    match task {
        Task::Expire => Some(format!("deletes what has expired from the table {table}\n")),
        Task::Locks => Some(format!(
            "deletes locks and slots past their expiry from the table {table}, and the expiry of fencing numbers\n"
        )),
        Task::WatchLog => Some(format!(
            "removes segments appended more than {} ago from the watch log {}\n",
            humantime::format_duration(section.retention),
            config.watch.as_ref().map_or("", |watch| watch.log.name.as_str())
        )),
        Task::Lake | Task::Drain | Task::Redrive | Task::Verify | Task::Canary => None,
    }
}

fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    let done = match (outcome.state, outcome.dry_run) {
        (Ended::Held, _) => paint(WARN, "left to another"),
        (Ended::Lost, _) => paint(WARN, "stopped"),
        (Ended::Ran, true) => paint(GOOD, "looked"),
        (Ended::Ran, false) if outcome.complete => paint(GOOD, "done"),
        (Ended::Ran, false) => paint(WARN, "not all done"),
    };
    let _ = writeln!(text, "{} {done}", outcome.task);
    for metric in &outcome.metrics {
        let unit = match metric.unit {
            "Seconds" => " s",
            _ => "",
        };
        let _ = writeln!(text, "  {:<28}{}{unit}", metric.name, metric.value);
    }
    if let Some(report) = outcome.report.as_object().filter(|report| !report.is_empty()) {
        let report = serde_json::to_string_pretty(report).unwrap_or_default();
        for line in report.lines() {
            let _ = writeln!(text, "  {}", paint(FAINT, Output::plain(line)));
        }
    }
    text
}

fn ended(outcome: Outcome) -> Result<Exit, Failure> {
    match outcome.error {
        Some(error) => Err(Failure::from(format!("{}: {error}", outcome.task))),
        None if outcome.complete && !outcome.found => Ok(Exit::Done),
        None => Ok(Exit::Found),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: MaintainArgs,
    }

    #[test]
    fn one_pass_is_made_unless_somebody_says_otherwise() {
        let text = "maintain: { state: { table: leases, layout: teleport }, expire: { every: 5s } }";
        for (line, every) in [
            ("maintain expire --yes", None),
            ("maintain expire --every 7s", Some(7)),
            // What the document says is compared with what is there.
            ("maintain verify", Some(5)),
        ] {
            let line: Line = clap::Parser::try_parse_from(line.split(' ')).unwrap();
            let mut config = Config::parse(text, "t", []).unwrap();
            as_asked(&mut config, &line.args);
            let got = config.maintain.unwrap().expire.every;
            assert_eq!(got, every.map(Duration::from_secs));
        }
    }
}
