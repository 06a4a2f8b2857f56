//! The attempts of one call: bounded by its deadline, counted, backed off between.
//!
//! The SDK's own retries are off: they would send the same bytes again, with a clock that has gone stale, and without
//! asking whether the first request was applied.

use std::future::Future;
use std::time::Duration;

use crate::clock::Instant;

use super::backend::Backend;
use super::departure::Departure;
use super::fault::Fault;
use super::item::seconds;
use super::{Error, ErrorKind, Key};

/// Refused credentials are renewed by their provider within this many attempts, or by nobody.
const CREDENTIALS: u32 = 3;

/// The attempts of one call.
#[derive(Debug)]
pub(super) struct Attempts<'b> {
    backend: &'b Backend,
    operation: &'static str,
    key: Option<&'b Key>,
    deadline: Instant,
    /// The backend was closed before the call.
    closed: bool,
    made: u32,
    /// Pauses since the call last got further.
    pauses: u32,
    credentials: u32,
    warned: bool,
}

impl<'b> Attempts<'b> {
    pub(super) fn new(backend: &'b Backend, operation: &'static str, key: Option<&'b Key>) -> Self {
        Self {
            backend,
            operation,
            key,
            deadline: backend.deadline(),
            closed: backend.is_closed(),
            made: 0,
            pauses: 0,
            credentials: 0,
            warned: false,
        }
    }

    /// The wall clock in seconds, to be asked just before an attempt is sent: everything in it is judged by that.
    pub(super) fn now(&self) -> i64 {
        seconds(self.backend.clock().now())
    }

    /// An error of this call.
    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, self.operation, self.backend.table(), self.key, message).after(self.made)
    }

    /// One request, for as long as an attempt and the call may take. What has no answer by then is unknown.
    pub(super) async fn send<T>(
        &mut self,
        request: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        if self.closed {
            return Err(Fault::Final(
                ErrorKind::Closed,
                "the backend was closed".to_owned(),
            ));
        }
        let left = self.left();
        if left.is_zero() {
            return Err(Fault::NotSent("no time was left for a request".to_owned()));
        }
        self.made += 1;
        let limit = self.backend.attempt_timeout().min(left);
        let begun = self.backend.clock().instant();
        let departure = Departure::default();
        // On the heap: the SDK's futures are large, and callers hold this one across theirs.
        let attempt = departure.watch(Box::pin(request));
        let answer = match self.backend.clock().timeout(limit, attempt).await {
            Ok(Err(Fault::Unknown(said))) if !departure.has_happened() => Err(Fault::NotSent(said)),
            Ok(answer) => answer,
            Err(_) if departure.has_happened() => Err(Fault::Unknown(format!("no answer within {limit:?}"))),
            Err(_) => Err(Fault::NotSent(format!(
                "the request could not be made within {limit:?}"
            ))),
        };
        let took = self.backend.clock().instant() - begun;
        let outcome = answer.as_ref().err().map_or("ok", Fault::label);
        self.backend.note(self.operation, outcome, took);
        answer
    }

    /// Waits before the next attempt, with full jitter.
    ///
    /// # Errors
    /// That of `fault`, if there is no use or no time left for another.
    pub(super) async fn again(&mut self, fault: &Fault) -> Result<(), Error> {
        let (base, cap) = match fault {
            Fault::Contended(_) | Fault::InProgress => (16, 1024),
            Fault::Throttled(_) => (50, 5_000),
            _ => (25, 1_000),
        };
        if let Fault::Credentials(_) = fault {
            self.credentials += 1;
            if self.credentials >= CREDENTIALS {
                return Err(self.gave_up(fault));
            }
        }
        if let (Fault::Throttled(said), false) = (fault, self.warned) {
            self.warned = true;
            tracing::warn!(
                table = self.backend.table(),
                operation = self.operation,
                key = self.key.map(tracing::field::display),
                "throttled: {said}"
            );
        }
        let doubled = base << self.pauses.min(10);
        self.pauses += 1;
        let pause = self
            .backend
            .random()
            .jitter(Duration::from_millis(doubled.min(cap)));
        if pause >= self.left() {
            return Err(self.gave_up(fault));
        }
        self.backend.clock().sleep(pause).await;
        Ok(())
    }

    /// As [`again`](Self::again), for a fault that may be one to give up at.
    pub(super) async fn again_known(&mut self, fault: &Fault) -> Result<(), Error> {
        match fault {
            Fault::Final(..) => Err(self.gave_up(fault)),
            _ => self.again(fault).await,
        }
    }

    /// As [`again`](Self::again), after an attempt that changes nothing: what is unknown is just not there.
    pub(super) async fn again_read(&mut self, fault: &Fault) -> Result<(), Error> {
        match fault {
            Fault::Final(..) => Err(self.gave_up(fault)),
            Fault::Unknown(said) => self.again(&Fault::NotSent(said.clone())).await,
            _ => self.again(fault).await,
        }
    }

    /// The error of a call that ends with this fault.
    pub(super) fn gave_up(&self, fault: &Fault) -> Error {
        let advice = match fault {
            Fault::Final(..) | Fault::Refused(_) => "",
            Fault::Unknown(_) | Fault::InProgress => {
                "; nobody knows whether it was or will be applied: read, and decide by what is there"
            }
            Fault::Throttled(_) => "; nothing was applied: slow down, or add capacity",
            Fault::Contended(_) => "; nothing was applied: other writes were in the way until the deadline",
            Fault::NotSent(_) => "; nothing was changed: check the network and the endpoint",
            Fault::Credentials(_) => "; nothing was applied: renew the credentials",
        };
        self.error(fault.kind(), format!("{}{advice}", fault.said()))
    }

    /// A call of many requests got further: the next pause is a short one again.
    pub(super) fn progressed(&mut self) {
        self.pauses = 0;
    }

    /// The operation, as metrics name it.
    pub(super) fn operation(&self) -> &'static str {
        self.operation
    }

    /// When the call ends.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The time that is left for the call.
    pub(super) fn left(&self) -> Duration {
        self.deadline
            .saturating_duration_since(self.backend.clock().instant())
    }
}
