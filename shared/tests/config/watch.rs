//! The section `watch`: a log of a state table, whose secrets stay out of it.

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
    let faults = Config::parse(&format!("quarantine: file:///q\nwatch: {LEAST} }}"), "t", []).unwrap_err();
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
