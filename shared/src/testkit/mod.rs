//! For tests of others: what a backend must do, as cases that anyone can run on an engine of their own.
//!
//! | module | what it tests |
//! |---|---|
//! | [`conformance`] | the state backend, case by case |

pub mod conformance;
