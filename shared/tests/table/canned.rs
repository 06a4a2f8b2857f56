//! What no local engine does: slow tables, point-in-time recovery, refused requests. Under a paused clock.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ErrorMetadata;
use aws_sdk_dynamodb::operation::create_table::{CreateTableError, CreateTableOutput};
use aws_sdk_dynamodb::operation::describe_continuous_backups::DescribeContinuousBackupsOutput;
use aws_sdk_dynamodb::operation::describe_table::{DescribeTableError, DescribeTableOutput};
use aws_sdk_dynamodb::operation::describe_time_to_live::DescribeTimeToLiveOutput;
use aws_sdk_dynamodb::operation::update_continuous_backups::{
    UpdateContinuousBackupsError, UpdateContinuousBackupsOutput,
};
use aws_sdk_dynamodb::operation::update_time_to_live::{UpdateTimeToLiveError, UpdateTimeToLiveOutput};
use aws_sdk_dynamodb::types::builders::TableDescriptionBuilder;
use aws_sdk_dynamodb::types::error::ContinuousBackupsUnavailableException;
use aws_sdk_dynamodb::types::{
    ContinuousBackupsDescription, ContinuousBackupsStatus, GlobalSecondaryIndexDescription, IndexStatus,
    MultiRegionConsistency, PointInTimeRecoveryDescription, PointInTimeRecoveryStatus, ReplicaDescription,
    SseDescription, TableDescription, TableStatus,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use tidewatch::clock::Clock;
use tidewatch::table::{Error, Kind, Recovery, Regions, Spec, Tables};

use super::engine::quiet;

fn tables(rules: &[&Rule], limit: Duration) -> Tables {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules);
    Tables::new(client, Clock::simulated(SystemTime::UNIX_EPOCH), limit)
}

fn spec() -> Spec {
    Spec::new(Kind::Audit, "audit").unwrap()
}

fn described(table: TableStatus, index: IndexStatus) -> DescribeTableOutput {
    let index = GlobalSecondaryIndexDescription::builder()
        .index_name("timesearchV2")
        .index_status(index)
        .build();
    let table = TableDescription::builder()
        .table_status(table)
        .global_secondary_indexes(index)
        .build();
    DescribeTableOutput::builder().table(table).build()
}

fn created() -> Rule {
    mock!(Client::create_table).then_output(|| CreateTableOutput::builder().build())
}

fn ttl() -> Rule {
    mock!(Client::update_time_to_live).then_output(|| UpdateTimeToLiveOutput::builder().build())
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_table_and_then_the_index() {
    let describe = mock!(Client::describe_table)
        .sequence()
        .error(|| {
            DescribeTableError::generic(ErrorMetadata::builder().code("ResourceNotFoundException").build())
        })
        .output(|| described(TableStatus::Creating, IndexStatus::Creating))
        .output(|| described(TableStatus::Active, IndexStatus::Creating))
        .output(|| described(TableStatus::Active, IndexStatus::Active))
        .build();
    let (create, ttl) = (created(), ttl());
    let tables = tables(&[&create, &describe, &ttl], Tables::WAIT);
    let seen = std::sync::Mutex::new(Vec::new());
    let progress = |step: &tidewatch::table::Step| seen.lock().unwrap().push(step.to_string());
    tables.create(&spec(), &progress).await.unwrap();
    assert_eq!(
        (create.num_calls(), describe.num_calls(), ttl.num_calls()),
        (1, 4, 1)
    );
    let expected = [
        "CreateTable",
        "not yet visible, waiting (0 s)",
        "CREATING, waiting (0 s)",
        "index timesearchV2 CREATING, waiting (1 s)",
        "UpdateTimeToLive",
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_bounded() {
    let describe =
        mock!(Client::describe_table).then_output(|| described(TableStatus::Creating, IndexStatus::Creating));
    let create = created();
    let clock = Clock::simulated(SystemTime::UNIX_EPOCH);
    let start = clock.instant();
    let tables = tables(&[&create, &describe], Duration::from_secs(60));
    let error = tables.create(&spec(), &quiet).await.unwrap_err();
    assert_eq!((clock.instant() - start).as_secs(), 60);
    // 0.5 + 1 + 2 + 4 s, then every 5 s, and a last look at the end.
    assert_eq!(describe.num_calls(), 16);
    let text = error.to_string();
    assert!(
        matches!(error, Error::Unfinished { source, .. } if matches!(*source, Error::StillWaiting { .. }))
    );
    assert!(
        text.contains("table audit was still CREATING after 60 s"),
        "{text}"
    );
    assert!(
        text.contains("tidewatch table apply --kind audit --table audit"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_status_without_a_way_out_ends_the_wait() {
    let describe = mock!(Client::describe_table).then_output(|| {
        described(
            TableStatus::InaccessibleEncryptionCredentials,
            IndexStatus::Active,
        )
    });
    let create = created();
    let error = tables(&[&create, &describe], Tables::WAIT)
        .create(&spec(), &quiet)
        .await
        .unwrap_err();
    assert_eq!(describe.num_calls(), 1);
    assert!(error.to_string().contains("KMS key"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn recovery_is_repeated_while_backups_are_prepared() {
    let describe =
        mock!(Client::describe_table).then_output(|| described(TableStatus::Active, IndexStatus::Active));
    let unavailable = || {
        let metadata = ErrorMetadata::builder()
            .code("ContinuousBackupsUnavailableException")
            .build();
        let error = ContinuousBackupsUnavailableException::builder()
            .meta(metadata)
            .build();
        UpdateContinuousBackupsError::ContinuousBackupsUnavailableException(error)
    };
    let backups = mock!(Client::update_continuous_backups)
        .sequence()
        .error(unavailable)
        .error(unavailable)
        .output(|| UpdateContinuousBackupsOutput::builder().build())
        .build();
    let (create, ttl) = (created(), ttl());
    let tables = tables(&[&create, &describe, &ttl, &backups], Tables::WAIT);
    let made = tables.create(&spec().with_recovery(true), &quiet).await.unwrap();
    assert_eq!(made.warnings, []);
    assert_eq!(backups.num_calls(), 3);
}

#[tokio::test]
async fn recovery_is_read() {
    for (status, expected) in [
        (PointInTimeRecoveryStatus::Enabled, Recovery::On),
        (PointInTimeRecoveryStatus::Disabled, Recovery::Off),
    ] {
        let describe =
            mock!(Client::describe_table).then_output(|| described(TableStatus::Active, IndexStatus::Active));
        let ttl =
            mock!(Client::describe_time_to_live).then_output(|| DescribeTimeToLiveOutput::builder().build());
        let backups = mock!(Client::describe_continuous_backups).then_output(move || {
            let recovery = PointInTimeRecoveryDescription::builder()
                .point_in_time_recovery_status(status.clone())
                .build();
            let backups = ContinuousBackupsDescription::builder()
                .continuous_backups_status(ContinuousBackupsStatus::Enabled)
                .point_in_time_recovery_description(recovery)
                .build()
                .unwrap();
            DescribeContinuousBackupsOutput::builder()
                .continuous_backups_description(backups)
                .build()
        });
        let live = tables(&[&describe, &ttl, &backups], Tables::WAIT)
            .read("audit")
            .await
            .unwrap();
        assert_eq!(live.recovery, expected);
        assert_eq!(live.warnings, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_says_what_was_done_and_what_to_allow() {
    let denied = || {
        ErrorMetadata::builder()
            .code("AccessDeniedException")
            .message("not authorized")
            .build()
    };
    let refused = mock!(Client::create_table).then_error(move || CreateTableError::generic(denied()));
    let error = tables(&[&refused], Tables::WAIT)
        .create(&spec(), &quiet)
        .await
        .unwrap_err();
    let expected = "CreateTable on table audit failed: AccessDeniedException: not authorized; \
                    allow dynamodb:CreateTable on this table";
    assert_eq!(error.to_string(), expected);

    let describe =
        mock!(Client::describe_table).then_output(|| described(TableStatus::Active, IndexStatus::Active));
    let denied = || {
        ErrorMetadata::builder()
            .code("AccessDeniedException")
            .message("not authorized")
            .build()
    };
    let refused =
        mock!(Client::update_time_to_live).then_error(move || UpdateTimeToLiveError::generic(denied()));
    let create = created();
    let error = tables(&[&create, &describe, &refused], Tables::WAIT)
        .create(&spec(), &quiet)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("table audit: done: CreateTable; then: UpdateTimeToLive on table audit failed"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn ensure_waits_for_a_table_that_somebody_else_creates() {
    let read = |describe: &Rule| {
        let ttl =
            mock!(Client::describe_time_to_live).then_output(|| DescribeTimeToLiveOutput::builder().build());
        let backups = mock!(Client::describe_continuous_backups)
            .then_output(|| DescribeContinuousBackupsOutput::builder().build());
        (describe.clone(), ttl, backups)
    };
    let creating = mock!(Client::describe_table)
        .sequence()
        .output(|| described(TableStatus::Creating, IndexStatus::Creating))
        .times(3)
        .output(|| described(TableStatus::Active, IndexStatus::Active))
        .repeatedly()
        .build();
    let (describe, ttl, backups) = read(&creating);
    let ensured = tables(&[&describe, &ttl, &backups], Tables::WAIT)
        .ensure(&spec(), &quiet)
        .await
        .unwrap();
    assert!(!ensured.created);
    assert_eq!(ensured.live.status, TableStatus::Active);

    // Created by another between the look and the request.
    let raced = mock!(Client::describe_table)
        .sequence()
        .error(|| {
            DescribeTableError::generic(ErrorMetadata::builder().code("ResourceNotFoundException").build())
        })
        .output(|| described(TableStatus::Active, IndexStatus::Active))
        .repeatedly()
        .build();
    let taken = || ErrorMetadata::builder().code("ResourceInUseException").build();
    let refused = mock!(Client::create_table).then_error(move || CreateTableError::generic(taken()));
    let (describe, ttl, backups) = read(&raced);
    let ensured = tables(&[&refused, &describe, &ttl, &backups], Tables::WAIT)
        .ensure(&spec(), &quiet)
        .await
        .unwrap();
    assert!(!ensured.created);
    assert_eq!(refused.num_calls(), 1);
}

#[tokio::test]
async fn what_state_asks_of_a_table_is_read() {
    type Change = fn(TableDescriptionBuilder) -> TableDescriptionBuilder;
    let replica = |builder: TableDescriptionBuilder| {
        builder.replicas(ReplicaDescription::builder().region_name("eu-west-1").build())
    };
    let cases: [(Change, Regions, &[&str]); 4] = [
        (|builder| builder, Regions::One, &[]),
        (replica, Regions::Eventual, &["eu-west-1"]),
        (
            |builder| {
                builder
                    .replicas(ReplicaDescription::builder().region_name("eu-west-1").build())
                    .multi_region_consistency(MultiRegionConsistency::Strong)
            },
            Regions::Strong,
            &["eu-west-1"],
        ),
        (
            |builder| builder.global_table_version("2017.11.29"),
            Regions::Eventual,
            &[],
        ),
    ];
    for (change, regions, replicas) in cases {
        let describe = mock!(Client::describe_table).then_output(move || {
            let key = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
            let sse = SseDescription::builder().kms_master_key_arn(key).build();
            let table = change(TableDescription::builder()).sse_description(sse).build();
            DescribeTableOutput::builder().table(table).build()
        });
        let ttl =
            mock!(Client::describe_time_to_live).then_output(|| DescribeTimeToLiveOutput::builder().build());
        let backups = mock!(Client::describe_continuous_backups)
            .then_output(|| DescribeContinuousBackupsOutput::builder().build());
        let live = tables(&[&describe, &ttl, &backups], Tables::WAIT)
            .read("state")
            .await
            .unwrap();
        assert_eq!(
            (live.regions, live.replicas.as_slice()),
            (
                regions,
                &replicas.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>()[..]
            )
        );
        assert!(live.kms_key_arn.unwrap().ends_with("1234567890ab"));
    }
}
