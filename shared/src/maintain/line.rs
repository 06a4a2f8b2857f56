//! One runs a task again and again until its successor takes over: a scheduler begins no run more often than each minute, and
//! does so at any second of it, so a run that ended by the clock would leave a hole before the next, or overlap it.
//!
//! A successor finds the lease taken, takes the lock `.locks/maintain/<task>-next`, and waits in line. Who runs looks at that lock
//! every [`LOOK`], ends after the pass that it is at, and releases the lease, which the successor tries to get every
//! [`PAUSE`]. So there are two only for seconds, and from the last pass of one to the first of the next no more passes than
//! between two passes of one, and about two seconds. Others that come meanwhile find the line taken, and leave.
//!
//! The worst holes are where somebody died: a runner, up to a minute until its lease expires; one in line, up to a minute
//! and the time until the schedule's next run, since who ran gave way to it for nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::watch::Sender;

use super::lease::{Turn, lease, leased, lock, under};
use crate::clock::{Clock, Instant};
use crate::state::{Backend, Error, LockGuard};

/// How often a runner looks whether somebody is in line: a read of one unit.
const LOOK: Duration = Duration::from_secs(3);
/// How often who is in line tries to get the lease: a request.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether somebody waits to take over. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Line(Arc<Sender<bool>>);

impl Line {
    /// Whether somebody does; then no new pass is due.
    pub fn waits(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for so long, or until somebody is in line; whether that is so. Cancel-safe.
    pub(super) async fn pause(&self, clock: &Clock, pause: Duration) -> bool {
        let mut line = self.0.subscribe();
        // The sender is here, so it cannot be closed.
        let somebody = line.wait_for(|waits| *waits);
        let _ = select(std::pin::pin!(somebody), std::pin::pin!(clock.sleep(pause))).await;
        self.waits()
    }
}

/// As [`leased`](super::leased), but who finds the lease taken waits in line for it, until `last_call`, unless somebody does
/// already; and the work is told by the [`Line`] when to end.
///
/// Requests: two, and one each half minute and one each three seconds that the task runs; in line two, and two a second.
/// If the call is dropped, the locks stand until they expire, up to a minute.
///
/// # Errors
/// What acquiring the lock may end with; the task was not begun.
pub(super) async fn relayed<T, F: Future<Output = T>>(
    backend: &Backend,
    task: &str,
    last_call: Instant,
    work: impl FnOnce(Line) -> F,
) -> Result<Turn<T>, Error> {
    let next = format!("{task}-next");
    let clock = backend.clock();
    let guard = match lease(backend, task).await? {
        Some(guard) => guard,
        None => match Box::pin(leased(backend, &next, in_line(backend, task, last_call))).await? {
            Turn::Ran(got) => match got? {
                Some(guard) => guard,
                None => return Ok(Turn::Held),
            },
            Turn::Held | Turn::Lost(_) => return Ok(Turn::Held),
        },
    };
    let line = Line::default();
    let done = work(line.clone());
    let work = async {
        let (done, watched) = (
            std::pin::pin!(done),
            std::pin::pin!(watch(backend, clock, &next, line)),
        );
        match select(done, watched).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    };
    Ok(Box::pin(under(guard, task, work)).await)
}

/// Waits for the lease.
async fn in_line(backend: &Backend, task: &str, last_call: Instant) -> Result<Option<LockGuard>, Error> {
    let clock = backend.clock();
    loop {
        clock.sleep(PAUSE).await;
        if clock.instant() >= last_call {
            return Ok(None);
        }
        if let Some(guard) = lease(backend, task).await? {
            return Ok(Some(guard));
        }
    }
}

/// Tells when somebody is in line.
async fn watch(backend: &Backend, clock: &Clock, next: &str, line: Line) -> std::convert::Infallible {
    let key = lock(next).key();
    loop {
        clock.sleep(LOOK).await;
        // Not to be told is no reason to end: the lease is kept beside this.
        if backend.get(&key).await.is_ok() {
            line.0.send_replace(true);
            return std::future::pending().await;
        }
    }
}
