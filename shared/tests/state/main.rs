//! The state backend on the embedded engine, on a mocked service and over broken connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod connections;
mod engine;
mod faults;
mod faults_batch;
mod faults_unknown;
mod faults_visible;
mod memory;
mod mocked;
mod operations;
mod requests;
