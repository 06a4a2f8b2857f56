//! Building a forwarder from its configuration, and following that where it has versions.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::open::{Opener, Plan, Replace};
use super::sink::{Sink, SinkError};
use super::tries::{FIRST_PAUSE, Tries};
use super::{Forwarder, HandleError};
use crate::clock::{Clock, TimedOut};
use crate::config::{Chain, Config, ObjectsUri, Versions};
use crate::objects::ObjectsError;
use crate::random::Random;

/// Why a forwarder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to forward to.
    #[error("the configuration names no quarantine, or no sinks")]
    NotConfigured,
    /// No version of the configuration can be read.
    #[error("no configuration: {0}")]
    Versions(String),
    /// The quarantine cannot be written; without one a bad record would have nowhere to go.
    #[error("the quarantine cannot be written: {0}")]
    Quarantine(#[from] ObjectsError),
    /// The quarantine does not answer.
    #[error(
        "the quarantine did not answer within {:?}: is its endpoint reachable?",
        super::OBJECT_TRY
    )]
    Silent,
    /// The spool cannot be written and listed, or the spill not written: a sink that is down, or a large event, would hold
    /// up all others.
    #[error("the {setting} cannot be used: {reason}")]
    Shared {
        /// Its setting, `spool` or `spill`.
        setting: &'static str,
        /// What happened.
        reason: String,
    },
    /// A place cannot be opened.
    #[error("{uri:?} cannot be opened: {reason}")]
    Place {
        /// It.
        uri: Box<ObjectsUri>,
        /// What is missing.
        reason: &'static str,
    },
    /// A sink cannot be opened.
    #[error("sink {name}: {error}")]
    Sink {
        /// The sink.
        name: String,
        /// What happened.
        error: SinkError,
    },
    /// A sink's single try may take longer than half of the function's time-out.
    #[error("the timeout of a sink is more than half of the time that the function has")]
    TimeoutTooLong,
    /// A secret of the AWS settings cannot be read.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    Secret(#[from] crate::config::SecretError),
}

impl StartError {
    /// Whether it is a place that did not answer, or refused: it may the next time.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Quarantine(_) | Self::Silent | Self::Shared { .. } => true,
            #[cfg(feature = "s3")]
            Self::Secret(_) => true,
            _ => false,
        }
    }
}

/// How long the configuration is asked for in a batch.
const READ: Duration = Duration::from_secs(10);
/// Longest time for one try of it: a connection may have died while the environment slept.
const READ_TRY: Duration = Duration::from_secs(5);

impl Forwarder {
    /// By a configuration that stays. Opens the sinks and shows that the quarantine can be written (one PUT), and the spool
    /// written and listed (one PUT, one LIST).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: &Config, clock: Clock, random: Random) -> Result<Self, StartError> {
        let chain = Arc::new(Chain::of(config.clone()));
        let mut opener = Opener::new(clock.clone(), random.clone());
        let plan = Box::pin(opener.plan(&chain, None)).await?;
        Ok(Self::new(None, plan, opener, clock, random))
    }

    /// By versions of a configuration, which each batch reads anew. One GET, one for each version, and for what the newest
    /// asks for as [`start`](Self::start) does.
    ///
    /// # Errors
    /// [`StartError`] if no version can be read and opened.
    pub async fn start_versions(
        versions: Versions,
        clock: Clock,
        random: Random,
    ) -> Result<Self, StartError> {
        let tries = Tries {
            clock: &clock,
            random: &random,
            stop: clock.instant() + READ,
        };
        let chain = read(&versions, tries).await.map_err(StartError::Versions)?;
        let mut opener = Opener::new(clock.clone(), random.clone());
        let plan = Box::pin(opener.plan(&chain, None)).await?;
        Ok(Self::new(Some(versions), plan, opener, clock, random))
    }

    pub(super) fn new(
        versions: Option<Versions>,
        plan: Plan,
        opener: Opener,
        clock: Clock,
        random: Random,
    ) -> Self {
        Self {
            versions,
            plan: Mutex::new(Arc::new(plan)),
            opener: tokio::sync::Mutex::new(opener),
            clock,
            random,
        }
    }

    fn current(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a batch goes by that arrives now.
    pub(super) async fn plan(&self, tries: Tries<'_>, total: Duration) -> Result<Arc<Plan>, HandleError> {
        let plan = self.current();
        let Some(versions) = &self.versions else {
            return Ok(plan);
        };
        let chain = read(versions, tries)
            .await
            .map_err(HandleError::NoConfiguration)?;
        if plan.serves(&chain, self.clock.instant(), total) {
            return Ok(plan);
        }
        let opened = self
            .clock
            .timeout(tries.left(), Box::pin(self.reopen(versions, tries, total)));
        match opened.await {
            Ok(opened) => opened.map_err(HandleError::NoConfiguration),
            Err(TimedOut) => Err(HandleError::NoConfiguration(
                "it was not opened in time".to_owned(),
            )),
        }
    }

    /// One batch at a time, by what is there once it is its turn: another may have seen more.
    async fn reopen(
        &self,
        versions: &Versions,
        tries: Tries<'_>,
        total: Duration,
    ) -> Result<Arc<Plan>, String> {
        let mut opener = self.opener.lock().await;
        let chain = read(versions, tries).await?;
        let plan = self.current();
        if plan.serves(&chain, self.clock.instant(), total) {
            return Ok(plan);
        }
        let plan = opener.plan(&chain, Some(total)).await;
        let plan = plan.map_err(|error| error.to_string())?;
        let plan = Arc::new(plan);
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&plan);
        Ok(plan)
    }

    /// Replaces each sink by what `replace` makes of it, those too that later versions open: to watch or to sabotage
    /// deliveries.
    pub fn map_sinks(
        mut self,
        replace: impl FnMut(&str, Arc<dyn Sink>) -> Arc<dyn Sink> + Send + 'static,
    ) -> Self {
        let plan = self.plan.get_mut().unwrap_or_else(PoisonError::into_inner);
        // No batch is under way that could hold it too.
        if let Some(plan) = Arc::get_mut(plan) {
            self.opener.get_mut().replace(Replace(Box::new(replace)), plan);
        }
        self
    }
}

/// The versions as they are now, asked for again for a while. Why there are none.
async fn read(versions: &Versions, tries: Tries<'_>) -> Result<Arc<Chain>, String> {
    let stop = tries.stop.min(tries.clock.instant() + READ);
    let tries = Tries { stop, ..tries };
    let mut pause = FIRST_PAUSE;
    loop {
        let limit = READ_TRY.min(tries.left());
        let error = match tries.clock.timeout(limit, Box::pin(versions.read())).await {
            Ok(Ok(chain)) => return Ok(chain),
            Ok(Err(error)) => error.to_string(),
            Err(TimedOut) => format!("no answer within {limit:?}"),
        };
        tracing::warn!(error, "the configuration cannot be read");
        if tries.left().is_zero() {
            return Err(error);
        }
        tries.pause(&mut pause).await;
    }
}
