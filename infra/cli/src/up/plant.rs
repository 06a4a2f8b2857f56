//! Sabotage of the output, to prove that the check finds it.

use std::fs;
use std::io;
use std::path::Path;

use clap::ValueEnum;

use super::check::files;
use super::traffic::{Fate, Step};

/// What to spoil in the output before it is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Plant {
    /// A sink acknowledges a record without writing it
    Lose,
    /// A line is written a second time
    Double,
    /// Two lines of a session are exchanged
    Reorder,
    /// A line is cut off in the middle
    Tear,
    /// What waits in the spool is deleted without being delivered
    Forget,
    /// A file of the lake stands there a second time
    Refile,
}

/// Spoils the files that were written. [`Plant::Lose`] is not done here but by the sink, and
/// [`Plant::Forget`] while the spool is drained.
///
/// # Errors
/// Those of the file system, and `NotFound` if there is nothing to spoil.
pub(super) fn spoil(plant: Plant, steps: &[Step], events: &Path, lake: &Path) -> io::Result<()> {
    let (place, kind) = match plant {
        Plant::Refile => (lake, "parquet"),
        _ => (events, "ndjson"),
    };
    for path in files(place)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|of| of == kind))
    {
        if plant == Plant::Refile {
            return fs::copy(&path, path.with_extension("again.parquet")).map(|_| ());
        }
        let text = fs::read_to_string(&path)?;
        let mut lines: Vec<&str> = text.lines().collect();
        let spoilt = match plant {
            Plant::Lose | Plant::Forget | Plant::Refile => return Ok(()),
            Plant::Double => lines.get(lines.len() / 2).copied().map(|line| lines.push(line)),
            Plant::Reorder => two_of_a_session(steps, &lines).map(|(one, other)| lines.swap(one, other)),
            Plant::Tear => lines
                .last_mut()
                .map(|line| *line = line.get(..line.len() / 2).unwrap_or_default()),
        };
        if spoilt.is_some() {
            return fs::write(&path, lines.join("\n") + "\n");
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "no line to spoil"))
}

fn two_of_a_session(steps: &[Step], lines: &[&str]) -> Option<(usize, usize)> {
    let at = |wanted: &str| lines.iter().position(|line| *line == wanted);
    let line = |step: &Step| match &step.fate {
        Fate::Forwarded { line, .. } => at(line),
        Fate::Quarantined | Fate::Nothing => None,
    };
    steps.iter().enumerate().take(100).find_map(|(place, step)| {
        let next = steps
            .iter()
            .skip(place + 1)
            .take(100)
            .find(|next| next.session() == step.session())?;
        Some((line(step)?, line(next)?))
    })
}
