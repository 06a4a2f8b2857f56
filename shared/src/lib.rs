//! Tidewatch keeps an access platform's state, audit trail, session recordings and TLS certificates on DynamoDB
//! and S3. This crate holds all of its logic, one module per concept; it knows nothing of Lambda.
//!
//! | module | concept |
//! |---|---|
//! | [`audit`] | audit events: rows decoded exactly; `audit::log` (feature `dynamodb`): emitted, searched, exported |
//! | [`config`] | the one configuration document |
//! | [`forward`] | stream records to dispositions to sinks |
//! | `lake` (feature `lake`) | Parquet files of audit events that Teleport's Athena reader takes |
//! | [`objects`] | objects in a directory or an S3 prefix |
//! | [`clock`], [`random`] | time, waiting, randomness and ids, injected |
//! | [`redrive`] | what Lambda gave up, what is in quarantine, what only the table has: brought back |
//! | `iam` (feature `dynamodb`) | the least policy for working on a table |
//! | `maintain` (feature `dynamodb`) | tasks that run now and then, under a lease |
//! | `state` (feature `dynamodb`) | keys, items, conditional and atomic writes, leases and locks |
//! | `table` (feature `dynamodb`) | what each table is; create, verify, plan and apply changes |
//! | `watch` (feature `dynamodb`) | changes of state, in order, for any number of watchers |
//! | `testkit` (feature `testkit`) | what a backend must do, as cases to run on any engine |

#[cfg(all(test, feature = "dynamodb"))]
// Unit tests share the engine of the integration tests, which names the crate from outside.
extern crate self as tidewatch;

pub mod audit;
#[cfg(any(feature = "s3", feature = "ssm", feature = "dynamodb", feature = "lambda"))]
pub mod aws;
pub mod clock;
pub mod config;
pub mod forward;
#[cfg(feature = "dynamodb")]
pub mod iam;
#[cfg(feature = "lake")]
pub mod lake;
#[cfg(feature = "dynamodb")]
pub mod maintain;
pub mod objects;
pub mod random;
pub mod redrive;
#[cfg(feature = "dynamodb")]
pub mod state;
#[cfg(feature = "dynamodb")]
pub mod table;
#[cfg(feature = "testkit")]
pub mod testkit;
#[cfg(feature = "dynamodb")]
pub mod watch;

/// The embedded engine of the integration tests, for tests of what is not public.
#[cfg(all(test, feature = "dynamodb"))]
#[path = "../tests/state/engine.rs"]
#[allow(clippy::unwrap_used, clippy::panic, dead_code)]
mod engine;

/// The S3 engine of the integration tests.
#[cfg(all(test, feature = "dynamodb", feature = "s3"))]
#[path = "../tests/support/store.rs"]
mod store;
