//! Teleport's own file.

use std::time::Duration;

use tidewatch::config::Faults;
use tidewatch::state::{BillingMode, Config, Layout, Scaling};
use tidewatch::table::{Billing, Kind};

const FULL: &str = include_str!("teleport.yaml");

fn storage(settings: &str) -> Result<Config, Faults> {
    Config::parse_teleport(
        &format!("teleport:\n  storage:\n    type: dynamodb\n    table_name: teleport\n{settings}"),
        "t.yaml",
    )
}

#[test]
fn a_whole_file_is_read_as_it_stands() {
    assert!(Config::is_teleport(FULL));
    let config = Config::parse_teleport(FULL, "teleport.yaml").unwrap();
    let scaling = |target_value| Scaling {
        min_capacity: 10,
        max_capacity: 100,
        target_value,
    };
    let expected = Config {
        table_name: "teleport.state".to_owned(),
        layout: Layout::Teleport,
        region: Some("us-east-1".to_owned()),
        access_key: Some("AKIAEXAMPLE".parse().unwrap()),
        secret_key: Some("hunter2hunter2".parse().unwrap()),
        kms_key: Some("alias/teleport".to_owned()),
        billing_mode: BillingMode::Provisioned,
        read_capacity_units: 25,
        write_capacity_units: 1_000,
        poll_stream_period: Duration::from_millis(500),
        retry_period: Duration::from_secs(5),
        buffer_size: 2048,
        continuous_backups: true,
        auto_scaling: true,
        read_scaling: scaling(50.0),
        write_scaling: scaling(70.0),
        ..Config::default()
    };
    assert_eq!(config, expected);
    let spec = config.spec().unwrap();
    assert_eq!(
        (spec.kind(), spec.billing()),
        (Kind::State, Billing::Provisioned { rcu: 25, wcu: 1_000 })
    );
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("AKIAEXAMPLE") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn the_least_file_has_the_defaults() {
    let least = Config {
        table_name: "teleport".to_owned(),
        layout: Layout::Teleport,
        ..Config::default()
    };
    assert_eq!(storage("").unwrap(), least);
    // Zeros, empty texts and nothing at all are not set, as in Go.
    let unset = "    region: ''\n    access_key: ''\n    secret_key: \"\"\n    billing_mode: ''\n    \
                 read_capacity_units: 0\n    write_capacity_units:\n    poll_stream_period: 0\n    retry_period: 0s\n    \
                 buffer_size: 0\n    kms_key: ~\n    auto_scaling: off\n";
    assert_eq!(storage(unset).unwrap(), least);
    // JSON is a document too.
    let json = "{\"teleport\": {\"storage\": {\"type\": \"dynamodb\", \"table_name\": \"teleport\"}}}";
    assert!(Config::is_teleport(json));
    assert_eq!(Config::parse_teleport(json, "t").unwrap(), least);
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let text = "teleport:\n  storage:\n    type: dynamodb\n    table_name: a/b\n    region: [eu-west-1]\n    \
                access_key: AKIAEXAMPLE\n    billing_mode: provisionned\n    read_capacity_units: ten\n    \
                write_capacity_units: -1\n    buffer_size: {}\n    poll_stream_period: soon\n    \
                retry_period: -1\n    continuous_backups: perhaps\n    auto_scaling: 1\n    \
                read_target_value: half\n    kms_key: a key\n    endpoint: nowhere\n    audit_events_uri: [1, 2]\n    \
                audit_sessions_uri: !odd x\n    colour: crimson\n";
    let faults = Config::parse_teleport(text, "t.yaml").unwrap_err();
    let found: Vec<String> = faults
        .0
        .iter()
        .map(|fault| format!("{} {}", fault.place, fault.path))
        .collect();
    let mut expected = vec![
        "t.yaml:4:17 teleport.storage.table_name",
        "t.yaml:5:13 teleport.storage.region",
        "t.yaml:3:5 teleport.storage.secret_key",
        "t.yaml:7:19 teleport.storage.billing_mode",
        "t.yaml:8:26 teleport.storage.read_capacity_units",
        "t.yaml:9:27 teleport.storage.write_capacity_units",
        "t.yaml:10:18 teleport.storage.buffer_size",
        "t.yaml:11:25 teleport.storage.poll_stream_period",
        "t.yaml:12:19 teleport.storage.retry_period",
        "t.yaml:13:25 teleport.storage.continuous_backups",
        "t.yaml:14:19 teleport.storage.auto_scaling",
        "t.yaml:15:24 teleport.storage.read_target_value",
        "t.yaml:16:14 teleport.storage.kms_key",
        "t.yaml:17:15 teleport.storage.endpoint",
    ];
    let mut sorted = found.clone();
    sorted.sort();
    expected.sort_unstable();
    assert_eq!(sorted, expected, "{faults}");
    // A value may be a secret: no fault quotes one, but a table's name.
    for value in ["AKIAEXAMPLE", "provisionned", "soon", "perhaps", "nowhere"] {
        assert!(!faults.to_string().contains(value), "{value}: {faults}");
    }
}

#[test]
fn auto_scaling_needs_its_numbers_on_provisioned_tables_only() {
    assert!(storage("    auto_scaling: yes\n").unwrap().auto_scaling);
    let faults = storage(
        "    auto_scaling: yes\n    billing_mode: provisioned\n    read_min_capacity: 5\n    \
         read_max_capacity: 4\n    read_target_value: 95\n    write_min_capacity: 1\n    \
         write_max_capacity: 9\n    write_target_value: 20\n",
    )
    .unwrap_err();
    let places: Vec<&str> = faults.0.iter().map(|fault| fault.place.as_str()).collect();
    assert_eq!(places, ["t.yaml:8:24", "t.yaml:9:24"], "{faults}");
}

#[test]
fn what_is_no_dynamodb_storage_is_refused() {
    let faults = |text: &str| Config::parse_teleport(text, "t.yaml").unwrap_err().to_string();
    let other = faults("teleport:\n  storage:\n    type: etcd\n    peers: [a, b]\n");
    assert!(
        other.contains("1 fault(s)")
            && other.contains("t.yaml:3:11: teleport.storage.type: another backend's; dynamodb is due"),
        "{other}"
    );
    for text in ["teleport:\n  storage: {}\n", "teleport:\n  nodename: x\n"] {
        let none = faults(text);
        assert!(
            none.contains("teleport.storage.type: is required: dynamodb")
                && none.contains("teleport.storage.table_name: is not specified"),
            "{none}"
        );
    }
    let text = faults("teleport:\n  storage: dynamodb\n");
    assert!(
        text.contains("t.yaml:2:12: teleport.storage: settings by name are due"),
        "{text}"
    );
    // What is merged in is not read, so that it is not passed over either.
    let merged = faults(
        "base: &base { region: x }\nteleport:\n  storage:\n    <<: *base\n    type: dynamodb\n    table_name: teleport\n",
    );
    assert!(
        merged.contains("teleport.storage.<<: merged settings are not read"),
        "{merged}"
    );
    let broken = "teleport:\n  storage: [\n";
    assert!(Config::is_teleport(broken));
    let broken = faults(broken);
    assert!(
        broken.contains("1 fault(s)") && broken.contains("not YAML"),
        "{broken}"
    );
}

#[test]
fn other_documents_are_not_teleports() {
    for text in [
        "",
        "quarantine: file:///q\nsinks: { teleport: { uri: 'stdout://' } }\n",
        "a:\n  teleport:\n    storage: {}\n",
        "- teleport\n",
        "teleport\n",
    ] {
        assert!(!Config::is_teleport(text), "{text}");
    }
}

#[test]
fn periods_and_switches_as_go_writes_them() {
    for (text, period) in [
        ("1000000000", Duration::from_secs(1)),
        ("1_000", Duration::from_micros(1)),
        ("1m30s", Duration::from_secs(90)),
        ("'300ms'", Duration::from_millis(300)),
    ] {
        let config = storage(&format!("    retry_period: {text}\n")).unwrap();
        assert_eq!(config.retry_period, period, "{text}");
    }
    for (text, on) in [
        ("yes", true),
        ("On", true),
        ("TRUE", true),
        ("y", true),
        ("no", false),
        ("False", false),
        ("OFF", false),
        ("n", false),
    ] {
        let config = storage(&format!(
            "    continuous_backups: {text}\n    use_fips_endpoint: {text}\n"
        ))
        .unwrap();
        assert_eq!((config.continuous_backups, config.fips), (on, on), "{text}");
    }
}

#[test]
fn a_key_by_reference_is_one() {
    let config = storage("    access_key: env:KEY\n    secret_key: ssm:/teleport/secret\n").unwrap();
    assert!(!config.access_key.as_ref().unwrap().is_literal());
    assert_eq!(
        format!("{:?}", config.secret_key.unwrap()),
        "ssm:/teleport/secret"
    );
}
