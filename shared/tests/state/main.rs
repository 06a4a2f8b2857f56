//! The state backend on the embedded engine.

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
