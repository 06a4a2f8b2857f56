//! State: a key-value backend on DynamoDB, byte-compatible with Teleport's.

mod layout;

pub use layout::{Layout, LayoutError, Partitioned};
