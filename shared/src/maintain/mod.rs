//! Tasks that run now and then, each safe to run twice at once, and the lease that makes that rare.

mod lease;
mod task;
pub mod verify;

pub use self::lease::{Turn, leased};
pub use self::task::{Metric, Report, Run, Task};
