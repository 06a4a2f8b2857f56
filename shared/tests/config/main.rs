//! The configuration, as a document and as variables.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod document;
#[cfg(feature = "dynamodb")]
mod maintain;
#[cfg(feature = "schema")]
mod schema;
mod secrets;
mod sinks;
#[cfg(all(feature = "dynamodb", feature = "s3"))]
mod template;
#[cfg(feature = "dynamodb")]
mod watch;
#[cfg(not(feature = "dynamodb"))]
mod without;
