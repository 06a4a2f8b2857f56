//! One runs a task, others leave it to that one.

use std::future::Future;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::state::{Backend, Error, LockConfiguration, LockGuard};

/// How long a lease of a runner that died keeps others out.
const TTL: Duration = Duration::from_secs(60);

/// How a task's turn ended.
#[derive(Debug)]
pub enum Turn<T> {
    /// It ran to its end.
    Ran(T),
    /// Another is running it.
    Held,
    /// The lease was lost while it ran, and it was stopped where it was.
    Lost(Error),
}

/// Runs a task under the lock `.locks/maintain/<task>`, unless another holds it. A task must be right without the lease: a
/// process that was asleep may wake up after its lease ended, and go on until it looks.
///
/// Requests: two, and one each half minute that the task runs. If the call is dropped, the lease stands until it expires, up
/// to a minute.
///
/// # Errors
/// What acquiring the lock may end with; the task was not begun.
pub async fn leased<T>(
    backend: &Backend,
    task: &str,
    work: impl Future<Output = T>,
) -> Result<Turn<T>, Error> {
    match lease(backend, task).await? {
        Some(guard) => Ok(under(guard, task, work).await),
        None => Ok(Turn::Held),
    }
}

/// The lock of a task.
pub(super) fn lock(task: &str) -> LockConfiguration {
    LockConfiguration::new(["maintain", task], TTL)
}

/// The lease of a task, unless another has it.
pub(super) async fn lease(backend: &Backend, task: &str) -> Result<Option<LockGuard>, Error> {
    Box::pin(backend.try_acquire_lock(&lock(task))).await
}

/// Runs a task whose lease is ours, and releases that.
pub(super) async fn under<T>(guard: LockGuard, task: &str, work: impl Future<Output = T>) -> Turn<T> {
    let turn = {
        let (work, kept) = (std::pin::pin!(work), std::pin::pin!(guard.keep()));
        match select(work, kept).await {
            Either::Left((done, _)) => Turn::Ran(done),
            Either::Right((error, _)) => Turn::Lost(error),
        }
    };
    if let Err(error) = Box::pin(guard.release()).await {
        tracing::warn!(task, %error, "the lease was not released: it ends by itself");
    }
    turn
}
