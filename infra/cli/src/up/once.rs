//! `tidewatch up --once`: a run that ends by itself with a verdict.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use time::{OffsetDateTime, Time};
use tokio::sync::oneshot;

use super::check::{check, check_also};
use super::endpoint::Endpoint;
use super::lake::check_lake;
use super::plant::spoil;
use super::route::Router;
use super::state::{Directory, Progress, Run};
use super::summary::{Injected, Rows, Summary};
use super::tasks::{Done, Tasks};
use super::traffic::{Step, steps};
use super::trouble::{Plan, Trouble, Troubles};
use super::{Plant, UpArgs, handler, reader, tables, writer};
use crate::cli::{Exit, Global, Output};
use crate::esm::{Fault, Faults, Mapping, Stream};

/// The traffic of a run covers two hours around midnight, whatever its size.
const SPAN: time::Duration = time::Duration::hours(2);
/// How often an invocation gets a fault of each kind, of a thousand.
const FAULTS: u64 = 30;
/// The longest stall of a zombie.
const STALL: Duration = Duration::from_millis(400);
/// The sink's time for one try: what a hang costs.
const SINK_TIMEOUT: Duration = Duration::from_secs(1);
/// What the sink suffers.
const TROUBLE: Plan = Plan {
    per_mille: 15,
    most_hangs: 3,
    delay: Duration::from_millis(100),
    outage: Duration::from_millis(300),
};
/// How long the second sink is down, and how often it is tried whether it is back.
const REMOTE_OUTAGE: Duration = Duration::from_secs(2);
const DRAINS: Duration = Duration::from_millis(500);
/// How often events are filed.
const FILES: Duration = Duration::from_secs(10);
/// A run in which nothing moves for so long has failed.
const STUCK: Duration = Duration::from_secs(120);
/// The writer's position is saved after so many rows.
const SAVE_EACH: usize = 50;

/// Writes, forwards, checks and says what came of it.
///
/// # Errors
/// A message if the run could not be made; what the check finds is no error but [`Exit::Found`].
pub(super) async fn run(
    global: &Global,
    args: &UpArgs,
    directory: &Arc<Directory>,
    clock: &Clock,
) -> Result<Exit, String> {
    let began = clock.instant();
    let today = OffsetDateTime::from(clock.now()).replace_time(Time::MIDNIGHT);
    let new = Run {
        seed: args.seed,
        events: Some(args.events),
        start: today.unix_timestamp() - SPAN.whole_seconds() / 2,
        portion: 0,
        written: 0,
    };
    let begun = directory.run(&new)?;
    let start = OffsetDateTime::from_unix_timestamp(begun.start).map_err(|error| error.to_string())?;
    let spacing: time::Duration = SPAN / i32::try_from(args.events).unwrap_or(i32::MAX);
    let traffic = Arc::new(steps(args.seed, start, spacing, args.events));
    let injected = Box::pin(forward(global, args, directory, clock, &begun, &traffic)).await?;
    if let Some(plant) = args.plant {
        spoil(plant, &traffic, &directory.events(), &directory.lake())
            .map_err(|error| format!("cannot plant a fault: {error}"))?;
    }
    let mut found = check(&traffic, &directory.events(), &directory.quarantine())
        .map_err(|error| format!("cannot check the output: {error}"))?;
    let also = check_also(&traffic, handler::REMOTE, &directory.remote(), &mut found);
    also.map_err(|error| format!("cannot check the output: {error}"))?;
    check_lake(&traffic, &directory.lake(), &mut found)
        .map_err(|error| format!("cannot check the lake: {error}"))?;
    injected.note_absent(&mut found);
    let given_up = injected.mapping.exhausted + injected.mapping.too_old;
    if given_up > 0 {
        found.add(
            "given up",
            format!("{given_up} records, see {}", directory.on_failure().display()),
        );
    }
    let seconds = (clock.instant() - began).as_secs_f64();
    let ok = found.wrong.is_empty();
    let summary = Summary {
        ok,
        seed: args.seed,
        events: args.events,
        seconds,
        tables: tables::ALL,
        found,
        injected,
        given_up,
    };
    Output::new(global)
        .result(&summary, &summary.text())
        .map_err(|failure| failure.to_string())?;
    Ok(if ok { Exit::Done } else { Exit::Found })
}

/// Writes the rows and forwards them until nothing is left.
async fn forward(
    global: &Global,
    args: &UpArgs,
    directory: &Arc<Directory>,
    clock: &Clock,
    begun: &Run,
    traffic: &Arc<Vec<Step>>,
) -> Result<Injected, String> {
    directory.remove_half_made(begun)?;
    let endpoint = Endpoint::start(directory.database().as_deref(), args.port.unwrap_or(0)).await?;
    let sdk = endpoint.clients().await;
    let client = aws_sdk_dynamodb::Client::new(&sdk);
    let streams = tables::create(&client, clock).await?;
    directory.save_tables()?;
    let stream_arn = streams.audit;

    let random = Random::seeded(args.seed);
    let saved = directory.progress()?;
    let stream = Arc::new(Stream::restored(&stream_arn, saved.checkpoints));
    let forwarder = handler::system(directory, true, SINK_TIMEOUT, clock, &random).await?;
    let troubles = Troubles::new(
        TROUBLE,
        &saved.troubles,
        clock,
        Random::seeded(args.seed.wrapping_add(1)),
    );
    let before = Arc::clone(&troubles);
    let forwarder = handler::replaced(forwarder, handler::LOCAL, move |inner| before.around(inner));
    let outage = Troubles::down(REMOTE_OUTAGE, clock);
    let before = Arc::clone(&outage);
    let forwarder = handler::replaced(forwarder, handler::REMOTE, move |inner| before.around(inner));
    let handler = handler::handler(handler::planted(forwarder, args.plant), clock);
    let tasks = Tasks::new(directory, &client, &handler, clock, directory.tasks()?).await?;
    let tasks = tasks.forgetting(args.plant == Some(Plant::Forget));
    let settings = args.settings(directory);
    let (unsaved, saver) = (Arc::new(Mutex::new(None)), Arc::clone(directory));
    let (failed, suffered) = (Arc::clone(&unsaved), Arc::clone(&troubles));
    let mapping = Mapping::new(
        settings,
        Arc::clone(&stream),
        handler,
        clock.clone(),
        random.clone(),
    )
    .map_err(|error| error.to_string())?
    .with_faults(Faults::new(&Fault::ALL, FAULTS, STALL, random))
    .with_counts(saved.counts)
    .with_progress(move |stream, counts| {
        let progress = Progress {
            checkpoints: stream.checkpoints(),
            counts: counts.clone(),
            troubles: suffered.counts(),
        };
        if let Err(message) = saver.save_progress(&progress) {
            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        }
    });

    let (written, done) = (AtomicUsize::new(begun.written), AtomicBool::new(false));
    let bar = bar(args.events, global);
    let write = async {
        let progress = |rows| {
            bar.set_position(rows as u64);
            if written.fetch_max(rows, Ordering::Relaxed) / SAVE_EACH < rows / SAVE_EACH {
                let _ = directory.save_run(&Run {
                    written: rows,
                    ..begun.clone()
                });
            }
        };
        writer::write_all(&client, traffic, begun.written, progress).await?;
        done.store(true, Ordering::Release);
        bar.set_message("waiting for the mapping");
        Ok::<(), String>(())
    };
    let mut router = Router::new(Arc::clone(&stream), args.events / 2);
    let read = async {
        let streams = aws_sdk_dynamodbstreams::Client::new(&sdk);
        reader::read(&streams, &stream_arn, &mut router, &done, clock).await?;
        stream.end();
        Ok(())
    };
    let forward = async {
        mapping.run().await;
        Ok(())
    };
    let told = |turn: Result<&Done, String>| match turn {
        Ok(done) => {
            if let Err(error) = directory.save_tasks(done) {
                tracing::warn!(%error, "what the tasks did is not saved");
            }
        }
        Err(error) => tracing::warn!(%error, "a task failed"),
    };
    let (all, stop) = oneshot::channel::<()>();
    let work = async {
        let forwarded = async {
            tokio::try_join!(write, read, forward)?;
            drop(all);
            Ok(())
        };
        let tasked = async {
            tasks.run(DRAINS, FILES, async { drop(stop.await) }, told).await;
            Ok::<(), String>(())
        };
        tokio::try_join!(forwarded, tasked)?;
        tasks.finish(DRAINS, told).await
    };
    let moved = || {
        (
            written.load(Ordering::Relaxed),
            stream.waiting(),
            mapping.counts().successes,
            tasks.done(),
        )
    };
    let ended = tokio::select! {
        ended = work => ended,
        () = stuck(clock, moved) => Err(format!(
            "nothing moved for {} s, {} records wait; the function's last error: {}",
            STUCK.as_secs(), stream.waiting(), mapping.last_error().unwrap_or_else(|| "none".to_owned()),
        )),
    };
    bar.finish_and_clear();
    ended?;
    if let Some(message) = unsaved.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(message);
    }
    let injected = Injected {
        rows: Rows::of(traffic, router.routed()),
        sink: troubles.counts(),
        mapping: mapping.counts(),
        tasks: tasks.done(),
        remote_refused: outage.counts().get(&Trouble::Down).copied().unwrap_or_default(),
    };
    drop((mapping, tasks, client, sdk));
    endpoint.stop().await;
    Ok(injected)
}

/// Ends when what `moved` answers has been the same for too long.
async fn stuck<T: PartialEq>(clock: &Clock, moved: impl Fn() -> T) {
    let (mut last, mut since) = (moved(), clock.instant());
    loop {
        clock.sleep(Duration::from_secs(1)).await;
        let now = moved();
        if now != last {
            (last, since) = (now, clock.instant());
        } else if clock.instant() - since > STUCK {
            return;
        }
    }
}

fn bar(events: usize, global: &Global) -> ProgressBar {
    let shown = std::io::stderr().is_terminal() && !global.json;
    let target = if shown {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rows, {per_sec}, {eta} {msg}");
    let bar = ProgressBar::with_draw_target(Some(events as u64), target);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
