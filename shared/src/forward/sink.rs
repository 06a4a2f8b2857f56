//! What a sink is: it takes records in order and says which are durable.

use std::fmt;

use futures_util::future::BoxFuture;

use crate::audit::Day;

/// An event on its way to a sink.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Position of its record in the batch.
    pub position: usize,
    /// The stream's eventID of its record.
    pub event_id: Option<&'a str>,
    /// The event's id, see [`Event::id`](crate::audit::Event::id).
    pub id: &'a str,
    /// The id as 128 bits.
    pub key: u128,
    /// The session key; order is kept within one.
    pub session_id: &'a str,
    /// UTC day of the event.
    pub day: Day,
    /// The record's `SequenceNumber`.
    pub sequence_number: &'a str,
    /// One JSON text in the sink's format, without a newline.
    pub line: &'a [u8],
}

/// Why a sink took nothing. Every such failure is the sink's, not a record's: it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// Takes events to where they are read.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Delivers records in the given order, or the first of them. Answers how many, counted from the first, are durable
    /// now; the pipeline gives the others again. Of a call that answers, at least one is.
    ///
    /// A call may be dropped at any await and its records given again, also while an older call still runs
    /// somewhere: delivering a record twice must do no more harm than the sink's guarantee says, and an older call
    /// must never undo a newer one.
    ///
    /// # Errors
    /// [`SinkError`] if nothing of this call is known to be durable.
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>>;
}
