//! Tasks that run now and then, each safe to run twice at once, and the lease that makes that rare.

mod canary;
mod lease;
mod locks;
mod task;

pub use self::canary::{Canary, CanaryReport, LookedFor, SinkReport, Verdict};
pub use self::lease::{Turn, leased};
pub use self::locks::{Holder, LocksReport, Orphan, locks};
pub use self::task::{Metric, Report, Run, Task};
