//! The `forward` function: hands each Lambda event to [`Forwarder`] and turns its answer into Lambda's.

mod metrics;

use std::time::SystemTime;

use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use tidewatch::clock::Clock;
use tidewatch::forward::{Forwarder, HandleError, Report};

/// The function: what `main` runs under the Lambda runtime, and `tidewatch up` under a simulated mapping.
#[derive(Debug)]
pub struct Function {
    forwarder: Forwarder,
    clock: Clock,
    name: String,
}

impl Function {
    /// The function around a forwarder.
    pub fn new(forwarder: Forwarder, clock: Clock) -> Self {
        let name = "forward".to_owned();
        Self {
            forwarder,
            clock,
            name,
        }
    }

    /// Names the function in its metrics, so that two of one account are told apart.
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Answers one Lambda event: `{"batchItemFailures":[…]}` with the one record from which Lambda must go on, or none.
    ///
    /// # Errors
    /// [`HandleError`]; the invocation fails and Lambda sends the whole batch again.
    pub async fn invoke(&self, payload: &str, deadline: SystemTime) -> Result<String, HandleError> {
        self.invoke_reported(payload, deadline)
            .await
            .map(|(answer, _)| answer)
    }

    /// [`invoke`](Self::invoke), with what became of the records.
    ///
    /// # Errors
    /// As [`invoke`](Self::invoke).
    pub async fn invoke_reported(
        &self,
        payload: &str,
        deadline: SystemTime,
    ) -> Result<(String, Report), HandleError> {
        let handled = self
            .forwarder
            .handle(payload, self.clock.instant_at(deadline))
            .await?;
        let mut answer = DynamoDbEventResponse::default();
        if handled.first_failed.is_some() {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = handled.first_failed;
            answer.batch_item_failures.push(failure);
        }
        // Texts always serialize.
        Ok((serde_json::to_string(&answer).unwrap_or_default(), handled.report))
    }

    /// A batch's metrics in CloudWatch's embedded metric format, a JSON line for the log.
    pub fn metrics(&self, report: &Report) -> String {
        metrics::embedded(&self.name, report, self.clock.now())
    }
}
