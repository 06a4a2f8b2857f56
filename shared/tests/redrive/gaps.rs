//! Events that a sink has not: each kind of sink with one lost, and everything that counts as accounted for.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tidewatch::audit::log::Dynamo;
use tidewatch::clock::Clock;
use tidewatch::config::{Compression, Config, SinkConfig};
use tidewatch::forward::sinks::{lake, s3};
use tidewatch::forward::{Forwarder, InProcess, Sink};
use tidewatch::objects::Objects;
use tidewatch::random::Random;
use tidewatch::redrive::Backfill;
use tidewatch::redrive::gaps::{Counts, Look, Report};

use crate::backfill::{DAY, put, range, table};
use crate::engine::{Engine, Fate};
use crate::store::Store;
use crate::{Forward, hand};

const METADATA: &str = include_str!("../golden/redrive/on-failure-metadata.json");
/// Rows, an hour and a half apart.
const ROWS: u64 = 20;
const LOST: u64 = 17;
/// The one that the filter keeps.
const QUIET: u64 = 5;
/// The one without a uid.
const NAMELESS: u64 = 6;

fn at(n: u64) -> u64 {
    DAY + n * 5_400
}

/// A row, and the id of its event as far as it is ours to choose.
fn row(n: u64) -> Value {
    let time = time::OffsetDateTime::from_unix_timestamp(at(n).cast_signed()).unwrap();
    let kind = if n == QUIET { "quiet" } else { "x" };
    let text = time
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    let mut fields = json!({"event": {"S": kind}, "time": {"S": text}, "n": {"N": n.to_string()}});
    if n != NAMELESS {
        fields["uid"] = json!({"S": format!("00000000-0000-4000-8000-{n:012}")});
    }
    json!({
        "SessionID": {"S": format!("s{n}")}, "EventIndex": {"N": "7"}, "EventType": {"S": kind},
        "CreatedAt": {"N": at(n).to_string()}, "CreatedAtDate": {"S": time.date().to_string()}, "FieldsMap": {"M": fields},
    })
}

async fn loaded() -> (Engine, Dynamo) {
    let engine = Engine::new();
    let log = table(&engine).await;
    (0..ROWS).for_each(|n| put(&engine, &row(n)));
    (engine, log)
}

/// The sink `a` of a document, and a forwarder that gives it what a backfill brings.
struct Setup {
    sink: SinkConfig,
    forward: InProcess,
    clock: Clock,
    dir: tempfile::TempDir,
}

/// `PATH` in a setting is a directory; `real` is the sink where the URI's own cannot be opened.
async fn setup(settings: &str, real: Option<Arc<dyn Sink>>) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let filter = "filter: { deny: [{ types: [quiet] }] }";
    let document = |settings: &str| {
        let text = format!(
            "quarantine: file://PATH/q\nspill: file://PATH/spill\nsinks: {{ a: {{ {settings}, {filter} }} }}"
        );
        Config::parse(&text.replace("PATH", path), "test", []).unwrap()
    };
    let sink = document(settings).sinks.remove("a").unwrap();
    let opened = match &real {
        Some(_) => {
            let format = format!("{:?}", sink.format).to_lowercase();
            document(&format!("uri: 'file://PATH/unused', format: {format}"))
        }
        None => document(settings),
    };
    let clock = Clock::system();
    let forwarder = Forwarder::start(&opened, clock.clone(), Random::seeded(1))
        .await
        .unwrap();
    let forwarder = forwarder.map_sinks(move |_, sink| real.clone().unwrap_or(sink));
    let forward = InProcess::new(Arc::new(forwarder), clock.clone(), Duration::from_secs(100));
    Setup {
        sink,
        forward,
        clock,
        dir,
    }
}

impl Setup {
    /// Delivers the rows from one to another, which is not included.
    async fn deliver(&self, log: &Dynamo, from: u64, to: u64) {
        let range = range(at(from), at(to));
        let mut backfill = Backfill::new(log, range, None, hand(&self.forward, &self.clock)).unwrap();
        while backfill.next().await.unwrap().is_some() {}
    }

    fn look<'a>(&'a self, objects: Option<&'a Objects>) -> Look<'a> {
        Look {
            name: "a",
            sink: &self.sink,
            objects,
            spool: None,
            quarantine: None,
            failures: None,
        }
    }
}

async fn gaps(look: &Look<'_>, log: &Dynamo) -> Report {
    let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let times = (time(at(0)), time(at(ROWS)));
    look.gaps(log, times, &|_| {}).await.unwrap()
}

fn only_lost(report: &Report) {
    let due = Counts {
        events: 20,
        delivered: 18,
        filtered: 1,
        missing: 1,
        ..Counts::default()
    };
    assert_eq!((report.total, report.compared, report.unreadable), (due, true, 0));
    assert_eq!(report.days["2026-11-20"].missing, 0);
    assert_eq!(report.days["2026-11-21"].missing, 1);
    let gap = &report.gaps[0];
    assert!(
        gap.id.starts_with("00000000-0000-4000-8000-000000000017:"),
        "{}",
        gap.id
    );
    assert_eq!((gap.session_id.as_str(), gap.event_index.as_str()), ("s17", "7"));
    assert_eq!(gap.created_at.cast_unsigned(), at(LOST));
}

/// All but one event is delivered, then that one too.
async fn finds_the_lost_one(setup: &Setup, objects: Option<&Objects>) {
    let (engine, log) = loaded().await;
    setup.deliver(&log, 0, LOST).await;
    setup.deliver(&log, LOST + 1, ROWS).await;
    engine.sent();
    only_lost(&gaps(&setup.look(objects), &log).await);
    assert!(engine.operations().iter().all(|operation| operation == "Query"));
    setup.deliver(&log, LOST, LOST + 1).await;
    let report = gaps(&setup.look(objects), &log).await;
    assert_eq!(
        (report.total.delivered, report.total.missing),
        (19, 0),
        "{report:?}"
    );
    assert!(report.gaps.is_empty());
}

#[tokio::test]
async fn what_an_s3_sink_has_not_is_found() {
    for (settings, compression) in [
        ("uri: 's3://audit-bucket/a'", Compression::Gzip),
        ("uri: 's3://audit-bucket/a', format: event", Compression::None),
        #[cfg(feature = "zstd")]
        ("uri: 's3://audit-bucket/a'", Compression::Zstd),
    ] {
        let store = Store::new();
        let sink = Arc::new(s3::S3::new(store.objects("a"), compression));
        let setup = setup(settings, Some(sink)).await;
        let objects = store.objects("a");
        finds_the_lost_one(&setup, Some(&objects)).await;
        let sent = store.sent();
        assert!(
            sent.iter()
                .filter(|(method, _)| method != "PUT")
                .all(|(method, _)| method == "GET" || method == "LIST")
        );
    }
}

#[tokio::test]
async fn what_a_file_sink_has_not_is_found() {
    for settings in [
        "uri: 'file://PATH/a'",
        "uri: 'file://PATH/a', format: envelope",
        // Every event is a pointer, or nearly.
        "uri: 'file://PATH/a', max_event_bytes: 4096",
    ] {
        let setup = setup(settings, None).await;
        finds_the_lost_one(&setup, None).await;
    }
}

#[tokio::test]
async fn a_pointer_stands_for_its_event_and_a_torn_line_for_none() {
    let (engine, log) = loaded().await;
    let mut large = row(3);
    large["FieldsMap"]["M"]["pad"] = json!({"S": "x".repeat(5_000)});
    put(&engine, &large);
    let setup = setup("uri: 'file://PATH/a', max_event_bytes: 4096", None).await;
    setup.deliver(&log, 0, ROWS).await;
    let file = setup.dir.path().join("a/2026-11-21.ndjson");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.trim_end()).unwrap();
    let report = gaps(&setup.look(None), &log).await;
    assert_eq!((report.total.delivered, report.total.missing), (18, 1));
    assert_eq!(report.gaps[0].session_id, "s19");
}

#[cfg(feature = "lake")]
#[tokio::test]
async fn what_a_lake_has_not_is_found_and_what_is_staged_waits() {
    use tidewatch::lake::{Lake, Limits};

    let store = Store::new();
    let sink = Arc::new(lake::Lake::new(store.objects("lake")));
    let settings = "uri: 's3://audit-bucket/lake?format=parquet'";
    let setup = setup(settings, Some(sink)).await;
    let objects = store.objects("lake");
    let file = async || {
        let clock = Clock::system();
        let lake = Lake::new(
            store.objects("lake"),
            Limits::default(),
            clock.clone(),
            Random::seeded(2),
        );
        let report = lake.run(clock.instant() + Duration::from_secs(60)).await;
        report.unwrap()
    };
    let (_engine, log) = loaded().await;
    setup.deliver(&log, 0, LOST).await;
    setup.deliver(&log, LOST + 1, ROWS).await;
    let staged = gaps(&setup.look(Some(&objects)), &log).await;
    assert_eq!((staged.total.staged, staged.total.missing), (18, 1), "{staged:?}");
    let filed = file().await;
    assert_eq!(filed.rows, 18, "{filed:?}");
    only_lost(&gaps(&setup.look(Some(&objects)), &log).await);
    // What the lake cannot file is in its own quarantine.
    let mut timeless = row(LOST);
    timeless["FieldsMap"]["M"].as_object_mut().unwrap().remove("time");
    put(&_engine, &timeless);
    setup.deliver(&log, LOST, LOST + 1).await;
    file().await;
    let report = gaps(&setup.look(Some(&objects)), &log).await;
    assert_eq!(
        (report.total.quarantined, report.total.missing),
        (1, 0),
        "{report:?}"
    );
}

/// Stream records of rows.
async fn records(log: &Dynamo) -> Vec<Value> {
    let (forward, clock) = (Forward::default(), Clock::system());
    let mut backfill = Backfill::new(log, range(at(0), at(ROWS)), None, hand(&forward, &clock)).unwrap();
    while backfill.next().await.unwrap().is_some() {}
    let taken = forward.taken.lock().unwrap();
    taken.iter().map(|(_, record)| record.clone()).collect()
}

#[tokio::test]
async fn what_is_on_its_way_is_accounted_for() {
    let (_engine, log) = loaded().await;
    let records = records(&log).await;
    let record = |n: usize| records[n].to_string();
    let store = Store::new();
    let (spool, quarantine, failures) = (
        store.objects("spool"),
        store.objects("quarantine"),
        store.objects("failed"),
    );
    let quarantined = |n: usize, sink: Value| {
        json!({"kind": "refused", "reason": "413", "sink": sink, "record": records[n]}).to_string()
    };
    let mut given_up: Value = serde_json::from_str(METADATA).unwrap();
    given_up["payload"] = json!(json!({"Records": [records[4]]}).to_string());
    // Two records.
    let ours = METADATA.replace("table/mytable", "table/teleport.audit");
    let mut owed: Value = serde_json::from_str(&ours).unwrap();
    for (name, n) in [
        ("approximateArrivalOfFirstRecord", 14),
        ("approximateArrivalOfLastRecord", 15),
    ] {
        let at = time::OffsetDateTime::from_unix_timestamp(at(n).cast_signed()).unwrap();
        let text = at.format(&time::format_description::well_known::Rfc3339).unwrap();
        owed["DDBStreamBatchInfo"][name] = json!(text);
    }
    let others = owed.to_string().replace("teleport.audit", "teleport.state");
    for (objects, name, body) in [
        (&spool, "a/1.ndjson", format!("{}\n{}\n", record(0), record(6))),
        (&spool, "b/1.ndjson", record(7)),
        (
            &quarantine,
            "1.ndjson",
            [quarantined(1, Value::Null), quarantined(2, json!("a"))].join("\n"),
        ),
        // For another sink alone.
        (&quarantine, "2.ndjson", quarantined(3, json!("b"))),
        (&failures, "aws/lambda/1", given_up.to_string()),
        (&failures, "aws/lambda/2", owed.to_string()),
        (&failures, "aws/lambda/4", others),
        (&failures, "aws/lambda/3", "no object of Lambda's".to_owned()),
    ] {
        objects.put(name, body.into_bytes()).await.unwrap();
    }
    let setup = setup("uri: 'file://PATH/a'", None).await;
    setup.deliver(&log, 8, 12).await;
    let look = Look {
        spool: Some(&spool),
        quarantine: Some(&quarantine),
        failures: Some(&failures),
        ..setup.look(None)
    };
    let report = gaps(&look, &log).await;
    // What is owed reaches two hours before and after: 13 to 16, the last of the next day. There were two.
    let due = Counts {
        events: 20,
        delivered: 4,
        filtered: 1,
        staged: 0,
        spooled: 2,
        quarantined: 2,
        redrive: 1,
        owed: 2,
        missing: 8,
    };
    assert_eq!(report.total, due, "{report:?}");
    let missing: Vec<&str> = report.gaps.iter().map(|gap| gap.session_id.as_str()).collect();
    assert_eq!(missing, ["s3", "s7", "s12", "s13", "s16", "s17", "s18", "s19"]);
}

#[tokio::test]
async fn what_moves_into_the_sink_meanwhile_is_no_gap() {
    let (_engine, log) = loaded().await;
    let records = records(&log).await;
    let store = Store::new();
    let sink = Arc::new(s3::S3::new(store.objects("a"), Compression::None));
    let setup = setup("uri: 's3://audit-bucket/a'", Some(sink)).await;
    setup.deliver(&log, 0, ROWS).await;
    let (objects, spool) = (store.objects("a"), store.objects("spool"));
    let day = store.folder().join("a/2026-11-20");
    let aside = store.folder().join("aside");
    std::fs::rename(&day, &aside).unwrap();
    spool
        .put("a/1.ndjson", records[0].to_string().into_bytes())
        .await
        .unwrap();
    // Drained between the look at the sink and that at the spool.
    let parked = store.folder().join("spool/a/1.ndjson");
    store.plan(move |method, key| {
        if method == "LIST" && key.starts_with("spool/") && aside.exists() {
            std::fs::rename(&aside, &day).unwrap();
            std::fs::remove_file(&parked).unwrap();
        }
        Fate::Served
    });
    let look = Look {
        spool: Some(&spool),
        ..setup.look(Some(&objects))
    };
    let report = gaps(&look, &log).await;
    assert_eq!(
        (report.total.delivered, report.total.missing),
        (19, 0),
        "{report:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_counted() {
    let (engine, log) = loaded().await;
    let mut broken = row(9);
    broken["FieldsMap"] = json!({"S": "no map"});
    put(&engine, &broken);
    let setup = setup("uri: 'stdout://'", None).await;
    let report = gaps(&setup.look(None), &log).await;
    assert_eq!((report.compared, report.unreadable), (false, 1));
    assert_eq!(
        (report.total.events, report.total.missing),
        (19, 18),
        "{report:?}"
    );
    assert!(report.gaps.is_empty());
    // Objects that are none of the sink's are faults, not gaps.
    let store = Store::new();
    let sink = Arc::new(s3::S3::new(store.objects("a"), Compression::Gzip));
    let setup = crate::gaps::setup("uri: 's3://audit-bucket/a'", Some(sink)).await;
    let objects = store.objects("a");
    objects
        .put("2026-11-20/x.ndjson.gz", b"no gzip".to_vec())
        .await
        .unwrap();
    let look = setup.look(Some(&objects));
    let times = (
        UNIX_EPOCH + Duration::from_secs(DAY),
        UNIX_EPOCH + Duration::from_secs(DAY + 1),
    );
    let failed = look.gaps(&log, times, &|_| {}).await.unwrap_err().to_string();
    assert!(failed.contains("x.ndjson.gz"), "{failed}");
}
