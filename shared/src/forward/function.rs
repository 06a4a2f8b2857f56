//! `forward` as a Lambda function.

use aws_config::SdkConfig;
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use futures_util::future::{BoxFuture, FutureExt};

use super::invoke::{Invoke, InvokeError};
use crate::aws::describe;

/// `forward` as a Lambda function, invoked and waited for. What it does is not undone if the call is dropped.
#[derive(Debug, Clone)]
pub struct LambdaFunction {
    client: Client,
    name: String,
}

impl LambdaFunction {
    /// The function of this name or ARN. No request.
    pub fn new(sdk: &SdkConfig, name: impl Into<String>) -> Self {
        Self {
            client: Client::new(sdk),
            name: name.into(),
        }
    }
}

impl Invoke for LambdaFunction {
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        async move {
            let call = self
                .client
                .invoke()
                .function_name(&self.name)
                .payload(Blob::new(payload));
            let answer = Box::pin(call.send()).await;
            let answer = answer
                .map_err(|error| InvokeError(format!("function {}: {}", self.name, describe(error))))?;
            if let Some(kind) = answer.function_error() {
                // What it says of itself may quote what it was given.
                return Err(InvokeError(format!("function {}: it failed ({kind})", self.name)));
            }
            let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
            String::from_utf8(payload)
                .map_err(|_| InvokeError(format!("function {}: its answer is no text", self.name)))
        }
        .boxed()
    }
}
