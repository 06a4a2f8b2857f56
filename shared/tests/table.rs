//! The tables against the embedded engine over a loopback socket, and against canned answers for what it lacks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "table/apply.rs"]
mod apply;
#[path = "table/canned.rs"]
mod canned;
#[path = "table/create.rs"]
mod create;
#[path = "table/engine.rs"]
mod engine;
#[path = "table/print.rs"]
mod print;
#[path = "table/verify.rs"]
mod verify;
