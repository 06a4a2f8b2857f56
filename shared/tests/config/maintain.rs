//! The section `maintain`: what the tasks work on, beside what `forward` is told or alone.

use std::time::Duration;

use tidewatch::config::{Config, ExpireConfig, Faults, MaintainConfig, StateTable};
use tidewatch::state::{Layout, Partitioned};
use tidewatch::watch::Prefix;

const WATCH: &str = "watch: { table: teleport-state, layout: teleport, log: { table: teleport-watch } }\n";

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
         maintain:\n  function: tidewatch-forward\n  failures: s3://audit/aws/lambda/\n  expire: {{ every: 5s, prefixes: [/nodes, /locks], units_per_second: 50, index: true }}\n  \
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
        index: true,
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
    let maintain = section("maintain: { state: { table: leases, layout: partitioned, namespace: ours } }");
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
