//! The state backend on the embedded engine.

#[cfg(feature = "testkit")]
mod conformance;
mod engine;
mod golden;
mod operations;
