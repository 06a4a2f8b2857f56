//! Records in quarantine, handed over again by command: after a fix, a newer version, or a sink that was repaired.
//!
//! Each record is handed by itself, for the one sink that its line names or for all. What is taken leaves the quarantine;
//! what is still poison stays. Objects never change, so what stays of an object is written as a new one, named by its
//! content, before the old one is deleted: a cut between leaves both, and the next run makes them one again.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::hand::{Hand, HandError, Tally};
use crate::forward::handed::{Handed, Origin};
use crate::objects::{self, Objects, ObjectsError, PAGE};

/// What a run did, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing was handed over, only looked at.
    pub dry_run: bool,
    /// Objects that were looked at.
    pub objects: usize,
    /// Those of them that are gone, all of their records taken.
    pub emptied: usize,
    /// What was taken.
    #[serde(flatten)]
    pub tally: Tally,
    /// Records that stay where they are, of the objects that were looked at.
    pub stay: usize,
    /// The first [`MOST_NAMED`] of them.
    pub entries: Vec<Entry>,
    /// Why the run ended before all was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A record that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The object that it was found in.
    pub object: String,
    /// Its number, where it has one.
    pub sequence_number: Option<String>,
    /// The sink that it is for; none for all.
    pub sink: Option<String>,
    /// Why it was quarantined.
    pub kind: Option<String>,
    /// Where and what the fault is.
    pub reason: Option<String>,
    /// Why it was not taken now; none if that was not tried.
    pub error: Option<String>,
}

/// Most entries that a report names.
pub const MOST_NAMED: usize = 100;
/// Invocations that fail one after the other, after which the run ends: it is not the records.
const FAILURES: usize = 10;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sink: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sequence_number: Option<Cow<'a, str>>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
}

/// Hands over what is in quarantine, in the order of names, which is that of the objects' first numbers. Cost: a LIST for
/// each thousand objects, a GET each, an invocation for each record, and a PUT and a DELETE for each object that changes.
/// `progress` is told the report after each record. Cancel-safe: nothing leaves the quarantine that was not acknowledged.
pub async fn redrive(objects: &Objects, hand: Hand<'_>, progress: &(dyn Fn(&Report) + Sync)) -> Report {
    let mut run = Run {
        objects,
        hand,
        progress,
        written: HashSet::new(),
        failures: 0,
        report: Report {
            dry_run: hand.options.dry_run,
            ..Report::default()
        },
    };
    if let Err(error) = run.all().await {
        tracing::warn!(error, "the quarantine is not replayed to its end");
        run.report.error = Some(error);
    }
    run.report
}

struct Run<'a> {
    objects: &'a Objects,
    hand: Hand<'a>,
    progress: &'a (dyn Fn(&Report) + Sync),
    /// Names that this run has made, and need not try again.
    written: HashSet<String>,
    /// Invocations that failed since one did not.
    failures: usize,
    report: Report,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), String> {
        let mut after: Option<String> = None;
        loop {
            let page = self
                .objects
                .list("", after.as_deref(), PAGE)
                .await
                .map_err(text)?;
            for listed in &page.objects {
                // The probe of a start holds nothing.
                if !listed.name.ends_with(".ndjson") || self.written.contains(&listed.name) {
                    continue;
                }
                self.hand.in_time().map_err(|error| error.to_string())?;
                if let Some(object) = self.objects.get(&listed.name).await.map_err(text)? {
                    self.object(&listed.name, &object.body).await?;
                }
            }
            after = page.objects.into_iter().next_back().map(|object| object.name);
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn object(&mut self, name: &str, body: &[u8]) -> Result<(), String> {
        self.report.objects += 1;
        let mut rest = Vec::new();
        let mut first = None;
        let (mut taken, mut ended) = (0, Ok(()));
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let read = serde_json::from_slice::<Line<'_>>(line).ok();
            let tried = match &read {
                _ if self.report.dry_run || ended.is_err() => None,
                Some(read) => match self.entry(read).await {
                    Ok(None) => {
                        taken += 1;
                        (self.progress)(&self.report);
                        continue;
                    }
                    Ok(why) => why,
                    Err(error) => {
                        ended = Err(error);
                        None
                    }
                },
                None => Some("the line is none of a quarantine".to_owned()),
            };
            first = first.or_else(|| read.as_ref()?.sequence_number.as_deref().map(str::to_owned));
            rest.extend_from_slice(line);
            rest.push(b'\n');
            self.stays(name, read.as_ref(), tried);
            (self.progress)(&self.report);
        }
        if taken > 0 {
            if rest.is_empty() {
                self.report.emptied += 1;
            } else {
                let new = objects::name(&first.unwrap_or_default(), &rest, "ndjson");
                self.objects.put(&new, rest).await.map_err(text)?;
                self.written.insert(new);
            }
            self.objects.delete(name).await.map_err(text)?;
        }
        ended
    }

    /// Hands one record over; answers why it stays, if it does.
    async fn entry(&mut self, line: &Line<'_>) -> Result<Option<String>, String> {
        let Some(record) = line.record else {
            return Ok(Some("the line has no record".to_owned()));
        };
        let handed = Handed {
            origin: Origin::Quarantine,
            sink: line.sink.as_deref().map(Cow::Borrowed),
            range: None,
        };
        let over = self
            .hand
            .over(&handed, &[record.get()], &mut self.report.tally)
            .await;
        match over {
            Ok(()) => {
                self.failures = 0;
                Ok(None)
            }
            Err(error @ (HandError::Time | HandError::Silent)) => Err(error.to_string()),
            Err(error @ HandError::Left(_)) => {
                self.failures = 0;
                Ok(Some(error.to_string()))
            }
            // It may be this record alone: without a number it cannot be told in an answer, or its sink is no more.
            Err(error @ HandError::Invoke(_)) => {
                self.failures += 1;
                match self.failures < FAILURES {
                    true => Ok(Some(error.to_string())),
                    false => Err(error.to_string()),
                }
            }
        }
    }

    fn stays(&mut self, object: &str, line: Option<&Line<'_>>, error: Option<String>) {
        self.report.stay += 1;
        if self.report.entries.len() == MOST_NAMED {
            return;
        }
        let text = |text: Option<&Cow<'_, str>>| text.map(|text| text.clone().into_owned());
        self.report.entries.push(Entry {
            object: object.to_owned(),
            sequence_number: text(line.and_then(|line| line.sequence_number.as_ref())),
            sink: text(line.and_then(|line| line.sink.as_ref())),
            kind: text(line.and_then(|line| line.kind.as_ref())),
            reason: text(line.and_then(|line| line.reason.as_ref())),
            error,
        });
    }
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn text(error: ObjectsError) -> String {
    error.to_string()
}
