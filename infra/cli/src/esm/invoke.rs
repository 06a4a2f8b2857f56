//! One invocation of the function, with the fault that befalls it.

use std::future::Future;
use std::pin::pin;
use std::sync::PoisonError;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidewatch::clock::Clock;
use tokio::task::JoinHandle;

use super::failure::payload;
use super::faults::Fault;
use super::mapping::{Attempt, Mapping};

/// How often a future is polled before a crash or a stall, at most.
const MOST_POLLS: u64 = 12;

impl Mapping {
    /// Calls the function, with the fault.
    pub(super) async fn invoke(&self, attempt: &Attempt, fault: Option<Fault>) -> Result<String, String> {
        let event = payload(attempt.records.iter().map(|placed| &*placed.record));
        let deadline = self.clock.now() + self.settings.timeout;
        let work = (self.handler)(event, deadline);
        match fault {
            Some(Fault::Zombie) => return self.invoke_zombie(work).await,
            Some(Fault::Crash) => {
                let polls = self.few_polls();
                let crashed = tokio::spawn(poll_only(work, polls)).await;
                return match crashed {
                    Ok(Some(answer)) => answer,
                    Ok(None) => {
                        self.fired(Fault::Crash);
                        Err("the function crashed".to_owned())
                    }
                    Err(_) => Err("the function panicked".to_owned()),
                };
            }
            Some(Fault::Slow) => {
                self.fired(Fault::Slow);
                self.clock.sleep(self.random.jitter(self.faults.delay)).await;
            }
            Some(Fault::Redelivery | Fault::Recut) | None => {}
        }
        let mut task = tokio::spawn(work);
        let left = deadline.duration_since(self.clock.now()).unwrap_or_default();
        let Ok(ended) = self.clock.timeout(left, &mut task).await else {
            task.abort();
            let _ = task.await;
            return self.timed_out();
        };
        ended.unwrap_or_else(|_| Err("the function panicked".to_owned()))
    }

    /// The invocation stalls, is given up during the stall, and goes on after it.
    async fn invoke_zombie(
        &self,
        work: BoxFuture<'static, Result<String, String>>,
    ) -> Result<String, String> {
        let (polls, delay) = (self.few_polls(), self.faults.delay);
        let (stall, clock) = (delay / 2 + self.random.jitter(delay / 2), self.clock.clone());
        let mut task = tokio::spawn(stall_after(work, polls, clock, stall));
        let patience = self.random.jitter(delay / 2);
        match self.clock.timeout(patience, &mut task).await {
            Ok(ended) => ended.unwrap_or_else(|_| Err("the function panicked".to_owned())),
            Err(_) => {
                self.fired(Fault::Zombie);
                self.keep(task);
                self.timed_out()
            }
        }
    }

    /// How far an invocation gets before it crashes or stalls: mostly not far, as most are done after a few polls.
    fn few_polls(&self) -> u64 {
        self.random.below(1 + self.random.below(MOST_POLLS))
    }

    fn keep(&self, task: JoinHandle<Result<String, String>>) {
        let mut zombies = self.zombies.lock().unwrap_or_else(PoisonError::into_inner);
        while zombies.try_join_next().is_some() {}
        zombies.spawn(async {
            let _ = task.await;
        });
    }

    fn timed_out(&self) -> Result<String, String> {
        self.counters().timeouts += 1;
        Err(format!(
            "the function timed out after {} s",
            self.settings.timeout.as_secs()
        ))
    }
}

/// Polls a future so many times, then drops it.
async fn poll_only<F: Future>(work: F, mut polls: u64) -> Option<F::Output> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Polls a future so many times, leaves it alone for a while, then runs it to its end.
async fn stall_after<F: Future + Unpin>(mut work: F, polls: u64, clock: Clock, stall: Duration) -> F::Output {
    if let Some(output) = poll_only(&mut work, polls).await {
        return output;
    }
    clock.sleep(stall).await;
    work.await
}
