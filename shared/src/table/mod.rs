//! What each table is, and how one is created, verified and brought into order.
//!
//! | part | concept |
//! |---|---|
//! | [`Kind`], [`Schema`] | what a table must be: Teleport's two, and our own for state and watch logs |
//! | [`Spec`], [`Billing`] | what its creator may choose |
//! | [`Live`] | what a table is, read from its endpoint |
//! | [`verify`], [`Difference`] | what is wrong, why it matters, what to do |
//! | [`plan`], [`Change`] | what can safely be changed on a live table |
//! | [`Tables`] | create, read and apply, with bounded waits |
//! | [`print()`] | the same table as a shell script, Terraform or CloudFormation |
//! | [`estimate`] | what it costs |
//! | [`Measure`], [`Added`] | what an index on an attached table adds to its owner's writes, measured; [`Tables::add_index`] adds it |
//!
//! Only [`Tables`] talks to DynamoDB; everything else is a pure function of what was read.
//!
//! An engine that lacks an operation (every local one lacks point-in-time recovery) answers
//! `UnknownOperationException`. That becomes a [`Warning`] naming the operation: never a failure, never silence.

mod added;
mod apply;
mod change;
mod cost;
mod create;
mod error;
mod live;
mod measure;
mod print;
mod schema;
mod spec;
mod tables;
mod verify;

pub use added::{Added, MAX_WRITES};
pub use apply::{Applied, Outcome};
pub use change::{Change, ChangeKind, Plan, plan};
pub use cost::{Estimate, Line, PRICES_SOURCE, Usd, estimate};
pub use create::{Created, Ensured};
pub use error::{Error, ServiceError};
pub use live::{Index, Keys, Live, Recovery, Regions, Stream, Ttl, Warning};
pub use measure::{Measure, Measured};
pub use print::{Format, print};
pub use schema::{Attribute, IndexSchema, Kind, Projected, Schema};
pub use spec::{Billing, Spec};
pub use tables::{Progress, Step, Tables};
pub(crate) use verify::verify_indexed;
pub use verify::{Difference, Severity, guess, verify};
