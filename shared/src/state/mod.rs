//! State: a key-value backend on DynamoDB, byte-compatible with Teleport's.

mod config;
mod layout;
mod teleport;

pub use config::{BACKEND_NAME, BillingMode, Config, ConfigError, ConfigFault, Scaling};
pub use layout::{Layout, LayoutError, Partitioned};
