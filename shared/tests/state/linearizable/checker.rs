//! Whether a history is linearizable: a search for an order of its calls that the model agrees with, after Wing and
//! Gong, with the states remembered that led nowhere (Lowe).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::history::{Call, Effect, History, Operation, Outcome, Stamp, Told, Write};
use super::model::{State, after};

/// More states than any history of this size needs.
const MOST_STATES: usize = 3_000_000;

/// What the search knows of clocks and delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// All on one clock, nothing between reading it and being applied: an answered attempt took effect within the second
    /// by which it was judged.
    Exact,
    /// Each on its own clock, and up to this between sending and being applied.
    Within(Duration),
}

/// When a call may have taken effect, and the second by which it was judged then.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Stamp,
    to: Stamp,
    second: i64,
}

/// A call as the search sees it.
struct Candidate<'h> {
    operation: &'h Operation,
    windows: Vec<Window>,
    /// It cannot have taken effect after this.
    last: Stamp,
    /// It may never have taken effect.
    optional: bool,
    writes: bool,
    revision: u32,
}

/// Whether some order explains what every client saw.
pub(crate) fn is_linearizable(history: &History, rules: Rules) -> bool {
    Search::new(history, &revisions(history), rules).explains()
}

/// The shortest beginning of the history that no order explains, without the calls that are not needed to see it; none
/// if there is an order.
pub(crate) fn counterexample(history: &History, rules: Rules) -> Option<History> {
    let revisions = revisions(history);
    let explained = |history: &History| Search::new(history, &revisions, rules).explains();
    if explained(history) {
        return None;
    }
    let mut ends: Vec<Stamp> = history.operations.iter().map(|one| one.returned).collect();
    ends.sort_unstable();
    let shortest = ends.partition_point(|end| explained(&history.until(*end)));
    let mut least = history.until(*ends.get(shortest).unwrap_or(&Stamp::NEVER));
    // Calls that changed nothing; without a write the rest would make no sense.
    for index in (0..least.operations.len()).rev() {
        let unchanging = matches!(
            least.operations[index].outcome,
            Outcome::Read(_) | Outcome::Refused(_) | Outcome::NotApplied(_)
        );
        if unchanging {
            let mut without = least.clone();
            without.operations.remove(index);
            if !explained(&without) {
                least = without;
            }
        }
    }
    Some(least)
}

/// The revision of each value, which only one call writes: as its caller was told, else as it was first read.
fn revisions(history: &History) -> HashMap<u32, u32> {
    let mut revisions = HashMap::new();
    for operation in &history.operations {
        if let Outcome::Applied(Some(revision)) = operation.outcome {
            for value in values(&operation.call) {
                revisions.insert(value, revision);
            }
        }
    }
    for operation in &history.operations {
        if let Outcome::Read(stored) = operation.outcome {
            revisions.entry(stored.value).or_insert(stored.revision);
        }
    }
    revisions
}

/// The values that a call writes.
fn values(call: &Call) -> Vec<u32> {
    match call {
        Call::Put(Write { value, .. })
        | Call::Create(Write { value, .. })
        | Call::Update(Write { value, .. })
        | Call::CompareAndSwap(_, Write { value, .. })
        | Call::ConditionalUpdate(_, Write { value, .. }) => vec![*value],
        Call::AtomicWrite(acts) => acts
            .iter()
            .filter_map(|act| match act.effect {
                Effect::Put { value, .. } => Some(value),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// When a call may have taken effect: from the sending of an attempt that may have been the effective one.
fn windows(operation: &Operation, rules: Rules) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    let mut tokens: HashMap<&str, usize> = HashMap::new();
    let end = match operation.outcome {
        Outcome::Unknown => Stamp::NEVER,
        _ => operation.returned,
    };
    for attempt in &operation.attempts {
        let earlier = attempt
            .token
            .as_deref()
            .map(|token| *tokens.entry(token).or_insert(windows.len()));
        // The same request again is one slow attempt, judged by the first one's clock.
        if let Some(window) = earlier.and_then(|earlier| windows.get_mut(earlier)) {
            window.to = end;
            continue;
        }
        let second = i64::try_from(attempt.sent.at.as_secs()).unwrap_or(i64::MAX);
        let to = match (rules, attempt.told) {
            (_, Told::NotApplied) => continue,
            (_, Told::Nothing) => end,
            (Rules::Exact, _) => end.min(Stamp::before(Duration::from_secs(attempt.sent.at.as_secs() + 1))),
            (Rules::Within(delay), _) => {
                let at = attempt.sent.at + delay;
                end.min(Stamp { at, ..Stamp::NEVER })
            }
        };
        let effective = match operation.outcome {
            // The caller itself judged what was read.
            _ if matches!(operation.call, Call::Get(_)) => attempt.told == Told::Applied,
            Outcome::Refused(_) => attempt.told == Told::Refused,
            Outcome::Read(_) | Outcome::Applied(_) => attempt.told != Told::Refused,
            Outcome::Unknown | Outcome::NotApplied(_) => attempt.told == Told::Nothing,
        };
        if !effective {
            continue;
        }
        windows.push(Window {
            from: attempt.sent,
            to,
            second: match rules {
                Rules::Exact => second,
                Rules::Within(_) => attempt.read,
            },
        });
    }
    windows
}

struct Search<'h> {
    candidates: Vec<Candidate<'h>>,
    /// The calls that took effect, the time it is, and what is stored.
    nowhere: HashSet<(u128, Stamp, State)>,
}

impl<'h> Search<'h> {
    fn new(history: &'h History, revisions: &HashMap<u32, u32>, rules: Rules) -> Self {
        let took_part = |operation: &&Operation| !matches!(operation.outcome, Outcome::NotApplied(_));
        let mut candidates: Vec<Candidate<'h>> = history
            .operations
            .iter()
            .filter(took_part)
            .zip(0_u32..)
            .map(|(operation, index)| {
                let windows = windows(operation, rules);
                let told = values(&operation.call)
                    .iter()
                    .find_map(|value| revisions.get(value).copied());
                Candidate {
                    operation,
                    last: windows
                        .iter()
                        .map(|window| window.to)
                        .max()
                        .unwrap_or(Stamp::START),
                    windows,
                    optional: operation.outcome == Outcome::Unknown,
                    writes: matches!(operation.outcome, Outcome::Unknown | Outcome::Applied(_)),
                    // One that nobody ever read is nobody's expectation.
                    revision: told.unwrap_or(u32::MAX - index),
                }
            })
            .collect();
        let first = |one: &Candidate<'_>| {
            one.windows
                .first()
                .map_or(one.operation.called, |window| window.from)
        };
        candidates.sort_by_key(|one| (one.optional, first(one)));
        assert!(candidates.len() <= 128, "a history of at most 128 calls is due");
        Self {
            candidates,
            nowhere: HashSet::new(),
        }
    }

    fn explains(&mut self) -> bool {
        let possible = |one: &Candidate<'_>| one.optional || !one.windows.is_empty();
        self.candidates.iter().all(possible) && self.goes_on(0, Stamp::START, State::default())
    }

    /// Whether the calls not in `done` can follow.
    fn goes_on(&mut self, mut done: u128, now: Stamp, state: State) -> bool {
        // What changes nothing and fits now may as well be now.
        for (index, one) in self.candidates.iter().enumerate() {
            let fits = |window: &Window| {
                window.from <= now && now <= window.to && one.after(window, &state).is_some()
            };
            if !one.writes && done >> index & 1 == 0 && one.windows.iter().any(fits) {
                done |= 1 << index;
            }
        }
        let due = |(index, one): &(usize, &Candidate<'_>)| !one.optional && done >> index & 1 == 0;
        let Some(limit) = self
            .candidates
            .iter()
            .enumerate()
            .filter(due)
            .map(|(_, one)| one.last)
            .min()
        else {
            return true;
        };
        if now > limit || !self.nowhere.insert((done, now, state)) {
            return false;
        }
        assert!(self.nowhere.len() < MOST_STATES, "the search does not end");
        for index in 0..self.candidates.len() {
            if done >> index & 1 == 1 {
                continue;
            }
            for at in 0..self.candidates[index].windows.len() {
                let one = &self.candidates[index];
                let window = one.windows[at];
                let then = now.max(window.from);
                if then > window.to || then > limit {
                    continue;
                }
                if let Some(next) = one.after(&window, &state)
                    && (next != state || !one.optional)
                    && self.goes_on(done | 1 << index, then, next)
                {
                    return true;
                }
            }
        }
        false
    }
}

impl Candidate<'_> {
    fn after(&self, window: &Window, state: &State) -> Option<State> {
        let Operation { call, outcome, .. } = self.operation;
        after(call, *outcome, self.revision, window.second, state)
    }
}
