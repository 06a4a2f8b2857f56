//! The `forward` Lambda function.

use std::io::Write as _;

use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use serde_json::value::RawValue;
use tidewatch::clock::Clock;
use tidewatch::config::CONFIG_VARIABLE;
use tidewatch::random::Random;
use tidewatch_forward::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = std::env::var(CONFIG_VARIABLE).ok();
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "forward".to_owned());
    let function = Function::start_from(config.as_deref(), Clock::system(), Random::system())
        .await?
        .named(name);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Clock::system().end_of_invocation(event.context.deadline);
        let (answer, report) = function.invoke_reported(event.payload.get(), deadline).await?;
        // Where CloudWatch reads metrics. That nobody reads them is no reason to deliver again.
        let _ = writeln!(std::io::stdout(), "{}", function.metrics(&report));
        Ok::<_, Error>(RawValue::from_string(answer)?)
    }))
    .await
}
