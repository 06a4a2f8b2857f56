//! What the deployment tells each function by variables, loaded as that function loads it.
//!
//! The variables are those of `infra/sam/template.yaml` with some parameters: `.ci/template` sees to that, and writes
//! them anew with `--write`.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use tidewatch::clock::Clock;
use tidewatch::config::{
    AuditTable, CONFIG_VARIABLE, Compression, Config, ExpireConfig, MaintainConfig, ObjectsUri, S3Location,
    SinkUri, StateTable, WatchConfig, WatchLogConfig, versions_place,
};
use tidewatch::maintain::Maintain;
use tidewatch::random::Random;
use tidewatch::state::{Layout, Partitioned};
use tidewatch::watch::Prefix;
use tidewatch::watch::log::{Inline, Transport};

/// By function and case.
type Told = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;

const FAILURES: &str = "tidewatch-failuresbucket-1a2b3c4d5e6f";
const EVENTS: &str = "tidewatch-eventsbucket-1a2b3c4d5e6f";
const SPOOL: &str = "tidewatch-spoolbucket-1a2b3c4d5e6f";
const FORWARD: &str = "tidewatch-Forward-1A2B3C4D5E6F";
const WATCH: &str = "tidewatch-Watch-1A2B3C4D5E6F";
const KEY: Option<&str> =
    Some("arn:aws:kms:eu-north-1:123456789012:key/0a1b2c3d-0000-4000-8000-0123456789ab");

fn told() -> Told {
    serde_json::from_str(include_str!("../golden/template.json")).unwrap()
}

/// The parameters are the whole configuration: it must be one without the document that `TIDEWATCH_CONFIG` may name.
fn load(function: &str, case: &str) -> Config {
    let variables = told()[function][case].clone();
    match Config::parse("", "no document", variables) {
        Ok(config) => config,
        Err(faults) => panic!("{function}, {case}: {faults}"),
    }
}

/// Nothing that it says leads anywhere: no request is made.
fn sdk() -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-north-1"))
        .build()
}

fn s3(bucket: &str, prefix: &str, key: Option<&str>) -> S3Location {
    S3Location {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        sse_kms_key: key.map(str::to_owned),
        ..S3Location::default()
    }
}

fn objects(bucket: &str, prefix: &str, key: Option<&str>) -> ObjectsUri {
    ObjectsUri::S3(s3(bucket, prefix, key))
}

fn partitioned(namespace: &str) -> Layout {
    Layout::Partitioned(Partitioned::new(namespace).unwrap())
}

fn state(table: &str, layout: Layout) -> Option<StateTable> {
    let table = table.to_owned();
    Some(StateTable { table, layout })
}

#[test]
fn what_the_template_says_is_accepted() {
    let told = told();
    let functions: Vec<&str> = told.keys().map(String::as_str).collect();
    assert_eq!(functions, ["Forward", "Maintain", "Watch"]);
    for (function, cases) in &told {
        for (case, variables) in cases {
            // Others are not looked at, and would be missed by nobody.
            let other = variables.keys().find(|name| !name.starts_with("TIDEWATCH_"));
            assert_eq!(other, None, "{function}, {case}");
            let config = load(function, case);
            // The binary of Forward and Watch is what it is told to be.
            let forwards = config.quarantine.is_some() && !config.sinks.is_empty();
            assert_eq!(forwards, function != "Watch", "{case}");
            let watches = told["Watch"].contains_key(case) && function != "Forward";
            assert_eq!(config.watch.is_some(), watches, "{function}, {case}");
            assert_eq!(config.maintain.is_some(), function == "Maintain", "{case}");
        }
    }
}

#[test]
fn maintain_takes_what_it_is_told() {
    for case in told()["Maintain"].keys() {
        let (config, draining) = (load("Maintain", case), BTreeMap::new());
        let made = Maintain::new(&config, &draining, &sdk(), Clock::system(), Random::seeded(1));
        assert!(made.is_ok(), "{case}: {made:?}");
        let forward = load("Forward", case);
        assert_eq!(config.sinks, forward.sinks, "{case}");
        assert_eq!(
            (config.quarantine, config.spool),
            (forward.quarantine, forward.spool)
        );
        if let Some(watch) = config.watch {
            assert_eq!(Some(watch), load("Watch", case).watch, "{case}");
        }
    }
}

/// A document, or where a slash ends it a place of versions.
#[test]
fn the_document_is_named_as_functions_understand_it() {
    let told = told();
    for function in ["Forward", "Maintain"] {
        let named = |case: &str| told[function][case].get(CONFIG_VARIABLE).map(String::as_str);
        assert_eq!(named("least"), None);
        assert_eq!(named("sinks"), Some("s3://company-config/tidewatch.yaml"));
        assert_eq!(named("sinks").and_then(versions_place), None);
        let place = objects("company-config", "tidewatch", None);
        assert_eq!(named("everything").and_then(versions_place), Some(Ok(place)));
    }
}

#[test]
fn forward_is_told_where_events_go() {
    let archive = |config: &Config| config.sinks["archive"].uri.clone();
    let config = load("Forward", "least");
    assert_eq!(
        (config.quarantine, config.spool),
        (Some(objects(FAILURES, "quarantine", None)), None)
    );
    let config = load("Forward", "sinks");
    let gzip = SinkUri::S3 {
        location: s3(EVENTS, "audit", None),
        compression: Compression::Gzip,
    };
    assert_eq!(archive(&config), gzip);
    assert_eq!(
        config.sinks["lake"].uri,
        SinkUri::Lake(objects(EVENTS, "lake", None))
    );
    assert_eq!(config.spool, Some(objects(SPOOL, "spool", None)));
    let config = load("Forward", "everything");
    let plain = SinkUri::S3 {
        location: s3("company-audit", "teleport/events", KEY),
        compression: Compression::None,
    };
    assert_eq!((config.sinks.len(), archive(&config)), (2, plain));
    let lake = objects("company-audit", "teleport/lake", KEY);
    assert_eq!(config.sinks["lake"].uri, SinkUri::Lake(lake));
    assert_eq!(
        (config.quarantine, config.spool),
        (
            Some(objects(FAILURES, "quarantine", KEY)),
            Some(objects(SPOOL, "spool", KEY))
        )
    );
}

#[test]
fn watch_is_told_what_it_keeps() {
    let log = |table: &str, name: &str| WatchLogConfig {
        table: table.to_owned(),
        name: name.to_owned(),
    };
    let plain = WatchConfig {
        table: "teleport-state".to_owned(),
        layout: Layout::Teleport,
        log: log("tidewatch-watch", "teleport-state"),
        source: Transport::Stream,
        buckets: 4,
        prefixes: Vec::new(),
        inline: Inline::None,
        region: None,
        endpoint: None,
    };
    assert_eq!(load("Watch", "log").watch, Some(plain.clone()));
    let kinesis = WatchConfig {
        source: Transport::Kinesis,
        inline: Inline::Below(vec![Prefix::component("/nodes")]),
        ..plain.clone()
    };
    assert_eq!(load("Watch", "kinesis").watch, Some(kinesis));
    let everything = WatchConfig {
        table: "company_state".to_owned(),
        layout: partitioned("billing"),
        log: log("company_watch", "company_state.billing"),
        buckets: 8,
        inline: Inline::Below(vec![Prefix::component("/nodes"), Prefix::component("/db")]),
        ..plain
    };
    assert_eq!(load("Watch", "everything").watch, Some(everything));
}

#[test]
fn maintain_is_told_what_it_works_on() {
    let section = |case: &str| load("Maintain", case).maintain.unwrap();
    let leases = state("tidewatch-MaintainLeases-1A2B3C4D5E6F", Layout::Teleport);
    let audit = |table: &str, owned: bool| {
        let table = table.to_owned();
        Some(AuditTable { table, owned })
    };
    let least = MaintainConfig {
        function: Some(FORWARD.to_owned()),
        feed: Some(FORWARD.to_owned()),
        failures: Some(objects(FAILURES, "aws/lambda", None)),
        state: leases,
        expire: ExpireConfig::default(),
        retention: Duration::from_hours(72),
        audit: audit("teleport-audit", false),
    };
    assert_eq!(section("least"), least);
    assert_eq!(section("sinks"), least);
    // A table that is not swept is not written to: the leases are apart from it.
    let log = MaintainConfig {
        feed: Some(WATCH.to_owned()),
        ..least.clone()
    };
    assert_eq!(section("log"), log);
    let expire = |every: Option<u64>, units: u32| ExpireConfig {
        every: every.map(Duration::from_secs),
        units_per_second: units.try_into().ok(),
        ..ExpireConfig::default()
    };
    // A schedule that comes each minute needs no repetition.
    let kinesis = MaintainConfig {
        state: state("teleport-state", Layout::Teleport),
        expire: expire(None, 25),
        ..log.clone()
    };
    assert_eq!(section("kinesis"), kinesis);
    let index = MaintainConfig {
        state: state("teleport-state", Layout::Teleport),
        expire: ExpireConfig {
            index: true,
            ..expire(Some(30), 25)
        },
        ..least.clone()
    };
    assert_eq!(section("index"), index);
    let sweep = MaintainConfig {
        state: state("company_state", partitioned("default")),
        expire: expire(Some(10), 25),
        ..least
    };
    assert_eq!(section("sweep"), sweep);
    let everything = MaintainConfig {
        state: state("company_state", partitioned("billing")),
        expire: expire(Some(5), 50),
        retention: Duration::from_hours(96),
        audit: audit("teleport.audit", true),
        ..log
    };
    assert_eq!(section("everything"), everything);
}
