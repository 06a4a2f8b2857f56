//! How a world ended: what is wrong, what happened, and what was repeated for which cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::Ordering;

use tidewatch_cli::esm::Counts;

use crate::emitters::POISON;
use crate::verdict::{self, Wrong};
use crate::world::World;

pub(crate) const SINKS: [&str; 4] = ["archive", "lake", "local", "remote"];

/// How it ended.
#[derive(Debug)]
pub(crate) struct End {
    seed: u64,
    pub(crate) wrong: Wrong,
    pub(crate) mapping: Counts,
    /// Most records of an invocation by the mapping.
    pub(crate) batch: u64,
    /// Of each sink.
    pub(crate) repeats: BTreeMap<&'static str, Repeats>,
    pub(crate) happened: BTreeMap<&'static str, u64>,
    /// Records that the mapping gave to the function again.
    pub(crate) again: u64,
    /// Poison rows in quarantine, repeats included.
    pub(crate) quarantined: usize,
}

/// What was given to a sink more than once, and why.
#[derive(Debug)]
pub(crate) struct Repeats {
    /// Deliveries beyond the first of each record.
    pub(crate) given: u64,
    /// Lines that stand there beyond the first of each event.
    pub(crate) stand: u64,
    /// Records that drains handed over again.
    pub(crate) drained_again: u64,
    /// Records that were given to it and that it did not acknowledge.
    pub(crate) unanswered: u64,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: wrong {:?}", self.seed, self.wrong)?;
        let (again, batch) = (self.again, self.batch);
        writeln!(
            f,
            "{again} records came again from the mapping, in batches of {batch}"
        )?;
        for (sink, repeats) in &self.repeats {
            writeln!(f, "{sink}: {repeats:?}")?;
        }
        write!(f, "{:?}\n{:?}", self.happened, self.mapping)
    }
}

impl World {
    pub(crate) fn end(&self, mapping: Counts) -> End {
        let mut wrong = Wrong::new();
        let mut stand = BTreeMap::new();
        let folder = self.store.folder();
        let enveloped = verdict::lines(&folder.join("archive"));
        let archived = enveloped.into_iter().map(|mut line| line["event"].take());
        let repeats = verdict::compare(&self.all, "archive", archived, false, &mut wrong);
        stand.insert("archive", repeats);
        // Objects of a zombie stand among the others.
        wrong.remove("archive: out of order");
        let filed = verdict::lake(&folder.join("lake"), &mut wrong);
        let repeats = verdict::compare(&self.all, "lake", filed, true, &mut wrong);
        stand.insert("lake", repeats);
        let local = verdict::lines(&self.files.path().join("local"));
        let repeats = verdict::compare(&self.all, "local", local, true, &mut wrong);
        stand.insert("local", repeats);
        let remote = std::mem::take(&mut *self.remote.0.lock().unwrap());
        let remote = remote
            .iter()
            .map(|line| verdict::parse(std::str::from_utf8(line).unwrap()));
        let repeats = verdict::compare(&self.all, "remote", remote, false, &mut wrong);
        stand.insert("remote", repeats);

        let poison = verdict::lines(&folder.join("quarantine"));
        let keys = poison.iter().map(|line| &line["record"]["dynamodb"]["Keys"]);
        let poisoned: BTreeSet<&str> = keys
            .filter(|keys| keys["SessionID"]["S"] == POISON)
            .map(|keys| keys["EventIndex"]["N"].as_str().unwrap())
            .collect();
        if poisoned.len() != self.options.poison {
            wrong.insert(
                "quarantine: lost".to_owned(),
                self.options.poison - poisoned.len(),
            );
        }

        let happened = self.counted.all();
        let rows = (self.all.len() + self.options.poison) as u64;
        if happened["rows stored"] > rows {
            wrong.insert("table: doubled".to_owned(), self.all.len());
        }
        let handed = self.handed.lock().unwrap();
        let repeats = SINKS.map(|name| {
            let weather = &self.weather[name];
            let drained = handed.get(name);
            let repeats = Repeats {
                given: weather.repeats(),
                stand: stand[name],
                drained_again: drained.map_or(0, |(times, which)| times - which.len() as u64),
                unanswered: weather.unanswered.load(Ordering::Relaxed),
            };
            (name, repeats)
        });
        let again = mapping.records - happened["rows stored"];
        // A sink is given again what the mapping or a drain gave again, and what it took without saying so.
        for (name, repeats) in &repeats {
            let bound = again + repeats.drained_again + repeats.unanswered;
            if repeats.given > bound || repeats.stand > repeats.given {
                wrong.insert(format!("{name}: repeated without a cause"), self.all.len());
            }
        }
        End {
            seed: self.options.seed,
            wrong,
            batch: self.batch as u64,
            repeats: repeats.into(),
            again,
            mapping,
            happened,
            quarantined: poison.len(),
        }
    }
}
