//! One write: its attempts, and what an unknown outcome means.
//!
//! What is known not applied is tried again, with a fresh clock and the same revision. After an unknown outcome one
//! consistent read decides: our revision stored is success; a write that is pinned to a revision may be sent again
//! while that revision is still stored, since only one of the two can then be applied. Everything else ends as
//! [`OutcomeUnknown`](ErrorKind::OutcomeUnknown): a repeated put would undo somebody's later put, and a refusal may be
//! of our own earlier attempt.

use std::future::Future;

use super::attempts::Attempts;
use super::backend::Backend;
use super::fault::{Attributes, Fault};
use super::record::{expiry_seconds, revision_of};
use super::{Error, Key, Revision};

/// How a write is known by what is stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trace<'a> {
    /// It stores this revision.
    Stores(&'a Revision),
    /// It stores `ours` in place of `pinned`.
    Replaces {
        ours: &'a Revision,
        pinned: &'a Revision,
    },
    /// It deletes this revision.
    Deletes(&'a Revision),
    /// It deletes whatever is there.
    DeletesAny,
    /// It sets the expiry of this revision, to later.
    Extends { pinned: &'a Revision, expires: i64 },
}

/// How a write ended that is neither in error nor unknown.
pub(super) enum Ended {
    Applied,
    /// The condition did not hold. With the item as it was, where there was one and the request asked for it.
    Refused(Option<Attributes>),
}

/// What the stored item says of an earlier attempt whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Applied,
    Repeat,
    Unknown,
}

impl Trace<'_> {
    /// `since` is the second by which the first attempt of unknown outcome was judged.
    fn judge(self, stored: Option<&Attributes>, since: i64) -> Verdict {
        let revision = stored.map(revision_of);
        let is = |expected: &Revision| revision.as_ref() == Some(expected);
        match self {
            Self::Stores(ours) if is(ours) => Verdict::Applied,
            Self::Replaces { ours, .. } if is(ours) => Verdict::Applied,
            // Of items from before there were revisions each has the same: it proves nothing.
            Self::Replaces { pinned, .. } | Self::Deletes(pinned) | Self::Extends { pinned, .. }
                if pinned.is_blank() =>
            {
                Verdict::Unknown
            }
            Self::Replaces { pinned, .. } | Self::Deletes(pinned) if is(pinned) => Verdict::Repeat,
            Self::Extends { pinned, expires } if is(pinned) => {
                let now = stored
                    .and_then(|stored| stored.get("Expires"))
                    .and_then(expiry_seconds);
                match now {
                    // Not if it had expired before: then it was like this already, and no attempt was taken.
                    Some(now) if now == expires && now >= since => Verdict::Applied,
                    Some(now) if now < expires => Verdict::Repeat,
                    // Or somebody extended it further: after ours, or instead of it.
                    _ => Verdict::Unknown,
                }
            }
            _ => Verdict::Unknown,
        }
    }
}

impl Backend {
    /// Sends a write until its outcome is known, or cannot be. `request` makes an attempt for the second it is given;
    /// with `repeats` it is sent again whatever an unknown outcome was.
    pub(super) async fn write<F>(
        &self,
        attempts: &mut Attempts<'_>,
        key: &Key,
        trace: Trace<'_>,
        repeats: bool,
        request: impl Fn(i64) -> F,
    ) -> Result<Ended, Error>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let mut unknown: Option<(i64, Fault)> = None;
        loop {
            let now = attempts.now();
            let fault = match attempts.send(request(now)).await {
                Ok(()) => return Ok(Ended::Applied),
                Err(fault) => fault,
            };
            let again = match fault {
                Fault::Refused(old) => match &unknown {
                    None => return Ok(Ended::Refused(old)),
                    // The refusal may be due to our own earlier attempt.
                    Some((since, _)) if trace.judge(old.as_ref(), *since) == Verdict::Applied => {
                        return Ok(Ended::Applied);
                    }
                    // Of the two that may be repeated only delete has a condition: the item is gone, as was asked.
                    Some(_) if repeats => return Ok(Ended::Applied),
                    Some((_, earlier)) => return Err(attempts.gave_up(earlier)),
                },
                Fault::Unknown(_) => {
                    let since = unknown.as_ref().map_or(now, |(since, _)| *since);
                    let verdict = self.settle(attempts, key, trace, since).await;
                    match verdict {
                        Some(Verdict::Applied) => return Ok(Ended::Applied),
                        Some(Verdict::Repeat) => {}
                        _ if repeats => {}
                        _ => return Err(attempts.gave_up(&fault)),
                    }
                    unknown = Some((since, fault));
                    attempts.again(&Fault::NotSent(String::new())).await
                }
                fault => attempts.again_known(&fault).await,
            };
            if let Err(error) = again {
                return Err(match &unknown {
                    Some((_, earlier)) => attempts.gave_up(earlier),
                    None => error,
                });
            }
        }
    }

    /// The one consistent read that decides; none if there is no answer in time.
    async fn settle(
        &self,
        attempts: &mut Attempts<'_>,
        key: &Key,
        trace: Trace<'_>,
        since: i64,
    ) -> Option<Verdict> {
        if let Trace::DeletesAny = trace {
            return Some(Verdict::Unknown);
        }
        let (_, stored) = self.read(attempts, key, Some("Revision, Expires")).await.ok()?;
        Some(trace.judge(stored.as_ref(), since))
    }
}
