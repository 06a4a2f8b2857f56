//! To whom records are handed over: a Lambda function, or `forward` in this process.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tidewatch::clock::Clock;
use tidewatch::forward::{Forwarder, InProcess, Invoke, InvokeError, LambdaFunction};
use tidewatch::random::Random;
use tidewatch::redrive::Options;

use crate::cli::{Document, Failure, Global, aws_config, document, options, over};

/// To whom, and for how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct ForwardOptions {
    /// Lambda function `forward` to hand the records to [default: this process, with the document that --config names]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Where that function is invoked, if not on AWS: such as http://127.0.0.1:9000 of `cargo lambda watch`
    #[arg(long, value_name = "URL", requires = "function")]
    function_endpoint: Option<String>,
    /// Hand nothing over, only look
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Begin nothing more after this time, such as 10m or 8h
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
}

/// A Lambda invocation at its longest; in this process an invocation has as long.
const INVOCATION: Duration = Duration::from_secs(900);
/// How long a command goes on if nothing is said.
const LONGEST: Duration = Duration::from_hours(24 * 30);

impl ForwardOptions {
    pub(crate) fn options(&self, clock: &Clock) -> Options {
        let last_call = clock.instant() + self.time.unwrap_or(LONGEST).min(LONGEST);
        Options {
            last_call,
            deadline: last_call + INVOCATION,
            dry_run: self.dry_run,
        }
    }

    /// Opens it: in this process the sinks and the quarantine.
    pub(crate) async fn open(&self, global: &Global, clock: &Clock) -> Result<Box<dyn Invoke>, Failure> {
        if self.dry_run {
            return Ok(Box::new(Nobody));
        }
        if let Some(name) = &self.function {
            let mut global = global.clone();
            global.endpoint_url = self.function_endpoint.clone().or(global.endpoint_url);
            let sdk = aws_config(&global).await?;
            if sdk.region().is_none() {
                return Err(Failure::usage(
                    "which AWS region? Name it with --region, the --config document, AWS_REGION or a --profile that has one",
                ));
            }
            return Ok(Box::new(LambdaFunction::new(&sdk, name)));
        }
        in_process(global, clock).await
    }
}

/// `forward` in this process: the sinks and the quarantine of the document that `--config` names.
pub(crate) async fn in_process(global: &Global, clock: &Clock) -> Result<Box<dyn Invoke>, Failure> {
    let usage = |error: String| {
        Failure::usage(format!(
            "records cannot be handed to this process: {}; name sinks and quarantine with --config, or a function with --function",
            error.trim_end()
        ))
    };
    let mut config = match document(global).await.map_err(|error| usage(error.to_string()))? {
        Document::Tidewatch(config) => config,
        Document::Teleport(_) => return Err(usage("Teleport's own file names no sinks".to_owned())),
    };
    config.aws = over(options(global), config.aws);
    let forwarder = Forwarder::start(&config, clock.clone(), Random::system()).await;
    let forwarder = forwarder.map_err(|error| usage(error.to_string()))?;
    Ok(Box::new(InProcess::new(
        Arc::new(forwarder),
        clock.clone(),
        INVOCATION,
    )))
}

#[derive(Debug)]
struct Nobody;

impl Invoke for Nobody {
    fn invoke(&self, _: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        let error = InvokeError("a dry run hands nothing over".to_owned());
        std::future::ready(Err(error)).boxed()
    }
}
