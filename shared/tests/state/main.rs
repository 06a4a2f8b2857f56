//! The state backend on the embedded engine.

mod engine;
mod lock_faults;
mod lock_races;
mod locks;
mod operations;
