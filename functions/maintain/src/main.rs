//! The `maintain` Lambda function.

use std::io::Write as _;

use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use serde_json::value::RawValue;
use tidewatch::clock::Clock;
use tidewatch::config::CONFIG_VARIABLE;
use tidewatch::random::Random;
use tidewatch_maintain::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = std::env::var(CONFIG_VARIABLE).ok();
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "maintain".to_owned());
    let function = Function::start(config.as_deref(), Clock::system(), Random::system())
        .await?
        .named(name);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = Clock::system().end_of_invocation(event.context.deadline);
        let ran = function.invoke(event.payload.get(), deadline).await?;
        // Where CloudWatch reads metrics, and people the report: nobody gets a schedule's answer.
        let _ = writeln!(std::io::stdout(), "{}", function.metrics(&ran));
        match ran.outcome.error {
            // The invocation fails, so that Lambda counts it; the schedule's next run goes on where this one was.
            Some(error) => Err(Error::from(error)),
            None => Ok(RawValue::from_string(serde_json::to_string(&ran.outcome)?)?),
        }
    }))
    .await
}
