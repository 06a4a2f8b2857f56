//! Tidewatch keeps an access platform's state, audit trail, session recordings and TLS certificates on DynamoDB
//! and S3. This crate holds all of its logic, one module per concept; it knows nothing of Lambda.
//!
//! | module | concept |
//! |---|---|
//! | [`clock`], [`random`] | time, waiting, randomness and ids, injected |
//! | `table` (feature `dynamodb`) | what each table is; create, verify, plan and apply changes |

pub mod clock;
pub mod random;
#[cfg(feature = "dynamodb")]
pub mod table;
