//! `tidewatch state watch`.

use std::pin::Pin;
use std::time::Duration;

use aws_sdk_dynamodbstreams::config::Builder;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::state::{Backend, Item, Partitioned};
use tidewatch::watch::log::{Description, Pace};
use tidewatch::watch::stream::StreamSource;
use tidewatch::watch::{
    Filter, Notice, Operations, Position, Prefix, Settings, Start, WatchError, WatchParams, Watcher, Watches,
};

use super::backend;
use super::changes::Printer;
use super::lock::interrupted;
use crate::cli::{Exit, Failure, Global, LayoutOption, StateOptions, WatchLogOptions, aws_config, watch_log};

/// Arguments of `tidewatch state watch`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidewatch state watch --table state
  tidewatch state watch /nodes /locks --operations deletes --config /etc/teleport.yaml
  tidewatch state watch /nodes --list --log watch --table teleport --layout teleport
  tidewatch state watch --log watch --table teleport --for 10m --json > changes.ndjson

The changes of a key come in the order of the writes, each once; those of different keys may come in any order. At the
end, by Ctrl-C, --limit or --for, the position to go on from with --from is printed: on standard error, or with --json as the last
line. Without --log the table's stream is read: DynamoDB allows two readers of it, Lambda among them. A position there
in which no change was seen is gone on from at the stream's oldest record: up to a day of changes is seen again.
Exit status: 5 if changes were missed, because the position is too old or the source has a gap; with --list all is
listed again instead.")]
pub(super) struct WatchArgs {
    /// Keys, and what lies below them [default: all keys]
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// All keys that begin with PREFIX: /a takes /ab too
    #[arg(long)]
    plain: bool,
    /// Only these changes
    #[arg(long, value_enum, value_name = "WHICH", default_value_t)]
    operations: OperationsOption,
    /// Go on from a position that was printed
    #[arg(long, value_name = "POSITION", conflicts_with_all = ["beginning", "list"])]
    from: Option<Position>,
    /// Begin with the oldest change from which nothing is missing
    #[arg(long, conflicts_with = "list")]
    beginning: bool,
    /// List what is there first, and again whenever changes were missed
    #[arg(long)]
    list: bool,
    /// Show values: as text if they are text, or else in base64 (with --json always)
    #[arg(long)]
    reveal: bool,
    /// End after so many changes
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End after this time, such as 30s or 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Read the watch log in this table instead of the table's stream
    #[arg(long, value_name = "TABLE")]
    log: Option<String>,
    /// Name of the log in it [default: the state table's, or TABLE.NAMESPACE with --layout partitioned]
    #[arg(long, value_name = "NAME", requires = "log")]
    log_name: Option<String>,
    #[command(flatten)]
    state: StateOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum OperationsOption {
    /// Puts and deletes
    #[default]
    All,
    /// What was created, replaced or kept alive
    Puts,
    /// What was deleted or has expired
    Deletes,
}

impl WatchArgs {
    fn params(&self) -> WatchParams {
        let prefix = |key: &String| match self.plain {
            true => Prefix::plain(key.as_str()),
            false => Prefix::component(key.as_str()),
        };
        let operations = match self.operations {
            OperationsOption::All => Operations::All,
            OperationsOption::Puts => Operations::Puts,
            OperationsOption::Deletes => Operations::Deletes,
        };
        let start = match &self.from {
            Some(position) => Start::At(position.clone()),
            None if self.beginning => Start::Beginning,
            None => Start::Now,
        };
        WatchParams {
            start,
            ..Filter::new(self.prefixes.iter().map(prefix), operations).into()
        }
    }
}

/// The pause before a list after changes were missed: whatever ends a watch as it begins does not list without end.
const RELIST: Duration = Duration::from_secs(1);
/// How long looking at the log may take.
const LOOK: Duration = Duration::from_secs(30);

/// What is watched.
struct Source {
    watches: Watches,
    /// For listing.
    backend: Option<Backend>,
    /// For machines.
    told: Value,
}

pub(super) async fn run(global: &Global, args: WatchArgs) -> Result<Exit, Failure> {
    let (clock, printer) = (Clock::system(), Printer::new(global, args.reveal));
    let mut stop: Stop<'_> = Box::pin(async {
        let over = async {
            match args.time {
                Some(time) => clock.sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupted() => {}
            () = over => {}
        }
    });
    let Some(source) = or(&mut stop, source(global, &args)).await else {
        return Ok(Exit::Done);
    };
    let source = source?;
    let mut left = args.limit;
    loop {
        let Some(begun) = or(&mut stop, begin(&source, args.params())).await else {
            return Ok(Exit::Done);
        };
        let (items, mut watcher) = begun?;
        let listed = match (&items, &source.backend) {
            (Some(items), Some(backend)) => printer.list(items, backend.clock().now())?,
            _ => true,
        };
        if !listed || !printer.watching(&source.told)? {
            return Ok(Exit::Done);
        }
        let missed = loop {
            let Some(next) = or(&mut stop, watcher.next()).await else {
                return printer.position(&watcher.position());
            };
            match next {
                Ok(Notice::Event {
                    event,
                    may_precede_list,
                }) => {
                    left = left.map(|left| left.saturating_sub(1));
                    if !printer.event(&event, may_precede_list)? {
                        return Ok(Exit::Done);
                    }
                    if left == Some(0) {
                        return printer.position(&watcher.position());
                    }
                }
                Ok(_) => {}
                Err(WatchError::Compacted { floor, why }) => break (floor, why),
                Err(error) => return Err(error.into()),
            }
        };
        printer.missed(&missed.0, &missed.1)?;
        if !args.list {
            return Err(Failure {
                exit: Exit::Missed,
                message: format!(
                    "changes were missed ({}): list what is there and go on from it with --list, or take the loss and \
                     begin with the oldest change that is kept with --beginning",
                    missed.1
                ),
            });
        }
        if or(&mut stop, clock.sleep(RELIST)).await.is_none() {
            return Ok(Exit::Done);
        }
    }
}

type Stop<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What `work` comes to; none if it is to stop before.
async fn or<T>(stop: &mut Stop<'_>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop => None,
        done = Box::pin(work) => Some(done),
    }
}

async fn begin(source: &Source, params: WatchParams) -> Result<(Option<Vec<Item>>, Watcher), WatchError> {
    match &source.backend {
        Some(backend) => {
            let (items, watcher) = source.watches.list_and_watch(backend, params).await?;
            Ok((Some(items), watcher))
        }
        None => Ok((None, source.watches.watch(params).await?)),
    }
}

async fn source(global: &Global, args: &WatchArgs) -> Result<Source, Failure> {
    let Some(log_table) = &args.log else {
        let backend = backend(global, &args.state).await?;
        let mut streams = Builder::from(&aws_config(global).await?);
        if backend.config().fips {
            streams = streams.use_fips(true);
        }
        let streams = aws_sdk_dynamodbstreams::Client::from_conf(streams.build());
        let stream = StreamSource::open(&backend, &streams).await?;
        return Ok(Source {
            watches: Watches::over_stream(stream, &backend),
            told: json!({"type": "watching", "source": "stream", "table": backend.table()}),
            backend: args.list.then_some(backend),
        });
    };
    let options = WatchLogOptions {
        log_table: Some(log_table.clone()),
        log_name: args.log_name.clone(),
        namespace: args.state.namespace.clone().or_else(|| {
            let partitioned = args.state.layout == Some(LayoutOption::Partitioned);
            partitioned.then(|| Partitioned::default().namespace().to_owned())
        }),
    };
    let named = watch_log(global, &options).await?;
    let log = named.open(global).await?;
    let described = log.describe(Clock::system().instant() + LOOK).await?;
    named.is_of(&described.table)?;
    covers(&described, args.params().filter.prefixes())?;
    let backend = match args.list {
        true => Some(backend(global, &args.state).await?),
        false => None,
    };
    Ok(Source {
        watches: Watches::over_log(&log, Pace::default(), &Settings::default()),
        backend,
        told: json!({
            "type": "watching", "source": "log", "table": described.table, "log_table": named.table,
            "log_name": named.name,
        }),
    })
}

/// Refuses keys that the log leaves out: nothing would be told of them.
fn covers(described: &Description, asked: &[Prefix]) -> Result<(), Failure> {
    let logged = &described.prefixes;
    let covered = |prefix: &Prefix| logged.iter().any(|logged| logged.covers(prefix));
    if logged.is_empty() || (!asked.is_empty() && asked.iter().all(covered)) {
        return Ok(());
    }
    let keys: Vec<String> = logged.iter().map(|prefix| prefix.key().to_string()).collect();
    Err(Failure::usage(format!(
        "the log holds only what lies below {}: watch that, or the table's stream without --log",
        keys.join(", ")
    )))
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        let exit = match &error {
            WatchError::BadParameter(_) => Exit::Usage,
            WatchError::Compacted { .. } => Exit::Missed,
            WatchError::State(error) => return error.clone().into(),
            _ => Exit::Failed,
        };
        Self {
            exit,
            message: error.to_string(),
        }
    }
}
