//! The configuration document: every fault at once, each with its place; secrets are shown nowhere.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use tidewatch::config::{Config, Format, ModifyUnproven, ObjectsUri, OnFailure, Secret, SinkUri, SpoolUse};

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
fn settings_keep_their_bounds() {
    let longest = "a".repeat(64);
    let too_long = "a".repeat(65);
    for (name, timeout, accepted) in [
        ("a", "100ms", true),
        ("a", "99ms", false),
        ("a", "450s", true),
        ("a", "451s", false),
        (longest.as_str(), "10s", true),
        (too_long.as_str(), "10s", false),
    ] {
        let text = format!(
            "quarantine: file:///q\nmodify_unproven: forward\nsinks: {{ {name}: {{ uri: 'stdout://', timeout: {timeout} }} }}"
        );
        let config = Config::parse(&text, "t", []);
        assert_eq!(config.is_ok(), accepted, "{name} {timeout}");
        if let Ok(config) = config {
            assert_eq!(config.modify_unproven, ModifyUnproven::Forward);
        }
    }
}

/// A document with a sink `a` of these settings, and further ones of the document.
fn sink(settings: &str, document: &str) -> Result<Config, String> {
    let text =
        format!("quarantine: file:///q\nsinks: {{ a: {{ uri: 'stdout://', {settings} }} }}\n{document}\n");
    Config::parse(&text, "t", []).map_err(|faults| faults.to_string())
}

#[test]
fn a_sink_spools_where_there_is_a_spool_unless_it_says_otherwise() {
    let spool = "spool: s3://audit/spool\nspill: file:///spill";
    let read = |settings: &str, document: &str| sink(settings, document).unwrap().sinks["a"].clone();
    let plain = read("", "");
    assert_eq!(
        (plain.on_failure, plain.spool, plain.budget),
        (OnFailure::Retry, SpoolUse::Failure, Duration::from_secs(10))
    );
    assert!(plain.filter.is_empty() && plain.max_event_bytes.is_none());
    assert_eq!(read("", spool).on_failure, OnFailure::Spool);
    assert_eq!(read("on_failure: retry", spool).on_failure, OnFailure::Retry);
    let full = read(
        "on_failure: spool, spool: always, budget: 2s, max_event_bytes: 4096",
        spool,
    );
    assert_eq!(
        (full.spool, full.budget),
        (SpoolUse::Always, Duration::from_secs(2))
    );
    assert_eq!(full.max_event_bytes, Some(4096));
    for (settings, document, told) in [
        ("on_failure: spool", "", "sinks.a.on_failure: needs a spool"),
        ("spool: always", "", "sinks.a.spool: needs a spool"),
        (
            "max_event_bytes: 5000",
            "",
            "sinks.a.max_event_bytes: needs a spill",
        ),
        ("max_event_bytes: 4095", spool, "from 4096"),
        (
            "on_failure: retry, spool: always",
            spool,
            "sinks.a.spool: always and on_failure",
        ),
        ("on_failure: perhaps", spool, "spool or retry is due"),
        ("spool: never", spool, "failure or always is due"),
        ("budget: 1ms", spool, "sinks.a.budget: a duration"),
        // One cause, one fault.
        (
            "spool: always",
            "spool: ftp://x",
            "t:3:8: spool: ftp:// holds no objects",
        ),
    ] {
        let fault = sink(settings, document).unwrap_err();
        assert!(
            fault.contains(told) && fault.contains(" 1 fault"),
            "{settings}: {fault}"
        );
    }
}

#[test]
fn filters_are_lists_of_rules_and_their_faults_have_places() {
    let read =
        |filter: &str| sink(&format!("filter: {filter}"), "").map(|config| config.sinks["a"].filter.clone());
    let filter = read("{ allow: [{ types: [session.*, user.login], users: alice }, { codes: [T1] }], deny: [{ labels: { server_labels.env: [dev, test*], dn: 'CN=a,OU=b' } }] }").unwrap();
    assert_eq!((filter.allow.len(), filter.deny.len()), (2, 1));
    let [types, login] = &filter.allow[0].types[..] else {
        panic!("{filter:?}")
    };
    assert!(types.matches("session.start") && !types.matches("sessio") && login.matches("user.login"));
    assert!(!login.matches("user.login2") && filter.allow[0].users[0].matches("alice"));
    assert_eq!(filter.deny[0].labels["server_labels.env"].len(), 2);
    assert!(filter.deny[0].labels["dn"][0].matches("CN=a,OU=b"));
    for (filter, told) in [
        ("{ allow: [] }", "sinks.a.filter.allow: at least one rule"),
        ("{ allow: x }", "sinks.a.filter.allow: a list is due"),
        ("{ deny: [{}] }", "sinks.a.filter.deny[0]: a rule has"),
        (
            "{ deny: [{ types: [a] }, { types: [] }] }",
            "sinks.a.filter.deny[1].types: at least one text",
        ),
        (
            "{ deny: [{ types: ['a*b'] }] }",
            "sinks.a.filter.deny[0].types: a text is due",
        ),
        (
            "{ deny: [{ types: [''] }] }",
            "sinks.a.filter.deny[0].types: a text is due",
        ),
        (
            "{ deny: [{ colour: red, codes: a }] }",
            "sinks.a.filter.deny[0].colour: unknown",
        ),
        (
            "{ deny: [{ labels: {} }] }",
            "sinks.a.filter.deny[0].labels: at least one name",
        ),
        (
            "{ deny: [{ labels: { a: { b: c } } }] }",
            "sinks.a.filter.deny[0].labels.a: a list of texts",
        ),
        ("{ permit: [{ codes: a }] }", "sinks.a.filter.permit: unknown"),
    ] {
        let fault = read(filter).unwrap_err();
        assert!(
            fault.contains(told) && fault.contains(" 1 fault"),
            "{filter}: {fault}"
        );
        assert!(fault.contains("t:2:"), "{fault}");
    }
}

#[test]
fn uris_that_would_be_taken_for_something_else_are_refused() {
    for bad in [
        "stdout://host",
        "stdout:///path",
        "file:///",
        "file:///dir#part",
        "file:///dir?remember=0",
        "file:///dir?remember=1&remember=2",
        "file:///dir?region=eu-north-1",
    ] {
        assert!(bad.parse::<SinkUri>().is_err(), "{bad}");
    }
    for bad in ["stdout://", "file:///", "file:///dir?remember=7"] {
        assert!(bad.parse::<ObjectsUri>().is_err(), "{bad}");
    }
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

#[test]
fn a_literal_key_is_accepted_and_shown_nowhere() {
    let text = "quarantine: file:///a\nsinks: { out: { uri: 'stdout://' } }\naws: { access_key: AKIAEXAMPLE, secret_key: hunter2hunter2 }";
    let config = Config::parse(text, "t", []).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(
        !shown.contains("AKIAEXAMPLE") && !shown.contains("hunter2"),
        "{shown}"
    );
    assert!(config.aws.access_key.as_ref().unwrap().is_literal());
    let named: Secret = "env:NAME".parse().unwrap();
    assert_eq!(format!("{named:?}"), "env:NAME");
}

#[tokio::test]
async fn secrets_are_read_from_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, " the key \r\n").unwrap();
    for scheme in ["file:", "file://"] {
        let secret: Secret = format!("{scheme}{}", path.display()).parse().unwrap();
        assert_eq!(secret.read().await.unwrap(), " the key ");
    }
    let secret: Secret = "env:PATH".parse().unwrap();
    assert_eq!(secret.read().await.unwrap(), std::env::var("PATH").unwrap());
    let secret: Secret = "env:TIDEWATCH_NO_SUCH_VARIABLE".parse().unwrap();
    assert!(
        secret
            .read()
            .await
            .unwrap_err()
            .to_string()
            .contains("env:TIDEWATCH_NO_SUCH_VARIABLE")
    );
}

#[cfg(feature = "s3")]
#[test]
fn s3_uris_take_their_options_and_no_others() {
    let uri: SinkUri =
        "s3://my-bucket/a/b/?compression=none&sse_kms_key=alias/k&region=eu-north-1&endpoint=http://localhost:9000"
            .parse()
        .unwrap();
    let SinkUri::S3 { location, .. } = uri else {
        panic!("{uri:?}")
    };
    assert_eq!(
        (location.bucket.as_str(), location.prefix.as_str()),
        ("my-bucket", "a/b")
    );
    assert_eq!(
        (location.sse_kms_key.as_deref(), location.region.as_deref()),
        (Some("alias/k"), Some("eu-north-1"))
    );
    assert_eq!(location.endpoint.as_deref(), Some("http://localhost:9000"));
    let uri: SinkUri = "s3://my-bucket/my logs/\u{e4}".parse().unwrap();
    let SinkUri::S3 { location, .. } = uri else {
        panic!("{uri:?}")
    };
    assert_eq!(location.prefix, "my logs/\u{e4}");
    for bad in [
        "s3://",
        "s3://UPPER/x",
        "s3://b",
        "s3://bucket/x?acl=private",
        "s3://bucket?compression=rar",
        "s3://user:pw@bucket/x",
        "s3://user@bucket/x",
        "s3://bucket:9000/x",
        "s3://bucket?region=a&region=b",
        "s3://bucket?region=",
        "s3://bucket?endpoint=localhost:9000",
        "s3://bucket?endpoint=http://key:secret@localhost:9000",
    ] {
        assert!(bad.parse::<SinkUri>().is_err(), "{bad}");
    }
}

/// The schema and the reader know the same settings: each property of the schema is read, and nothing else is.
#[cfg(feature = "schema")]
#[test]
fn the_schema_and_the_reader_agree() {
    let schema = Config::schema();
    let names = |schema: &serde_json::Value| -> Vec<String> {
        schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    let read = |text: String| {
        let faults = Config::parse(&text, "t", [])
            .err()
            .map(|faults| faults.0)
            .unwrap_or_default();
        !faults.iter().any(|fault| fault.message == "unknown setting")
    };
    for name in names(&schema) {
        assert!(read(format!("{name}: x")), "{name}");
    }
    for name in names(&schema["$defs"]["SinkConfig"]) {
        assert!(read(format!("sinks: {{ a: {{ {name}: x }} }}")), "{name}");
    }
    for name in names(&schema["$defs"]["AwsConfig"]) {
        assert!(read(format!("aws: {{ {name}: x }}")), "{name}");
    }
    for name in names(&schema["$defs"]["FilterConfig"]) {
        assert!(
            read(format!("sinks: {{ a: {{ filter: {{ {name}: x }} }} }}")),
            "{name}"
        );
    }
    for name in names(&schema["$defs"]["RuleConfig"]) {
        let rule = format!("sinks: {{ a: {{ filter: {{ deny: [{{ {name}: x }}] }} }} }}");
        assert!(read(rule), "{name}");
    }
    let mut filter = names(&schema["$defs"]["FilterConfig"]);
    filter.extend(names(&schema["$defs"]["RuleConfig"]));
    assert_eq!(filter.join(" "), "allow deny types codes users labels");
    let mut known = names(&schema);
    known.extend(names(&schema["$defs"]["SinkConfig"]));
    known.extend(names(&schema["$defs"]["AwsConfig"]));
    known.sort();
    let mut all = vec![
        "access_key",
        "aws",
        "budget",
        "endpoint_url",
        "filter",
        "format",
        "max_event_bytes",
        "modify_unproven",
        "on_failure",
        "profile",
        "quarantine",
        "region",
        "secret_key",
        "sinks",
        "spill",
        "spool",
        "spool",
        "timeout",
        "uri",
    ];
    if cfg!(feature = "dynamodb") {
        all.extend(["maintain", "watch"]);
        all.sort_unstable();
    }
    assert_eq!(known, all);
    let audit = serde_json::json!(["quarantine", "sinks"]);
    if cfg!(feature = "dynamodb") {
        assert_eq!(
            schema["anyOf"],
            serde_json::json!([{"required": audit}, {"required": ["watch"]}, {"required": ["maintain"]}])
        );
        for name in names(&schema["$defs"]["WatchConfig"]) {
            assert!(read(format!("watch: {{ {name}: x }}")), "{name}");
        }
        for name in names(&schema["$defs"]["WatchLogConfig"]) {
            assert!(read(format!("watch: {{ log: {{ {name}: x }} }}")), "{name}");
        }
        for (section, defined) in [
            ("", "MaintainConfig"),
            ("state", "MaintainStateConfig"),
            ("expire", "ExpireConfig"),
            ("audit", "MaintainAuditConfig"),
        ] {
            for name in names(&schema["$defs"][defined]) {
                let text = match section {
                    "" => format!("maintain: {{ {name}: x }}"),
                    section => format!("maintain: {{ {section}: {{ {name}: x }} }}"),
                };
                assert!(read(text), "{section} {name}");
            }
        }
        let mut maintain = names(&schema["$defs"]["MaintainConfig"]);
        maintain.extend(names(&schema["$defs"]["MaintainStateConfig"]));
        maintain.extend(names(&schema["$defs"]["ExpireConfig"]));
        maintain.sort();
        assert_eq!(
            maintain.join(" "),
            "audit every expire failures feed function layout namespace prefixes retention state table units_per_second"
        );
        let mut watch = names(&schema["$defs"]["WatchConfig"]);
        watch.extend(names(&schema["$defs"]["WatchLogConfig"]));
        watch.sort();
        let all = "buckets endpoint force_secrets inline layout log name namespace prefixes region source table table";
        assert_eq!(watch.join(" "), all);
    } else {
        assert_eq!(schema["required"], audit);
    }
}

#[cfg(not(feature = "dynamodb"))]
#[test]
fn a_watch_log_needs_a_build_that_can_keep_one() {
    let faults = Config::parse("watch: { table: state }", "t", []).unwrap_err();
    assert!(faults.to_string().contains("feature `watch`"), "{faults}");
}

#[cfg(feature = "dynamodb")]
mod watch {
    use tidewatch::config::{Config, WatchConfig};
    use tidewatch::state::{Layout, Partitioned};
    use tidewatch::watch::Prefix;
    use tidewatch::watch::log::{Inline, Transport};

    fn parse(watch: &str) -> Result<WatchConfig, String> {
        match Config::parse(&format!("watch:\n  {watch}"), "t", []) {
            Ok(config) => Ok(config.watch.unwrap()),
            Err(faults) => Err(faults.to_string()),
        }
    }

    const LEAST: &str = "{ table: teleport-state, layout: teleport, log: { table: teleport-watch }";

    fn with(rest: &str) -> Result<WatchConfig, String> {
        parse(&format!("{LEAST}, {rest} }}"))
    }

    #[test]
    fn a_log_alone_is_a_configuration() {
        let watch = parse(&format!("{LEAST} }}")).unwrap();
        assert_eq!(
            (watch.table.as_str(), watch.layout),
            ("teleport-state", Layout::Teleport)
        );
        let log = watch.log;
        assert_eq!(
            (log.table.as_str(), log.name.as_str(), watch.buckets, watch.source),
            ("teleport-watch", "teleport-state", 4, Transport::Stream)
        );
        assert_eq!((watch.inline, watch.prefixes.len()), (Inline::None, 0));
        let audit = "quarantine: file:///q\nsinks: { out: { uri: 'stdout://' } }\n";
        let both = Config::parse(&format!("{audit}watch: {LEAST} }}"), "t", []).unwrap();
        assert!(both.watch.is_some() && both.quarantine.is_some());
        assert!(Config::parse(audit, "t", []).unwrap().watch.is_none());
        // Half of the other part is a mistake, with a log as without.
        let faults =
            Config::parse(&format!("quarantine: file:///q\nwatch: {LEAST} }}"), "t", []).unwrap_err();
        assert!(faults.0.len() == 1 && faults.0[0].path == "sinks", "{faults}");
    }

    #[test]
    fn a_partitioned_table_is_owned_and_its_values_are_in_the_log() {
        let own = "{ table: own, layout: partitioned, namespace: billing, log: { table: logs, name: billing }, buckets: 7, source: kinesis,
            prefixes: [/a, /b/c], region: eu-north-1, endpoint: 'http://localhost:8000' }";
        let watch = parse(own).unwrap();
        assert_eq!(
            watch.layout,
            Layout::Partitioned(Partitioned::new("billing").unwrap())
        );
        assert_eq!(
            (watch.inline, watch.buckets, watch.source),
            (Inline::All, 7, Transport::Kinesis)
        );
        assert_eq!(
            watch.prefixes,
            [Prefix::component("/a"), Prefix::component("/b/c")]
        );
        assert_eq!(
            (watch.region.as_deref(), watch.endpoint.as_deref()),
            (Some("eu-north-1"), Some("http://localhost:8000"))
        );
    }

    #[test]
    fn secrets_stay_out_of_the_log_unless_forced() {
        assert_eq!(
            with("inline: [/nodes, /db]").unwrap().inline,
            Inline::Below(vec![Prefix::component("/nodes"), Prefix::component("/db")])
        );
        for secret in [
            "all",
            "[/nodes, /authorities]",
            "/web/users",
            "[/]",
            "/cluster_configuration/static_tokens",
        ] {
            let fault = with(&format!("inline: {secret}")).unwrap_err();
            assert!(
                fault.contains("watch.inline") && fault.contains("force_secrets"),
                "{secret}: {fault}"
            );
            assert!(
                with(&format!("inline: {secret}, force_secrets: true")).is_ok(),
                "{secret}"
            );
        }
        // Another component, another thing.
        assert!(with("inline: [/webhooks, /tokens_of_ours]").is_ok());
        let set = [("TIDEWATCH_WATCH__INLINE".to_owned(), "/nodes,/locks".to_owned())];
        let config = Config::parse(&format!("watch: {LEAST} }}"), "t", set).unwrap();
        assert!(matches!(config.watch.unwrap().inline, Inline::Below(prefixes) if prefixes.len() == 2));
    }

    #[test]
    fn every_fault_of_the_section_is_told_at_once() {
        let text =
            "{ table: x, layout: etcd, namespace: 'a#b', log: { name: 'a#b', colour: red }, buckets: 65,
            prefixes: [''], inline: { a: b }, region: '', endpoint: nowhere, force_secrets: perhaps, source: tape }";
        let faults = parse(text).unwrap_err();
        for path in [
            "table",
            "layout",
            "namespace",
            "log.name",
            "log.colour",
            "log.table",
            "buckets",
            "prefixes",
            "inline",
            "region",
            "endpoint",
            "force_secrets",
            "source",
        ] {
            assert!(faults.contains(&format!("watch.{path}: ")), "{path}: {faults}");
        }
        assert!(faults.contains("13 fault(s)"), "{faults}");
        let fault = parse("{ table: one, layout: teleport, namespace: a, log: { table: one } }").unwrap_err();
        assert!(
            fault.contains("watch.namespace") && fault.contains("a table of its own"),
            "{fault}"
        );
        let fault = parse("{ table: one, log: { table: two } }").unwrap_err();
        assert!(fault.contains("watch.layout: is required"), "{fault}");
    }
}

/// The drain deletes and the lake files whatever stands in their places.
#[test]
fn places_do_not_lie_in_each_other() {
    for (spool, sink, refused) in [
        ("file:///var/tw", "file:///var/tw/audit", true),
        ("file:///var/tw/a", "file:///var/tw", true),
        ("file:///var/tw", "file:///var/tw", true),
        ("file:///var/tw", "file:///var/twice", false),
        ("file:///var/q", "file:///var/a", false),
        ("file:///q/spool", "file:///var/a", true),
    ] {
        let text = format!("quarantine: file:///q\nspool: {spool}\nsinks: {{ a: {{ uri: '{sink}' }} }}\n");
        let read = Config::parse(&text, "t", []);
        assert_eq!(read.is_err(), refused, "{spool} {sink}: {read:?}");
    }
    if cfg!(feature = "s3") {
        for (spool, refused) in [("", true), ("/audit/sub", true), ("/audits", false)] {
            let text = format!(
                "quarantine: file:///q\nspool: s3://bucket{spool}\nsinks: {{ a: {{ uri: 's3://bucket/audit' }} }}\n"
            );
            assert_eq!(Config::parse(&text, "t", []).is_err(), refused, "{spool}");
        }
    }
    // Sinks may share one.
    let text = "quarantine: file:///q\nsinks: { a: { uri: 'file:///a' }, b: { uri: 'file:///a/b' } }\n";
    assert!(Config::parse(text, "t", []).is_ok());
    let lake = "quarantine: file:///q\nspill: file:///s\n\
                sinks: { a: { uri: 'file:///a?format=parquet', max_event_bytes: 5000 } }\n";
    let faults = Config::parse(lake, "t", []).unwrap_err();
    assert_eq!(faults.0[0].path, "sinks.a.max_event_bytes", "{faults}");
}

#[cfg(feature = "dynamodb")]
mod maintain {
    use std::time::Duration;

    use tidewatch::config::{Config, ExpireConfig, Faults, MaintainConfig, StateTable};
    use tidewatch::state::{Layout, Partitioned};
    use tidewatch::watch::Prefix;

    const WATCH: &str =
        "watch: { table: teleport-state, layout: teleport, log: { table: teleport-watch } }\n";

    fn parse(text: &str) -> Result<Config, Faults> {
        Config::parse(text, "t.yaml", [])
    }

    fn section(text: &str) -> MaintainConfig {
        parse(text).unwrap().maintain.unwrap()
    }

    #[test]
    fn one_document_serves_both_functions() {
        let config = parse(&format!(
            "quarantine: s3://audit/quarantine\nspool: s3://audit/spool\nsinks: {{ a: {{ uri: 's3://audit/events' }} }}\n{WATCH}\
             maintain:\n  function: tidewatch-forward\n  failures: s3://audit/aws/lambda/\n  expire: {{ every: 5s, prefixes: [/nodes, /locks], units_per_second: 50 }}\n  \
             retention: 96h\n  audit: {{ table: teleport.audit, owned: true }}\n"
        ))
        .unwrap();
        let maintain = config.maintain.unwrap();
        assert_eq!(maintain.function.as_deref(), Some("tidewatch-forward"));
        assert_eq!(maintain.feed, maintain.function);
        assert!(maintain.failures.is_some() && config.quarantine.is_some() && config.watch.is_some());
        // The state table is that of the watch log.
        let state = StateTable {
            table: "teleport-state".to_owned(),
            layout: Layout::Teleport,
        };
        assert_eq!(maintain.state, Some(state));
        let expire = ExpireConfig {
            every: Some(Duration::from_secs(5)),
            prefixes: vec![Prefix::component("/nodes"), Prefix::component("/locks")],
            units_per_second: 50.try_into().ok(),
        };
        assert_eq!(
            (maintain.expire, maintain.retention),
            (expire, Duration::from_hours(96))
        );
        assert!(
            maintain
                .audit
                .is_some_and(|audit| audit.owned && audit.table == "teleport.audit")
        );
    }

    #[test]
    fn it_may_stand_alone_and_with_sinks_alone() {
        let maintain =
            section("maintain: { state: { table: leases, layout: partitioned, namespace: ours } }");
        assert_eq!(
            maintain.state.unwrap().layout,
            Layout::Partitioned(Partitioned::new("ours").unwrap())
        );
        assert_eq!(maintain.retention, Duration::from_hours(72));
        assert_eq!(
            (maintain.expire, maintain.audit, maintain.function),
            (ExpireConfig::default(), None, None)
        );
        let sinks = "sinks: { lake: { uri: 's3://lake/x?format=parquet' } }\n";
        let state = "maintain: { state: { table: leases, layout: teleport } }\n";
        assert_eq!(parse(&format!("{sinks}{state}")).unwrap().sinks.len(), 1);
        // Where something forwards, all of that must be right.
        assert!(parse(&format!("{sinks}{WATCH}")).is_err());
        assert!(parse(&format!("quarantine: file:///q\n{state}")).is_err());
        let variables = [
            ("TIDEWATCH_MAINTAIN__STATE__TABLE", "leases"),
            ("TIDEWATCH_MAINTAIN__STATE__LAYOUT", "teleport"),
            ("TIDEWATCH_MAINTAIN__EXPIRE__PREFIXES", "/nodes,/locks"),
            ("TIDEWATCH_MAINTAIN__FUNCTION", "forward"),
            ("TIDEWATCH_MAINTAIN__FEED", "watch"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::parse("", "no document", variables).unwrap();
        let maintain = config.maintain.unwrap();
        assert_eq!(maintain.expire.prefixes.len(), 2);
        let functions = [maintain.function, maintain.feed];
        assert_eq!(functions, ["forward", "watch"].map(|name| Some(name.to_owned())));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faults = parse(
            "spool: file:///audit/spool\nmaintain:\n  function: 'no name'\n  failures: file:///audit\n  expire: { every: 1h, units_per_second: 0, prefixes: [''] }\n  retention: 24h\n  audit: { owned: perhaps }\n  lease: x\n",
        )
        .unwrap_err();
        let found: Vec<&str> = faults.0.iter().map(|fault| fault.path.as_str()).collect();
        for path in [
            "maintain.function",
            "maintain.expire.every",
            "maintain.expire.units_per_second",
            "maintain.expire.prefixes",
            "maintain.retention",
            "maintain.audit.table",
            "maintain.audit.owned",
            "maintain.lease",
        ] {
            assert!(found.contains(&path), "{path} not in {found:?}");
        }
        assert!(!faults.to_string().contains("perhaps"), "{faults}");
        // A place that is deleted from is no place of another.
        let faults = parse(
            "spool: file:///audit/spool\nmaintain: { failures: file:///audit, state: { table: leases, layout: teleport } }",
        )
        .unwrap_err();
        assert!(faults.to_string().contains("maintain.failures"), "{faults}");
        // A watch log that is faulty is one fault.
        let faults = parse("watch: { table: x }\nmaintain: {}").unwrap_err();
        assert!(!faults.to_string().contains("maintain"), "{faults}");
        // What is written is judged, though what is absent is not.
        let faults = parse("maintain: { state: { layout: teleport } }").unwrap_err();
        assert!(faults.to_string().contains("maintain.state.table"), "{faults}");
    }

    /// The deployment tells `forward` by variables what it forwards, and `maintain` alone what it works on.
    #[test]
    fn what_only_maintain_is_told_does_not_stop_forward() {
        let variables = [
            ("TIDEWATCH_QUARANTINE", "s3://audit/quarantine"),
            ("TIDEWATCH_SINKS__ARCHIVE__URI", "s3://audit/events"),
            ("TIDEWATCH_SPOOL", "s3://audit-spool/spool"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = "maintain: { expire: { every: 5s, prefixes: /nodes }, function: forward }";
        let config = Config::parse(text, "t.yaml", variables.clone()).unwrap();
        assert_eq!((config.sinks.len(), config.maintain.unwrap().state), (1, None));
        let more = [
            ("TIDEWATCH_MAINTAIN__STATE__TABLE", "leases"),
            ("TIDEWATCH_MAINTAIN__STATE__LAYOUT", "teleport"),
        ];
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::parse(text, "t.yaml", variables.into_iter().chain(more)).unwrap();
        let maintain = config.maintain.unwrap();
        assert_eq!(maintain.state.unwrap().table, "leases");
        assert_eq!(maintain.expire.prefixes, [Prefix::component("/nodes")]);
    }
}

#[cfg(not(feature = "dynamodb"))]
#[test]
fn tasks_of_another_function_are_passed_over() {
    let text = "quarantine: file:///q\nsinks: { a: { uri: 'stdout://' } }\nmaintain: { anything: [1] }";
    assert!(Config::parse(text, "t", []).is_ok());
}
