//! `tidewatch audit tail`.

use std::time::Duration;

use clap::Args;
use tidewatch::audit::log::{Search, Tail};
use tidewatch::state::ErrorKind;

use super::{FilterOptions, When, show, when};
use crate::cli::{Exit, Failure, Global, Output, audit_table};
use crate::state::lock::interrupted;

/// Arguments of `tidewatch audit tail`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch audit tail --table teleport.audit
  tidewatch audit tail --type user.login --from 1h --config /etc/teleport.yaml
  tidewatch audit tail --for 10m --json --table teleport.audit > events.ndjson

The last five minutes are read again at each look, and what was shown is left out: what is written with an older time
than that is not shown here, but in the table's stream and the lake. Each look costs what those five minutes hold: half a
read unit for each 4 KB. Ends by Ctrl-C, --limit or --for.")]
pub(super) struct TailArgs {
    /// Events from then on: a time, a day (UTC), or an age such as 1h [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    from: Option<When>,
    /// Pause between two looks
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s")]
    every: Duration,
    /// End after so many events
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End after this time, such as 30s or 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    #[command(flatten)]
    filter: FilterOptions,
}

pub(super) async fn run(global: &Global, args: TailArgs) -> Result<Exit, Failure> {
    let condition = args.filter.condition()?;
    let table = audit_table(global).await?;
    let clock = table.clock().clone();
    let now = clock.now();
    let search = Search {
        types: args.filter.types,
        condition,
        ..Search::new(now, now)
    };
    let mut tail = Tail::new(&table, args.from.map_or(now, |from| from.from(now)), search);
    let over = async {
        match args.time {
            Some(time) => clock.sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let told = tell(global, &mut tail, args.every, args.limit);
    tokio::select! {
        biased;
        _ = interrupted() => Ok(Exit::Done),
        () = over => Ok(Exit::Done),
        told = Box::pin(told) => told.map(|()| Exit::Done),
    }
}

/// Whether it may be otherwise soon, without anyone's doing.
fn passes(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Throttled | ErrorKind::Contended | ErrorKind::Unavailable | ErrorKind::OutcomeUnknown
    )
}

async fn tell(
    global: &Global,
    tail: &mut Tail,
    every: Duration,
    mut left: Option<u64>,
) -> Result<(), Failure> {
    let output = Output::new(global);
    let clock = tidewatch::clock::Clock::system();
    loop {
        let (events, more) = match tail.next().await {
            Ok(look) => look,
            // Whatever was written meanwhile is told once it passes.
            Err(error) if passes(error.kind()) => {
                tracing::warn!("{error}; looking again");
                clock.sleep(every.max(Duration::from_millis(100))).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for event in &events {
            let Some(json) = show::json(event) else { continue };
            if !output.line(&json, &show::line(event))? {
                return Ok(());
            }
            left = left.map(|left| left.saturating_sub(1));
            if left == Some(0) {
                return Ok(());
            }
        }
        if !more {
            clock.sleep(every.max(Duration::from_millis(100))).await;
        }
    }
}
