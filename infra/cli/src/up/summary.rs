//! What a run came to, and whether it put anything to the test.

use serde::Serialize;
use serde_json::json;

use super::check::Findings;
use super::route::Routed;
use super::tasks::Done;
use super::traffic::{Fate, Step};
use super::trouble::{Trouble, TroubleCounts};
use crate::cli::{ERROR, GOOD, paint};
use crate::esm::{Counts, Fault};

/// A row is oversize from here on, in DynamoDB's JSON; the table takes no more than 400 KB.
const OVERSIZE: usize = 350_000;

/// The verdict with its grounds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) ok: bool,
    pub(super) seed: u64,
    pub(super) events: usize,
    pub(super) seconds: f64,
    pub(super) tables: [&'static str; 3],
    pub(super) found: Findings,
    #[serde(flatten)]
    pub(super) injected: Injected,
    pub(super) given_up: u64,
}

/// What made it difficult.
#[derive(Debug, Serialize)]
pub(super) struct Injected {
    /// Rows that are special.
    pub(super) rows: Rows,
    /// What the sink suffered.
    pub(super) sink: TroubleCounts,
    /// What the mapping did.
    pub(super) mapping: Counts,
    /// What waited and was drained, and what was filed.
    pub(super) tasks: Done,
    /// Calls of the second sink while it was down.
    pub(super) remote_refused: u64,
}

/// How many rows were special.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rows {
    /// That cannot be read.
    poison: usize,
    /// Close to the largest that a table takes.
    oversize: usize,
    /// With an event that came before under another key.
    repeated: usize,
    #[serde(flatten)]
    routed: Routed,
}

impl Rows {
    /// Counts what was written, and takes over what the stream brought.
    pub(super) fn of(steps: &[Step], routed: Routed) -> Self {
        let count = |is: &dyn Fn(&Step) -> bool| steps.iter().filter(|step| is(step)).count();
        Self {
            poison: count(&|step| step.fate == Fate::Quarantined),
            oversize: count(&|step| json!(step.item).to_string().len() >= OVERSIZE),
            repeated: count(&|step| {
                step.fate == Fate::Nothing && step.old.is_none() && !step.session().starts_with("CHUNK#")
            }),
            routed,
        }
    }

    fn counts(&self) -> Vec<(String, u64)> {
        let mut counts = vec![
            ("poison".to_owned(), self.poison),
            ("oversize".to_owned(), self.oversize),
            ("repeated".to_owned(), self.repeated),
            ("modified".to_owned(), self.routed.modified),
        ];
        for (shard, rows) in &self.routed.since_split {
            let shard = shard.rsplit('-').next().unwrap_or(shard);
            counts.push((format!("since the split in {shard}"), *rows));
        }
        counts
            .into_iter()
            .map(|(name, count)| (name, count as u64))
            .collect()
    }
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
        let groups = [
            ("rows", self.rows.counts()),
            ("sink", self.troubles()),
            ("mapping", self.faults()),
            ("spool", vec![("drained".to_owned(), self.tasks.drained)]),
        ];
        for (place, counts) in groups {
            for (name, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
                found.add("never happened", format!("{place}: {name}"));
            }
        }
        if self.rows.routed.since_split.is_empty() {
            found.add("never happened", "rows: the split of a shard".to_owned());
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
            "{} rows in {:.1} s (seed {}), {} invocations, {} records handed over; tables {}\n\
             expected {} lines, found {} in {} files; {} rows in quarantine\n\
             special rows: {}\n\
             faults of the mapping: {}\n\
             troubles of the sink: {}\n\
             a second sink was down: {} records waited in the spool and were drained; {} rows in the lake\n",
            self.events,
            self.seconds,
            self.seed,
            mapping.invocations,
            mapping.records,
            self.tables.join(", "),
            found.expected,
            found.lines,
            found.files,
            found.quarantined,
            list(self.injected.rows.counts()),
            list(self.injected.faults()),
            list(self.injected.troubles()),
            self.injected.tasks.drained,
            found.rows,
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
    use time::Duration;
    use time::macros::datetime;

    use super::super::traffic::steps;
    use super::*;

    fn all(events: usize) -> Injected {
        let steps = steps(1, datetime!(2026-11-20 23:00 UTC), Duration::SECOND, events);
        let routed = Routed {
            modified: steps.iter().filter(|step| step.old.is_some()).count(),
            since_split: [("a", 1), ("b", 1)].into(),
        };
        Injected {
            rows: Rows::of(&steps, routed),
            sink: Trouble::ALL.map(|trouble| (trouble, 1)).into(),
            tasks: Done {
                drained: 1,
                ..Done::default()
            },
            remote_refused: 1,
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
        // The fewest events that a run can be asked for.
        let (mut injected, mut found) = (all(200), Findings::default());
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
        assert_eq!(absent(|all| all.tasks.drained = 0), ["spool: drained"]);
        assert_eq!(absent(|all| all.rows.poison = 0), ["rows: poison"]);
        assert_eq!(absent(|all| all.rows.oversize = 0), ["rows: oversize"]);
        assert_eq!(absent(|all| all.rows.repeated = 0), ["rows: repeated"]);
        assert_eq!(absent(|all| all.rows.routed.modified = 0), ["rows: modified"]);
        assert_eq!(
            absent(|all| all.rows.routed.since_split.extend([("a", 0)])),
            ["rows: since the split in a"]
        );
        assert_eq!(
            absent(|all| all.rows.routed.since_split.clear()),
            ["rows: the split of a shard"]
        );
    }
}
