//! Which records go to which sinks: the one place that chooses.

use std::ops::Range;

use super::disposition::{Disposition, Judged};
use super::handed::Handed;
use super::serve::NamedSink;
use super::sink::Outgoing;
use super::{HandleError, envelope, filter};
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
}

impl<'a> Deliverables<'a> {
    /// Of the first `limit` records; their envelopes are written if one of `sinks` wants them.
    pub(crate) fn new(
        judged: &'a [Judged<'a>],
        limit: usize,
        out: &'a Canonical,
        handed: Option<&Handed<'_>>,
        sinks: &[NamedSink],
    ) -> Self {
        let enveloped = sinks.iter().any(|sink| sink.config.format == Format::Envelope);
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
            });
        }
        all
    }

    /// Which of them each sink gets: those that its filter lets through, of the one sink that they are handed for, or
    /// of all.
    pub(crate) fn routes(
        &'a self,
        sinks: &'a [NamedSink],
        handed: Option<&Handed<'_>>,
    ) -> Result<Vec<Route<'a>>, HandleError> {
        let only = handed.and_then(|handed| handed.sink.as_deref());
        let routes: Vec<Route<'a>> = sinks
            .iter()
            .filter(|sink| only.is_none_or(|only| sink.name == only))
            .map(|sink| self.route(sink))
            .collect();
        match only {
            // Nothing may be acknowledged that no sink has seen.
            Some(only) if routes.is_empty() => Err(HandleError::UnknownSink(only.to_owned())),
            _ => Ok(routes),
        }
    }

    fn route(&'a self, sink: &'a NamedSink) -> Route<'a> {
        let filter = &sink.config.filter;
        let all = filter.is_empty();
        let passing = self
            .records
            .iter()
            .filter(|record| all || filter::passes(filter, record.event, record.payload));
        let records: Vec<Routed<'a>> = passing
            .map(|record| Routed {
                outgoing: Outgoing {
                    position: record.at,
                    event_id: record.judged.event_id.as_deref(),
                    id: &record.event.id,
                    key: record.event.key,
                    session_id: &record.event.session_id,
                    day: record.event.day,
                    sequence_number: record.judged.sequence_number.as_deref().unwrap_or_default(),
                    line: match sink.config.format {
                        Format::Event => record.payload,
                        Format::Envelope => self.envelopes.get(record.envelope.clone()).unwrap_or_default(),
                    },
                },
                event: record.event,
                payload: record.payload,
            })
            .collect();
        Route {
            filtered: self.records.len() - records.len(),
            sink,
            records,
        }
    }
}
