//! Creating, and what the engine then says of the table.

use aws_sdk_dynamodb::types::{BillingMode, ProjectionType};
use tidewatch::table::{Billing, Error, Kind, Regions, Severity, Spec, Ttl, Usd, estimate, verify};

use super::engine::{Engine, codes, quiet};

#[tokio::test]
async fn every_kind_verifies_clean_once_created() {
    let engine = Engine::start().await;
    for kind in Kind::ALL {
        let name = format!("new-{kind}");
        let spec = Spec::new(kind, &name).unwrap().with_protection(true);
        let created = engine.tables.create(&spec, &quiet).await.unwrap();
        assert!(created.warnings.is_empty(), "{:?}", created.warnings);
        let has_stream = created.stream_arn.is_some_and(|arn| arn.contains("/stream/"));
        assert_eq!(has_stream, kind != Kind::WatchLog);
        let mut requests = vec!["CreateTable", "DescribeTable"];
        requests.extend((kind != Kind::WatchLog).then_some("UpdateTimeToLive"));
        assert_eq!(engine.requests(), requests);

        let live = engine.tables.read(&name).await.unwrap();
        assert_eq!(
            engine.requests(),
            ["DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups"]
        );
        assert_eq!(verify(kind, &live), []);
        let ttl = match kind {
            Kind::WatchLog => Ttl::Off,
            _ => Ttl::On("Expires".to_owned()),
        };
        assert_eq!(live.ttl, ttl);
        assert_eq!(live.regions, Regions::One);
        let lacking: Vec<_> = live.warnings.iter().map(|warning| warning.operation).collect();
        assert_eq!(lacking, ["DescribeContinuousBackups"]);
    }
}

#[tokio::test]
async fn the_request_carries_every_choice() {
    let engine = Engine::start().await;
    let spec = Spec::new(Kind::Audit, "chosen")
        .unwrap()
        .with_billing(Billing::Provisioned { rcu: 7, wcu: 9 })
        .unwrap()
        .with_kms_key("alias/teleport")
        .unwrap()
        .with_protection(true)
        .with_tag("team", "access & audit")
        .unwrap();
    engine.tables.create(&spec, &quiet).await.unwrap();

    let table = engine
        .client
        .describe_table()
        .table_name("chosen")
        .send()
        .await
        .unwrap()
        .table
        .unwrap();
    let index = &table.global_secondary_indexes()[0];
    for throughput in [
        table.provisioned_throughput().unwrap(),
        index.provisioned_throughput().unwrap(),
    ] {
        assert_eq!(throughput.read_capacity_units(), Some(7));
        assert_eq!(throughput.write_capacity_units(), Some(9));
    }
    assert_ne!(
        table
            .billing_mode_summary()
            .and_then(|summary| summary.billing_mode()),
        Some(&BillingMode::PayPerRequest)
    );
    assert_eq!(index.index_name(), Some("timesearchV2"));
    assert_eq!(
        index.projection().unwrap().projection_type(),
        Some(&ProjectionType::All)
    );
    assert!(
        table
            .sse_description()
            .unwrap()
            .kms_master_key_arn()
            .unwrap()
            .contains("alias/teleport")
    );
    assert_eq!(table.deletion_protection_enabled(), Some(true));
    let tags = engine
        .client
        .list_tags_of_resource()
        .resource_arn(table.table_arn().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(tags.tags()[0].value(), "access & audit");
    let live = engine.tables.read("chosen").await.unwrap();
    assert_eq!(live.billing, Billing::Provisioned { rcu: 7, wcu: 9 });
    assert!(live.kms_key_arn.unwrap().contains("alias/teleport"));
}

#[tokio::test]
async fn recovery_that_the_engine_lacks_is_a_named_warning() {
    let engine = Engine::start().await;
    let spec = Spec::new(Kind::State, "recoverable").unwrap().with_recovery(true);
    let created = engine.tables.create(&spec, &quiet).await.unwrap();
    assert_eq!(created.warnings.len(), 1);
    assert_eq!(created.warnings[0].operation, "UpdateContinuousBackups");
    assert!(
        created.warnings[0].message.contains("UpdateContinuousBackups"),
        "{:?}",
        created.warnings
    );
    let sent = [
        "CreateTable",
        "DescribeTable",
        "UpdateTimeToLive",
        "UpdateContinuousBackups",
    ];
    assert_eq!(engine.requests(), sent);
}

#[tokio::test]
async fn an_existing_table_is_left_alone() {
    let engine = Engine::start().await;
    let spec = Spec::new(Kind::State, "taken").unwrap();
    engine.tables.create(&spec, &quiet).await.unwrap();
    let before = engine.tables.read("taken").await.unwrap();
    engine.requests();

    let audit = Spec::new(Kind::Audit, "taken").unwrap();
    let error = engine.tables.create(&audit, &quiet).await.unwrap_err();
    assert!(matches!(error, Error::Exists { .. }));
    assert!(
        error
            .to_string()
            .contains("table taken exists already and was not changed"),
        "{error}"
    );
    assert!(error.to_string().contains("tidewatch table verify"), "{error}");
    assert_eq!(engine.requests(), ["CreateTable"]);
    assert_eq!(engine.tables.read("taken").await.unwrap(), before);
}

#[tokio::test]
async fn ensure_creates_once_and_then_only_reads() {
    let engine = Engine::start().await;
    let read = ["DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups"];
    let spec = Spec::new(Kind::Partitioned, "ensured").unwrap();
    let first = engine.tables.ensure(&spec, &quiet).await.unwrap();
    assert!(first.created);
    assert_eq!(
        codes(&verify(Kind::Partitioned, &first.live)),
        ["advice deletion-protection"]
    );
    let create = [
        "DescribeTable",
        "CreateTable",
        "DescribeTable",
        "UpdateTimeToLive",
    ];
    assert_eq!(engine.requests(), [&create[..], &read].concat());

    // What is there is read, whatever it was to be.
    let other = Spec::new(Kind::State, "ensured").unwrap();
    let second = engine.tables.ensure(&other, &quiet).await.unwrap();
    assert!(!second.created);
    assert_eq!(second.live, first.live);
    assert_eq!(engine.requests(), [&["DescribeTable"][..], &read].concat());
}

#[tokio::test]
async fn a_missing_table_is_not_found() {
    let engine = Engine::start().await;
    let error = engine.tables.read("nowhere").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(!engine.tables.exists("nowhere").await.unwrap());
    assert_eq!(engine.requests(), ["DescribeTable", "DescribeTable"]);
}

#[tokio::test]
async fn protection_off_is_advice_only() {
    let engine = Engine::start().await;
    let spec = Spec::new(Kind::State, "plain").unwrap();
    engine.tables.create(&spec, &quiet).await.unwrap();
    let found = verify(Kind::State, &engine.tables.read("plain").await.unwrap());
    assert_eq!(codes(&found), ["advice deletion-protection"]);
    assert!(!Severity::Advice.fails() && Severity::Degraded.fails());
}

#[test]
fn wrong_choices_are_refused_before_anything_is_sent() {
    for name in ["ab", "a b", "a;b", "ä-table", ""] {
        assert!(Spec::new(Kind::Audit, name).is_err(), "{name}");
    }
    let spec = || Spec::new(Kind::Audit, "table").unwrap();
    assert!(
        spec()
            .with_billing(Billing::Provisioned { rcu: 0, wcu: 1 })
            .is_err()
    );
    assert!(spec().with_kms_key("alias/x; rm -rf").is_err());
    assert!(spec().with_tag("aws:mine", "x").is_err());
    assert!(spec().with_tag("", "x").is_err());
    assert!(spec().with_tag("a", "line\nbreak").is_err());
    let full = (0..50).fold(spec(), |spec, n| spec.with_tag(format!("k{n}"), "").unwrap());
    assert!(full.with_tag("one-more", "").is_err());
}

#[test]
fn estimates_count_the_index() {
    let provisioned = |kind, units| {
        let billing = Billing::Provisioned {
            rcu: units,
            wcu: units,
        };
        estimate(&Spec::new(kind, "table").unwrap().with_billing(billing).unwrap()).fixed_per_month
    };
    // 10 x ($0.00013 + $0.00065) x 730 h = $5.694; twice that with an index.
    assert_eq!(provisioned(Kind::State, 10).micros(), 5_694_000);
    assert_eq!(provisioned(Kind::Audit, 10).micros(), 11_388_000);
    assert_eq!(provisioned(Kind::Audit, 10).to_string(), "$11.39");

    let on_demand = estimate(&Spec::new(Kind::Audit, "table").unwrap().with_recovery(true));
    assert_eq!(on_demand.fixed_per_month.micros(), 0);
    let prices: Vec<_> = on_demand
        .lines
        .iter()
        .map(|line| (line.usd.to_string(), line.per))
        .collect();
    let price = |usd: &str, per| (usd.to_owned(), per);
    let month = "GB and month";
    assert_eq!(
        prices,
        [
            price("$1.25", "million"),
            price("$0.125", "million"),
            price("$0.500", month),
            price("$0.200", month)
        ]
    );
    let partitioned = estimate(&Spec::new(Kind::Partitioned, "table").unwrap());
    let prices: Vec<_> = partitioned
        .lines
        .iter()
        .map(|line| line.usd.to_string())
        .collect();
    assert_eq!(prices, ["$1.25", "$0.125", "$0.250"]);
    let log = estimate(&Spec::new(Kind::WatchLog, "table").unwrap());
    let prices: Vec<_> = log.lines.iter().map(|line| line.usd.to_string()).collect();
    assert_eq!(prices, ["$0.625", "$0.125", "$0.250"]);
    assert!(!log.assumptions.iter().any(|text| text.contains("stream")));
    let keyed = Spec::new(Kind::State, "table")
        .unwrap()
        .with_kms_key("alias/x")
        .unwrap();
    let one: Usd = estimate(&keyed).fixed_per_month;
    assert_eq!(one.to_string(), "$1.00");
}
