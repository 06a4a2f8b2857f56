//! The state backend on the embedded engine.

mod engine;
mod operations;
mod policy;
