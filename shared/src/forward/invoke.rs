//! How tasks hand records over to `forward`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};

use super::Forwarder;
use crate::clock::Clock;

/// Why an invocation has no answer. What it was handed may be delivered, in part or whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvokeError(pub String);

/// Hands payloads to `forward`, wherever that runs.
pub trait Invoke: fmt::Debug + Send + Sync {
    /// Answers as Lambda does: `{"batchItemFailures":[{"itemIdentifier":"…"}]}`, with the `SequenceNumber` of the first
    /// record that is not done, or none. May be dropped at any await: the records are handed over again then.
    ///
    /// # Errors
    /// [`InvokeError`] if there is no such answer.
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>>;
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

/// The `SequenceNumber` of the first record that is not done, as an answer tells it; none if all is.
///
/// # Errors
/// [`InvokeError`] if it is no answer, or names several records, which `forward` never does: nothing may be taken for done
/// then.
pub fn first_failed(answer: &str) -> Result<Option<String>, InvokeError> {
    let answer: Answer = serde_json::from_str(answer)
        .map_err(|_| InvokeError("the answer is none of a batch: batchItemFailures is due".to_owned()))?;
    let mut failures = answer.batch_item_failures.into_iter();
    match (failures.next(), failures.next()) {
        (first, None) => Ok(first.map(|failure| failure.item_identifier)),
        _ => Err(InvokeError(
            "the answer names several records: is it forward's?".to_owned(),
        )),
    }
}

/// `forward` in this process.
#[derive(Debug, Clone)]
pub struct InProcess {
    forwarder: Arc<Forwarder>,
    clock: Clock,
    /// What an invocation has.
    timeout: Duration,
}

impl InProcess {
    /// Around a forwarder, each invocation of which ends after `timeout`.
    pub fn new(forwarder: Arc<Forwarder>, clock: Clock, timeout: Duration) -> Self {
        Self {
            forwarder,
            clock,
            timeout,
        }
    }
}

impl Invoke for InProcess {
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        async move {
            let deadline = self.clock.instant() + self.timeout;
            let handled = self.forwarder.handle(&payload, deadline).await;
            let handled = handled.map_err(|error| InvokeError(error.to_string()))?;
            let failures = handled.first_failed.into_iter();
            let answer = Answer {
                batch_item_failures: failures
                    .map(|item_identifier| Failure { item_identifier })
                    .collect(),
            };
            serde_json::to_string(&answer).map_err(|error| InvokeError(error.to_string()))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::first_failed;

    #[test]
    fn an_answer_names_the_first_record_or_none_and_nothing_else_is_one() {
        let one = r#"{"batchItemFailures":[{"itemIdentifier":"5"}]}"#;
        assert_eq!(first_failed(one), Ok(Some("5".to_owned())));
        assert_eq!(first_failed(r#"{"batchItemFailures":[]}"#), Ok(None));
        for other in [
            "null",
            "{}",
            r#"{"errorMessage":"Task timed out"}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"5"},{"itemIdentifier":"3"}]}"#,
        ] {
            assert!(first_failed(other).is_err(), "{other}");
        }
    }
}
