//! Sinks: their bounds, what becomes of what they do not take, their filters, and where they put it.

use std::time::Duration;

use tidewatch::config::{Config, ModifyUnproven, ObjectsUri, OnFailure, SinkUri, SpoolUse};

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
