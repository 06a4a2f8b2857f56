//! The sequential backend: one call at a time, at a second that is given.
//!
//! It keeps what is stored, expired or not, since calls may judge by different seconds.

use tidewatch::state::ErrorKind;

use super::history::{Act, Call, Effect, KEYS, Must, Outcome, Stored, Write};

/// What is stored.
pub(crate) type State = [Option<Stored>; KEYS];

/// The item under a key at this second, if it is there and has not expired.
fn live(state: &State, key: usize, now: i64) -> Option<Stored> {
    state[key].filter(|stored| stored.expires.is_none_or(|expires| expires >= now))
}

/// What the call does at this second, writing this revision, or why it is refused.
fn apply(call: &Call, revision: u32, now: i64, state: &State) -> Result<State, ErrorKind> {
    let mut next = *state;
    let put = |next: &mut State, write: &Write| {
        next[write.key] = Some(Stored {
            value: write.value,
            expires: write.expires,
            revision,
        });
    };
    match call {
        Call::Get(key) => {
            live(state, *key, now).ok_or(ErrorKind::NotFound)?;
        }
        Call::Put(write) => put(&mut next, write),
        Call::Create(write) => match live(state, write.key, now) {
            Some(_) => return Err(ErrorKind::AlreadyExists),
            None => put(&mut next, write),
        },
        Call::Update(write) => match live(state, write.key, now) {
            Some(_) => put(&mut next, write),
            None => return Err(ErrorKind::NotFound),
        },
        Call::CompareAndSwap(expected, write) => match live(state, write.key, now) {
            Some(stored) if stored.value == *expected => put(&mut next, write),
            _ => return Err(ErrorKind::CompareFailed),
        },
        Call::ConditionalUpdate(pinned, write) => match live(state, write.key, now) {
            Some(stored) if stored.revision == *pinned => put(&mut next, write),
            _ => return Err(ErrorKind::IncorrectRevision),
        },
        Call::Delete(key) => match live(state, *key, now) {
            Some(_) => next[*key] = None,
            None => return Err(ErrorKind::NotFound),
        },
        Call::ConditionalDelete(key, pinned) => match live(state, *key, now) {
            Some(stored) if stored.revision == *pinned => next[*key] = None,
            _ => return Err(ErrorKind::IncorrectRevision),
        },
        Call::KeepAlive {
            key,
            revision: pinned,
            expires,
        } => {
            let stored = live(state, *key, now).ok_or(ErrorKind::NotFound)?;
            if stored.revision != *pinned {
                return Err(ErrorKind::IncorrectRevision);
            }
            if stored.expires.is_none_or(|already| already > *expires) {
                return Err(ErrorKind::BadParameter);
            }
            next[*key] = Some(Stored {
                expires: Some(*expires),
                ..stored
            });
        }
        Call::AtomicWrite(acts) => {
            if !acts.iter().all(|act| holds(act, now, state)) {
                return Err(ErrorKind::ConditionFailed);
            }
            for act in acts {
                match act.effect {
                    Effect::Put { value, expires } => put(
                        &mut next,
                        &Write {
                            key: act.key,
                            value,
                            expires,
                        },
                    ),
                    Effect::Delete => next[act.key] = None,
                    Effect::Nop => {}
                }
            }
        }
    }
    Ok(next)
}

fn holds(act: &Act, now: i64, state: &State) -> bool {
    let stored = live(state, act.key, now);
    match act.condition {
        Must::Whatever => true,
        Must::Exist => stored.is_some(),
        Must::NotExist => stored.is_none(),
        Must::Revision(pinned) => stored.is_some_and(|stored| stored.revision == pinned),
    }
}

/// What is stored after the call, if at this second it may have ended as it did.
pub(crate) fn after(call: &Call, outcome: Outcome, revision: u32, now: i64, state: &State) -> Option<State> {
    let applied = apply(call, revision, now, state);
    match (outcome, call) {
        (Outcome::Read(seen), Call::Get(key)) => applied.ok().filter(|_| state[*key] == Some(seen)),
        (Outcome::Applied(_) | Outcome::Unknown, _) => applied.ok(),
        (Outcome::Refused(kind), _) => (applied == Err(kind)).then_some(*state),
        _ => None,
    }
}
