//! What brings events back that did not come by the stream, or not whole. Records are handed to `forward`
//! ([`Invoke`](crate::forward::Invoke)), which knows filters and sinks; nothing is put away before it has acknowledged.
//!
//! | task | from | how it is safe |
//! |---|---|---|
//! | [`failures`] | what Lambda gave up, records and all | an object is deleted when all of it is acknowledged |
//! | [`quarantine`] | records that could not be delivered | what is still not taken is written again before the old object is deleted |
//! | [`Backfill`] | the audit table's index, day by day (feature `dynamodb`) | a position after each page that is acknowledged |
//! | [`FromExport`] | an export of the table in S3 | a position after each payload that is acknowledged |
//! | [`event_handler`] | where Teleport's own forwarder stopped | its files are only read |
//!
//! All of them may be cut anywhere and run again, or twice at once: records come again then, and none is lost. Repeats
//! are known by their ids.

#[cfg(feature = "dynamodb")]
mod backfill;
#[cfg(feature = "dynamodb")]
pub mod event_handler;
mod exported;
pub mod failures;
mod hand;
pub mod quarantine;
mod rows;

#[cfg(feature = "dynamodb")]
pub use self::backfill::{Backfill, Throttled};
pub use self::exported::FromExport;
pub use self::hand::{Hand, HandError, Tally};
pub use self::rows::{BackfillError, OVERLAP, Position, Range, Step};
pub use crate::forward::drain::Options;
