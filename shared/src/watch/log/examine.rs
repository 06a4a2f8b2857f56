//! Gaps that nobody reported: found by what the mapping and the table say of themselves.

use std::time::{Duration, SystemTime};

use super::control::{Control, Transport};
use super::requests::Tries;
use super::segment::millis;
use super::{Log, LogError};
use crate::clock::Instant;

/// A mapping that was off for longer may have lost what the stream kept for 24 h.
const OFF: Duration = Duration::from_secs(20 * 3600);

/// The event source mapping that feeds a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingFacts {
    /// Its UUID.
    pub id: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Whether it began, or would begin, at the stream's oldest record.
    pub from_trim_horizon: bool,
}

/// What is known of a log's feed when it is examined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// `LatestStreamArn` of the state table, if its stream is on.
    pub stream: Option<String>,
    /// The mapping from that stream, if there is one.
    pub mapping: Option<MappingFacts>,
}

/// What an examination found: each means that changes were, or may have been, lost, and that every bucket has its gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// The table's stream is another one than the log's: off and on again, or the table was restored.
    StreamReplaced,
    /// The mapping was not seen enabled for more than 20 hours.
    MappingWasOff,
    /// Another mapping feeds the log now, and it did not begin at the stream's oldest record.
    MappingReplaced,
}

impl Finding {
    fn why(self) -> &'static str {
        match self {
            Self::StreamReplaced => "the table's stream was replaced",
            Self::MappingWasOff => "the mapping that feeds the log was off for more than 20 hours",
            Self::MappingReplaced => "the mapping that feeds the log was replaced by one that began later",
        }
    }
}

impl Log {
    /// Compares what feeds the log with what it was at the last examination, and appends a gap to every bucket where
    /// something may have been lost. To be called every hour or so, and safe to be called twice at once.
    ///
    /// Requests: one; where a mapping is enabled or something is new, one more; for a finding two a bucket.
    ///
    /// # Errors
    /// [`LogError`]; call it again.
    pub async fn examine(&self, facts: &Facts, stop: Instant) -> Result<Vec<Finding>, LogError> {
        let mut tries = Tries::new(self, stop);
        let control = self.control(&mut tries).await?;
        let now = self.inner.clock.now();
        let findings = found(&control, facts, now);
        if let Some(stream) = stream_of(&control, facts) {
            self.change_stream(stream, &mut tries).await?;
        }
        for finding in findings
            .iter()
            .filter(|finding| **finding != Finding::StreamReplaced)
        {
            // The gap comes first: cut here, the next examination finds the same.
            let id = format!("{}/{}", finding.why(), control.mapping_seen.unwrap_or_default());
            self.break_all(finding.why(), &id, None, stop).await?;
        }
        if let Some(mapping) = &facts.mapping {
            self.change_control(&mut tries, |control| {
                let change = mapping.enabled || control.mapping.as_ref() != Some(&mapping.id);
                control.mapping = Some(mapping.id.clone());
                if mapping.enabled {
                    control.mapping_seen = Some(millis(now));
                }
                change
            })
            .await?;
        }
        Ok(findings)
    }

    /// What [`examine`](Self::examine) would find now; nothing is written. One request.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn findings(&self, facts: &Facts, stop: Instant) -> Result<Vec<Finding>, LogError> {
        let control = self.control(&mut Tries::new(self, stop)).await?;
        Ok(found(&control, facts, self.inner.clock.now()))
    }
}

/// The table's stream, if it is the log's source. A log that is fed through Kinesis has its table's name there.
fn stream_of<'a>(control: &Control, facts: &'a Facts) -> Option<&'a str> {
    let stream = facts.stream.as_deref();
    stream.filter(|stream| control.transport == Transport::Stream && control.is_of(stream))
}

fn found(control: &Control, facts: &Facts, now: SystemTime) -> Vec<Finding> {
    let replaced = stream_of(control, facts).is_some_and(|stream| {
        !control.stream.is_empty() && control.label(stream) > control.label(&control.stream)
    });
    let replaced = replaced.then_some(Finding::StreamReplaced);
    replaced
        .into_iter()
        .chain(of_mapping(control, facts, now))
        .collect()
}

fn of_mapping(control: &Control, facts: &Facts, now: SystemTime) -> Option<Finding> {
    let mapping = facts.mapping.as_ref()?;
    let known = control.mapping.as_ref()?;
    if known != &mapping.id && !mapping.from_trim_horizon {
        return Some(Finding::MappingReplaced);
    }
    let off = control
        .mapping_seen
        .is_some_and(|seen| millis(now).saturating_sub(seen) > millis(SystemTime::UNIX_EPOCH + OFF));
    (mapping.enabled && off).then_some(Finding::MappingWasOff)
}
