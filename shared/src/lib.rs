//! Tidewatch keeps an access platform's state, audit trail, session recordings and TLS certificates on DynamoDB
//! and S3. This crate holds all of its logic, one module per concept; it knows nothing of Lambda.
//!
//! | module | concept |
//! |---|---|
//! | [`audit`] | audit events: rows decoded exactly |
//! | [`clock`], [`random`] | time, waiting, randomness and ids, injected |

pub mod audit;
pub mod clock;
pub mod random;
