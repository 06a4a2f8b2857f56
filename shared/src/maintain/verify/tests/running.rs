//! Whole runs: DynamoDB by the embedded engine, Lambda and S3 by canned answers.

use std::time::Duration;

use aws_sdk_lambda::Client;
use serde_json::json;

use super::aws::{good_bucket, lambda_error, s3_error, sdk};
use super::world::{LACKING, World, aws, found, reader, unread};
use crate::engine::refusal;
use crate::maintain::Report;
use crate::maintain::verify::{Because, Verify, mappings};
use crate::table::{Kind, Spec, Tables};
use crate::watch::log::MappingFacts;

#[tokio::test(start_paused = true)]
async fn what_is_as_it_must_be_is_told_so_and_only_read() {
    let world = World::new().await;
    let (verified, asked) = world.run(aws(300, vec![world.mapping(), reader()])).await;
    assert_eq!(found(&verified), []);
    assert_eq!(unread(&verified), [LACKING]);
    assert_eq!(verified.checked, 3);
    assert!(verified.is_complete(), "{verified:?}");
    let metrics: Vec<_> = verified
        .metrics()
        .iter()
        .map(|metric| (metric.name, metric.value))
        .collect();
    assert_eq!(metrics, [("verify_drifts", 0.0), ("verify_not_checked", 1.0)]);
    // Every request is one that reads.
    let sent = world.engine.operations();
    assert_eq!(
        sent,
        [
            "DescribeTable",
            "DescribeTimeToLive",
            "DescribeContinuousBackups",
            "DescribeTable"
        ]
    );
    let asked = asked.take();
    assert_eq!(asked.len(), 3 + 5, "{asked:?}");
    assert!(asked.iter().all(|line| line.starts_with("GET ")), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn each_drift_is_told_with_its_resource_worst_first() {
    let world = World::new().await;
    let client = world.engine.client();
    let off = aws_sdk_dynamodb::types::TimeToLiveSpecification::builder()
        .attribute_name("Expires")
        .enabled(false)
        .build()
        .unwrap();
    client
        .update_time_to_live()
        .table_name("state")
        .time_to_live_specification(off)
        .send()
        .await
        .unwrap();
    let mut mapping = world.mapping();
    mapping["FunctionResponseTypes"] = json!([]);
    mapping["BatchSize"] = json!(10);
    let base = aws(60, vec![mapping]);
    let (verified, _) = world
        .run(move |line| match line.split_once('?') {
            Some((_, "versioning")) => (
                200,
                "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>".to_owned(),
            ),
            _ => base(line),
        })
        .await;
    assert_eq!(
        found(&verified),
        [
            ("mapping feed", "failure-reports"),
            ("table state", "ttl"),
            ("function watch", "time-out"),
            ("function watch", "failure-queue"),
            ("bucket b", "versioning"),
            ("mapping feed", "batch-size"),
        ]
    );
    // An advice is no reason to ring.
    assert_eq!(verified.failing(), 5);
    let report = serde_json::to_value(&verified).unwrap();
    assert_eq!(report["drifts"][0]["code"], "failure-reports");
    assert_eq!(report["drifts"][0]["severity"], "broken");
    assert!(
        report["drifts"][0]["consequence"]
            .as_str()
            .unwrap()
            .contains("lost")
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_replaced_is_read_by_nobody() {
    let world = World::new().await;
    let mut old = world.mapping();
    old["EventSourceArn"] = json!("arn:aws:dynamodb:eu-west-1:123456789012:table/state/stream/2020");
    let (verified, _) = world.run(aws(300, vec![old.clone()])).await;
    assert_eq!(found(&verified), [("function watch", "old-stream")]);
    // What is left of the old one beside the new one is tidied away later.
    old["UUID"] = json!("old");
    let (verified, _) = world.run(aws(300, vec![old, world.mapping(), reader()])).await;
    assert_eq!(found(&verified), [("mapping old", "old-mapping")]);
    assert_eq!(verified.failing(), 0);

    let (verified, _) = world.run(aws(300, vec![reader()])).await;
    assert_eq!(found(&verified), [("function watch", "no-mapping")]);
    let twice = vec![world.mapping(), world.mapping(), reader()];
    let (verified, _) = world.run(aws(300, twice)).await;
    assert_eq!(found(&verified), [("function watch", "two-mappings")]);
    let (verified, _) = world
        .run(|line| match line.contains("/functions/") {
            true => lambda_error(404, "ResourceNotFoundException"),
            false => good_bucket(line),
        })
        .await;
    assert_eq!(found(&verified), [("function watch", "function")]);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_neither_good_nor_bad() {
    let world = World::new().await;
    world
        .engine
        .fates("DescribeTimeToLive", [refusal("AccessDeniedException")]);
    let base = aws(300, vec![world.mapping(), reader()]);
    let (verified, asked) = world
        .run(move |line| match line.split_once('?') {
            Some((_, "lifecycle")) => s3_error(403, "AccessDenied"),
            Some((_, "policy")) => s3_error(501, "NotImplemented"),
            Some((_, "encryption")) => s3_error(500, "InternalError"),
            _ if line.contains("/functions/") => lambda_error(403, "AccessDeniedException"),
            _ => base(line),
        })
        .await;
    assert_eq!(found(&verified), []);
    assert_eq!(
        unread(&verified),
        [
            LACKING,
            ("dynamodb:DescribeTimeToLive", Because::Denied),
            ("lambda:GetFunctionConfiguration", Because::Denied),
            ("s3:GetLifecycleConfiguration", Because::Denied),
            ("s3:GetEncryptionConfiguration", Because::Failed),
            ("s3:GetBucketPolicy", Because::Lacking),
        ]
    );
    let denied = &verified.not_checked[1].reason;
    assert!(
        denied.starts_with("allow dynamodb:DescribeTimeToLive"),
        "{denied}"
    );
    // The rest was looked at all the same.
    assert_eq!((verified.checked, asked.take().len()), (3, 8));
    assert!(!verified.is_complete());
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_told_so() {
    let mut world = World::new().await;
    world.settings.tables = vec![Spec::new(Kind::Audit, "elsewhere").unwrap()];
    world.settings.functions.clear();
    let (verified, _) = world.run(|_| s3_error(404, "NoSuchBucket")).await;
    assert_eq!(
        found(&verified),
        [("table elsewhere", "table"), ("bucket b", "bucket")]
    );
    assert_eq!(verified.failing(), 2);
    // Settings that nobody made.
    let (verified, _) = world
        .run(|line| match line.split_once('?') {
            Some((_, "lifecycle")) => s3_error(404, "NoSuchLifecycleConfiguration"),
            Some((_, "publicAccessBlock")) => s3_error(404, "NoSuchPublicAccessBlockConfiguration"),
            Some((_, "encryption")) => s3_error(404, "ServerSideEncryptionConfigurationNotFoundError"),
            Some((_, "policy")) => s3_error(404, "NoSuchBucketPolicy"),
            _ => good_bucket(line),
        })
        .await;
    assert_eq!(
        found(&verified)[1..],
        [
            ("bucket b", "public-access"),
            ("bucket b", "encryption"),
            ("bucket b", "tls")
        ]
    );
    assert_eq!(verified.not_checked.len(), 0, "{verified:?}");
}

#[tokio::test(start_paused = true)]
async fn an_expiring_spool_is_read_as_such() {
    let mut world = World::new().await;
    world.settings.tables.clear();
    world.settings.functions.clear();
    let rules = |filter: &str| {
        format!(
            "<LifecycleConfiguration><Rule><ID>all</ID><Status>Enabled</Status>{filter}<Expiration><Days>30</Days></Expiration>\
             <Transition><Days>7</Days><StorageClass>DEEP_ARCHIVE</StorageClass></Transition></Rule></LifecycleConfiguration>"
        )
    };
    for filter in [
        "<Filter><Prefix></Prefix></Filter>",
        "<Prefix>spool/</Prefix>",
        "<Filter><And><Prefix>sp</Prefix><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></And></Filter>",
        "<Filter><ObjectSizeLessThan>1000000</ObjectSizeLessThan></Filter>",
    ] {
        let rules = rules(filter);
        let (verified, _) = world
            .run(move |line| match line.split_once('?') {
                Some((_, "lifecycle")) => (200, rules.clone()),
                _ => good_bucket(line),
            })
            .await;
        let expected = [("bucket b", "expiration"), ("bucket b", "archive")];
        assert_eq!(found(&verified), expected, "{filter}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_filter_is_asked_for_by_itself() {
    let world = World::new().await;
    let mut listed = world.mapping();
    listed["KMSKeyArn"] = json!("arn:aws:kms:eu-west-1:123456789012:key/1");
    for (got, drifts, not_checked) in [
        (
            json!({"UUID": "feed", "FilterCriteria": {"Filters": [{"Pattern": "{\"eventName\":[\"INSERT\"]}"}]}}),
            1,
            1,
        ),
        (
            json!({"UUID": "feed", "FilterCriteriaError": {"ErrorCode": "x", "Message": "no"}}),
            0,
            2,
        ),
    ] {
        let base = aws(300, vec![listed.clone(), reader()]);
        let (verified, asked) = world
            .run(move |line| match line.contains("/event-source-mappings/feed") {
                true => (200, got.to_string()),
                false => base(line),
            })
            .await;
        assert_eq!(verified.drifts.len(), drifts, "{verified:?}");
        assert_eq!(verified.not_checked.len(), not_checked, "{verified:?}");
        assert_eq!(asked.take().len(), 3 + 1 + 5);
    }
}

#[tokio::test(start_paused = true)]
async fn without_time_or_client_nothing_is_known() {
    let world = World::new().await;
    let tables = Tables::new(world.engine.client(), world.clock.clone(), Tables::WAIT);
    let verify = Verify::new(world.settings.clone(), tables, world.clock.clone());
    let verified = verify.run(world.time(100)).await;
    let unable = ("anything", Because::Unable);
    assert_eq!(unread(&verified), [LACKING, unable, unable]);
    assert_eq!(verified.checked, 1);

    world.engine.sent();
    let verified = verify.run(world.time(0)).await;
    let late = ("anything", Because::Late);
    assert_eq!(unread(&verified), [late, late, late]);
    assert!(world.engine.sent().is_empty());
    // A service that does not answer is left at the stop.
    world.engine.plan(|_, _| crate::engine::Fate::Delayed {
        before: Duration::from_secs(3600),
        after: Duration::ZERO,
    });
    let begun = world.clock.instant();
    let verified = verify.run(world.time(10)).await;
    assert_eq!(unread(&verified), [late, late, late]);
    assert_eq!(world.clock.instant() - begun, Duration::from_secs(10));
    assert!(!verified.is_complete());
}

#[tokio::test(start_paused = true)]
async fn the_examination_of_a_log_gets_its_facts_here() {
    let world = World::new().await;
    let mut mapping = world.mapping();
    mapping["State"] = json!("Disabled");
    mapping["StartingPosition"] = json!("LATEST");
    let (sdk, _) = sdk(aws(300, vec![mapping, reader()]));
    let all = mappings(&Client::new(&sdk), "watch").await.unwrap();
    assert_eq!(all.len(), 2);
    let facts = MappingFacts {
        id: "feed".to_owned(),
        enabled: false,
        from_trim_horizon: false,
    };
    assert_eq!(all[0].facts(), facts);
    assert!(all[1].facts().enabled);
}
