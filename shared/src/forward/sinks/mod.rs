//! The sinks.

mod commits;
pub mod file;
pub mod lake;
#[cfg(feature = "s3")]
pub mod s3;
pub mod stdout;
