//! Opening what a chain of versions asks for; what stays from one chain to the next stays open.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use super::destinations::{Destination, destinations, leads_to};
use super::serve::{Memory, NamedSink, Places};
use super::sink::{Outgoing, Sink, SinkError};
use super::spill::probe as spill_probe;
use super::spool::Spool;
use super::start::StartError;
use super::{OBJECT_TRY, sinks};
use crate::clock::{Clock, Instant, TimedOut};
use crate::config::{AwsConfig, Chain, ObjectsUri, SinkUri};
use crate::objects::{Objects, ObjectsError};
use crate::random::Random;

/// When what could not be opened is tried again at the earliest.
const AGAIN: Duration = Duration::from_secs(60);
/// Before a place that did not answer is tried once more.
const PAUSE: Duration = Duration::from_secs(1);
/// What an environment's start may take of its first invocation, which tells then of less time than others have.
const START: Duration = Duration::from_secs(30);

/// A chain of versions, with everything open that its records need.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The versions in use.
    pub(crate) chain: Arc<Chain>,
    /// The versions there are; the newest may be of no use.
    read: Arc<Chain>,
    /// When something is to be opened that could not be.
    again: Option<Instant>,
    pub(crate) sinks: Vec<NamedSink>,
    /// The newest version's.
    pub(crate) quarantine: Arc<Objects>,
}

impl Plan {
    pub(crate) fn new(chain: Arc<Chain>, sinks: Vec<NamedSink>, quarantine: Arc<Objects>) -> Self {
        Self {
            read: Arc::clone(&chain),
            chain,
            again: None,
            sinks,
            quarantine,
        }
    }

    /// Whether it still serves invocations of so much time, now that these are the versions.
    pub(crate) fn serves(&self, read: &Arc<Chain>, now: Instant, total: Duration) -> bool {
        self.again.is_none_or(|again| now < again)
            && (Arc::ptr_eq(&self.read, read) || self.read.is(read))
            && self.fits(Some(total))
    }

    /// Sinks whose single try may take longer than half of the time that an invocation has.
    pub(crate) fn too_long(&self, total: Duration) -> impl Iterator<Item = &NamedSink> {
        self.sinks
            .iter()
            .filter(move |sink| sink.longest_try() * 2 > total)
    }

    /// Whether the newest version's sinks can be served by an invocation that has so much time, if that is known.
    fn fits(&self, total: Option<Duration>) -> bool {
        match total {
            // The only version has nothing to be passed over for.
            Some(total) if self.chain.versions().len() > 1 => {
                !self.too_long(total + START).any(|sink| sink.is_of(0))
            }
            _ => true,
        }
    }
}

/// Puts a sink around a sink.
pub(crate) struct Replace(pub(crate) Box<Replaces>);

type Replaces = dyn FnMut(&str, Arc<dyn Sink>) -> Arc<dyn Sink> + Send;

impl fmt::Debug for Replace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replace")
    }
}

/// Opens places and sinks, and knows those that are open.
#[derive(Debug)]
pub(crate) struct Opener {
    clock: Clock,
    random: Random,
    /// Put around each sink that is opened.
    replaces: Vec<Replace>,
    sinks: Vec<Opened>,
    quarantine: Option<Shared<Objects>>,
    spool: Option<Shared<Spool>>,
    spill: Option<Shared<Objects>>,
    /// Loaded when the first place in S3 is asked for.
    #[cfg(feature = "s3")]
    sdk: Vec<(AwsConfig, aws_config::SdkConfig)>,
}

/// A place that all sinks share.
#[derive(Debug)]
struct Shared<T> {
    uri: ObjectsUri,
    aws: AwsConfig,
    place: Arc<T>,
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self {
            uri: self.uri.clone(),
            aws: self.aws.clone(),
            place: Arc::clone(&self.place),
        }
    }
}

/// A destination that is open.
#[derive(Debug, Clone)]
struct Opened {
    name: String,
    uri: SinkUri,
    aws: AwsConfig,
    /// As it was opened.
    plain: Arc<dyn Sink>,
    /// With what was put around it.
    sink: Arc<dyn Sink>,
    memory: Arc<Memory>,
}

impl Opener {
    pub(crate) fn new(clock: Clock, random: Random) -> Self {
        Self {
            clock,
            random,
            replaces: Vec::new(),
            sinks: Vec::new(),
            quarantine: None,
            spool: None,
            spill: None,
            #[cfg(feature = "s3")]
            sdk: Vec::new(),
        }
    }

    /// Puts something around each sink of a plan and those that are opened later.
    pub(crate) fn replace(&mut self, mut replace: Replace, plan: &mut Plan) {
        for sink in &mut plan.sinks {
            sink.sink = (replace.0)(&sink.name, Arc::clone(&sink.sink));
            let same = |opened: &&mut Opened| Arc::ptr_eq(&opened.memory, &sink.memory);
            if let Some(opened) = self.sinks.iter_mut().find(same) {
                opened.sink = Arc::clone(&sink.sink);
            }
        }
        self.replaces.push(replace);
    }

    /// A plan by the newest version, or by the one before it where that one cannot be opened, or not be served in the time
    /// that an invocation has, if that is known. Not by one that is older still: what is in its way would pass. Nor if a
    /// place that both have does not answer: that passes too, and records would miss their sinks.
    pub(crate) async fn plan(
        &mut self,
        read: &Arc<Chain>,
        total: Option<Duration>,
    ) -> Result<Plan, StartError> {
        let mut opened = self.open(read).await;
        if opened.as_ref().is_err_and(StartError::may_pass) {
            self.clock.sleep(PAUSE).await;
            opened = self.open(read).await;
        }
        let error = match opened {
            Ok(plan) if plan.fits(total) => return Ok(plan),
            Ok(_) => StartError::TimeoutTooLong,
            Err(error) => error,
        };
        let before = read.before().filter(|_| read.passed_over().is_none());
        let Some(before) = before else { return Err(error) };
        if error.may_pass() && same_places(read, &before) {
            return Err(error);
        }
        let version = read.versions().first().map(|version| version.name.as_str());
        tracing::error!(version, %error, "a version of the configuration cannot be opened: the one before it goes on");
        let mut plan = self.open(&Arc::new(before)).await?;
        plan.read = Arc::clone(read);
        plan.again = Some(self.clock.instant() + AGAIN);
        Ok(plan)
    }

    /// Opens what is not open yet. What the newest version asks for must open; another destination that does not fails
    /// like one that is down.
    async fn open(&mut self, chain: &Arc<Chain>) -> Result<Plan, StartError> {
        let newest = chain.versions().first().ok_or(StartError::NotConfigured)?;
        let config = &newest.config;
        let (aws, spool, spill) = (&config.aws, config.spool.as_ref(), config.spill.as_ref());
        let quarantine = config.quarantine.as_ref().ok_or(StartError::NotConfigured)?;
        let quarantine = self.quarantine(quarantine, aws).await?;
        let known = self.spool.clone();
        let spool = self
            .shared(known, spool, aws, Spool::new, "spool", Spool::probe)
            .await?;
        let known = self.spill.clone();
        let spill = self
            .shared(known, spill, aws, |objects| objects, "spill", spill_probe)
            .await?;
        let places = Places {
            spool: spool.as_ref().map(|spool| Arc::clone(&spool.place)),
            spill: spill.as_ref().map(|spill| Arc::clone(&spill.place)),
        };
        let (mut opened, mut named, mut again) = (Vec::new(), Vec::new(), None);
        let mut dirs = BTreeSet::new();
        for destination in destinations(chain) {
            if let SinkUri::File { dir, .. } = &destination.config.uri
                && destination.is_newest()
                && !dirs.insert(dir.clone())
            {
                let error = SinkError(format!("{}: another process or sink writes here", dir.display()));
                let name = destination.name;
                return Err(StartError::Sink { name, error });
            }
            let (sink, memory) = match self.sink(&destination, &opened).await {
                Ok(one) => {
                    let parts = (Arc::clone(&one.sink), Arc::clone(&one.memory));
                    opened.push(one);
                    parts
                }
                Err(error) if destination.is_newest() => return Err(error),
                Err(error) => {
                    tracing::error!(sink = destination.name, %error, "a sink of an earlier version cannot be opened");
                    again = Some(self.clock.instant() + AGAIN);
                    let closed: Arc<dyn Sink> = Arc::new(Closed(error.to_string()));
                    (closed, Arc::default())
                }
            };
            named.push(NamedSink::of(destination, sink, memory, places.clone()));
        }
        (self.spool, self.spill, self.sinks) = (spool, spill, opened);
        let place = Arc::clone(&quarantine.place);
        self.quarantine = Some(quarantine);
        let mut plan = Plan::new(Arc::clone(chain), named, place);
        plan.again = again;
        Ok(plan)
    }

    async fn objects(&mut self, uri: &ObjectsUri, aws: &AwsConfig) -> Result<Objects, StartError> {
        #[cfg(feature = "s3")]
        if matches!(uri, ObjectsUri::S3(_)) && !self.sdk.iter().any(|(of, _)| of == aws) {
            let sdk = aws.sdk_config().await?;
            self.sdk.push((aws.clone(), sdk));
        }
        #[cfg(feature = "s3")]
        let sdk = self.sdk.iter().find(|(of, _)| of == aws).map(|(_, sdk)| sdk);
        #[cfg(not(feature = "s3"))]
        let (sdk, _) = (None, aws);
        Objects::open(uri, sdk, self.random.clone()).map_err(|reason| StartError::Place {
            uri: Box::new(uri.clone()),
            reason,
        })
    }

    async fn quarantine(&mut self, uri: &ObjectsUri, aws: &AwsConfig) -> Result<Shared<Objects>, StartError> {
        let same = |known: &&Shared<Objects>| known.uri == *uri && known.aws == *aws;
        if let Some(known) = self.quarantine.as_ref().filter(same) {
            return Ok(known.clone());
        }
        let objects = self.objects(uri, aws).await?;
        let probe = self.clock.timeout(OBJECT_TRY, objects.probe()).await;
        probe.map_err(|TimedOut| StartError::Silent)??;
        Ok(shared(uri, aws, objects))
    }

    /// A place that sinks share, if there is one, that shows what is asked of it.
    async fn shared<T>(
        &mut self,
        known: Option<Shared<T>>,
        uri: Option<&ObjectsUri>,
        aws: &AwsConfig,
        open: impl FnOnce(Objects) -> T,
        setting: &'static str,
        show: impl AsyncFnOnce(&T) -> Result<(), ObjectsError>,
    ) -> Result<Option<Shared<T>>, StartError> {
        let Some(uri) = uri else { return Ok(None) };
        if let Some(known) = known.filter(|known| known.uri == *uri && known.aws == *aws) {
            return Ok(Some(known));
        }
        let place = open(self.objects(uri, aws).await?);
        let reason = match self.clock.timeout(OBJECT_TRY, show(&place)).await {
            Ok(Ok(())) => return Ok(Some(shared(uri, aws, place))),
            Ok(Err(error)) => error.to_string(),
            Err(TimedOut) => format!("no answer within {OBJECT_TRY:?}: is its endpoint reachable?"),
        };
        Err(StartError::Shared { setting, reason })
    }

    /// The destination, open: as it was, if nothing is new about it. A directory stays open as it is, since it can be
    /// open only once; `more` are open too.
    async fn sink(&mut self, destination: &Destination, more: &[Opened]) -> Result<Opened, StartError> {
        let Destination {
            name, config, aws, ..
        } = destination;
        let uri = &config.uri;
        let known = self
            .sinks
            .iter()
            .find(|known| known.name == *name && leads_to(&known.uri, uri));
        let memory = known.map(|known| Arc::clone(&known.memory));
        let stays = |known: &&Opened| match uri {
            SinkUri::Stdout | SinkUri::File { .. } => true,
            SinkUri::S3 { .. } | SinkUri::Lake(_) => known.uri == *uri && known.aws == *aws,
        };
        if let Some(known) = known.filter(stays) {
            return Ok(known.clone());
        }
        let plain: Arc<dyn Sink> = match uri {
            SinkUri::Stdout => Arc::new(sinks::stdout::Stdout::new()),
            SinkUri::File { dir, remember } => {
                // Perhaps under another name.
                let same = |known: &&Opened| leads_to(&known.uri, uri);
                match self.sinks.iter().chain(more).find(same) {
                    Some(known) => Arc::clone(&known.plain),
                    None => Arc::new(file(name, dir, *remember)?),
                }
            }
            SinkUri::S3 {
                location,
                compression,
            } => {
                let objects = self.objects(&ObjectsUri::S3(location.clone()), aws).await?;
                Arc::new(sinks::s3::S3::new(objects, *compression))
            }
            SinkUri::Lake(uri) => Arc::new(sinks::lake::Lake::new(self.objects(uri, aws).await?)),
        };
        let mut sink = Arc::clone(&plain);
        for replace in &mut self.replaces {
            sink = (replace.0)(name, sink);
        }
        Ok(Opened {
            name: name.clone(),
            uri: uri.clone(),
            aws: aws.clone(),
            plain,
            sink,
            memory: memory.unwrap_or_default(),
        })
    }
}

/// Whether the newest versions of two chains write to the same places by the same way.
fn same_places(one: &Chain, other: &Chain) -> bool {
    let places = |chain: &Chain| {
        let config = &chain.versions().first()?.config;
        let places = (
            config.quarantine.clone(),
            config.spool.clone(),
            config.spill.clone(),
        );
        Some((places, config.aws.clone()))
    };
    places(one) == places(other)
}

fn shared<T>(uri: &ObjectsUri, aws: &AwsConfig, place: T) -> Shared<T> {
    Shared {
        uri: uri.clone(),
        aws: aws.clone(),
        place: Arc::new(place),
    }
}

fn file(name: &str, dir: &Path, remember: usize) -> Result<sinks::file::File, StartError> {
    sinks::file::File::open(dir, remember).map_err(|error| StartError::Sink {
        name: name.to_owned(),
        error,
    })
}

/// In place of a sink that cannot be opened: what is for it waits, as for one that is down.
#[derive(Debug)]
struct Closed(String);

impl Sink for Closed {
    fn deliver<'a>(&'a self, _: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        async { Err(SinkError(self.0.clone())) }.boxed()
    }
}
