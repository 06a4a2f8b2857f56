//! The task `canary`: whether what is written to the audit table comes out of its sinks.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidewatch::audit::log::Dynamo;
use tidewatch::clock::Clock;
use tidewatch::config::{Compression, Config};
use tidewatch::forward::sinks::s3;
use tidewatch::forward::{Forwarder, InProcess};
use tidewatch::maintain::{Canary, CanaryReport, Report, Run, Verdict};
use tidewatch::objects::Objects;
use tidewatch::random::Random;
use tidewatch::redrive::Backfill;
use tidewatch::redrive::gaps::{Look, State};

use crate::backfill::{DAY, TABLE, put, range};
use crate::engine::{Engine, Fate};
use crate::store::Store;
use crate::{Forward, hand};

fn mins(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

/// An audit table on a clock that stands still, and a forwarder of its own two sinks.
struct World {
    engine: Engine,
    clock: Clock,
    log: Dynamo,
    config: Config,
    forward: InProcess,
    /// What `a` puts its objects into, if it is in S3.
    objects: Option<Objects>,
    spool: Option<Objects>,
    /// When the table's stream began.
    since: Option<SystemTime>,
    _dir: tempfile::TempDir,
}

/// Ten minutes past a midnight, so that what is looked for is of two days.
fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(DAY) + mins(10)
}

impl World {
    async fn new(a: &str, b: &str) -> Self {
        Self::over(a, b, None).await
    }

    async fn over(a: &str, b: &str, store: Option<&Store>) -> Self {
        let (engine, clock) = (Engine::new(), Clock::manual(start()));
        let (client, random) = (engine.client(), Random::seeded(1));
        let log = Dynamo::open(&client, TABLE, Dynamo::RETENTION, clock.clone(), random)
            .await
            .unwrap();
        engine.sent();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let document = |a: &str| {
            let text = format!("quarantine: file://PATH/q\nsinks: {{ a: {{ {a} }}, b: {{ {b} }} }}");
            Config::parse(&text.replace("PATH", path), "test", []).unwrap()
        };
        let config = document(a);
        let opened = match store {
            Some(_) => document("uri: 'file://PATH/unused', format: envelope"),
            None => document(a),
        };
        let forwarder = Forwarder::start(&opened, Clock::system(), Random::seeded(1)).await;
        let real = store.map(|store| Arc::new(s3::S3::new(store.objects("a"), Compression::None)));
        let forwarder = forwarder.unwrap().map_sinks(move |name, sink| match &real {
            Some(real) if name == "a" => Arc::clone(real) as Arc<_>,
            _ => sink,
        });
        let forward = InProcess::new(Arc::new(forwarder), Clock::system(), Duration::from_secs(100));
        Self {
            engine,
            clock,
            log,
            config,
            forward,
            objects: store.map(|store| store.objects("a")),
            spool: store.map(|store| store.objects("spool")),
            since: None,
            _dir: dir,
        }
    }

    /// Delivers all that is in the table, to one sink or to both.
    async fn deliver(&self, sink: Option<&str>) {
        let clock = Clock::system();
        let range = range(DAY - 86_400 * 10, DAY + 86_400);
        let backfill = Backfill::new(&self.log, range, None, hand(&self.forward, &clock)).unwrap();
        let mut backfill = backfill.to_sink(sink.map(str::to_owned));
        while backfill.next().await.unwrap().is_some() {}
        self.engine.sent();
    }

    /// Its rows as stream records.
    async fn records(&self) -> Vec<Value> {
        let (forward, clock) = (Forward::default(), Clock::system());
        let range = range(DAY - 86_400 * 10, DAY + 86_400);
        let mut backfill = Backfill::new(&self.log, range, None, hand(&forward, &clock)).unwrap();
        while backfill.next().await.unwrap().is_some() {}
        let taken = forward.taken.lock().unwrap();
        taken.iter().map(|(_, record)| record.clone()).collect()
    }

    fn run(&self, dry_run: bool) -> Run {
        let now = self.clock.instant();
        Run {
            last_call: now + mins(1),
            stop: now + mins(2),
            dry_run,
        }
    }

    async fn looked(&self, marked: bool, run: Run) -> CanaryReport {
        let looks = ["a", "b"].map(|name| Look {
            name,
            sink: &self.config.sinks[name],
            objects: self.objects.as_ref().filter(|_| name == "a"),
            spool: self.spool.as_ref(),
            quarantine: None,
            failures: None,
        });
        let canary = Canary {
            log: &self.log,
            looks: &looks,
            marked,
            since: self.since,
            limit: Canary::LIMIT,
        };
        canary.run(run).await.unwrap()
    }

    async fn marked(&self) -> CanaryReport {
        self.looked(true, self.run(false)).await
    }

    async fn attached(&self) -> CanaryReport {
        self.looked(false, self.run(false)).await
    }

    /// An event of so many minutes ago.
    fn row(&self, minutes: u64, kind: &str) {
        let at = time::OffsetDateTime::from(self.clock.now() - mins(minutes));
        let text = at.format(&time::format_description::well_known::Rfc3339).unwrap();
        let uid = format!("00000000-0000-4000-8000-{minutes:012}");
        put(
            &self.engine,
            &json!({
                "SessionID": {"S": format!("s{minutes}")}, "EventIndex": {"N": "7"}, "EventType": {"S": kind},
                "CreatedAt": {"N": at.unix_timestamp().to_string()}, "CreatedAtDate": {"S": at.date().to_string()},
                "FieldsMap": {"M": {"event": {"S": kind}, "time": {"S": text}, "uid": {"S": uid}}},
            }),
        );
    }

    fn rows(&self) -> Vec<Value> {
        let request = serde_json::from_value(json!({"TableName": TABLE})).unwrap();
        let answer = serde_json::to_value(self.engine.database.scan(request).unwrap()).unwrap();
        let mut rows = answer["Items"].as_array().unwrap().clone();
        rows.sort_by_key(|row| (row["SessionID"].to_string(), row["EventIndex"].to_string()));
        rows
    }
}

fn verdicts(report: &CanaryReport) -> Vec<Verdict> {
    report.sinks.iter().map(|sink| sink.verdict).collect()
}

/// Missing, looked, delay.
fn figures(report: &CanaryReport) -> [f64; 3] {
    let metrics = report.metrics();
    let names: Vec<&str> = metrics.iter().map(|metric| metric.name).collect();
    let due = [
        "canary_missing",
        "canary_looked",
        "canary_failed",
        "canary_delay_seconds",
    ];
    assert_eq!(names, due);
    [0, 1, 3].map(|at: usize| metrics[at].value)
}

const FILE_A: &str = "uri: 'file://PATH/a'";
const FILE_B: &str = "uri: 'file://PATH/b', format: envelope";

#[tokio::test]
async fn a_marked_event_that_comes_out_is_seen() {
    let world = World::new(FILE_A, FILE_B).await;
    let first = world.marked().await;
    assert_eq!(world.engine.operations(), ["Query", "PutItem"]);
    // Nothing to look for is no success.
    assert_eq!(verdicts(&first), [Verdict::Nothing; 2]);
    assert_eq!(figures(&first), [0.0, 0.0, 0.0]);
    assert!(first.is_complete() && first.emitted.is_some() && first.looked_for.is_none());
    let row = world.rows().remove(0);
    let now = DAY + 600;
    assert_eq!(row["SessionID"]["S"], "tidewatch.canary");
    assert_eq!(row["EventType"]["S"], "tidewatch.canary");
    assert_eq!(row["EventIndex"]["N"], now.to_string());
    assert_eq!(row["CreatedAt"]["N"], now.to_string());
    assert_eq!(row["Expires"]["N"], (now + 86_400).to_string());
    world.deliver(None).await;
    world.clock.advance(mins(5));
    let second = world.marked().await;
    assert_eq!(verdicts(&second), [Verdict::Seen; 2]);
    assert_eq!(figures(&second), [0.0, 2.0, 300.0]);
    world.deliver(None).await;
    world.clock.advance(mins(5));
    let third = world.marked().await;
    assert_eq!(verdicts(&third), [Verdict::Seen; 2], "{third:?}");
    let looked_for = third.looked_for.as_ref().unwrap();
    assert_eq!(looked_for.age_seconds, 600);
    assert!(looked_for.id.starts_with(first.emitted.as_ref().unwrap()));
    assert_eq!(figures(&third), [0.0, 2.0, 300.0]);
    assert_eq!(world.rows().len(), 3);
    // Many runs, by a schedule or by hand, emit ten to the limit at most.
    for _ in 0..60 {
        world.clock.advance(Duration::from_secs(20));
        world.marked().await;
    }
    assert_eq!(world.rows().len(), 3 + 20);
    world.engine.sent();
    assert!(world.marked().await.looked_for.is_some());
    assert_eq!(world.engine.operations(), ["Query"]);
}

#[tokio::test]
async fn a_marked_event_that_is_nowhere_is_missing_until_one_comes_out() {
    let world = World::new(FILE_A, FILE_B).await;
    world.marked().await;
    world.clock.advance(mins(5));
    let pending = world.marked().await;
    assert_eq!(verdicts(&pending), [Verdict::Pending; 2]);
    assert_eq!(figures(&pending), [0.0, 0.0, 300.0]);
    for delay in [600.0, 900.0, 1200.0] {
        world.clock.advance(mins(5));
        let missing = world.marked().await;
        assert_eq!(verdicts(&missing), [Verdict::Missing; 2]);
        assert_eq!(figures(&missing), [1.0, 2.0, delay]);
        assert_eq!(missing.sinks[0].state, Some(State::Missing));
        let consequence = missing.sinks[0].consequence.as_ref().unwrap();
        assert!(consequence.contains("backfill --sink a"), "{consequence}");
        assert!(missing.is_complete() && missing.emitted.is_some());
    }
    // All of them come out late.
    world.deliver(None).await;
    world.clock.advance(mins(5));
    let seen = world.marked().await;
    assert_eq!(verdicts(&seen), [Verdict::Seen; 2]);
    assert_eq!(figures(&seen), [0.0, 2.0, 300.0]);
}

#[tokio::test]
async fn one_sink_of_two_may_be_missing_it() {
    let world = World::new(FILE_A, FILE_B).await;
    world.marked().await;
    world.deliver(Some("b")).await;
    world.clock.advance(mins(10));
    let report = world.marked().await;
    assert_eq!(verdicts(&report), [Verdict::Missing, Verdict::Seen]);
    assert_eq!(figures(&report), [1.0, 2.0, 600.0]);
}

#[tokio::test]
async fn what_waits_is_late_and_not_missing() {
    let store = Store::new();
    let world = World::over("uri: 's3://audit-bucket/a'", FILE_B, Some(&store)).await;
    world.marked().await;
    let record = world.records().await.remove(0).to_string();
    let spool = store.objects("spool");
    spool.put("a/1.ndjson", record.into_bytes()).await.unwrap();
    world.deliver(Some("b")).await;
    world.clock.advance(mins(12));
    let report = world.marked().await;
    assert_eq!(verdicts(&report), [Verdict::Late, Verdict::Seen]);
    assert_eq!(report.sinks[0].state, Some(State::Spooled));
    assert!(
        report.sinks[0]
            .consequence
            .as_ref()
            .unwrap()
            .contains("spool of a")
    );
    assert_eq!(figures(&report), [0.0, 2.0, 720.0]);
    world.deliver(Some("a")).await;
    assert_eq!(verdicts(&world.marked().await), [Verdict::Seen; 2]);
}

#[tokio::test]
async fn the_newest_row_of_an_attached_table_must_be_accounted_for() {
    let mut world = World::new(
        FILE_A,
        "uri: 'file://PATH/b', filter: { deny: [{ types: [quiet] }] }",
    )
    .await;
    let empty = world.attached().await;
    assert_eq!(verdicts(&empty), [Verdict::Nothing; 2]);
    assert_eq!(figures(&empty), [0.0, 0.0, 0.0]);
    assert!(empty.sinks[0].consequence.is_some() && empty.looked_for.is_none());
    // Eight days ago is too long; three are not.
    world.row(8 * 24 * 60, "x");
    assert_eq!(verdicts(&world.attached().await), [Verdict::Nothing; 2]);
    world.row(3 * 24 * 60, "x");
    world.engine.sent();
    let old = world.attached().await;
    assert_eq!(figures(&old), [1.0, 2.0, 259_200.0]);
    // What was there before the stream was turned on never comes out of it.
    for (minutes, verdict) in [
        (2 * 24 * 60, Verdict::Nothing),
        (5, Verdict::Nothing),
        (4 * 24 * 60, old.sinks[0].verdict),
    ] {
        world.since = Some(world.clock.now() - mins(minutes));
        assert_eq!(verdicts(&world.attached().await), [verdict; 2]);
    }
    world.since = None;
    world.deliver(None).await;
    // What is younger than ten minutes may be under way.
    for minutes in [0, 3, 9] {
        world.row(minutes, "x");
    }
    world.engine.sent();
    let before = world.rows();
    let seen = world.attached().await;
    assert_eq!(verdicts(&seen), [Verdict::Seen; 2]);
    assert_eq!(figures(&seen), [0.0, 2.0, 259_200.0]);
    assert_eq!(seen.looked_for.as_ref().unwrap().session_id, "s4320");
    assert!(seen.emitted.is_none() && seen.is_complete());
    world.row(11, "x");
    let missing = world.attached().await;
    assert_eq!(verdicts(&missing), [Verdict::Missing; 2]);
    assert_eq!(figures(&missing), [1.0, 2.0, 660.0]);
    world.row(10, "quiet");
    world.deliver(Some("a")).await;
    let filtered = world.attached().await;
    assert_eq!(verdicts(&filtered), [Verdict::Seen, Verdict::Filtered]);
    assert_eq!(figures(&filtered), [0.0, 1.0, 600.0]);
    // Nothing at all was written.
    assert_eq!(world.rows().len(), before.len() + 2);
    world.engine.sent();
    world.attached().await;
    assert!(
        world
            .engine
            .operations()
            .iter()
            .all(|operation| operation == "Query")
    );
}

#[tokio::test]
async fn sinks_that_tell_nothing_are_no_success() {
    let world = World::new(
        "uri: 'stdout://'",
        "uri: 'file://PATH/b', filter: { allow: [{ types: [x] }] }",
    )
    .await;
    world.marked().await;
    world.deliver(Some("b")).await;
    for _ in 0..2 {
        world.clock.advance(mins(6));
        let report = world.marked().await;
        assert_eq!(verdicts(&report), [Verdict::Unreadable, Verdict::Filtered]);
        assert_eq!(figures(&report), [0.0, 0.0, 0.0]);
        assert!(report.sinks.iter().all(|sink| sink.consequence.is_some()));
    }
}

#[tokio::test]
async fn a_dry_run_emits_nothing() {
    let world = World::new(FILE_A, FILE_B).await;
    let report = world.looked(true, world.run(true)).await;
    assert_eq!((report.dry_run, report.emitted.clone()), (true, None));
    assert_eq!(world.engine.operations(), ["Query"]);
    assert!(world.rows().is_empty());
    world.marked().await;
    world.deliver(None).await;
    world.clock.advance(mins(15));
    let report = world.looked(true, world.run(true)).await;
    assert_eq!(figures(&report), [0.0, 2.0, 900.0]);
    assert_eq!(world.rows().len(), 1);
}

#[tokio::test]
async fn two_at_once_emit_the_same() {
    let world = World::new(FILE_A, FILE_B).await;
    // Each has asked before the other emits.
    world.engine.plan(|operation, _| match operation {
        "Query" => Fate::Delayed {
            before: Duration::ZERO,
            after: Duration::from_millis(50),
        },
        _ => Fate::Served,
    });
    let (one, other) = futures_util::join!(world.marked(), world.marked());
    assert_eq!(one.emitted, other.emitted);
    assert_eq!(world.rows().len(), 1);
}

/// A world with an event that came out of a sink in S3, and another due.
async fn due(store: &Store) -> World {
    let world = World::over("uri: 's3://audit-bucket/a'", FILE_B, Some(store)).await;
    world.marked().await;
    world.deliver(None).await;
    world.clock.advance(mins(10));
    store.sent();
    world
}

#[tokio::test]
async fn it_is_cut_anywhere_and_run_again() {
    let store = Store::new();
    let world = due(&store).await;
    assert_eq!(verdicts(&world.marked().await), [Verdict::Seen; 2]);
    let (table, places) = (world.engine.sent().len(), store.sent());
    assert_eq!((table, places.len()), (2, 2), "{places:?}");
    let rows = world.rows();
    let never = Duration::from_hours(1);
    for request in 0..4 {
        for after in [false, true] {
            let store = Store::new();
            let world = due(&store).await;
            let fate = move |at: usize| match (at == request, after) {
                (false, _) => Fate::Served,
                (true, false) => Fate::Delayed {
                    before: never,
                    after: Duration::ZERO,
                },
                (true, true) => Fate::Delayed {
                    before: Duration::ZERO,
                    after: never,
                },
            };
            let (mut asked, mut read) = (0, 2);
            world.engine.plan(move |_, _| {
                asked += 1;
                fate(asked - 1)
            });
            store.plan(move |_, _| {
                read += 1;
                fate(read - 1)
            });
            let cut = tokio::time::timeout(Duration::from_millis(300), world.marked()).await;
            assert!(cut.is_err(), "{request}: {cut:?}");
            world.engine.plan(|_, _| Fate::Served);
            store.plan(|_, _| Fate::Served);
            let again = world.marked().await;
            assert_eq!(verdicts(&again), [Verdict::Seen; 2], "{request}, {after}");
            assert_eq!(world.rows(), rows, "request {request}, after {after}");
        }
    }
}

#[tokio::test]
async fn what_was_written_long_before_is_not_read() {
    let store = Store::new();
    let world = due(&store).await;
    let objects = store.objects("a");
    let name = "2026-11-20/0-old.ndjson";
    objects.put(name, b"{}\n".to_vec()).await.unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(store.folder().join("a").join(name))
        .unwrap();
    let count = || {
        let sent = store.sent();
        sent.iter().filter(|(method, _)| method == "GET").count()
    };
    file.set_modified(start() - mins(119)).unwrap();
    count();
    let dry = async || verdicts(&world.looked(true, world.run(true)).await);
    assert_eq!(dry().await, [Verdict::Seen; 2]);
    assert_eq!(count(), 2);
    file.set_modified(start() - mins(121)).unwrap();
    assert_eq!(dry().await, [Verdict::Seen; 2]);
    assert_eq!(count(), 1);
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_told() {
    let store = Store::new();
    let world = due(&store).await;
    let now = world.clock.instant();
    let late = Run {
        last_call: now,
        stop: now + mins(1),
        dry_run: false,
    };
    world.engine.sent();
    let report = world.looked(true, late).await;
    assert!(report.more && !report.is_complete() && world.engine.sent().is_empty());
    store.plan(|_, _| Fate::Answered(403, String::new()));
    let report = world.marked().await;
    assert_eq!(verdicts(&report), [Verdict::Failed, Verdict::Seen]);
    assert!(!report.is_complete() && report.emitted.is_some());
    assert_eq!(figures(&report), [0.0, 1.0, 600.0]);
    // The table cannot be written: what is there is looked for all the same.
    let world = World::new(FILE_A, FILE_B).await;
    world.marked().await;
    world.deliver(None).await;
    world.clock.advance(mins(10));
    world.engine.plan(|operation, _| match operation {
        "PutItem" => crate::engine::refusal("AccessDeniedException"),
        _ => Fate::Served,
    });
    let report = world.marked().await;
    assert_eq!(verdicts(&report), [Verdict::Seen; 2]);
    assert!(report.error.is_some() && report.emitted.is_none());
}
