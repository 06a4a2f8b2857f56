//! Watching, on the embedded engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[allow(dead_code)] // The state tests use the rest.
#[path = "../state/engine.rs"]
mod engine;
mod feed;
