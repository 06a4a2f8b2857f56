//! The state backend on the embedded engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[cfg(feature = "testkit")]
mod conformance;
mod engine;
mod golden;
mod operations;
