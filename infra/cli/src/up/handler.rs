//! Connects the mapping to the `forward` function itself, with its sinks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::{Forwarder, Outgoing, Sink, SinkError};
use tidewatch::random::Random;
use tidewatch::watch::feed::Feed;
use tidewatch_forward::Function;

use super::plant::Plant;
use super::state::Directory;
use crate::esm::Handler;

/// How long a sink may take, unless it is going to hang on purpose.
pub const SINK_TIMEOUT: Duration = Duration::from_secs(10);

/// The file sink.
pub const LOCAL: &str = "local";
/// The file sink of `--once` that is down for a while.
pub const REMOTE: &str = "remote";

/// Starts a forwarder that writes events and quarantine below `directory`. A try of its sink may take `timeout`.
///
/// # Errors
/// A message if a directory cannot be opened.
pub async fn forwarder(
    directory: &Directory,
    timeout: Duration,
    clock: &Clock,
    random: &Random,
) -> Result<Forwarder, String> {
    let uri = |path: &Path| serde_json::Value::from(format!("file://{}", path.display())).to_string();
    let document = format!(
        "quarantine: {}\nsinks:\n  local: {{ uri: {}, format: event, timeout: {}ms }}\n",
        uri(&directory.quarantine()),
        uri(&directory.events()),
        timeout.as_millis(),
    );
    start(&document, clock, random).await
}

/// Starts a forwarder with a spool and a lake below `directory`, too, and for `--once` (`twice`) with two file sinks:
/// one whose failures Lambda hears of, a try of which may take `timeout`, and one that may be down.
///
/// # Errors
/// A message if a directory cannot be opened.
pub async fn system(
    directory: &Directory,
    twice: bool,
    timeout: Duration,
    clock: &Clock,
    random: &Random,
) -> Result<Forwarder, String> {
    let uri = |path: &Path, rest: &str| {
        serde_json::Value::from(format!("file://{}{rest}", path.display())).to_string()
    };
    let local = if twice { "retry" } else { "spool" };
    let mut document = format!(
        "quarantine: {}\nspool: {}\nsinks:\n  lake: {{ uri: {} }}\n  {LOCAL}: {{ uri: {}, format: event, timeout: {}ms, on_failure: {local} }}\n",
        uri(&directory.quarantine(), ""),
        uri(&directory.spool(), ""),
        uri(&directory.lake(), "?format=parquet"),
        uri(&directory.events(), ""),
        timeout.as_millis(),
    );
    if twice {
        let events = uri(&directory.remote(), "");
        document += &format!("  {REMOTE}: {{ uri: {events}, format: event, timeout: 1s, budget: 3s }}\n");
    }
    start(&document, clock, random).await
}

async fn start(document: &str, clock: &Clock, random: &Random) -> Result<Forwarder, String> {
    let config = Config::parse(document, "tidewatch up", []).map_err(|faults| faults.to_string())?;
    Forwarder::start(&config, clock.clone(), random.clone())
        .await
        .map_err(|error| error.to_string())
}

/// A forwarder, one of whose sinks is replaced by what `replace` makes of it.
pub fn replaced(
    forwarder: Forwarder,
    sink: &'static str,
    replace: impl Fn(Arc<dyn Sink>) -> Arc<dyn Sink> + Send + 'static,
) -> Forwarder {
    forwarder.map_sinks(move |name, inner| if name == sink { replace(inner) } else { inner })
}

/// The function around a forwarder, as a mapping calls it.
pub fn handler(forwarder: Forwarder, clock: &Clock) -> Handler {
    called(Function::new(forwarder, clock.clone()))
}

/// The function around a feed of a watch log, as a mapping calls it.
pub fn feeding(feed: Feed, clock: &Clock) -> Handler {
    called(Function::feeding(feed, clock.clone()))
}

fn called(function: Function) -> Handler {
    let function = Arc::new(function);
    Arc::new(move |payload, deadline| {
        let function = Arc::clone(&function);
        async move {
            Box::pin(function.invoke(&payload, deadline))
                .await
                .map_err(|error| error.to_string())
        }
        .boxed()
    })
}

/// Puts what `--plant` asks of a sink around the file sink.
pub fn planted(forwarder: Forwarder, plant: Option<Plant>) -> Forwarder {
    match plant {
        Some(Plant::Lose) => replaced(forwarder, LOCAL, |inner| {
            Arc::new(Loses {
                inner,
                calls: AtomicUsize::new(0),
            })
        }),
        _ => forwarder,
    }
}

/// Shows each record once the file sink has taken it.
pub fn shown(forwarder: Forwarder, show: fn(&[u8])) -> Forwarder {
    replaced(forwarder, LOCAL, move |inner| Arc::new(Shows { inner, show }))
}

/// Acknowledges the last record of each third call without passing it on.
#[derive(Debug)]
struct Loses {
    inner: Arc<dyn Sink>,
    calls: AtomicUsize,
}

impl Sink for Loses {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        let loses = self.calls.fetch_add(1, Ordering::Relaxed) % 3 == 2;
        match records.split_last() {
            Some((_, rest)) if loses => async move { Ok(self.inner.deliver(rest).await? + 1) }.boxed(),
            _ => self.inner.deliver(records),
        }
    }
}

#[derive(Debug)]
struct Shows {
    inner: Arc<dyn Sink>,
    show: fn(&[u8]),
}

impl Sink for Shows {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        async move {
            let acked = self.inner.deliver(records).await?;
            records
                .iter()
                .take(acked)
                .for_each(|record| (self.show)(record.line));
            Ok(acked)
        }
        .boxed()
    }
}
