//! The state backend on the embedded engine.

#[cfg(feature = "testkit")]
mod conformance;
mod connections;
mod engine;
mod faults;
mod faults_batch;
mod faults_unknown;
mod faults_visible;
mod golden;
mod linearizable;
mod lock_faults;
mod lock_races;
mod locks;
mod mocked;
mod operations;
mod policy;
mod requests;
