//! Tasks that run now and then, each safe to run twice at once, and the lease that makes that rare.

mod canary;
mod drain;
pub mod expire;
#[cfg(feature = "lake")]
mod lake;
mod lease;
mod line;
mod locks;
mod order;
mod rate;
mod redrive;
mod run;
mod task;
#[cfg(all(test, feature = "s3", feature = "lake", feature = "lambda"))]
mod tests;
pub mod verify;
mod watch_log;

pub use self::canary::{Canary, CanaryReport, LookedFor, SinkReport, Verdict};
#[cfg(feature = "lake")]
pub use self::lake::LakeReport;
pub use self::lease::{Turn, leased};
pub use self::locks::{Holder, LocksReport, Orphan, locks};
pub use self::order::{Order, OrderError};
pub use self::run::{Ended, Maintain, Outcome, StartError};
pub use self::task::{Metric, Report, Run, Task};
pub use self::watch_log::WatchLogReport;
