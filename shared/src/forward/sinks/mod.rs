//! The sinks.

mod commits;
pub mod file;
#[cfg(feature = "s3")]
pub mod s3;
pub mod stdout;
