//! State beside the audit events: traffic on the state table, the mapping of its stream to the function, which keeps the
//! watch log, and a watcher of that.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, Item, Key, Layout, LockConfiguration};
use tidewatch::watch::feed::Feed;
use tidewatch::watch::log::{Appender, Facts, Inline, Log, LogSpec, MIN_RETENTION, MappingFacts, Pace};
use tidewatch::watch::{Event, Notice, Settings as Kept, WatchError, WatchParams, Watches};

use super::route::Router;
use super::state::{Directory, Progress};
use super::tables::{STATE_TABLE, WATCH_TABLE};
use super::{handler, reader};
use crate::cli::ERROR;
use crate::esm::{Mapping, Settings, Stream};

/// The second shard splits after so many records.
const SPLIT_AFTER: usize = 100;
/// Nodes that keep their leases.
const NODES: u64 = 3;
/// How long a node's lease is.
const LEASE: Duration = Duration::from_secs(60);
/// How often the log is compacted and examined: an hour or more would do.
const UPKEEP: Duration = Duration::from_secs(60);
/// How long a request to the log may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause before a failed piece of traffic is tried again, and before a watch begins anew.
const PAUSE: Duration = Duration::from_secs(1);

/// The state table, its log and what reads that.
pub(super) struct Watched {
    backend: Backend,
    log: Log,
    watches: Watches,
    stream_arn: String,
    clock: Clock,
    random: Random,
}

impl Watched {
    /// Over tables that are there; makes the log.
    ///
    /// # Errors
    /// What the endpoint answered.
    pub(super) async fn start(
        client: &Client,
        stream_arn: &str,
        clock: &Clock,
        random: &Random,
        pace: Pace,
    ) -> Result<Self, String> {
        let config = Config {
            table_name: STATE_TABLE.to_owned(),
            layout: Layout::Teleport,
            ..Config::default()
        };
        let backend = Backend::existing(client, config, clock.clone(), random.clone()).await;
        let backend = backend.map_err(|error| error.to_string())?;
        let log = Log::new(client, WATCH_TABLE, STATE_TABLE, clock.clone(), random.clone());
        let spec = LogSpec {
            stream: Some(stream_arn.to_owned()),
            ..LogSpec::new(STATE_TABLE)
        };
        log.create(&spec, clock.instant() + LIMIT)
            .await
            .map_err(|error| error.to_string())?;
        // Appenders learn of it within ten minutes; here they know from the start, and file what falls due.
        log.announce_sweeps(clock.instant() + LIMIT)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Self {
            watches: Watches::over_log(&log, pace, &Kept::default()),
            backend,
            log,
            stream_arn: stream_arn.to_owned(),
            clock: clock.clone(),
            random: random.clone(),
        })
    }

    /// The mapping from the state table's stream to the function, going on where an earlier run stopped.
    fn mapping(&self, directory: &Arc<Directory>) -> Result<(Arc<Stream>, Mapping), String> {
        let saved = directory.watch_progress()?;
        let stream = Arc::new(Stream::restored(&self.stream_arn, saved.checkpoints));
        let appender = Appender::new(self.log.clone(), Inline::All);
        let feed = Feed::new(appender, STATE_TABLE, Layout::Teleport, self.clock.clone());
        let settings = Settings {
            on_failure: Some(directory.on_failure()),
            ..Settings::default()
        };
        let handler = handler::feeding(feed, &self.clock);
        let saver = Arc::clone(directory);
        let mapping = Mapping::new(
            settings,
            Arc::clone(&stream),
            handler,
            self.clock.clone(),
            self.random.clone(),
        )
        .map_err(|error| error.to_string())?
        .with_counts(saved.counts)
        .with_progress(move |stream, counts| {
            let progress = Progress {
                checkpoints: stream.checkpoints(),
                counts: counts.clone(),
                ..Progress::default()
            };
            if let Err(message) = saver.save_watch_progress(&progress) {
                anstream::eprintln!("{ERROR}{message}{ERROR:#}");
            }
        });
        Ok((stream, mapping))
    }

    /// Runs all of it without end, and shows what the watcher is told.
    ///
    /// # Errors
    /// What cannot be gone on from.
    pub(super) async fn live(
        &self,
        directory: &Arc<Directory>,
        sdk: &SdkConfig,
        rate: u32,
        show: fn(&Event),
    ) -> Result<(), String> {
        let (stream, mapping) = self.mapping(directory)?;
        let streams = aws_sdk_dynamodbstreams::Client::new(sdk);
        let mut router = Router::new(stream, SPLIT_AFTER);
        let never = AtomicBool::new(false);
        let read = reader::read(&streams, &self.stream_arn, &mut router, &never, &self.clock);
        let feed = async {
            mapping.run().await;
            Ok(())
        };
        let (traffic, upkeep) = (self.traffic(rate), self.upkeep(&mapping));
        tokio::try_join!(read, feed, traffic, upkeep, self.watch(show)).map(|_| ())
    }

    /// Shows every change made from now on; begins anew where changes were missed.
    async fn watch(&self, show: fn(&Event)) -> Result<(), String> {
        loop {
            let begun = self.watches.watch(WatchParams::default()).await;
            let mut watcher = begun.map_err(|error| error.to_string())?;
            let ended = loop {
                match watcher.next().await {
                    Ok(Notice::Event { event, .. }) => show(&event),
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            match ended {
                WatchError::Compacted { why, .. } => {
                    anstream::eprintln!("{ERROR}changes of state were missed: {why}{ERROR:#}");
                }
                error => return Err(error.to_string()),
            }
            self.clock.sleep(PAUSE).await;
        }
    }

    /// Compacts and examines the log now and then, and breaks it for what the mapping gave up.
    async fn upkeep(&self, mapping: &Mapping) -> Result<(), String> {
        let lost = || {
            let counts = mapping.counts();
            counts.exhausted + counts.too_old
        };
        let mut known = lost();
        loop {
            self.clock.sleep(UPKEEP).await;
            let stop = self.clock.instant() + LIMIT;
            let facts = Facts {
                stream: Some(self.stream_arn.clone()),
                mapping: Some(MappingFacts {
                    id: STATE_TABLE.to_owned(),
                    enabled: true,
                    from_trim_horizon: true,
                }),
            };
            let done = async {
                self.log.examine(&facts, stop).await?;
                self.log.compact(MIN_RETENTION, stop).await?;
                let now = lost();
                if now > known {
                    let why = "the mapping gave up changes of the table's stream";
                    self.log.break_all(why, &format!("up/{now}"), None, stop).await?;
                    known = now;
                }
                Ok::<(), tidewatch::watch::log::LogError>(())
            };
            if let Err(error) = done.await {
                anstream::eprintln!("{ERROR}{error}{ERROR:#}");
            }
        }
    }

    /// Sample traffic: a round takes as long as eight audit events.
    async fn traffic(&self, rate: u32) -> Result<(), String> {
        if rate == 0 {
            return std::future::pending().await;
        }
        let pause = Duration::from_secs(8) / rate;
        for round in 0.. {
            if let Err(error) = Box::pin(self.round(round)).await {
                anstream::eprintln!("{ERROR}sample traffic: {error}{ERROR:#}");
                self.clock.sleep(PAUSE).await;
            }
            self.clock.sleep(pause).await;
        }
        Ok(())
    }

    /// A node is registered or renewed; now and then a note is put and the one before deleted, and a lock held.
    async fn round(&self, round: u64) -> Result<(), tidewatch::state::Error> {
        let node = Key::from(format!("/nodes/default/node-{}", round % NODES).as_str());
        let expires = self.clock.now() + LEASE;
        // The first time there is nothing to renew.
        let renewed = round >= NODES && self.backend.keep_alive_unchecked(&node, expires).await.is_ok();
        if !renewed {
            let text = format!("{{\"hostname\":\"node-{}\"}}", round % NODES);
            self.backend.put(&Item::new(node, text).expiring(expires)).await?;
        }
        if round % 4 == 1 {
            let note = |number: u64| Key::from(format!("/notes/{number}").as_str());
            self.backend.put(&Item::new(note(round), "a note")).await?;
            if round > 4 {
                // Of an earlier run there may be none.
                let _ = self.backend.delete(&note(round - 4)).await;
            }
        }
        if round % 10 == 5 {
            let lock = LockConfiguration::new(["sweep"], Duration::from_secs(30));
            self.backend.acquire_lock(&lock).await?.release().await?;
        }
        Ok(())
    }
}
