//! What each task does with what is configured.

use futures_util::future::{BoxFuture, FutureExt};

use super::drain::options;
use super::expire::{Expire, Settings};
use super::outcome::Done;
use super::run::Maintain;
use super::watch_log::WatchLog;
use super::{Line, Order, Run, Task, locks};
use crate::forward::drain::drain;
use crate::forward::{Invoke, InvokeError};
use crate::redrive::{Hand, failures};

impl Maintain {
    pub(super) async fn work(&self, order: Order, run: Run, line: Line) -> Done {
        match order.task {
            Task::Expire => self.expire(order, run, line).await,
            Task::Locks => self.locks(run).await,
            Task::WatchLog => self.watch_log(run).await,
            Task::Lake => self.lake(run).await,
            Task::Drain => self.drain(run).await,
            Task::Redrive => self.redrive(run).await,
            Task::Verify => self.verify(run).await,
            Task::Canary => self.canary(run).await,
        }
    }

    async fn expire(&self, order: Order, run: Run, line: Line) -> Done {
        let backend = match self.backend(run).await {
            Ok(backend) => backend.clone(),
            Err(error) => return Done::failed(error),
        };
        let configured = &self.config.expire;
        let log = self.log_of_state().map(|watch_log| watch_log.log.clone());
        let default = Settings::default();
        let settings = Settings {
            prefixes: configured.prefixes.clone(),
            units_per_second: configured.units_per_second.or(default.units_per_second),
            every: self.every(order),
            index: configured.index,
        };
        let expire = Expire::new(backend, log, settings).giving_way(line);
        match Box::pin(expire.run(run)).await {
            Ok(report) => Done::of(&report, None),
            Err(error) => Done::failed(error),
        }
    }

    /// The watch log of the state table: one of another table or namespace knows nothing of it.
    pub(super) fn log_of_state(&self) -> Option<&WatchLog> {
        let (watch, state) = (self.document.watch.as_ref()?, &self.state);
        let same = watch.table == state.table && watch.layout == state.layout;
        self.watch_log.as_ref().filter(|_| same)
    }

    async fn locks(&self, run: Run) -> Done {
        let backend = match self.backend(run).await {
            Ok(backend) => backend,
            Err(error) => return Done::failed(error),
        };
        match Box::pin(locks(backend, run)).await {
            Ok(report) => {
                let error = report.error.clone();
                Done::of(&report, error).finding(report.fences_without_number > 0)
            }
            Err(error) => Done::failed(error),
        }
    }

    async fn watch_log(&self, run: Run) -> Done {
        let Some(watch_log) = &self.watch_log else {
            return Done::lacking(Task::WatchLog, "the section `watch`");
        };
        match watch_log.run(&self.clock, run).await {
            Ok(report) => Done::of(&report, None).finding(!report.findings.is_empty()),
            Err(error) => Done::failed(error),
        }
    }

    #[cfg(feature = "lake")]
    async fn lake(&self, run: Run) -> Done {
        if self.lakes.is_empty() {
            return Done::lacking(Task::Lake, "a sink with format=parquet among the `sinks`");
        }
        let report = super::lake::file(&self.lakes, &self.clock, run).await;
        let error = report.error();
        Done::of(&report, error)
    }

    #[cfg(not(feature = "lake"))]
    #[allow(clippy::unused_async)]
    async fn lake(&self, _: Run) -> Done {
        Done::failed("lake needs a build with the feature `lake`")
    }

    async fn drain(&self, run: Run) -> Done {
        let (Some(spool), Some(forward)) = (&self.spool, self.forward(run)) else {
            return Done::lacking(Task::Drain, "`spool` and `maintain.function`");
        };
        let report = Box::pin(drain(spool, forward, &self.clock, options(run))).await;
        let error = report.error.clone();
        Done::of(&report, error)
    }

    async fn redrive(&self, run: Run) -> Done {
        let (Some(failures), Some(forward)) = (&self.failures, self.forward(run)) else {
            return Done::lacking(Task::Redrive, "`maintain.failures` and `maintain.function`");
        };
        let hand = Hand {
            forward,
            clock: &self.clock,
            options: options(run),
        };
        let report = Box::pin(failures::redrive(failures, hand, &|_| {})).await;
        let error = report.error.clone();
        Done::of(&report, error)
    }

    /// To whom records are handed; a dry run hands over nothing, and so needs nobody.
    fn forward(&self, run: Run) -> Option<&dyn Invoke> {
        match &self.forward {
            None if run.dry_run => Some(&Nobody),
            forward => forward.as_deref(),
        }
    }
}

/// Who is handed the records of a dry run.
#[derive(Debug)]
struct Nobody;

impl Invoke for Nobody {
    fn invoke(&self, _: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        let error = InvokeError("a dry run hands nothing over".to_owned());
        std::future::ready(Err(error)).boxed()
    }
}
