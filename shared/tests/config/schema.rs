//! The schema and the reader know the same settings.

use tidewatch::config::Config;

/// The schema and the reader know the same settings: each property of the schema is read, and nothing else is.
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
            "audit every expire failures feed function index layout namespace prefixes retention state table units_per_second"
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
