//! Teleport's own settings of the audit log.

use std::time::Duration;

use tidewatch::audit::log::{AuditUri, Config, Dynamo};

fn storage(settings: &str) -> Result<Config, String> {
    let text = format!(
        "teleport:\n  storage:\n    type: dynamodb\n    table_name: teleport.state\n    region: eu-west-1\n{settings}"
    );
    Config::parse_teleport(&text, "t.yaml").map_err(|faults| faults.to_string())
}

fn names(config: &Config) -> Vec<String> {
    config.backends.iter().map(ToString::to_string).collect()
}

#[test]
fn uris_are_a_text_or_a_list() {
    let one = storage("    audit_events_uri: dynamodb://teleport.audit?region=us-east-1\n").unwrap();
    assert_eq!(names(&one), ["dynamodb://teleport.audit"]);
    let AuditUri::Dynamodb(uri) = &one.backends[0] else {
        panic!()
    };
    assert_eq!(one.aws_of(uri).region.as_deref(), Some("us-east-1"));
    assert_eq!(
        (one.retention, one.state_table.as_deref()),
        (Dynamo::RETENTION, Some("teleport.state"))
    );
    let list = "    audit_events_uri: ['dynamodb://teleport.audit', 'file:///var/audit', 'stdout://']\n    \
                endpoint: http://127.0.0.1:8000\n";
    let list = storage(list).unwrap();
    assert_eq!(
        names(&list),
        ["dynamodb://teleport.audit", "file:///var/audit", "stdout://"]
    );
    let AuditUri::Dynamodb(uri) = &list.backends[0] else {
        panic!()
    };
    let aws = list.aws_of(uri);
    assert_eq!(
        (aws.region.as_deref(), aws.endpoint_url.as_deref()),
        (Some("eu-west-1"), Some("http://127.0.0.1:8000"))
    );
    assert_eq!(names(&storage("").unwrap()), Vec::<String>::new());
}

#[test]
fn the_older_settings_work() {
    let old = storage("    audit_table_name: teleport.audit\n    audit_retention_period: 30d\n").unwrap();
    assert_eq!(names(&old), ["dynamodb://teleport.audit"]);
    assert_eq!(old.retention, Duration::from_secs(30 * 86_400));
    let both = storage("    audit_table_name: old\n    audit_events_uri: dynamodb://new.audit\n").unwrap();
    assert_eq!(names(&both), ["dynamodb://new.audit"]);
    let period = |text: &str| {
        storage(&format!("    retention_period: {text}\n"))
            .unwrap()
            .retention
    };
    assert_eq!(period("8760h0m0s"), Dynamo::RETENTION);
    assert_eq!(period("3600000000000"), Duration::from_secs(3600));
    assert_eq!(period("0"), Duration::ZERO);
}

#[test]
fn faults_are_told_with_their_place() {
    for (settings, says) in [
        (
            "    audit_events_uri: dynamodb://teleport.state\n",
            "cannot be in one table",
        ),
        (
            "    audit_table_name: teleport.state\n",
            "t.yaml:6:23: teleport.storage.audit_table_name: the audit log",
        ),
        (
            "    audit_events_uri: [athena://x]\n",
            "t.yaml:6:23: teleport.storage.audit_events_uri: no audit log is kept",
        ),
        (
            "    retention_period: 5ms\n",
            "t.yaml:6:23: teleport.storage.retention_period: a period of a second at least",
        ),
        ("    retention_period: soon\n", "a duration is due"),
        ("    access_key: env:A\n", "go together"),
    ] {
        let error = storage(settings).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    // The state may be kept elsewhere, and the rest of the file is not ours.
    let text = "teleport:\n  storage:\n    type: etcd\n    peers: [x]\n    audit_events_uri: dynamodb://teleport.audit\n";
    assert_eq!(
        names(&Config::parse_teleport(text, "t").unwrap()),
        ["dynamodb://teleport.audit"]
    );
}
