//! Tasks that run now and then, each safe to run twice at once, and the lease that makes that rare.

mod drain;
#[cfg(feature = "lake")]
mod lake;
mod lease;
mod line;
mod order;
mod outcome;
mod redrive;
mod run;
mod task;
#[cfg(all(test, feature = "s3", feature = "lake", feature = "lambda"))]
mod tests;
mod watch_log;
mod work;

#[cfg(feature = "lake")]
pub use self::lake::LakeReport;
pub use self::lease::{Turn, leased};
pub use self::order::{Order, OrderError};
pub use self::outcome::{Ended, Outcome};
pub use self::run::{Maintain, StartError};
pub use self::task::{Metric, Report, Run, Task};
pub use self::watch_log::WatchLogReport;
