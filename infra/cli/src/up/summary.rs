//! What a run came to, and whether it put anything to the test.

use serde::Serialize;

use super::check::Findings;
use super::trouble::{Trouble, TroubleCounts};
use crate::cli::{ERROR, GOOD, paint};
use crate::esm::{Counts, Fault};

/// The verdict with its grounds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) ok: bool,
    pub(super) seed: u64,
    pub(super) events: usize,
    pub(super) seconds: f64,
    pub(super) found: Findings,
    #[serde(flatten)]
    pub(super) injected: Injected,
    pub(super) given_up: u64,
}

/// What made it difficult.
#[derive(Debug, Serialize)]
pub(super) struct Injected {
    /// What the sink suffered.
    pub(super) sink: TroubleCounts,
    /// What the mapping did.
    pub(super) mapping: Counts,
}

impl Injected {
    fn faults(&self) -> Vec<(String, u64)> {
        let count = |fault: Fault| (fault.name().to_owned(), self.mapping.of(fault));
        Fault::ALL.map(count).into()
    }

    fn troubles(&self) -> Vec<(String, u64)> {
        let of = |trouble| self.sink.get(&trouble).copied().unwrap_or_default();
        let count = |trouble: Trouble| (trouble.name().to_owned(), of(trouble));
        Trouble::ALL.map(count).into()
    }

    /// Notes what never happened: it proved nothing.
    pub(super) fn note_absent(&self, found: &mut Findings) {
        let groups = [("sink", self.troubles()), ("mapping", self.faults())];
        for (place, counts) in groups {
            for (name, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
                found.add("never happened", format!("{place}: {name}"));
            }
        }
    }
}

impl Summary {
    /// For people.
    pub(super) fn text(&self) -> String {
        let (found, mapping) = (&self.found, &self.injected.mapping);
        let list = |counts: Vec<(String, u64)>| {
            let counts: Vec<String> = counts
                .into_iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            counts.join(", ")
        };
        let mut text = format!(
            "{} rows in {:.1} s (seed {}), {} invocations, {} records handed over\n\
             expected {} lines, found {} in {} files; {} rows in quarantine\n\
             faults of the mapping: {}\n\
             troubles of the sink: {}\n",
            self.events,
            self.seconds,
            self.seed,
            mapping.invocations,
            mapping.records,
            found.expected,
            found.lines,
            found.files,
            found.quarantined,
            list(self.injected.faults()),
            list(self.injected.troubles()),
        );
        for (kind, wrong) in &found.wrong {
            text.push_str(&format!("{}: {}\n", paint(ERROR, kind), wrong.count));
            wrong
                .first
                .iter()
                .for_each(|what| text.push_str(&format!("  {what}\n")));
        }
        if found.wrong.is_empty() {
            text.push_str(&format!(
                "{}\n",
                paint(GOOD, "nothing lost, doubled, torn or out of order")
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Injected {
        Injected {
            sink: Trouble::ALL.map(|trouble| (trouble, 1)).into(),
            mapping: Counts {
                redeliveries: 1,
                zombies: 1,
                recut: 1,
                crashes: 1,
                slow: 1,
                ..Counts::default()
            },
        }
    }

    fn absent(change: impl FnOnce(&mut Injected)) -> Vec<String> {
        let (mut injected, mut found) = (all(), Findings::default());
        change(&mut injected);
        injected.note_absent(&mut found);
        found.wrong.into_values().flat_map(|wrong| wrong.first).collect()
    }

    #[test]
    fn what_never_happened_is_a_finding() {
        assert!(absent(|_| {}).is_empty());
        assert_eq!(absent(|all| all.mapping.zombies = 0), ["mapping: zombie"]);
        assert_eq!(
            absent(|all| all.sink.retain(|trouble, _| *trouble != Trouble::LateHang)),
            ["sink: late hang"]
        );
    }
}
