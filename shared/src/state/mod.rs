//! State: a key-value backend on DynamoDB, byte-compatible with Teleport's.

#[cfg(feature = "autoscaling")]
mod autoscaling;
mod config;
mod layout;
mod teleport;

#[cfg(feature = "autoscaling")]
pub use autoscaling::{AutoScaling, AutoScalingError};
pub use config::{BACKEND_NAME, BillingMode, Config, ConfigError, ConfigFault, Scaling};
pub use layout::{Layout, LayoutError, Partitioned};
