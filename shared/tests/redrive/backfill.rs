//! Backfills from the table's index.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tidewatch::audit::log::Dynamo;
use tidewatch::clock::Clock;
use tidewatch::forward::InProcess;
use tidewatch::random::Random;
use tidewatch::redrive::{Backfill, BackfillError, OVERLAP, Position, Range, Throttled};

use crate::engine::Engine;
use crate::support::Setup;
use crate::{Forward, hand};

pub(crate) const TABLE: &str = "teleport.audit";
/// 2026-11-20T00:00:00Z.
pub(crate) const DAY: u64 = 1_795_132_800;

pub(crate) async fn table(engine: &Engine) -> Dynamo {
    let client = engine.client();
    let clock = Clock::manual(UNIX_EPOCH + Duration::from_secs(DAY));
    Dynamo::open(&client, TABLE, Dynamo::RETENTION, clock, Random::seeded(1))
        .await
        .unwrap()
}

pub(crate) fn put(engine: &Engine, item: &Value) {
    let request = json!({"TableName": TABLE, "Item": item});
    engine
        .database
        .put_item(serde_json::from_value(request).unwrap())
        .unwrap();
}

pub(crate) fn range(from: u64, to: u64) -> Range {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    Range::new(at(from), at(to))
}

/// Golden rows that are events: the item, and the canonical event.
fn golden() -> Vec<(Value, String)> {
    let folder = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit");
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(line) = std::fs::read_to_string(path.with_extension("line")) else {
            continue;
        };
        if path.extension().is_some_and(|extension| extension == "json") {
            let golden: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            if !golden["item"].is_null() {
                rows.push((golden["item"].clone(), line.trim_end().to_owned()));
            }
        }
    }
    assert!(rows.len() > 10);
    rows
}

/// `n` rows, 1,000 seconds apart, each of about 10 KB.
pub(crate) fn load(engine: &Engine, n: u64) {
    for n in 0..n {
        let at = DAY + n * 1_000;
        let date = time::OffsetDateTime::from_unix_timestamp(i64::try_from(at).unwrap())
            .unwrap()
            .date();
        put(
            engine,
            &json!({
                "SessionID": {"S": format!("s{n}")}, "EventIndex": {"N": "1795170931001234567"}, "EventType": {"S": "x"},
                "CreatedAt": {"N": at.to_string()}, "CreatedAtDate": {"S": date.to_string()},
                "FieldsMap": {"M": {"event": {"S": "x"}, "uid": {"S": format!("u{n}")}, "pad": {"S": "x".repeat(10_000)}}},
            }),
        );
    }
}

async fn all(backfill: &mut Backfill<'_>) -> Result<(usize, Option<Position>), BackfillError> {
    let (mut records, mut position) = (0, None);
    while let Some(step) = backfill.next().await? {
        records += step.tally.records;
        position = Some(step.position);
    }
    Ok((records, position))
}

#[tokio::test]
async fn golden_rows_are_delivered_as_the_stream_would() {
    let engine = Engine::new();
    let log = table(&engine).await;
    let rows = golden();
    for (item, _) in &rows {
        put(&engine, item);
    }
    put(
        &engine,
        &json!({"SessionID": {"S": "CHUNK#1"}, "EventIndex": {"N": "0"}, "CreatedAt": rows[0].0["CreatedAt"], "CreatedAtDate": rows[0].0["CreatedAtDate"]}),
    );
    let setup = Setup::new().await;
    let clock = Clock::system();
    let forward = InProcess::new(
        Arc::clone(&setup.forwarder),
        clock.clone(),
        Duration::from_secs(100),
    );
    let seconds = |item: &Value| item["CreatedAt"]["N"].as_str().unwrap().parse::<u64>().unwrap();
    let first = rows.iter().map(|(item, _)| seconds(item)).min().unwrap();
    let last = rows.iter().map(|(item, _)| seconds(item)).max().unwrap();
    // Days are read one by one; a few years of them are many.
    let mut no_events = 0;
    let mut lines = Vec::new();
    for range in [range(first, first + 86_400), range(first + 86_400, last + 1)] {
        let mut backfill = Backfill::new(&log, range, None, hand(&forward, &clock)).unwrap();
        while let Some(step) = backfill.next().await.unwrap() {
            no_events += step.no_events;
            assert_eq!(step.unreadable, 0);
        }
        lines = setup.lines("a");
    }
    assert_eq!(no_events, 1);
    let mut due: Vec<String> = rows.into_iter().map(|(_, line)| line).collect();
    due.sort();
    due.dedup();
    lines.sort();
    assert_eq!(lines, due);
}

#[tokio::test]
async fn records_are_inserts_of_their_time_with_numbers_that_grow() {
    let engine = Engine::new();
    let log = table(&engine).await;
    load(&engine, 200);
    let (forward, clock) = (Forward::default(), Clock::system());
    let range = range(DAY, DAY + 200_000);
    let mut backfill = Backfill::new(&log, range, None, hand(&forward, &clock)).unwrap();
    assert_eq!(all(&mut backfill).await.unwrap().0, 200);
    let taken = forward.taken.lock().unwrap();
    let mut last = 0;
    for (n, (header, record)) in taken.iter().enumerate() {
        let due = json!({"origin": "backfill", "range": {"from": "2026-11-20T00:00:00Z", "to": "2026-11-22T07:33:20Z"}});
        assert_eq!(*header, due);
        let change = &record["dynamodb"];
        assert_eq!(record["eventName"], "INSERT");
        assert_eq!(
            change["Keys"],
            json!({"SessionID": {"S": format!("s{n}")}, "EventIndex": {"N": "1795170931001234567"}})
        );
        assert_eq!(
            change["ApproximateCreationDateTime"],
            DAY + u64::try_from(n).unwrap() * 1_000
        );
        let number: u64 = change["SequenceNumber"].as_str().unwrap().parse().unwrap();
        assert!(number > last);
        last = number;
    }
}

#[tokio::test]
async fn cut_anywhere_it_goes_on_from_its_position_with_the_same_records() {
    let engine = Engine::new();
    let log = table(&engine).await;
    load(&engine, 200);
    let clock = Clock::system();
    let whole = Forward::default();
    let range = range(DAY, DAY + 200_000);
    let mut backfill = Backfill::new(&log, range, None, hand(&whole, &clock)).unwrap();
    all(&mut backfill).await.unwrap();
    let invocations = *whole.invocations.lock().unwrap();
    assert!(invocations >= 3, "{invocations}");
    for invocation in 0..invocations {
        for after in [false, true] {
            let forward = Forward {
                cut: Some((invocation, after)),
                ..Forward::default()
            };
            let mut position: Option<Position> = None;
            for _ in 0..2 {
                let mut backfill =
                    Backfill::new(&log, range, position.as_ref(), hand(&forward, &clock)).unwrap();
                loop {
                    match backfill.next().await {
                        Ok(Some(step)) => position = Some(step.position.to_string().parse().unwrap()),
                        Ok(None) => break,
                        Err(error) => {
                            assert!(matches!(error, BackfillError::Hand(_)), "{error}");
                            assert!(matches!(backfill.next().await, Err(BackfillError::Broken)));
                            break;
                        }
                    }
                }
            }
            assert_eq!(forward.numbers(), whole.numbers(), "{invocation}, {after}");
        }
    }
    let other = position_of(&log, range, &clock).await;
    let refused = Backfill::new(&log, Range::all(), Some(&other), hand(&whole, &clock));
    assert!(matches!(refused, Err(BackfillError::OtherPosition)));
}

async fn position_of(log: &Dynamo, range: Range, clock: &Clock) -> Position {
    let forward = Forward::default();
    let mut backfill = Backfill::new(log, range, None, hand(&forward, clock)).unwrap();
    backfill.next().await.unwrap().unwrap().position
}

#[tokio::test(start_paused = true)]
async fn it_takes_a_fifth_of_the_capacity() {
    let engine = Engine::new();
    let log = table(&engine).await;
    load(&engine, 80);
    let clock = Clock::simulated(UNIX_EPOCH);
    let forward = Forward::default();
    let mut hand = hand(&forward, &clock);
    hand.options.last_call = clock.instant() + Duration::from_secs(3_600);
    let mut backfill = Backfill::new(&log, range(DAY, DAY + 80_000), None, hand)
        .unwrap()
        .paced(Some(100));
    let (begun, mut units) = (clock.instant(), 0.0);
    while let Some(step) = backfill.next().await.unwrap() {
        units += step.units;
    }
    let took = clock.instant().saturating_duration_since(begun).as_secs_f64();
    assert!(
        units > 90.0 && (took * 20.0 - units).abs() < 2.0,
        "{units} units in {took} s"
    );
}

#[derive(Debug)]
struct Says(Result<bool, String>);

impl Throttled for Says {
    fn throttled(&self) -> BoxFuture<'_, Result<bool, String>> {
        std::future::ready(self.0.clone()).boxed()
    }
}

#[tokio::test]
async fn while_the_index_is_throttled_it_is_refused() {
    let engine = Engine::new();
    let log = table(&engine).await;
    load(&engine, 1);
    let (forward, clock) = (Forward::default(), Clock::system());
    let range = range(DAY, DAY + 1);
    engine.sent();
    for says in [Says(Ok(true)), Says(Err("no answer".to_owned()))] {
        let backfill = Backfill::new(&log, range, None, hand(&forward, &clock)).unwrap();
        let refused = backfill.unless(&says).next().await;
        assert!(matches!(
            refused,
            Err(BackfillError::Throttled | BackfillError::Unknown(_))
        ));
    }
    assert!(engine.operations().is_empty());
    let says = Says(Ok(false));
    let backfill = Backfill::new(&log, range, None, hand(&forward, &clock)).unwrap();
    assert!(backfill.unless(&says).next().await.unwrap().is_some());
}

#[test]
fn a_range_that_ends_now_overlaps_the_stream() {
    let now = UNIX_EPOCH + Duration::from_secs(DAY);
    let range = Range::until_now(UNIX_EPOCH, now);
    assert_eq!(range.times().1, now + OVERLAP);
    assert!(Range::new(now, now).is_empty());
}
