//! A state table on the embedded engine, what AWS tells of the function that keeps its watch log, and a spool.

use std::time::{Duration, SystemTime};

use aws_sdk_lambda::Client;
use serde_json::{Value, json};

use super::aws::{Answer, Asked, good_bucket, sdk};
use crate::clock::Clock;
use crate::config::S3Location;
use crate::engine::Engine;
use crate::maintain::Run;
use crate::maintain::verify::{Because, Function, Holds, Place, Reads, Settings, Source, Verified, Verify};
use crate::table::{Kind, Spec, Tables};

const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:failures";

/// The state table `state` with a function that keeps its watch log, and a spool.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    stream: String,
    pub(super) settings: Settings,
}

impl World {
    pub(super) async fn new() -> Self {
        let (engine, clock) = (Engine::new(), Clock::simulated(SystemTime::UNIX_EPOCH));
        let spec = Spec::new(Kind::State, "state").unwrap().with_protection(true);
        let tables = Tables::new(engine.client(), clock.clone(), Tables::WAIT);
        let created = tables.create(&spec, &|_| {}).await.unwrap();
        engine.sent();
        let location = S3Location {
            bucket: "b".to_owned(),
            prefix: "spool".to_owned(),
            ..S3Location::default()
        };
        let settings = Settings {
            tables: vec![spec],
            expiry_index: None,
            functions: vec![Function {
                name: "watch".to_owned(),
                reads: Reads::Watch,
                source: Source::Table("state".to_owned()),
                failures: None,
            }],
            places: vec![Place {
                location,
                holds: Holds::Spool,
            }],
        };
        Self {
            engine,
            clock,
            stream: created.stream_arn.unwrap(),
            settings,
        }
    }

    pub(super) fn time(&self, seconds: u64) -> Run {
        let stop = self.clock.instant() + Duration::from_secs(seconds);
        Run {
            last_call: stop,
            stop,
            dry_run: false,
        }
    }

    pub(super) async fn run(
        &self,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> (Verified, Asked) {
        let (sdk, asked) = sdk(answer);
        let tables = Tables::new(self.engine.client(), self.clock.clone(), Tables::WAIT);
        let verify = Verify::new(self.settings.clone(), tables, self.clock.clone())
            .with_lambda(Client::new(&sdk))
            .with_s3(sdk);
        (verify.run(self.time(100)).await, asked)
    }

    /// The mapping from the table, as the template makes it.
    pub(super) fn mapping(&self) -> Value {
        json!({
            "UUID": "feed", "EventSourceArn": self.stream, "State": "Enabled", "LastProcessingResult": "OK",
            "StartingPosition": "TRIM_HORIZON", "BatchSize": 500, "MaximumBatchingWindowInSeconds": 0,
            "ParallelizationFactor": 1, "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "BisectBatchOnFunctionError": true, "MaximumRetryAttempts": 300, "MaximumRecordAgeInSeconds": 82800,
            "TumblingWindowInSeconds": 0, "DestinationConfig": {"OnFailure": {"Destination": QUEUE}},
        })
    }
}

/// The mapping from the failure queue.
pub(super) fn reader() -> Value {
    json!({"UUID": "failures", "EventSourceArn": QUEUE, "State": "Enabled", "BatchSize": 10,
        "FunctionResponseTypes": ["ReportBatchItemFailures"]})
}

/// A function of this time-out with these mappings, and a bucket as it must be.
pub(super) fn aws(time_out: u64, mappings: Vec<Value>) -> impl Fn(&str) -> Answer + Send + Sync + 'static {
    move |line| {
        if line.contains("/functions/watch/configuration") {
            (200, json!({"Timeout": time_out, "State": "Active"}).to_string())
        } else if line.contains("/event-source-mappings?FunctionName=watch") {
            // A page each.
            let at = line
                .split_once("Marker=")
                .map_or(0, |(_, at)| at.parse().unwrap());
            let next = (at + 1 < mappings.len()).then(|| (at + 1).to_string());
            (
                200,
                json!({"EventSourceMappings": mappings.get(at).into_iter().collect::<Vec<_>>(), "NextMarker": next}).to_string(),
            )
        } else {
            good_bucket(line)
        }
    }
}

pub(super) fn found(verified: &Verified) -> Vec<(&str, &str)> {
    let one = |drift: &crate::maintain::verify::Drift| drift.difference.code;
    verified
        .drifts
        .iter()
        .map(|drift| (drift.resource.as_str(), one(drift)))
        .collect()
}

pub(super) fn unread(verified: &Verified) -> Vec<(&str, Because)> {
    verified
        .not_checked
        .iter()
        .map(|one| (one.what, one.because))
        .collect()
}

pub(super) const LACKING: (&str, Because) = ("DescribeContinuousBackups", Because::Lacking);
