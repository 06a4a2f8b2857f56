//! Application Auto Scaling: what is asked of it. No local engine has it, hence canned answers.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use aws_sdk_applicationautoscaling::Client;
use aws_sdk_applicationautoscaling::error::ErrorMetadata;
use aws_sdk_applicationautoscaling::operation::put_scaling_policy::PutScalingPolicyOutput;
use aws_sdk_applicationautoscaling::operation::register_scalable_target::{
    RegisterScalableTargetError, RegisterScalableTargetOutput,
};
use aws_sdk_dynamodb::types::{
    BillingMode, BillingModeSummary, ProvisionedThroughputDescription, TableDescription,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use tidewatch::clock::Clock;
use tidewatch::state::{AutoScaling, Config, Layout, Partitioned, Scaling};
use tidewatch::table::{Live, Tables};

/// What was asked, in order.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn rules(&self) -> [Rule; 2] {
        let (targets, policies) = (self.clone(), self.clone());
        [
            mock!(Client::register_scalable_target)
                .match_requests(move |asked| {
                    targets.0.lock().unwrap().push(format!(
                        "target {} {} {} {}..{}",
                        asked.service_namespace().unwrap().as_str(),
                        asked.resource_id().unwrap(),
                        asked.scalable_dimension().unwrap().as_str(),
                        asked.min_capacity().unwrap(),
                        asked.max_capacity().unwrap(),
                    ));
                    true
                })
                .then_output(|| RegisterScalableTargetOutput::builder().build()),
            mock!(Client::put_scaling_policy)
                .match_requests(move |asked| {
                    let tracking = asked.target_tracking_scaling_policy_configuration().unwrap();
                    let metric = tracking.predefined_metric_specification().unwrap();
                    policies.0.lock().unwrap().push(format!(
                        "policy {} {} {} {} {} {} {}",
                        asked.policy_name().unwrap(),
                        asked.policy_type().unwrap().as_str(),
                        asked.service_namespace().unwrap().as_str(),
                        asked.resource_id().unwrap(),
                        asked.scalable_dimension().unwrap().as_str(),
                        metric.predefined_metric_type().as_str(),
                        tracking.target_value(),
                    ));
                    true
                })
                .then_output(|| {
                    PutScalingPolicyOutput::builder()
                        .policy_arn("arn")
                        .build()
                        .unwrap()
                }),
        ]
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A table of this billing mode, as its endpoint describes it.
async fn live(mode: BillingMode) -> Live {
    let describe = mock!(aws_sdk_dynamodb::Client::describe_table).then_output(move || {
        let units = ProvisionedThroughputDescription::builder()
            .read_capacity_units(5)
            .write_capacity_units(5);
        let table = TableDescription::builder()
            .billing_mode_summary(BillingModeSummary::builder().billing_mode(mode.clone()).build())
            .provisioned_throughput(units.build())
            .build();
        aws_sdk_dynamodb::operation::describe_table::DescribeTableOutput::builder()
            .table(table)
            .build()
    });
    let ttl = mock!(aws_sdk_dynamodb::Client::describe_time_to_live).then_output(|| {
        aws_sdk_dynamodb::operation::describe_time_to_live::DescribeTimeToLiveOutput::builder().build()
    });
    let backups = mock!(aws_sdk_dynamodb::Client::describe_continuous_backups).then_output(|| {
        aws_sdk_dynamodb::operation::describe_continuous_backups::DescribeContinuousBackupsOutput::builder()
            .build()
    });
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, [&describe, &ttl, &backups]);
    let tables = Tables::new(client, Clock::system(), Tables::WAIT);
    tables.read("teleport").await.unwrap()
}

fn config(layout: Layout) -> Config {
    let scaling = |min_capacity, max_capacity, target_value| Scaling {
        min_capacity,
        max_capacity,
        target_value,
    };
    Config {
        table_name: "teleport".to_owned(),
        layout,
        auto_scaling: true,
        read_scaling: scaling(10, 100, 50.0),
        write_scaling: scaling(20, 200, 70.5),
        ..Config::default()
    }
}

fn service(rules: &[Rule; 2]) -> AutoScaling {
    AutoScaling::from_client(mock_client!(
        aws_sdk_applicationautoscaling,
        RuleMode::MatchAny,
        rules
    ))
}

#[tokio::test]
async fn a_teleport_table_is_registered_as_teleport_does() {
    let asked = Asked::default();
    let service = service(&asked.rules());
    let live = live(BillingMode::Provisioned).await;
    assert!(service.register(&config(Layout::Teleport), &live).await.unwrap());
    let tracking = "TargetTrackingScaling dynamodb table/teleport";
    assert_eq!(
        asked.take(),
        [
            "target dynamodb table/teleport dynamodb:table:ReadCapacityUnits 10..100".to_owned(),
            "target dynamodb table/teleport dynamodb:table:WriteCapacityUnits 20..200".to_owned(),
            format!(
                "policy teleport-read-target-tracking-scaling-policy {tracking} \
                 dynamodb:table:ReadCapacityUnits DynamoDBReadCapacityUtilization 50"
            ),
            format!(
                "policy teleport-write-target-tracking-scaling-policy {tracking} \
                 dynamodb:table:WriteCapacityUnits DynamoDBWriteCapacityUtilization 70.5"
            ),
        ]
    );
}

#[tokio::test]
async fn the_index_of_a_partitioned_table_keeps_up_with_it() {
    let asked = Asked::default();
    let service = service(&asked.rules());
    let live = live(BillingMode::Provisioned).await;
    let layout = Layout::Partitioned(Partitioned::default());
    assert!(service.register(&config(layout), &live).await.unwrap());
    let asked = asked.take();
    assert_eq!(asked.len(), 8);
    let index: Vec<&String> = asked
        .iter()
        .filter(|asked| asked.contains("/index/expiry "))
        .collect();
    assert_eq!(index.len(), 4);
    assert!(asked.contains(
        &"target dynamodb table/teleport/index/expiry dynamodb:index:WriteCapacityUnits 20..200".to_owned()
    ));
    assert!(asked.iter().any(|asked| asked.starts_with(
        "policy teleport-expiry-write-target-tracking-scaling-policy TargetTrackingScaling dynamodb \
         table/teleport/index/expiry dynamodb:index:WriteCapacityUnits DynamoDBWriteCapacityUtilization"
    )));
}

#[tokio::test]
async fn nothing_is_sent_for_a_table_on_demand_or_without_numbers() {
    let asked = Asked::default();
    let service = service(&asked.rules());
    let on_demand = live(BillingMode::PayPerRequest).await;
    assert!(
        !service
            .register(&config(Layout::Teleport), &on_demand)
            .await
            .unwrap()
    );

    let provisioned = live(BillingMode::Provisioned).await;
    let off = Config {
        auto_scaling: false,
        ..config(Layout::Teleport)
    };
    assert!(!service.register(&off, &provisioned).await.unwrap());
    let without = Config {
        read_scaling: Scaling::default(),
        ..config(Layout::Teleport)
    };
    let error = service
        .register(&without, &provisioned)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("table teleport is provisioned and auto_scaling is on")
            && error.contains("read_min_capacity"),
        "{error}"
    );
    assert_eq!(asked.take(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refusal_names_operation_and_table() {
    let refused = mock!(Client::register_scalable_target).then_error(|| {
        let denied = ErrorMetadata::builder()
            .code("AccessDeniedException")
            .message("not authorized")
            .build();
        RegisterScalableTargetError::generic(denied)
    });
    let client = mock_client!(aws_sdk_applicationautoscaling, RuleMode::MatchAny, [&refused]);
    let live = live(BillingMode::Provisioned).await;
    let error = AutoScaling::from_client(client)
        .register(&config(Layout::Teleport), &live)
        .await
        .unwrap_err()
        .to_string();
    for text in [
        "RegisterScalableTarget for table/teleport failed",
        "AccessDeniedException",
        "tidewatch iam policy --autoscaling",
    ] {
        assert!(error.contains(text), "{error}");
    }
    assert_eq!(refused.num_calls(), 1);
}
