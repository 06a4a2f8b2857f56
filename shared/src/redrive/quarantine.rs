//! Records in quarantine, handed over again by command: after a fix, a newer version, or a sink that was repaired.
//!
//! Each record is handed by itself, for the one sink that its line names or for all. What is taken leaves the quarantine;
//! what is still poison stays. Objects never change, so what stays of an object is written as a new one, named by its
//! content, before the old one is deleted: a cut between leaves both, and the next run makes them one again.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::names::{Ended, Names, age, name};
use crate::forward::handed::{Handed, Origin, sequence_number};
use crate::forward::{Hand, HandError, Tally};
use crate::objects::{self, Objects};

/// What a run did, and what it left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Nothing was handed over, only looked at.
    pub dry_run: bool,
    /// Objects that were looked at.
    pub objects: usize,
    /// For how long the oldest of those has been there, in seconds, where the place tells. An object that lost records is
    /// a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_seconds: Option<u64>,
    /// Those of them that are gone, all of their records taken.
    pub emptied: usize,
    /// What was taken.
    #[serde(flatten)]
    pub tally: Tally,
    /// Records that stay where they are, of the objects that were looked at.
    pub stay: usize,
    /// The first [`MOST_NAMED`](super::MOST_NAMED) of them.
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

/// Invocations that fail one after the other, after which no more is tried for their sink: it is not the records.
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
        failures: HashMap::new(),
        report: Report {
            dry_run: hand.options.dry_run,
            ..Report::default()
        },
    };
    if let Err(error) = run.all().await {
        tracing::warn!(%error, "the quarantine is not replayed to its end");
        run.report.error = Some(error.to_string());
    }
    run.report
}

struct Run<'a> {
    objects: &'a Objects,
    hand: Hand<'a>,
    progress: &'a (dyn Fn(&Report) + Sync),
    /// Names that this run has made, and need not try again.
    written: HashSet<String>,
    /// Invocations that failed since one did not, by sink.
    failures: HashMap<Option<String>, usize>,
    report: Report,
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), Ended> {
        let mut names = Names::new(self.objects, "");
        while let Some(listed) = self.hand.request(names.next()).await?? {
            // The probe of a start holds nothing.
            if !listed.name.ends_with(".ndjson") || self.written.contains(&listed.name) {
                continue;
            }
            self.hand.in_time()?;
            if let Some(object) = self.hand.request(self.objects.get(&listed.name)).await?? {
                self.report.oldest_seconds = self.report.oldest_seconds.max(age(self.hand.clock, &listed));
                self.object(&listed.name, &object.body).await?;
            }
        }
        Ok(())
    }

    async fn object(&mut self, name: &str, body: &[u8]) -> Result<(), Ended> {
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
                        ended = Err(error.into());
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
                self.hand.request(self.objects.put(&new, rest)).await??;
                self.written.insert(new);
            }
            self.hand.request(self.objects.delete(name)).await??;
        }
        ended
    }

    /// Hands one record over; answers why it stays, if it does.
    async fn entry(&mut self, line: &Line<'_>) -> Result<Option<String>, HandError> {
        let Some(record) = line.record else {
            return Ok(Some("the line has no record".to_owned()));
        };
        if sequence_number(record.get()).is_none() {
            return Ok(Some("it has no number, so no answer could tell of it".to_owned()));
        }
        let sink = line.sink.as_deref().map(str::to_owned);
        if self
            .failures
            .get(&sink)
            .is_some_and(|failures| *failures >= FAILURES)
        {
            return Ok(Some("others of its sink failed, and it was not tried".to_owned()));
        }
        let handed = Handed {
            origin: Origin::Quarantine,
            sink: line.sink.as_deref().map(Cow::Borrowed),
            range: None,
        };
        let over = self
            .hand
            .over(&handed, &[record.get()], &mut self.report.tally)
            .await;
        let failures = self.failures.entry(sink).or_default();
        match over {
            Ok(()) => {
                *failures = 0;
                Ok(None)
            }
            Err(error @ HandError::Left(_)) => {
                *failures = 0;
                Ok(Some(error.to_string()))
            }
            // It may be this record alone, or a sink that is no more.
            Err(error @ HandError::Invoke(_)) => {
                *failures += 1;
                Ok(Some(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    fn stays(&mut self, object: &str, line: Option<&Line<'_>>, error: Option<String>) {
        self.report.stay += 1;
        let text = |text: Option<&Cow<'_, str>>| text.map(|text| text.clone().into_owned());
        name(&mut self.report.entries, || Entry {
            object: object.to_owned(),
            sequence_number: text(line.and_then(|line| line.sequence_number.as_ref())),
            sink: text(line.and_then(|line| line.sink.as_ref())),
            kind: text(line.and_then(|line| line.kind.as_ref())),
            reason: text(line.and_then(|line| line.reason.as_ref())),
            error,
        });
    }
}
