//! Tasks that run now and then, each safe to run twice at once, and the lease that makes that rare.

pub mod expire;
mod lease;
mod rate;
mod task;

pub use self::lease::{Turn, leased};
pub use self::task::{Metric, Report, Run, Task};
