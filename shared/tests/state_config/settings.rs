//! The settings by hand.

use std::time::Duration;

use tidewatch::state::{
    BACKEND_NAME, BillingMode, Config, ConfigError, ConfigFault, Layout, Partitioned, Scaling,
};
use tidewatch::table::{Billing, Kind};

fn named() -> Config {
    Config {
        table_name: "state".to_owned(),
        ..Config::default()
    }
}

fn faults(mut config: Config) -> Vec<String> {
    match config.check_and_set_defaults() {
        Ok(()) => Vec::new(),
        Err(ConfigError(faults)) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_defaults_are_teleports_and_ours() {
    let config = Config::default();
    assert_eq!(BACKEND_NAME, "dynamodb");
    assert_eq!(config.billing_mode, BillingMode::PayPerRequest);
    assert_eq!(
        (config.read_capacity_units, config.write_capacity_units),
        (10, 10)
    );
    assert_eq!(config.buffer_size, 1024);
    assert_eq!(
        (config.poll_stream_period, config.retry_period),
        (Duration::from_secs(1), Duration::from_secs(10))
    );
    assert!(
        !config.continuous_backups && !config.auto_scaling && !config.fips && !config.single_writer_region
    );
    assert_eq!(
        (config.operation_timeout, config.attempt_timeout, config.lock_skew),
        (
            Duration::from_secs(30),
            Duration::from_secs(5),
            Duration::from_secs(1)
        )
    );
    assert_eq!(
        config.layout,
        Layout::Partitioned(Partitioned::new("default").unwrap())
    );
    assert_eq!(faults(named()), Vec::<String>::new());
}

#[test]
fn every_fault_is_told_at_once() {
    let config = Config {
        table_name: String::new(),
        endpoint: Some("nowhere".to_owned()),
        fips: true,
        access_key: Some("AKIAEXAMPLE".parse().unwrap()),
        kms_key: Some("a key".to_owned()),
        billing_mode: BillingMode::Provisioned,
        read_capacity_units: 0,
        write_capacity_units: 0,
        auto_scaling: true,
        read_scaling: Scaling {
            min_capacity: 5,
            max_capacity: 4,
            target_value: 95.0,
        },
        write_scaling: Scaling {
            target_value: f64::NAN,
            ..Scaling::default()
        },
        buffer_size: 0,
        poll_stream_period: Duration::ZERO,
        retry_period: Duration::ZERO,
        operation_timeout: Duration::ZERO,
        attempt_timeout: Duration::ZERO,
        ..Config::default()
    };
    let Err(error) = config.clone().check_and_set_defaults() else {
        panic!("{config:?}")
    };
    let settings: Vec<&str> = error.0.iter().map(|fault| fault.setting).collect();
    assert_eq!(
        settings,
        [
            "table_name",
            "kms_key",
            "read_capacity_units",
            "write_capacity_units",
            "secret_key",
            "endpoint",
            "endpoint",
            "buffer_size",
            "poll_stream_period",
            "retry_period",
            "operation_timeout",
            "attempt_timeout",
            "read_max_capacity",
            "read_target_value",
            "write_min_capacity",
            "write_max_capacity",
            "write_target_value"
        ]
    );
    let told = error.to_string();
    assert!(
        told.contains("17 fault(s): table_name is not specified; "),
        "{told}"
    );
    assert!(!told.contains("AKIAEXAMPLE"), "{told}");
}

#[test]
fn names_are_checked_as_dynamodb_does() {
    let with = |name: &str| Config {
        table_name: name.to_owned(),
        ..Config::default()
    };
    for name in ["ab", "a/b/c"] {
        assert!(
            faults(with(name))[0].starts_with("table_name table name"),
            "{name}"
        );
    }
    let mut empty = Config {
        region: Some(String::new()),
        kms_key: Some(String::new()),
        ..named()
    };
    empty.check_and_set_defaults().unwrap();
    assert_eq!((empty.region, empty.kms_key), (None, None));
}

#[test]
fn scaling_counts_for_provisioned_tables_only() {
    // Its numbers are missing, but the table may well be on demand.
    let auto = Config {
        auto_scaling: true,
        ..named()
    };
    assert_eq!(faults(auto.clone()), Vec::<String>::new());
    assert_eq!(auto.scaling(Billing::OnDemand), Ok(None));
    // It is not: what was let go is a fault now.
    let provisioned = Billing::Provisioned { rcu: 5, wcu: 5 };
    assert_eq!(auto.scaling(provisioned).unwrap_err().0.len(), 6);

    let limits = |min_capacity, max_capacity, target_value| Scaling {
        min_capacity,
        max_capacity,
        target_value,
    };
    for (scaling, wrong) in [
        (limits(1, 1, 20.0), 0),
        (limits(5, 100, 90.0), 0),
        (limits(0, 100, 50.0), 1),
        (limits(5, 4, 50.0), 1),
        (limits(5, 100, 19.9), 1),
        (limits(5, 100, 90.1), 1),
        (limits(0, 0, 0.0), 3),
    ] {
        let config = Config {
            billing_mode: BillingMode::Provisioned,
            auto_scaling: true,
            read_scaling: scaling,
            write_scaling: limits(1, 2, 50.0),
            ..named()
        };
        assert_eq!(faults(config.clone()).len(), wrong, "{scaling:?}");
        if wrong == 0 {
            assert_eq!(
                config.scaling(provisioned),
                Ok(Some((scaling, limits(1, 2, 50.0))))
            );
        }
    }
}

#[test]
fn keys_go_together_and_are_shown_nowhere() {
    let mut config = Config {
        access_key: Some("AKIAEXAMPLE".parse().unwrap()),
        secret_key: Some("hunter2hunter2".parse().unwrap()),
        ..named()
    };
    config.check_and_set_defaults().unwrap();
    let shown = format!("{config:?} {:?}", config.aws());
    assert!(
        !shown.contains("AKIAEXAMPLE") && !shown.contains("hunter2"),
        "{shown}"
    );
    config.access_key = None;
    let fault = ConfigFault {
        setting: "access_key",
        message: "is missing: access_key and secret_key go together".to_owned(),
    };
    assert_eq!(config.check_and_set_defaults(), Err(ConfigError(vec![fault])));
}

#[test]
fn the_table_to_create_follows_the_layout() {
    let mut config = Config {
        kms_key: Some("alias/teleport".to_owned()),
        continuous_backups: true,
        ..named()
    };
    let spec = config.spec().unwrap();
    assert_eq!(
        (spec.kind(), spec.billing(), spec.kms_key(), spec.recovery()),
        (Kind::Partitioned, Billing::OnDemand, Some("alias/teleport"), true)
    );
    config.layout = Layout::Teleport;
    config.billing_mode = BillingMode::Provisioned;
    let spec = config.spec().unwrap();
    assert_eq!(
        (spec.kind(), spec.billing()),
        (Kind::State, Billing::Provisioned { rcu: 10, wcu: 10 })
    );
}

#[tokio::test]
async fn the_sdk_is_configured_as_said() {
    use aws_sdk_dynamodb::config::ProvideCredentials;
    let config = Config {
        region: Some("eu-west-1".to_owned()),
        fips: true,
        access_key: Some("AKIAEXAMPLE".parse().unwrap()),
        secret_key: Some("hunter2hunter2".parse().unwrap()),
        ..named()
    };
    let sdk = config.sdk_config().await.unwrap();
    assert_eq!(sdk.region().unwrap().as_ref(), "eu-west-1");
    assert_eq!(sdk.use_fips(), Some(true));
    let credentials = sdk.credentials_provider().unwrap().provide_credentials().await;
    assert_eq!(credentials.unwrap().access_key_id(), "AKIAEXAMPLE");

    let local = Config {
        endpoint: Some("http://127.0.0.1:8000".to_owned()),
        region: Some("eu-west-1".to_owned()),
        ..named()
    };
    let sdk = local.sdk_config().await.unwrap();
    assert_eq!(sdk.endpoint_url(), Some("http://127.0.0.1:8000"));
    assert_ne!(sdk.use_fips(), Some(true));
}
