//! The state backend on the embedded engine.

mod engine;
mod lease_sets;
mod lock_faults;
mod lock_fences;
mod lock_races;
mod locks;
mod operations;
mod semaphores;
