//! The function `maintain` on its schedules, as EventBridge Scheduler calls it: each minute, and at any second of it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::SdkConfig;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::maintain::{Maintain, Outcome};
use tidewatch::random::Random;
use tidewatch_maintain::Function;

use super::tables::{STATE_TABLE, WATCH_TABLE};

/// The finest rate of a schedule.
const RATE: Duration = Duration::from_secs(60);
/// The function's time-out.
const TIME_OUT: Duration = Duration::from_secs(300);
/// What the schedules send: what has expired is looked for each second.
const EVENTS: [&str; 2] = [r#"{"task": "expire", "every": "1s"}"#, r#"{"task": "locks"}"#];

/// The function, and what calls it.
#[derive(Debug)]
pub(super) struct Schedules {
    function: Function,
    clock: Clock,
    random: Random,
}

impl Schedules {
    /// Over the state table and its watch log. No request.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(super) fn new(sdk: &SdkConfig, clock: &Clock, random: &Random) -> Result<Self, String> {
        let document = format!(
            "watch: {{ table: {STATE_TABLE}, layout: teleport, log: {{ table: {WATCH_TABLE} }} }}\nmaintain: {{}}\n"
        );
        let config = Config::parse(&document, "tidewatch up", []).map_err(|faults| faults.to_string())?;
        let maintain = Maintain::new(&config, &BTreeMap::new(), sdk, clock.clone(), random.clone());
        Ok(Self {
            function: Function::new(
                maintain.map_err(|error| error.to_string())?,
                clock.clone(),
                random.clone(),
            ),
            clock: clock.clone(),
            random: random.clone(),
        })
    }

    /// Calls the function without end. `told` hears of runs that changed something, and of failures.
    pub(super) async fn run(&self, told: impl Fn(Result<&Outcome, String>)) {
        let mut running = FuturesUnordered::new();
        // Somewhere in the minute is all that a schedule promises; but nobody likes to wait for the first.
        let mut within = Duration::ZERO;
        loop {
            for event in EVENTS {
                let late = self.random.jitter(within);
                running.push(async move {
                    self.clock.sleep(late).await;
                    Box::pin(self.function.invoke(event, self.clock.now() + TIME_OUT)).await
                });
            }
            within = RATE;
            let next = self.clock.instant() + RATE;
            loop {
                let left = next.saturating_duration_since(self.clock.instant());
                match self.clock.timeout(left, running.next()).await {
                    Ok(Some(Ok(ran))) => match &ran.outcome.error {
                        Some(error) => told(Err(format!("{}: {error}", ran.outcome.task))),
                        None => told(Ok(&ran.outcome)),
                    },
                    Ok(Some(Err(error))) => told(Err(error.to_string())),
                    Ok(None) => self.clock.sleep(left).await,
                    Err(_) => break,
                }
                if self.clock.instant() >= next {
                    break;
                }
            }
        }
    }
}
