//! The state backend on the embedded engine, on a mocked service and over broken connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[cfg(feature = "testkit")]
mod conformance;
mod connections;
mod engine;
mod faults;
mod faults_batch;
mod faults_unknown;
mod faults_visible;
mod golden;
mod lease_sets;
mod leased;
mod linearizable;
mod lock_faults;
mod lock_fences;
mod lock_races;
mod locks;
mod memory;
mod mocked;
mod operations;
mod policy;
mod policy_audit;
mod policy_watch;
mod released;
mod released_faults;
mod requests;
mod semaphores;
mod settled;
