//! Work under a lock.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{LockConfiguration, LockScope};
use crate::state::{Backend, Error};

/// How long the release may take: Teleport's number.
const RELEASE: Duration = Duration::from_secs(1);

/// Why [`run_while_locked`](Backend::run_while_locked) did not end well.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError<T, E> {
    /// The lock could not be acquired: the work was not begun.
    Acquire(Error),
    /// The lock was lost, the work was stopped half-way.
    Lost {
        /// How.
        error: Error,
        /// Why the lock could not be released either.
        release: Option<Error>,
    },
    /// The work failed.
    Work {
        /// Its error.
        error: E,
        /// Why the lock could not be released either: it stands until it expires.
        release: Option<Error>,
    },
    /// The work was done, but the lock could not be released. With [`CompareFailed`] it had been lost before, so that
    /// another may have been at work at the same time; otherwise it stands until it expires.
    ///
    /// [`CompareFailed`]: crate::state::ErrorKind::CompareFailed
    Release {
        /// What the work answered.
        done: T,
        /// Why.
        error: Error,
    },
}

impl<T, E: fmt::Display> fmt::Display for RunError<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let release = match self {
            Self::Acquire(error) => return write!(f, "the work was not begun: {error}"),
            Self::Release { error, .. } => return write!(f, "the work was done, but: {error}"),
            Self::Lost { error, release } => {
                write!(f, "the work was stopped half-way: {error}")?;
                release
            }
            Self::Work { error, release } => {
                write!(f, "the work failed: {error}")?;
                release
            }
        };
        release
            .as_ref()
            .map_or(Ok(()), |error| write!(f, "; then: {error}"))
    }
}

impl<T: fmt::Debug, E: fmt::Debug + fmt::Display> std::error::Error for RunError<T, E> {}

impl Backend {
    /// Acquires a lock, does `work` under it, and releases it.
    ///
    /// Meanwhile the lock is refreshed every half of its ttl, or sooner if little is left of it. If it is lost, or not
    /// refreshed by its deadline, the work is dropped where it stands: at an `await`, so it must not block its thread, and
    /// what it spawned must mind [`LockScope::lost`] itself. The deadline of this call bounds the acquiring, not the work;
    /// the release has a second of its own.
    ///
    /// Requests: those of [`acquire_lock`](Self::acquire_lock), one a refresh, one for the release. Cancellation: the work
    /// is dropped, and the lock stands until it expires.
    ///
    /// # Errors
    /// [`RunError`]: what went wrong with the lock, and what with the work.
    pub async fn run_while_locked<T, E, F, Fut>(
        &self,
        configuration: &LockConfiguration,
        work: F,
    ) -> Result<T, RunError<T, E>>
    where
        F: FnOnce(LockScope) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let guard = self
            .acquire_lock(configuration)
            .await
            .map_err(RunError::Acquire)?;
        let ended = {
            let work = Box::pin(work(guard.scope().clone()));
            match select(work, Box::pin(guard.keep())).await {
                Either::Left((done, _)) => Ok(done),
                Either::Right((lost, _)) => Err(lost),
            }
        };
        let release = guard.release_within(RELEASE).await.err();
        match (ended, release) {
            (Ok(Ok(done)), None) => Ok(done),
            (Ok(Ok(done)), Some(error)) => Err(RunError::Release { done, error }),
            (Ok(Err(error)), release) => Err(RunError::Work { error, release }),
            (Err(error), release) => Err(RunError::Lost { error, release }),
        }
    }
}
