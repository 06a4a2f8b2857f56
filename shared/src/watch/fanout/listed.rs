//! What a list says of the events that come after it.
//!
//! Revisions are random, so no comparison tells which of two writes was first. What does tell:
//! - The position is taken before the list: every write that the list does not show comes as an event.
//! - The events of a key come in order. If one of them is the very write that the list shows (its revision and expiry),
//!   it and all before it are shown already, and all behind it are not.
//! - If none is, the time decides: what was created more than [`SKEW`] before the key's page was read is shown, what was
//!   created more than that after is not, and what lies between is delivered as what it is: nobody knows.
//!
//! After an event that nobody knows of, the listed write itself is delivered too when it comes, or the watcher would be
//! left with the older one.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Instant;
use crate::state::{Item, Key, Revision};
use crate::watch::Event;
use crate::watch::event::Operation;

/// How far our clock and the times of events may be apart; streams round them to seconds.
const SKEW: Duration = Duration::from_secs(2);

/// How long the listed writes are remembered. After that events from the time of the list, if they come so late, are
/// marked instead of left out.
const REMEMBERED: Duration = Duration::from_secs(600);

/// When something was read: it was asked for, and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) asked: SystemTime,
    pub(crate) answered: SystemTime,
}

/// What a list says of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The list shows it, or a later one of the key.
    Shown,
    /// The list may show it, or a later one of the key.
    MayPrecede,
    /// It is news.
    Follows,
}

/// What is remembered of a list.
#[derive(Debug)]
pub(super) struct Listed {
    /// When all of it was read.
    whole: Read,
    keys: HashMap<Key, Known>,
    /// When the keys are forgotten.
    until: Instant,
}

/// What is remembered of a listed key.
#[derive(Debug)]
struct Known {
    /// The write that was listed; none once an event has come that follows it.
    write: Option<(Revision, Option<SystemTime>)>,
    read: Read,
    /// An event that may precede the list was delivered.
    doubtful: bool,
}

impl Listed {
    pub(super) fn new(whole: Read, now: Instant) -> Self {
        Self {
            whole,
            keys: HashMap::new(),
            until: now + REMEMBERED,
        }
    }

    pub(super) fn add(&mut self, item: &Item, read: Read) {
        let known = Known {
            write: Some((item.revision.clone(), item.expires)),
            read,
            doubtful: false,
        };
        self.keys.insert(item.key.clone(), known);
    }

    pub(super) fn verdict(&self, event: &Event) -> Verdict {
        let Some(known) = self.keys.get(&event.key) else {
            return by_time(event.created, self.whole);
        };
        match &known.write {
            None => Verdict::Follows,
            Some(write) if is(event, write) => {
                if known.doubtful {
                    Verdict::MayPrecede
                } else {
                    Verdict::Shown
                }
            }
            Some(_) => by_time(event.created, known.read),
        }
    }

    /// Notes that an event has been dealt with by its verdict.
    pub(super) fn settle(&mut self, event: &Event, verdict: Verdict, now: Instant) {
        if let Some(known) = self.keys.get_mut(&event.key) {
            match verdict {
                Verdict::Follows => known.write = None,
                _ if known.write.as_ref().is_some_and(|write| is(event, write)) => known.write = None,
                Verdict::MayPrecede => known.doubtful = true,
                Verdict::Shown => {}
            }
        }
        if now > self.until {
            self.keys = HashMap::new();
        }
    }
}

#[cfg(test)]
impl Listed {
    pub(super) fn remembered(&self) -> usize {
        self.keys.len()
    }
}

/// Whether an event is the write that was listed.
fn is(event: &Event, (revision, expires): &(Revision, Option<SystemTime>)) -> bool {
    matches!(&event.operation, Operation::Put(put) if put.revision == *revision && put.expires == *expires)
}

/// By how much a creation time may have been rounded down: some sources give whole seconds, some whole minutes.
fn rounded(created: SystemTime) -> Duration {
    let since = created.duration_since(UNIX_EPOCH).unwrap_or_default();
    match (since.as_secs() % 60, since.subsec_nanos()) {
        (0, 0) => Duration::from_secs(60),
        (_, 0) => Duration::from_secs(1),
        _ => Duration::from_millis(1),
    }
}

fn by_time(created: Option<SystemTime>, read: Read) -> Verdict {
    match created {
        Some(created) if created + rounded(created) + SKEW < read.asked => Verdict::Shown,
        Some(created) if created > read.answered + SKEW => Verdict::Follows,
        _ => Verdict::MayPrecede,
    }
}
