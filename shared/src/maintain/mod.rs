//! Tasks that run now and then, each safe to run twice at once, and the lease that makes that rare.
//!
//! [`Maintain`] runs them as a configuration says: it opens what a task needs, takes its lease, stops it in time, and tells
//! what came of it ([`Outcome`]). The function `maintain` does that by schedule, `tidewatch maintain` by hand.
//!
//! | part | concept |
//! |---|---|
//! | [`Task`], [`Run`], [`Report`] | what a task is: a name, the time it has, what it tells |
//! | [`Order`] | the event of a schedule |
//! | [`leased`], [`Line`] | one at a time; and one after the other, without a hole between |
//! | [`expire`], [`locks`](locks()), [`verify`], [`Canary`] | tasks of their own |
//! | drain, lake, redrive, the watch log | what other modules do, as tasks |

mod canary;
mod drain;
pub mod expire;
#[cfg(feature = "lake")]
mod lake;
mod lease;
mod line;
mod locks;
mod look;
mod order;
mod outcome;
mod rate;
mod redrive;
mod run;
mod task;
#[cfg(all(test, feature = "s3", feature = "lake", feature = "lambda"))]
mod tests;
pub mod verify;
mod watch_log;
mod work;

pub use self::canary::{Canary, CanaryReport, LookedFor, SinkReport, Verdict};
#[cfg(feature = "lake")]
pub use self::lake::LakeReport;
pub use self::lease::{Turn, leased};
pub use self::line::Line;
pub use self::locks::{Holder, LocksReport, Orphan, locks};
pub use self::order::{Order, OrderError};
pub use self::outcome::{Ended, Outcome};
pub use self::run::{Maintain, StartError};
pub use self::task::{Metric, Report, Run, Task};
pub use self::watch_log::WatchLogReport;
