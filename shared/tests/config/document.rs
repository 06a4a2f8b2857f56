//! Every fault at once, each with its place; what is absent, required, or another document; what variables override.

use std::time::Duration;

use tidewatch::config::{Config, Format, ModifyUnproven, ObjectsUri, SinkUri};

fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_document_is_read_with_its_defaults() {
    let text = "quarantine: file:///var/quarantine\nsinks:\n  out: { uri: 'stdout://' }\n  local:\n    uri: file:///var/audit?remember=7\n    format: envelope\n    timeout: 1m 30s\n";
    let config = Config::parse(text, "tidewatch.yaml", []).unwrap();
    assert_eq!(
        config.quarantine,
        Some(ObjectsUri::File("/var/quarantine".into()))
    );
    assert_eq!(config.modify_unproven, ModifyUnproven::Skip);
    assert_eq!(
        (config.sinks["out"].format, config.sinks["out"].timeout),
        (Format::Event, Duration::from_secs(10))
    );
    assert_eq!(
        config.sinks["local"].uri,
        SinkUri::File {
            dir: "/var/audit".into(),
            remember: 7
        }
    );
    assert_eq!(
        (config.sinks["local"].format, config.sinks["local"].timeout),
        (Format::Envelope, Duration::from_secs(90))
    );
}

#[test]
fn json_is_a_document_too() {
    let text = "{\n\t\"quarantine\": \"file:///q\",\n\t\"sinks\": {\"out\": {\"uri\": \"stdout://\"}}\n}";
    assert!(Config::parse(text, "tidewatch.json", []).is_ok());
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let text = "quarantine: ftp://x\ncolour: crimson\nsinks:\n  Bad Name: { uri: 'stdout://' }\n  a:\n    uri: file:relative\n    format: xml\n    timeout: soon\n    retries: 3\n  b: {}\n  c: [1]\nmodify_unproven: maybe\naws:\n  access_key: AKIA\n  endpoint_url: nowhere\n";
    let faults = Config::parse(text, "t.yaml", []).unwrap_err();
    let found: Vec<(String, String)> = faults
        .0
        .iter()
        .map(|fault| (fault.place.clone(), fault.path.clone()))
        .collect();
    for (place, path) in [
        ("t.yaml:1:13", "quarantine"),
        ("t.yaml:2:9", "colour"),
        ("t.yaml:4:13", "sinks.Bad Name"),
        ("t.yaml:6:10", "sinks.a.uri"),
        ("t.yaml:7:13", "sinks.a.format"),
        ("t.yaml:8:14", "sinks.a.timeout"),
        ("t.yaml:9:14", "sinks.a.retries"),
        ("t.yaml:10:6", "sinks.b.uri"),
        ("t.yaml:11:6", "sinks.c"),
        ("t.yaml:12:18", "modify_unproven"),
        ("t.yaml:14:3", "aws"),
        ("t.yaml:15:17", "aws.endpoint_url"),
    ] {
        assert!(
            found.contains(&(place.to_owned(), path.to_owned())),
            "{place} {path} not in {found:#?}"
        );
    }
    // A value may be a secret: no fault quotes one.
    for value in ["crimson", "xml", "soon", "maybe", "AKIA", "nowhere"] {
        assert!(
            !faults.0.iter().any(|fault| fault.message.contains(value)),
            "{value}: {faults}"
        );
    }
}

#[test]
fn what_is_required_is_asked_for() {
    let faults = Config::parse("", "none", []).unwrap_err();
    let paths: Vec<&str> = faults.0.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["quarantine", "sinks"]);
    let faults = Config::parse("a: [", "t.yaml", []).unwrap_err();
    assert!(faults.to_string().contains("t.yaml:"), "{faults}");
}

/// One cause, one fault: a setting that is there but wrong is not missing too.
#[test]
fn a_wrong_setting_is_not_asked_for_again() {
    let text = "quarantine: ftp://x\nsinks: [1]\naws: { secret_key: 'env:KEY' }\n";
    let faults = Config::parse(text, "t", []).unwrap_err();
    let paths: Vec<&str> = faults.0.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["quarantine", "sinks", "aws"], "{faults}");
    let text = "quarantine: file:///q\nsinks: { a: { uri: 'ftp://x' } }\n";
    let faults = Config::parse(text, "t", []).unwrap_err();
    assert_eq!(faults.0.len(), 1, "{faults}");
}

#[test]
fn null_is_absent_and_a_second_document_is_refused() {
    let text = "quarantine: file:///q\nsinks: { out: { uri: 'stdout://' } }\n";
    let aws = "aws: { region: null, profile: 'null', access_key: ~, secret_key: }\n";
    let config = Config::parse(&format!("{text}{aws}"), "t", []).unwrap();
    assert_eq!(config.aws.region, None);
    assert_eq!(config.aws.profile.as_deref(), Some("null"));
    assert_eq!(config.aws.access_key, None);
    let faults = Config::parse(&format!("{text}---\n{text}"), "t", []).unwrap_err();
    assert!(faults.to_string().contains("several documents"), "{faults}");
}

#[test]
fn texts_are_kept_as_they_are_written() {
    let text = "quarantine: file:///q\nsinks: { out: { uri: 'stdout://' } }\naws: { profile: 012345678901, region: 1.10 }\n";
    let config = Config::parse(text, "t", []).unwrap();
    assert_eq!(
        (config.aws.profile.as_deref(), config.aws.region.as_deref()),
        (Some("012345678901"), Some("1.10"))
    );
}

#[test]
fn faults_of_the_tree_do_not_hide_the_others() {
    let text = "quarantine: nowhere\nsinks:\n  [1]: { uri: 'stdout://' }\n  a: &x { uri: 'stdout://', typo: 1 }\n  b: *x\n";
    let faults = Config::parse(text, "t", []).unwrap_err();
    let places: Vec<&str> = faults.0.iter().map(|fault| fault.place.as_str()).collect();
    for place in ["t:1:13", "t:3:3", "t:4:35"] {
        assert!(places.contains(&place), "{place} not in {faults}");
    }
}

#[test]
fn variables_override_single_settings_and_their_faults_name_them() {
    let text = "quarantine: file:///a\nsinks: { out: { uri: 'stdout://' } }";
    let set = variables(&[
        ("TIDEWATCH_QUARANTINE", "file:///b"),
        ("TIDEWATCH_SINKS__LOCAL__URI", "file:///c"),
        ("TIDEWATCH_CONFIG", "ignored"),
        ("PATH", "ignored"),
    ]);
    let config = Config::parse(text, "t", set).unwrap();
    assert_eq!(config.quarantine, Some(ObjectsUri::File("/b".into())));
    assert_eq!(config.sinks.len(), 2);
    let config = Config::parse(
        "",
        "none",
        variables(&[
            ("TIDEWATCH_QUARANTINE", "file:///b"),
            ("TIDEWATCH_SINKS__X__URI", "stdout://"),
        ]),
    );
    assert!(config.is_ok());
    // What the variable needs takes the place of what stands there.
    let sinks_is_a_text = "quarantine: file:///a\nsinks: nonsense";
    let set = variables(&[("TIDEWATCH_SINKS__X__URI", "stdout://")]);
    assert!(Config::parse(sinks_is_a_text, "t", set).is_ok());
    let faults = Config::parse(
        text,
        "t",
        variables(&[("TIDEWATCH_SINKS__OUT__FORMAT", "xml"), ("TIDEWATCH_TYPO", "1")]),
    )
    .unwrap_err();
    assert_eq!(faults.0.len(), 2, "{faults}");
    assert!(
        faults
            .0
            .iter()
            .any(|fault| fault.place == "environment variable TIDEWATCH_SINKS__OUT__FORMAT")
    );
    assert!(faults.0.iter().any(|fault| fault.path == "typo"));
}
