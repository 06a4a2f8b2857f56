//! What watchers are made of: a source, and how much of it is kept.

use std::sync::Arc;
use std::time::Duration;

use super::hub::Shared;
use super::settings::Settings;
use super::strict::Strict;
use super::values::Values;
use super::watcher::{Member, Watcher};
use crate::clock::Clock;
use crate::random::Random;
#[cfg(feature = "streams")]
use crate::state::Backend;
use crate::watch::error::WatchError;
use crate::watch::filter::Filter;
use crate::watch::log::{Log, LogSource, Pace};
use crate::watch::position::Position;
use crate::watch::source::Source;
#[cfg(feature = "streams")]
use crate::watch::stream::StreamSource;

/// How often a watch tries to begin if the reading ends just then.
const TRIES: usize = 3;

/// Where a watch starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Start {
    /// At the present: every change made after the call is seen. Some made shortly before may be too.
    #[default]
    Now,
    /// Behind what was delivered up to a position of another watcher, in this process or not.
    At(Position),
    /// At the oldest change from which nothing is missing.
    Beginning,
}

/// What is watched, and how.
#[derive(Debug, Clone, Default)]
pub struct WatchParams {
    /// Which changes. Default: all.
    pub filter: Filter,
    /// From where on. Default: now.
    pub start: Start,
    /// After how long without a notice the position is told. Default: never.
    pub progress: Option<Duration>,
    /// What is done about values that the source leaves out. Default: nothing.
    pub values: Values,
}

impl From<Filter> for WatchParams {
    fn from(filter: Filter) -> Self {
        Self {
            filter,
            ..Self::default()
        }
    }
}

/// Watchers of one source. Cheap to clone; clones share the reader, what is kept of the past, and
/// [`close`](Self::close).
///
/// The reader is a tokio task. The first watcher starts it, on the runtime that it is called on, and the last one ends it.
#[derive(Debug, Clone)]
pub struct Watches {
    shared: Arc<Shared>,
}

impl Watches {
    /// Over the stream of a backend's table, by the backend's clock, and its `buffer_size`. No request.
    #[cfg(feature = "streams")]
    pub fn over_stream(source: StreamSource, backend: &Backend) -> Self {
        let settings = Settings::from(backend.config());
        Self::over(
            source,
            backend.clock().clone(),
            backend.random().clone(),
            &settings,
        )
    }

    /// Over a watch log, polled at this pace. No request.
    pub fn over_log(log: &Log, pace: Pace, settings: &Settings) -> Self {
        let source = LogSource::new(log.clone(), pace);
        Self::over(source, log.clock().clone(), log.random().clone(), settings)
    }

    pub(crate) fn over(source: impl Source, clock: Clock, random: Random, settings: &Settings) -> Self {
        Self {
            shared: Arc::new(Shared::new(Box::new(source), clock, random, settings)),
        }
    }

    /// Starts a watch. Requests: those by which the source tells its present, if nobody watches yet; none otherwise
    /// ([`Start::Beginning`]: those for its beginning). Dropping the call leaves nothing behind.
    ///
    /// # Errors
    /// [`Unavailable`](WatchError::Unavailable), [`AccessDenied`](WatchError::AccessDenied),
    /// [`WrongSource`](WatchError::WrongSource): as the source has it. [`Closed`](WatchError::Closed).
    /// [`BadParameter`](WatchError::BadParameter): keys that the source does not cover, no runtime, or a `progress` of zero. What is wrong with a position the
    /// first [`next`](Watcher::next) tells.
    pub async fn watch(&self, params: WatchParams) -> Result<Watcher, WatchError> {
        self.start(params, None).await
    }

    pub(super) async fn start(
        &self,
        params: WatchParams,
        strict: Option<Strict>,
    ) -> Result<Watcher, WatchError> {
        let WatchParams {
            filter,
            start,
            progress,
            values,
        } = params;
        if progress.is_some_and(|progress| progress.is_zero()) {
            return Err(WatchError::BadParameter(
                "the progress of a watch cannot be told without a pause".to_owned(),
            ));
        }
        let covered = self.shared.source.covered().await?;
        if !covered.covers(&filter) {
            return Err(WatchError::BadParameter(
                "the watch is about keys that the watch log does not cover: its events would never come"
                    .to_owned(),
            ));
        }
        // It is known to the hub from here on, so that the reading does not end before it joins.
        let member = Member::enter(&self.shared, filter, strict)?;
        for _ in 0..TRIES {
            self.shared.ensure().await?;
            let (position, cursor, sound) = match &start {
                Start::Now => match self.shared.join_at_head(member.id) {
                    Some((position, cursor)) => (position, Some(cursor), true),
                    None => continue,
                },
                Start::At(position) => (position.clone(), None, false),
                Start::Beginning => (self.shared.source.beginning().await?, None, true),
            };
            return Ok(Watcher::new(member, values, progress, position, cursor, sound));
        }
        Err(WatchError::Unavailable(
            "the reading of the source ends as soon as it begins".to_owned(),
        ))
    }

    /// Ends all watchers with [`WatchError::Closed`], and the reading. Watches from now on are refused.
    pub fn close(&self) {
        self.shared.close();
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
