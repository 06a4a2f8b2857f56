//! Leases over several keys: kept alive together, revoked together.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use tokio::sync::watch;

use super::attempts::Attempts;
use super::lock::{Deadline, Moment, ttl_fault};
use super::{Backend, BatchOutcome, Error, ErrorKind, Item, Key, Lease, Revision};
use crate::clock::Instant;

const OPERATION: &str = "lease_set";
/// The wall clock may jump while one sleeps by the monotonic one: it is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Up to [`MAX_KEYS`](Self::MAX_KEYS) keys that live as long as somebody keeps them alive: service registrations, say.
///
/// It is kept here, not in the table: each key has its own `Expires` and revision, and they are renewed in parallel. So
/// keys may die up to one renewal apart, and nothing joins them for a reader. Losing one signals the whole; what is to
/// become of the others is the caller's decision. Dropping the set sends nothing: its keys expire by themselves.
#[derive(Debug)]
pub struct LeaseSet {
    backend: Backend,
    ttl: Duration,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<Key, Member>,
    lost: Vec<Key>,
    revoked: bool,
}

#[derive(Debug, Clone)]
struct Member {
    revision: Revision,
    deadline: Deadline,
    /// A write of ours is under way, after which the revision is another.
    writing: bool,
}

impl Backend {
    /// An empty set, whose keys expire `ttl` after they were put or kept alive last. Of the ttl up to a second is lost by
    /// rounding, and the allowed skew is not relied on. No request.
    ///
    /// # Errors
    /// [`BadParameter`](ErrorKind::BadParameter) for a ttl that leaves nothing;
    /// [`WrongTable`](ErrorKind::WrongTable) on an eventually consistent global table.
    pub fn lease_set(&self, ttl: Duration) -> Result<LeaseSet, Error> {
        let attempts = Attempts::new(self, OPERATION, None);
        self.conditions_hold(&attempts)?;
        if let Some(fault) = ttl_fault(ttl, self.config().lock_skew) {
            return Err(attempts.error(ErrorKind::BadParameter, fault));
        }
        Ok(LeaseSet {
            backend: self.clone(),
            ttl,
            state: watch::Sender::default(),
        })
    }
}

impl LeaseSet {
    /// The most keys of a set.
    pub const MAX_KEYS: usize = 64;

    /// Stores a value that lives with the set: whatever is there for a key that is new to it, and only over its own for one
    /// that it holds. One request, priced as [`Backend::put`].
    ///
    /// # Errors
    /// [`BadParameter`](ErrorKind::BadParameter) for a key too many; [`Lost`](ErrorKind::Lost) for a key that is another's
    /// or has expired, or after [`revoke`](Self::revoke); [`OutcomeUnknown`](ErrorKind::OutcomeUnknown): a new key then
    /// does not belong to the set and may stand until it expires, one that it holds is found lost by the next renewal if
    /// the value was stored. And as [`Backend::put`].
    pub async fn put(&self, key: impl Into<Key>, value: impl Into<Vec<u8>>) -> Result<Lease, Error> {
        let key = key.into();
        self.clock_holds(ErrorKind::Unavailable)?;
        let held = {
            let state = self.state.borrow();
            if state.revoked || state.lost.contains(&key) {
                let what = "it is lost to this set: put it under another";
                return Err(self.error(ErrorKind::Lost, &key, what));
            }
            if !state.members.contains_key(&key) && state.members.len() >= Self::MAX_KEYS {
                let what = format!("the set has {} keys, which is the most", Self::MAX_KEYS);
                return Err(self.error(ErrorKind::BadParameter, &key, what));
            }
            state.members.get(&key).map(|member| member.revision.clone())
        };
        let begun = Moment::of(self.backend.clock());
        let expires = begun.expiry(self.ttl);
        let deadline = self.deadline(expires, begun);
        let item = Item::new(&key, value).expiring(expires);
        // Later than its deadline it is of no use.
        let until = begun.monotonic + deadline.left(self.backend.clock());
        let backend = self.backend.with_deadline(until.min(self.backend.deadline()));
        let stored = match &held {
            None => backend.put(&item).await,
            Some(revision) => {
                let _writing = Writing::begin(self, &key);
                backend.conditional_update(&item.at(revision)).await
            }
        };
        match stored {
            Ok(lease) => {
                let member = Member {
                    revision: lease.revision.clone(),
                    deadline,
                    writing: false,
                };
                self.state.send_modify(|state| {
                    if !state.lost.contains(&key) {
                        state.members.insert(key, member);
                    }
                });
                Ok(lease)
            }
            Err(error) if error.kind() == ErrorKind::IncorrectRevision => {
                self.lose(&key);
                Err(self.error(ErrorKind::Lost, &key, "it is another's by now, or has expired"))
            }
            Err(error) => Err(error),
        }
    }

    /// The keys it holds, with their revisions: each can be a condition of an
    /// [`atomic_write`](Backend::atomic_write).
    pub fn leases(&self) -> Vec<Lease> {
        let state = self.state.borrow();
        let leases = state.members.iter().map(|(key, member)| Lease {
            key: key.clone(),
            revision: member.revision.clone(),
        });
        leases.collect()
    }

    /// Moves the expiry of all its keys to a ttl from now, in parallel: one request a key, priced as
    /// [`Backend::keep_alive`]. A key whose renewal failed without proof of its loss keeps the deadline it had: call again.
    /// Cancel-safe.
    ///
    /// The result of a key is [`Lost`](ErrorKind::Lost) if it is another's, has expired, or could not be renewed in time,
    /// or this machine's clock is proven wrong: it belongs to the set no longer. Other errors as [`Backend::keep_alive`].
    pub async fn keep_alive_all(&self) -> BatchOutcome<()> {
        self.expire();
        let renewals = self.leases().into_iter().map(|lease| async move {
            let renewed = Box::pin(self.renew(&lease)).await;
            (lease.key, renewed)
        });
        BatchOutcome {
            results: join_all(renewals).await,
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let key = &lease.key;
        self.clock_holds(ErrorKind::Lost)
            .inspect_err(|_| self.lose(key))?;
        let begun = Moment::of(self.backend.clock());
        let expires = begun.expiry(self.ttl);
        let Some(member) = self.state.borrow().members.get(key).cloned() else {
            return Err(self.error(ErrorKind::Lost, key, "it is lost"));
        };
        let until = begun.monotonic + member.deadline.left(self.backend.clock());
        let until = until.min(begun.monotonic + self.backend.config().operation_timeout);
        let renewed = self.backend.with_deadline(until).keep_alive(lease, expires).await;
        self.expire();
        let now = self.state.borrow().members.get(key).cloned();
        let Some(now) = now else {
            return Err(self.error(ErrorKind::Lost, key, "its deadline passed before it was renewed"));
        };
        match renewed {
            Ok(()) => {
                self.clock_holds(ErrorKind::Lost)
                    .inspect_err(|_| self.lose(key))?;
                let deadline = self.deadline(expires, begun);
                self.change(key, |member| {
                    if member.revision == lease.revision && deadline.expires >= member.deadline.expires {
                        member.deadline = deadline;
                    }
                });
                Ok(())
            }
            // Our own write was faster.
            Err(_) if now.writing || now.revision != lease.revision => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IncorrectRevision) => {
                self.lose(key);
                Err(self.error(ErrorKind::Lost, key, "it is another's by now, or has expired"))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps all keys alive every half of the ttl, sooner if little is left of one, until one is lost; answers which.
    /// Cancel-safe; to be run beside what the keys stand for.
    pub async fn keep(&self) -> Vec<Key> {
        let clock = self.backend.clock();
        let mut soon = false;
        // When the next renewal is due. Puts may bring it forward, and never put it off.
        let mut due = None;
        loop {
            let lost = self.lost_keys();
            if !lost.is_empty() || self.state.borrow().revoked {
                return lost;
            }
            let left = self.left() / 3 * 2;
            let pause = if soon {
                left.min(LOOK)
            } else {
                left.min(self.ttl / 2)
            };
            let at = clock.instant() + pause;
            let at = due.map_or(at, |due: Instant| due.min(at));
            due = Some(at);
            let pause = at.saturating_duration_since(clock.instant());
            let mut changes = self.state.subscribe();
            let sleep = std::pin::pin!(clock.sleep(pause));
            // A key that was just put may have to be renewed sooner than all others.
            if let Either::Right(_) = select(sleep, std::pin::pin!(changes.changed())).await {
                continue;
            }
            due = None;
            let outcome = self.keep_alive_all().await;
            soon = outcome.results.iter().any(|(_, renewed)| renewed.is_err());
        }
    }

    /// Waits until a key is lost or past its deadline, or the set is revoked; answers the keys lost. Cancel-safe.
    pub async fn lost(&self) -> Vec<Key> {
        let mut changes = self.state.subscribe();
        loop {
            let lost = self.lost_keys();
            if !lost.is_empty() || self.state.borrow().revoked {
                return lost;
            }
            let sleep = std::pin::pin!(self.backend.clock().sleep(self.left().min(LOOK)));
            select(sleep, std::pin::pin!(changes.changed())).await;
        }
    }

    /// The keys that were lost until now. No request.
    pub fn lost_keys(&self) -> Vec<Key> {
        self.expire();
        self.state.borrow().lost.clone()
    }

    /// Deletes all keys that are still in their revisions, in parallel: one request a key, priced as
    /// [`Backend::conditional_delete`]. Answers those that could not be deleted, each with why:
    /// [`IncorrectRevision`](ErrorKind::IncorrectRevision) says that it is another's or has expired, anything else that it
    /// may stand until it expires.
    pub async fn revoke(self) -> Vec<(Key, Error)> {
        let leases = self.leases();
        self.state.send_modify(|state| {
            state.revoked = true;
            state.members.clear();
        });
        let limit = self.backend.config().operation_timeout;
        let backend = self.backend.with_deadline(self.backend.clock().instant() + limit);
        let backend = &backend;
        let deletions = leases.into_iter().map(|lease| async move {
            let deleted = Box::pin(backend.conditional_delete(&lease.key, &lease.revision)).await;
            deleted.err().map(|error| (lease.key, error))
        });
        join_all(deletions).await.into_iter().flatten().collect()
    }

    /// What is left of the key that has least.
    fn left(&self) -> Duration {
        let clock = self.backend.clock();
        let state = self.state.borrow();
        let least = state.members.values().map(|member| member.deadline.left(clock));
        least.min().unwrap_or(self.ttl)
    }

    /// Loses the keys whose deadlines have passed.
    fn expire(&self) {
        let clock = self.backend.clock();
        self.state.send_if_modified(|state| {
            let passed = |member: &Member| member.deadline.has_passed(clock);
            let gone = state.members.iter().filter(|(_, member)| passed(member));
            let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
            for key in &gone {
                state.members.remove(key);
            }
            state.lost.extend_from_slice(&gone);
            !gone.is_empty()
        });
    }

    fn lose(&self, key: &Key) {
        self.state.send_modify(|state| {
            if state.members.remove(key).is_some() {
                state.lost.push(key.clone());
            }
        });
    }

    /// Changes a member without waking anybody.
    fn change(&self, key: &Key, change: impl FnOnce(&mut Member)) {
        self.state.send_if_modified(|state| {
            if let Some(member) = state.members.get_mut(key) {
                change(member);
            }
            false
        });
    }

    fn deadline(&self, expires: std::time::SystemTime, begun: Moment) -> Deadline {
        Deadline::of(expires, self.backend.config().lock_skew, begun)
    }

    fn clock_holds(&self, kind: ErrorKind) -> Result<(), Error> {
        let fault = self.backend.clock_fault();
        fault.map_or(Ok(()), |fault| {
            Err(Error::new(kind, OPERATION, self.backend.table(), None, fault))
        })
    }

    fn error(&self, kind: ErrorKind, key: &Key, what: impl Into<String>) -> Error {
        Error::new(kind, OPERATION, self.backend.table(), Some(key), what)
    }
}

/// A write of a member that is under way, also while its future is dropped.
struct Writing<'a>(&'a LeaseSet, &'a Key);

impl<'a> Writing<'a> {
    fn begin(set: &'a LeaseSet, key: &'a Key) -> Self {
        set.change(key, |member| member.writing = true);
        Self(set, key)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.change(self.1, |member| member.writing = false);
    }
}
