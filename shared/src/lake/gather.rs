//! What a plan comes to: its inputs' rows by day, without repeats.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use time::Date;

use super::plan::Plan;
use super::plant::Plant;
use super::row::{self, Fault, Row};
use super::{AT_ONCE, Lake, LakeError, Report, sidecar, sidecars};
use crate::audit::Day;
use crate::objects::{Object, ObjectsError, PAGE};

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Rows of days that the plan has not written yet.
    pub(super) days: BTreeMap<Date, Vec<Row>>,
    /// Lines that are no rows, with their reasons, as lines of JSON.
    pub(super) quarantine: Vec<u8>,
}

#[derive(Serialize)]
struct Quarantined<'a> {
    reason: &'static str,
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<&'a str>,
    /// Of a line that is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Lake {
    /// Reads a plan's inputs and drops repeats.
    pub(super) async fn gather(&self, plan: &Plan, report: &mut Report) -> Result<Gathered, LakeError> {
        let mut gathered = Gathered::default();
        let mut seen = HashSet::new();
        let mut inputs = self.read(plan.inputs.clone());
        while let Some((name, input)) = inputs.next().await {
            let Some(input) = input? else {
                report.inputs_missing += 1;
                continue;
            };
            report.inputs += 1;
            report.bytes += input.body.len() as u64;
            for line in input.body.split(|byte| *byte == b'\n') {
                if line.is_empty() {
                    continue;
                }
                report.lines += 1;
                match row::read(line, plan.planned()) {
                    Ok(row) if seen.insert(row.key) => {
                        gathered.days.entry(row.day).or_default().push(row);
                    }
                    Ok(_) => report.repeats += 1,
                    Err(fault) => {
                        *report.quarantined.entry(fault.name()).or_default() += 1;
                        quarantine(&name, line, fault, &mut gathered.quarantine);
                    }
                }
            }
        }
        let days: Vec<Date> = gathered.days.keys().copied().collect();
        for day in days {
            let rows = gathered.days.entry(day).or_default();
            let mut fresh: HashSet<u128> = rows.iter().map(|row| row.key).collect();
            if self.is_done(plan, Day::new(Some(day)), &mut fresh).await? {
                report.outputs_found += 1;
                rows.clear();
            }
            let before = rows.len();
            rows.retain(|row| fresh.contains(&row.key));
            report.repeats += (before - rows.len()) as u64;
            report.uids_made += rows.iter().filter(|row| row.uid_made).count() as u64;
        }
        gathered.days.retain(|_, rows| !rows.is_empty());
        Ok(gathered)
    }

    /// Reads objects, a few at once, in their order.
    fn read(
        &self,
        names: Vec<String>,
    ) -> impl Stream<Item = (String, Result<Option<Object>, ObjectsError>)> + Unpin {
        let reads: Vec<_> = names
            .into_iter()
            .map(|name| {
                Box::pin(async move {
                    let object = self.objects.get(&name).await;
                    (name, object)
                })
            })
            .collect();
        stream::iter(reads).buffered(AT_ONCE)
    }

    /// Takes out of `fresh` the ids that other plans' files of a day hold; says whether this plan's file of the day
    /// and its sidecar are there. Memory: a few sidecars at once.
    async fn is_done(&self, plan: &Plan, day: Day, fresh: &mut HashSet<u128>) -> Result<bool, LakeError> {
        if self.has(Plant::RepeatsNotLookedFor) {
            return Ok(false);
        }
        let own = sidecar(day, &plan.id);
        let mut after: Option<String> = None;
        loop {
            let page = self.objects.list(&sidecars(day), after.as_deref(), PAGE).await?;
            if page.objects.iter().any(|object| object.name == own) && !self.has(Plant::OutputsOverwritten) {
                return Ok(true);
            }
            after = page.objects.last().map(|object| object.name.clone());
            let names = page.objects.into_iter().map(|object| object.name);
            let mut found = self.read(names.collect());
            while let Some((name, sidecar)) = found.next().await {
                if name == own {
                    continue;
                }
                // One that is deleted in this moment is as good as one that was before.
                let Some(sidecar) = sidecar? else { continue };
                let (ids, rest) = sidecar.body.as_chunks::<16>();
                if !rest.is_empty() {
                    return Err(LakeError::Sidecar(self.objects.place(&name)));
                }
                for id in ids {
                    fresh.remove(&u128::from_be_bytes(*id));
                }
            }
            if !page.more {
                return Ok(false);
            }
        }
    }
}

fn quarantine(input: &str, line: &[u8], fault: Fault, out: &mut Vec<u8>) {
    let text = std::str::from_utf8(line);
    let entry = Quarantined {
        reason: fault.name(),
        input,
        line: text.ok(),
        base64: text.is_err().then(|| BASE64_STANDARD.encode(line)),
    };
    // A Vec takes all.
    let _ = serde_json::to_writer(&mut *out, &entry);
    out.push(b'\n');
}
