//! Whether a request has left: what ends before that was surely not applied.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

tokio::task_local! {
    /// Of the attempt that this task is making.
    static DEPARTED: Departure;
}

/// Set as a request is handed to the connection; credentials are had and the request is signed by then.
#[derive(Debug, Clone, Default)]
pub(super) struct Departure(Arc<AtomicBool>);

impl Departure {
    /// Makes an attempt and notes when its request leaves, also if the attempt is dropped later.
    pub(super) fn watch<F: Future>(&self, attempt: F) -> impl Future<Output = F::Output> {
        DEPARTED.scope(self.clone(), attempt)
    }

    /// Whether the request has left.
    pub(super) fn has_happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Notes the departure of each request of a client.
#[derive(Debug)]
pub(super) struct Departures;

impl Intercept for Departures {
    fn name(&self) -> &'static str {
        "Departures"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Requests that are no attempt of an operation are nobody's.
        let _ = DEPARTED.try_with(|departure| departure.0.store(true, Ordering::Relaxed));
        Ok(())
    }
}
