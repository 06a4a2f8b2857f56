//! Elections: a lock whose holder publishes a value.
//!
//! Lock and value are one item, `.locks/<name>`: its `Value` is the sixteen bytes of the token, then what is published.
//! Two items would need a transaction to appear as one, or readers who check one against the other and see no leader in
//! between; so there is a leader exactly while there is a value, both expire at one moment, and a look is one read.
//! Teleport, which has no elections, takes the item for a lock of somebody else's, which it is; we take a plain lock of
//! the same name for a leader who publishes nothing.

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, Stream};

use super::{LockConfiguration, LockGuard};
use crate::state::{Backend, Error, ErrorKind, Item, Revision};

/// The bytes of a lock's token.
const TOKEN: usize = 16;

/// An election under the name of a lock: at most one leads, by its own clock and within the allowed skew.
///
/// What it does not promise: that there always is a leader (after one that crashed there is none until its lock has
/// expired), that observers see every leader, or that a leader knows at once that it was succeeded: what it does as one
/// must be bounded by the guard's deadline, or fenced.
#[derive(Debug, Clone)]
pub struct Election {
    backend: Backend,
    configuration: LockConfiguration,
}

/// Being the leader. Dropping it does not resign: it lasts until it expires.
#[derive(Debug)]
pub struct Leadership(LockGuard);

/// Who leads, as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Leader {
    /// What the leader published.
    pub value: Vec<u8>,
    /// Which term it is: another leader, or the same one elected again, has another.
    pub revision: Revision,
    /// When the term ends if the leader does nothing.
    pub expires: Option<SystemTime>,
}

/// Without the value.
impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader")
            .field("value", &format_args!("({} bytes)", self.value.len()))
            .field("revision", &self.revision)
            .field("expires", &self.expires)
            .finish()
    }
}

impl Backend {
    /// The election under the name of `configuration`. No request.
    pub fn election(&self, configuration: LockConfiguration) -> Election {
        Election {
            backend: self.clone(),
            configuration,
        }
    }
}

impl Election {
    /// Waits to be elected, until the deadline of the backend's calls, and publishes `value` with it. The value stays for
    /// the term: what changes more often belongs in a key of its own, written by
    /// [`atomic_write`](Backend::atomic_write) under the term's [`lease`](super::LockScope::lease).
    ///
    /// Requests, cancellation and errors as [`acquire_lock`](Backend::acquire_lock).
    ///
    /// # Errors
    /// As [`acquire_lock`](Backend::acquire_lock); [`TooLarge`](ErrorKind::TooLarge) for a value above 400 KB.
    pub async fn campaign(&self, value: &[u8]) -> Result<Leadership, Error> {
        let elected = self.backend.acquire_with(&self.configuration, value).await?;
        Ok(Leadership(elected))
    }

    /// Who leads; none if nobody does. One consistent read: half a read unit for each 4 KB of the value, doubled for
    /// consistency.
    ///
    /// # Errors
    /// What any request may end with.
    pub async fn leader(&self) -> Result<Option<Leader>, Error> {
        match self.backend.get(&self.configuration.key()).await {
            Ok(item) => Ok(Some(Leader::of(item))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Who leads now, then every change of it that is noticed: a term that begins and ends between two looks is not. One
    /// [`leader`](Self::leader) each retry interval of the configuration. An error is answered in its place, and the
    /// looking goes on. Dropping the stream ends it.
    pub fn observe(&self) -> impl Stream<Item = Result<Option<Leader>, Error>> + Send + use<> {
        stream::unfold((self.clone(), None), |(election, mut seen)| async move {
            loop {
                let clock = election.backend.clock();
                if seen.is_some() {
                    clock.sleep(election.interval()).await;
                }
                // The deadline of the caller's backend is not that of each look.
                let limit = election.backend.config().operation_timeout;
                let fresh = Self {
                    backend: election.backend.with_deadline(clock.instant() + limit),
                    configuration: election.configuration.clone(),
                };
                match Box::pin(fresh.leader()).await {
                    Ok(leader) => {
                        let term = leader.as_ref().map(|leader| leader.revision.clone());
                        if seen.as_ref() != Some(&term) {
                            seen = Some(term);
                            return Some((Ok(leader), (election, seen)));
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::Closed => return None,
                    Err(error) => {
                        if seen.is_none() {
                            clock.sleep(election.interval()).await;
                        }
                        return Some((Err(error), (election, seen)));
                    }
                }
            }
        })
    }

    fn interval(&self) -> Duration {
        self.configuration.retry_interval()
    }
}

impl Leader {
    fn of(item: Item) -> Self {
        Self {
            value: item.value.get(TOKEN..).unwrap_or_default().to_vec(),
            revision: item.revision,
            expires: item.expires,
        }
    }
}

impl Leadership {
    /// The lock of the term: its deadline, lease and fencing number, its refresh and its keeping.
    pub fn guard(&self) -> &LockGuard {
        &self.0
    }

    /// Whether it lasts, by all that is known here. No request. See [`LockScope::is_held`](super::LockScope::is_held).
    pub fn is_leader(&self) -> bool {
        self.0.is_held()
    }

    /// Waits until it has ended. Cancel-safe.
    pub async fn lost(&self) {
        self.0.lost().await;
    }

    /// Ends the term and takes the value away. Request and errors as [`LockGuard::release`].
    ///
    /// # Errors
    /// As [`LockGuard::release`].
    pub async fn resign(self) -> Result<(), Error> {
        self.0.release().await
    }
}
