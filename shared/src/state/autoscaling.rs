//! Registering the capacity of a provisioned table with Application Auto Scaling, as Teleport does: a scalable target
//! and a target tracking policy for reads and for writes, under Teleport's names, so that each finds the other's.
//!
//! The index of a partitioned table is registered likewise: left behind, it would throttle the table's writes.

use aws_config::SdkConfig;
use aws_sdk_applicationautoscaling::Client;
use aws_sdk_applicationautoscaling::types::{
    MetricType, PolicyType, PredefinedMetricSpecification, ScalableDimension, ServiceNamespace,
    TargetTrackingScalingPolicyConfiguration,
};

use super::{Config, ConfigError, Scaling};
use crate::table::Live;

/// Application Auto Scaling.
#[derive(Debug, Clone)]
pub struct AutoScaling {
    client: Client,
}

/// Why a table's capacity was not registered. What was registered before stays; doing it again is harmless.
#[derive(Debug, thiserror::Error)]
pub enum AutoScalingError {
    /// The numbers are missing or wrong; nothing was sent.
    #[error("table {table} is provisioned and auto_scaling is on: {source}")]
    Config {
        /// The table.
        table: String,
        /// What is wrong with them.
        source: ConfigError,
    },
    /// A request failed.
    #[error(
        "{operation} for {resource} failed: {reason}; if access was denied, see `tidewatch iam policy --autoscaling`"
    )]
    Request {
        /// The operation.
        operation: &'static str,
        /// What was to be scaled: `table/NAME` or `table/NAME/index/INDEX`.
        resource: String,
        /// What the service or the connection said.
        reason: String,
    },
}

/// One capacity to scale.
struct Target {
    resource: String,
    /// What the policy's name begins with.
    name: String,
    dimension: ScalableDimension,
    metric: MetricType,
    scaling: Scaling,
}

impl AutoScaling {
    /// By this configuration, but without FIPS: the service has no such endpoints.
    pub fn new(sdk: &SdkConfig) -> Self {
        let config = aws_sdk_applicationautoscaling::config::Builder::from(sdk).use_fips(false);
        Self::from_client(Client::from_conf(config.build()))
    }

    /// With a client of the caller's.
    pub fn from_client(client: Client) -> Self {
        Self { client }
    }

    /// Registers the capacity of a table, if `config` asks for it and the table is provisioned; says whether it did.
    /// Targets and policies of these names are replaced.
    ///
    /// Requests: one RegisterScalableTarget and one PutScalingPolicy a capacity, 4 for a Teleport layout and 8 for a
    /// partitioned one; none for a table on demand. Cancelling leaves what was sent.
    ///
    /// # Errors
    /// [`AutoScalingError`].
    pub async fn register(&self, config: &Config, live: &Live) -> Result<bool, AutoScalingError> {
        let limits = config
            .scaling(live.billing)
            .map_err(|source| AutoScalingError::Config {
                table: live.name.clone(),
                source,
            })?;
        let Some((read, write)) = limits else {
            return Ok(false);
        };
        let targets = targets(config, &live.name, read, write);
        for target in &targets {
            self.target(target).await?;
        }
        for target in &targets {
            self.policy(target).await?;
        }
        Ok(true)
    }

    async fn target(&self, target: &Target) -> Result<(), AutoScalingError> {
        let request = self
            .client
            .register_scalable_target()
            .service_namespace(ServiceNamespace::Dynamodb)
            .resource_id(&target.resource)
            .scalable_dimension(target.dimension.clone())
            .min_capacity(units(target.scaling.min_capacity))
            .max_capacity(units(target.scaling.max_capacity));
        let answer = request.send().await;
        answer
            .map(drop)
            .map_err(|error| target.failed("RegisterScalableTarget", &error))
    }

    async fn policy(&self, target: &Target) -> Result<(), AutoScalingError> {
        const OPERATION: &str = "PutScalingPolicy";
        let metric = PredefinedMetricSpecification::builder()
            .predefined_metric_type(target.metric.clone())
            .build()
            .map_err(|error| target.failed(OPERATION, &error))?;
        let tracking = TargetTrackingScalingPolicyConfiguration::builder()
            .target_value(target.scaling.target_value)
            .predefined_metric_specification(metric)
            .build()
            .map_err(|error| target.failed(OPERATION, &error))?;
        let request = self
            .client
            .put_scaling_policy()
            .policy_name(target.policy_name())
            .policy_type(PolicyType::TargetTrackingScaling)
            .service_namespace(ServiceNamespace::Dynamodb)
            .resource_id(&target.resource)
            .scalable_dimension(target.dimension.clone())
            .target_tracking_scaling_policy_configuration(tracking);
        let answer = request.send().await;
        answer.map(drop).map_err(|error| target.failed(OPERATION, &error))
    }
}

impl Target {
    fn policy_name(&self) -> String {
        let what = match self.metric {
            MetricType::DynamoDbReadCapacityUtilization => "read",
            _ => "write",
        };
        format!("{}-{what}-target-tracking-scaling-policy", self.name)
    }

    fn failed(&self, operation: &'static str, error: &dyn std::error::Error) -> AutoScalingError {
        AutoScalingError::Request {
            operation,
            resource: self.resource.clone(),
            reason: crate::aws::describe(error),
        }
    }
}

fn targets(config: &Config, table: &str, read: Scaling, write: Scaling) -> Vec<Target> {
    use {MetricType as Metric, ScalableDimension as Dimension};
    let both = |resource: &str, name: &str, [reads, writes]: [Dimension; 2]| {
        [
            (reads, Metric::DynamoDbReadCapacityUtilization, read),
            (writes, Metric::DynamoDbWriteCapacityUtilization, write),
        ]
        .map(|(dimension, metric, scaling)| Target {
            resource: resource.to_owned(),
            name: name.to_owned(),
            dimension,
            metric,
            scaling,
        })
    };
    let dimensions = [
        Dimension::DynamoDbTableReadCapacityUnits,
        Dimension::DynamoDbTableWriteCapacityUnits,
    ];
    let mut all = Vec::from(both(&format!("table/{table}"), table, dimensions));
    if let Some(index) = &config.kind().schema().index {
        let dimensions = [
            Dimension::DynamoDbIndexReadCapacityUnits,
            Dimension::DynamoDbIndexWriteCapacityUnits,
        ];
        let resource = format!("table/{table}/index/{}", index.name);
        all.extend(both(&resource, &format!("{table}-{}", index.name), dimensions));
    }
    all
}

/// The service counts in i32; no account has as much.
fn units(units: u32) -> i32 {
    units.try_into().unwrap_or(i32::MAX)
}
