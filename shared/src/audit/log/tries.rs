//! The tries of one call, until its deadline. Every request of the audit log may be repeated: a query changes nothing,
//! and a put that was applied is recognised by what it stored.

use std::future::Future;
use std::time::Duration;

use super::dynamo::Dynamo;
use super::error::LogError;
use crate::clock::Instant;
use crate::state::fault::Fault;

/// The longest time for a call with all its tries, and for one of them.
const CALL: Duration = Duration::from_secs(30);
const ATTEMPT: Duration = Duration::from_secs(5);
/// The first pause between tries; it doubles up to [`LONGEST_PAUSE`], with full jitter.
const PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Tries<'a> {
    log: &'a Dynamo,
    stop: Instant,
    pause: Duration,
}

impl<'a> Tries<'a> {
    pub(super) fn new(log: &'a Dynamo) -> Self {
        Self {
            log,
            stop: log.clock().instant() + CALL,
            pause: PAUSE,
        }
    }

    /// One request.
    pub(super) async fn send<T>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let clock = self.log.clock();
        let left = self.stop.saturating_duration_since(clock.instant());
        // On the heap: the SDK's futures are large, and callers hold this one across theirs.
        let answer = clock.timeout(ATTEMPT.min(left), Box::pin(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Fault::Unknown("no answer in time".to_owned())));
        self.log.note(operation, answer.as_ref().err());
        answer
    }

    /// As [`again`](Self::again), after a read: what is unknown of it is just not there.
    pub(super) async fn again_read(&mut self, fault: Fault) -> Result<(), LogError> {
        match fault {
            Fault::Unknown(said) => self.again(&Fault::NotSent(said)).await,
            fault => self.again(&fault).await,
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// That of `fault`, if there is no use or no time left for another.
    pub(super) async fn again(&mut self, fault: &Fault) -> Result<(), LogError> {
        let clock = self.log.clock();
        let wait = self.log.random().jitter(self.pause).max(Duration::from_millis(1));
        let left = self.stop.saturating_duration_since(clock.instant());
        if matches!(fault, Fault::Final(..)) || wait >= left {
            return Err(LogError::of(self.log.name(), fault));
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        clock.sleep(wait).await;
        Ok(())
    }
}
