//! The sinks.

mod commits;
pub mod file;
pub mod lake;
pub mod s3;
pub mod stdout;
