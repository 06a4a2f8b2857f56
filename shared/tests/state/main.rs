//! The state backend on the embedded engine.

mod connections;
#[cfg(feature = "testkit")]
mod conformance;
mod engine;
mod faults;
mod faults_batch;
mod faults_unknown;
mod faults_visible;
mod mocked;
mod lock_faults;
mod lock_races;
mod locks;
mod operations;
mod policy;
mod requests;
