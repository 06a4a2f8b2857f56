//! Lambda's event source mapping for DynamoDB streams, simulated.
//!
//! A [`Stream`] holds shards with their lineage and records; a [`Mapping`] reads them as Lambda does and gives
//! batches to a [`Handler`]. It runs in the calling process, waits only on the injected clock, and draws every
//! choice from a seed, so that under tokio's paused clock one seed is one schedule.
//!
//! | rule | where |
//! |---|---|
//! | children are read after the parent has been read to its end and answered | [`Stream`] |
//! | batch size, batch window, 6 MB of payload | [`Mapping`] |
//! | ParallelizationFactor 1 keeps the shard's order; above 1 only each item's (partition and sort key) | [`Stream`] |
//! | partial answers: checkpoint at the lowest number, all from there on comes again | [`Verdict`] |
//! | null, `{}`, empty list: success; empty, null or unknown identifier: the whole batch failed | [`Verdict`] |
//! | bisect halves a batch on a function error, or splits it at the number returned; splitting is no retry | [`Mapping`] |
//! | retries exhausted, record too old: payload to the on-failure directory, then on | [`OnFailure`] |
//! | redelivery, zombies, re-cut batches, crashes, slowness | [`Faults`] |
//!
//! Not simulated: filters, tumbling windows, the concurrency limit of the account.

mod answer;
mod failure;
mod faults;
mod invoke;
mod mapping;
mod record;
mod settings;
mod shard;
#[cfg(test)]
mod tests;

pub use answer::Verdict;
pub use failure::{Condition, OnFailure};
pub use faults::{Counts, Fault, Faults};
pub use mapping::{Handler, Mapping};
pub use record::{InvalidRecord, Record, SequenceNumber};
pub use settings::{InvalidSettings, Settings};
pub use shard::{Checkpoint, Checkpoints, Stream, UnknownShard};
