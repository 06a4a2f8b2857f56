//! Which records go to which sinks: the one place that chooses.

use std::ops::Range;
use std::time::SystemTime;

use super::destinations::Takes;
use super::disposition::{Disposition, Judged};
use super::handed::Handed;
use super::open::Plan;
use super::serve::NamedSink;
use super::sink::Outgoing;
use super::{envelope, filter};
use crate::audit::Event;
use crate::audit::canonical::Canonical;
use crate::config::Format;

/// An event on its way to a sink, with what no sink needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Routed<'a> {
    pub(crate) outgoing: Outgoing<'a>,
    pub(crate) event: &'a Event<'a>,
    /// The canonical event.
    pub(crate) payload: &'a [u8],
}

/// What one sink is to be given of a batch, in order.
pub(crate) struct Route<'a> {
    pub(crate) sink: &'a NamedSink,
    pub(crate) records: Vec<Routed<'a>>,
    /// Records that its filter keeps from it.
    pub(crate) filtered: usize,
}

/// The records of a batch that are to be delivered, and their envelopes.
#[derive(Default)]
pub(crate) struct Deliverables<'a> {
    records: Vec<Deliverable<'a>>,
    envelopes: Vec<u8>,
}

struct Deliverable<'a> {
    /// Position in the batch.
    at: usize,
    judged: &'a Judged<'a>,
    event: &'a Event<'a>,
    payload: &'a [u8],
    envelope: Range<usize>,
    /// Index of the version in force when it was made.
    version: usize,
}

impl<'a> Deliverables<'a> {
    /// Of the first `limit` records; their envelopes are written if one of the plan's sinks wants them.
    pub(crate) fn new(
        judged: &'a [Judged<'a>],
        limit: usize,
        out: &'a Canonical,
        handed: Option<&Handed<'_>>,
        plan: &Plan,
        arrived: SystemTime,
    ) -> Self {
        let enveloped = plan.sinks.iter().any(NamedSink::wants_envelopes);
        let mut all = Self::default();
        for (at, judged) in judged.iter().enumerate().take(limit) {
            let Disposition::Deliver(event, payload) = &judged.disposition else {
                continue;
            };
            let payload = out.get(payload.clone());
            let start = all.envelopes.len();
            if enveloped {
                envelope::write(
                    handed,
                    event,
                    judged.event_id.as_deref(),
                    judged.sequence_number.as_deref().unwrap_or_default(),
                    judged.created,
                    payload,
                    &mut all.envelopes,
                );
            }
            all.records.push(Deliverable {
                at,
                judged,
                event,
                payload,
                envelope: start..all.envelopes.len(),
                version: plan.chain.in_force(judged.created.unwrap_or(arrived)),
            });
        }
        all
    }

    /// Which of them each sink gets: those that the version in force when they were made lets through to it, of the one
    /// sink that they are handed for, or of all. Sinks of other versions that get nothing are left out.
    pub(crate) fn routes(
        &'a self,
        sinks: &'a [NamedSink],
        handed: Option<&Handed<'_>>,
        in_force: usize,
    ) -> Vec<Route<'a>> {
        let only = handed.and_then(|handed| handed.sink.as_deref());
        // What waited for a sink has passed its filter before.
        let passed = handed.is_some_and(Handed::was_judged);
        sinks
            .iter()
            .filter(|sink| only.is_none_or(|only| sink.name == only))
            .map(|sink| self.route(sink, only.is_some(), passed))
            .filter(|route| route.sink.is_of(in_force) || route.filtered > 0 || !route.records.is_empty())
            .collect()
    }

    fn route(&'a self, sink: &'a NamedSink, named: bool, passed: bool) -> Route<'a> {
        let mut route = Route {
            sink,
            records: Vec::new(),
            filtered: 0,
        };
        for record in &self.records {
            let (filter, format) = match sink.takes(record.version) {
                Takes::Passing(filter, format) => (filter, *format),
                Takes::Handed if named => (&sink.config.filter, sink.config.format),
                Takes::Handed | Takes::Nothing => continue,
            };
            if !passed && !filter.is_empty() && !filter::passes(filter, record.event, record.payload) {
                route.filtered += 1;
                continue;
            }
            route.records.push(self.routed(record, format));
        }
        route
    }

    fn routed(&'a self, record: &Deliverable<'a>, format: Format) -> Routed<'a> {
        Routed {
            outgoing: Outgoing {
                position: record.at,
                event_id: record.judged.event_id.as_deref(),
                id: &record.event.id,
                key: record.event.key,
                session_id: &record.event.session_id,
                day: record.event.day,
                sequence_number: record.judged.sequence_number.as_deref().unwrap_or_default(),
                line: match format {
                    Format::Event => record.payload,
                    Format::Envelope => self.envelopes.get(record.envelope.clone()).unwrap_or_default(),
                },
            },
            event: record.event,
            payload: record.payload,
        }
    }
}
