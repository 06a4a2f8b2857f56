//! What follows from where events are.

use std::time::{Duration, SystemTime};

use super::report::{LookedFor, SinkReport, Verdict};
use super::{Canary, Looked};
use crate::audit::log::Found;
use crate::redrive::gaps::{Look, State};

/// The events that are looked for, and how old they were.
pub(super) struct Judge {
    /// The newest first.
    events: Vec<Found>,
    ages: Vec<Duration>,
    /// The newest of those that must have come out.
    due: Option<usize>,
    marked: bool,
}

impl Judge {
    pub(super) fn new(canary: &Canary<'_>, events: Vec<Found>, now: SystemTime) -> Self {
        let ages: Vec<Duration> = events.iter().map(|event| age(now, event)).collect();
        Self {
            events,
            due: ages.iter().position(|age| *age >= canary.limit),
            ages,
            marked: canary.marked,
        }
    }

    pub(super) fn events(&self) -> &[Found] {
        &self.events
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the next is to be emitted.
    pub(super) fn is_due(&self, pause: Duration) -> bool {
        self.ages.first().is_none_or(|newest| *newest >= pause)
    }

    pub(super) fn looked_for(&self) -> Option<LookedFor> {
        let due = self.due?;
        let (event, age) = (self.events.get(due)?, self.ages.get(due)?);
        Some(LookedFor {
            id: event.id.clone(),
            session_id: event.session_id.clone(),
            event_index: event.event_index.clone(),
            age_seconds: age.as_secs(),
        })
    }

    /// What is to be said of a sink.
    pub(super) fn sink(&self, look: &Look<'_>, looked: Looked) -> SinkReport {
        let report = |verdict, consequence: Option<String>| SinkReport {
            sink: look.name.to_owned(),
            verdict,
            state: None,
            delay_seconds: None,
            consequence,
        };
        let states = match looked {
            Looked::States(states) => states,
            Looked::Failed(error) => return report(Verdict::Failed, Some(error.to_string())),
            Looked::Not => return report(Verdict::NotLooked, None),
        };
        if !look.is_readable() {
            let what = "what it holds cannot be read: whether events come out of it, nobody knows here";
            return report(Verdict::Unreadable, Some(what.to_owned()));
        }
        if !self.has_events() {
            let what = match self.marked {
                true => "no marked event is in the table yet: whether events come out, the next runs tell",
                false => {
                    "the table's index has no event of the last days, since its stream began, that is old enough: whether events come out, nobody knows"
                }
            };
            return report(Verdict::Nothing, Some(what.to_owned()));
        }
        let state = self.due.and_then(|due| states.get(due).copied());
        let verdict = match state {
            Some(None) => Verdict::Filtered,
            Some(Some(state)) if is_out(state) => Verdict::Seen,
            Some(Some(State::Missing)) => Verdict::Missing,
            Some(Some(_)) => Verdict::Late,
            None if states.iter().flatten().any(|state| is_out(*state)) => Verdict::Seen,
            None if states.iter().all(Option::is_none) => Verdict::Filtered,
            None => Verdict::Pending,
        };
        let state = state.flatten();
        let name = look.name;
        let consequence = match (verdict, state) {
            (Verdict::Missing, _) => Some(format!(
                "it is neither in {name} nor on its way: either `forward` is behind or off, or events are lost to {name}; \
                 `tidewatch audit gaps --sink {name}` tells which, `tidewatch audit backfill --sink {name}` brings them back"
            )),
            (Verdict::Late, Some(state)) => Some(late(state, name)),
            (Verdict::Filtered, _) => Some(format!(
                "the filter of {name} keeps it away: whether other events come out, it does not tell"
            )),
            _ => None,
        };
        SinkReport {
            state,
            delay_seconds: self.delay(&states),
            ..report(verdict, consequence)
        }
    }

    /// How old the newest event is that is out; the oldest that should be, if none is.
    fn delay(&self, states: &[Option<State>]) -> Option<u64> {
        let mut passed = self
            .ages
            .iter()
            .zip(states)
            .filter_map(|(age, state)| Some((age.as_secs(), (*state)?)));
        let out = passed.clone().find(|(_, state)| is_out(*state));
        out.or_else(|| passed.next_back()).map(|(age, _)| age)
    }
}

fn is_out(state: State) -> bool {
    matches!(state, State::Delivered | State::Staged)
}

fn late(state: State, name: &str) -> String {
    match state {
        State::Spooled => {
            format!(
                "it waits in the spool of {name}, and so does what came after it: the sink is down, or the task `drain` does not run"
            )
        }
        State::Redrive => {
            format!("Lambda gave it up: the task `redrive` hands it to {name} again, out of order")
        }
        State::Owed => format!(
            "Lambda gave up a batch of its time without the records, and it may be one of them: only a backfill brings those to {name}"
        ),
        _ => format!("it is in quarantine and does not come to {name} unless it is replayed"),
    }
}

fn age(now: SystemTime, event: &Found) -> Duration {
    let at = Duration::from_secs(u64::try_from(event.created_at).unwrap_or_default());
    let at = SystemTime::UNIX_EPOCH.checked_add(at);
    at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default()
}
