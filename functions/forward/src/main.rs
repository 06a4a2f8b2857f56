//! The `forward` Lambda function.

use std::time::{Duration, SystemTime};

use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use serde_json::value::RawValue;
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::Forwarder;
use tidewatch::random::Random;
use tidewatch_forward::Function;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::load().await?;
    let clock = Clock::system();
    let forwarder = Forwarder::start(&config, clock.clone(), Random::system()).await?;
    let function = Function::new(forwarder, clock);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(event.context.deadline);
        let (answer, report) = function.invoke_reported(event.payload.get(), deadline).await?;
        #[allow(clippy::print_stdout)] // Where CloudWatch reads metrics.
        {
            println!("{}", function.metrics(&report));
        }
        Ok::<_, Error>(RawValue::from_string(answer)?)
    }))
    .await
}
