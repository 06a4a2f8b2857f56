//! The state backend on the embedded engine.

mod engine;
mod linearizable;
mod operations;
