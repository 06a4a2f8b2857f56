//! `tidewatch up` without `--once`: endless traffic, shown as it is forwarded, until Ctrl-C.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use tidewatch::clock::Clock;
use tidewatch::maintain::Outcome;
use tidewatch::random::Random;
use tidewatch::watch::log::Pace;
use tidewatch::watch::{Event, Operation};
use time::OffsetDateTime;

use super::endpoint::Endpoint;
use super::route::Router;
use super::schedules::Schedules;
use super::state::{Directory, Progress, Run};
use super::tasks::{Done, Tasks};
use super::traffic::steps;
use super::watched::Watched;
use super::{UpArgs, handler, reader, tables, writer};
use crate::cli::{ERROR, FAINT, Global, stamp};
use crate::esm::{Counts, Mapping, Stream};
use crate::state::changes::event_json;

const TYPE: Style = AnsiColor::Cyan.on_default();
const STATE: Style = AnsiColor::Magenta.on_default();

/// The port unless another is asked for: where DynamoDB Local listens too.
const PORT: u16 = 8000;
/// The second shard splits after so many records.
const SPLIT_AFTER: usize = 200;
/// How often the spool is drained, and how often events are filed: a quarter of an hour would do.
const DRAINS: Duration = Duration::from_secs(60);
const FILES: Duration = Duration::from_secs(60);
/// Traffic is made in portions of so many rows.
const PORTION: usize = 1000;

/// Runs until `stop` ends, then closes everything.
///
/// # Errors
/// A message if something could not be started, or failed for good.
pub(super) async fn run(
    global: &Global,
    args: &UpArgs,
    directory: &Arc<Directory>,
    clock: &Clock,
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let start = OffsetDateTime::from(clock.now()).unix_timestamp();
    let begun = directory.run(&Run {
        seed: args.seed,
        events: None,
        start,
        portion: 0,
        written: 0,
    })?;
    directory.remove_half_made(&begun)?;
    let endpoint = Endpoint::start(directory.database().as_deref(), args.port.unwrap_or(PORT)).await?;
    let sdk = endpoint.clients().await;
    let client = aws_sdk_dynamodb::Client::new(&sdk);
    let streams = tables::create(&client, clock).await?;
    directory.save_tables()?;
    let stream_arn = streams.audit;

    let random = Random::seeded(args.seed);
    let saved = directory.progress()?;
    let stream = Arc::new(Stream::restored(&stream_arn, saved.checkpoints));
    let forwarder = handler::system(directory, false, handler::SINK_TIMEOUT, clock, &random).await?;
    let forwarder = handler::shown(forwarder, if global.json { show_json } else { show });
    let handler = handler::handler(forwarder, clock);
    let tasks = Tasks::new(directory, &client, &handler, clock, Done::default()).await?;
    let saver = Arc::clone(directory);
    let mapping = Mapping::new(
        args.settings(directory),
        Arc::clone(&stream),
        handler,
        clock.clone(),
        random,
    )
    .map_err(|error| error.to_string())?
    .with_counts(saved.counts)
    .with_progress(move |stream, counts| {
        let progress = Progress {
            checkpoints: stream.checkpoints(),
            counts: counts.clone(),
            ..Progress::default()
        };
        if let Err(message) = saver.save_progress(&progress) {
            anstream::eprintln!("{ERROR}{message}{ERROR:#}");
        }
    });

    if !global.json {
        greet(endpoint.url(), &stream_arn, directory, args.data_dir.is_some());
    }
    let never = AtomicBool::new(false);
    let watched = Watched::start(&client, &streams.state, clock, &Random::system(), Pace::default()).await?;
    let schedules = Schedules::new(&sdk, clock, &Random::system())?;
    let work = async {
        let streams = aws_sdk_dynamodbstreams::Client::new(&sdk);
        let mut router = Router::new(Arc::clone(&stream), SPLIT_AFTER);
        let read = reader::read(&streams, &stream_arn, &mut router, &never, clock);
        let forward = async {
            mapping.run().await;
            Ok(())
        };
        let show = if global.json {
            show_change_json
        } else {
            show_change
        };
        let state = watched.live(directory, &sdk, args.rate, show);
        let told = if global.json { tell_json } else { tell };
        let tasks = async {
            tasks.run(DRAINS, FILES, std::future::pending(), told).await;
            Ok(())
        };
        let scheduled = async {
            schedules
                .run(if global.json { tell_run_json } else { tell_run })
                .await;
            Ok(())
        };
        tokio::try_join!(
            write(args, &client, directory, clock, begun),
            read,
            forward,
            state,
            tasks,
            scheduled
        )
        .map(|_| ())
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = stop => Ok(()),
    };
    if !global.json {
        farewell(&mapping.counts(), stream.waiting(), mapping.last_error());
    }
    drop((mapping, tasks, schedules, client, sdk, watched));
    endpoint.stop().await;
    ended
}

/// Writes sample traffic at the asked rate, and goes on where an earlier run stopped.
async fn write(
    args: &UpArgs,
    client: &aws_sdk_dynamodb::Client,
    directory: &Directory,
    clock: &Clock,
    mut run: Run,
) -> Result<(), String> {
    if args.rate == 0 {
        return std::future::pending().await;
    }
    let pause = Duration::from_secs(1) / args.rate;
    loop {
        // Begun anew after a restart: the same rows, whose puts then change nothing.
        let start = OffsetDateTime::from_unix_timestamp(run.start).map_err(|error| error.to_string())?;
        let spacing = time::Duration::SECOND / i32::try_from(args.rate).unwrap_or(i32::MAX);
        let portion = steps(
            run.seed.wrapping_add(run.portion.wrapping_mul(0x9e37_79b9)),
            start,
            spacing,
            PORTION,
        );
        for step in portion.iter().skip(run.written) {
            writer::write(client, step).await?;
            run.written += 1;
            directory.save_run(&run)?;
            clock.sleep(pause).await;
        }
        let start = OffsetDateTime::from(clock.now()).unix_timestamp();
        run = Run {
            start,
            portion: run.portion + 1,
            written: 0,
            ..run
        };
        directory.save_run(&run)?;
    }
}

fn greet(url: &str, stream_arn: &str, directory: &Directory, kept: bool) {
    let (root, table) = (directory.root().display(), tables::AUDIT_TABLE);
    let (state, log) = (tables::STATE_TABLE, tables::WATCH_TABLE);
    let item = concat!(
        r#"{"SessionID":{"S":"my-session"},"EventIndex":{"N":"0"},"EventType":{"S":"user.login"},"#,
        r#""CreatedAt":{"N":"1795170932"},"CreatedAtDate":{"S":"2026-11-20"},"EventNamespace":{"S":"default"},"#,
        r#""FieldsMap":{"M":{"event":{"S":"user.login"},"code":{"S":"T1000I"},"uid":{"S":"my-uid-1"},"#,
        r#""time":{"S":"2026-11-20T10:15:32Z"},"user":{"S":"me"},"ei":{"N":"0"}}}}"#,
    );
    let removed = if kept {
        ""
    } else {
        "\nthe directory is removed at the end; --data-dir keeps one"
    };
    say(format_args!(
        "DynamoDB at {url}, tables {table}, {state} and {log}; events in {root}/events, poison in {root}/quarantine{removed}\n\n\
         Try, in another terminal (any credentials do):\n\
         \x20 export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1\n\
         \x20 aws --endpoint-url {url} dynamodb describe-table --table-name {table}\n\
         \x20 aws --endpoint-url {url} dynamodb scan --table-name {table} --max-items 3\n\
         \x20 aws --endpoint-url {url} dynamodb put-item --table-name {table} --item '{item}'\n\
         \x20 aws --endpoint-url {url} dynamodbstreams describe-stream --stream-arn {stream_arn}\n\
         \x20 tidewatch state put /mine hello --table {state} --layout teleport --endpoint-url {url} --write --yes\n\
         \x20 tidewatch state watch --log {log} --table {state} --endpoint-url {url}\n\n\
         Forwarded, and changes of state as a watcher sees them (Ctrl-C ends):"
    ));
}

fn farewell(counts: &Counts, waiting: usize, last_error: Option<String>) {
    say(format_args!(
        "\n{} invocations, {} retries, {} given up, {waiting} records waiting",
        counts.invocations,
        counts.retries,
        counts.exhausted + counts.too_old
    ));
    if let Some(error) = last_error {
        say(format_args!("{ERROR}the function's last error: {error}{ERROR:#}"));
    }
}

/// Prints a line; that nobody reads it is no reason to stop.
fn say(line: impl Display) {
    let _ = writeln!(anstream::stdout(), "{line}");
}

/// What the tasks did, for machines.
fn tell_json(turn: Result<&Done, String>) {
    match turn {
        Ok(done) => say(serde_json::json!({ "tasks": done })),
        Err(error) => anstream::eprintln!("{ERROR}{error}{ERROR:#}"),
    }
}

/// What the tasks did so far, on one line.
fn tell(turn: Result<&Done, String>) {
    match turn {
        Ok(done) => say(format_args!(
            "{FAINT}spool: {} records drained, {} objects wait; lake: {} rows filed{FAINT:#}",
            done.drained, done.waiting, done.filed
        )),
        Err(error) => anstream::eprintln!("{ERROR}{error}{ERROR:#}"),
    }
}

/// What a run of a scheduled task did, for machines.
fn tell_run_json(ran: Result<&Outcome, String>) {
    match ran {
        Ok(outcome) => say(serde_json::json!({ "maintain": outcome })),
        Err(error) => anstream::eprintln!("{ERROR}{error}{ERROR:#}"),
    }
}

/// What a run of a scheduled task did, on one line, if it did something.
fn tell_run(ran: Result<&Outcome, String>) {
    match ran {
        Ok(outcome) => {
            let counts = ["deleted", "released"].map(|name| outcome.report.get(name).and_then(Value::as_u64));
            for count in counts.into_iter().flatten().filter(|count| *count > 0) {
                say(format_args!("{FAINT}{}: {count} items{FAINT:#}", outcome.task));
            }
        }
        Err(error) => anstream::eprintln!("{ERROR}{error}{ERROR:#}"),
    }
}

/// One forwarded event as it is, for machines.
fn show_json(line: &[u8]) {
    say(String::from_utf8_lossy(line));
}

/// One change of state, for machines.
fn show_change_json(event: &Event) {
    say(event_json(event, false, false));
}

/// One change of state on one line: its key and size, never its value.
fn show_change(event: &Event) {
    let time = event.created.map(stamp);
    let time = time.as_deref().and_then(|time| time.get(11..19)).unwrap_or("-");
    let rest = match &event.operation {
        Operation::Put(put) => format!("{} bytes", put.value.bytes().map_or(0, <[u8]>::len)),
        Operation::Delete(delete) => delete.cause.as_str().to_owned(),
        Operation::Unknown => String::new(),
    };
    let kind = format!("state.{}", event.operation.name());
    say(format_args!(
        "{FAINT}{time}{FAINT:#}  {STATE}{kind:<22}{STATE:#} {:<33} {FAINT}{rest}{FAINT:#}",
        event.key.to_string(),
    ));
}

/// One forwarded event on one line.
fn show(line: &[u8]) {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    let text = |key: &str| printable(event.get(key).and_then(Value::as_str).unwrap_or("-"));
    let time = text("time");
    let time = time.get(11..19).unwrap_or(&time);
    let session: String = text("sid").chars().take(8).collect();
    say(format_args!(
        "{FAINT}{time}{FAINT:#}  {TYPE}{:<22}{TYPE:#} {:<8} {:<24} {FAINT}{session}{FAINT:#}",
        text("event"),
        text("code"),
        text("user"),
    ));
}

/// Text of an event without what would steer the terminal.
fn printable(text: &str) -> String {
    let steers = |char: char| {
        char.is_control()
            || matches!(char, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|char| if steers(char) { '\u{fffd}' } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_in_an_event_steers_the_terminal() {
        assert_eq!(
            printable("é 😀\u{1b}[31m\u{202e}x\n"),
            "é 😀\u{fffd}[31m\u{fffd}x\u{fffd}"
        );
    }
}
