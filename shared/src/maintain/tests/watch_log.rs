//! The watch log, kept: what goes, what is found, what a run costs, and a run that is cut anywhere.

use aws_sdk_lambda::types::{EventSourceMappingConfiguration, EventSourcePosition};
use aws_smithy_mocks::{RuleMode, mock, mock_client};
use serde_json::{Value, json};

use super::*;
use crate::engine::Fate;
use crate::maintain::watch_log::{WatchLog, WatchLogReport};
use crate::maintain::{Report, Run};
use crate::watch::log::{Finding, Log, LogSpec, Transport};

const LOGS: &str = "watch-logs";
const DAY: Duration = Duration::from_hours(24);

/// A state table with a stream, its watch log of two buckets, and a mapping.
struct Bench {
    engine: Engine,
    clock: Clock,
    /// The state table's.
    stream: String,
}

impl Bench {
    async fn new() -> Self {
        let (engine, clock) = (Engine::new(), clock());
        engine.backend(TABLE, Layout::Teleport, &clock, 1).await;
        let described = engine.client().describe_table().table_name(TABLE).send().await;
        let stream = described.unwrap().table.unwrap().latest_stream_arn.unwrap();
        let bench = Self {
            engine,
            clock,
            stream,
        };
        let table = json!({
            "TableName": LOGS, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "Log", "AttributeType": "S"}, {"AttributeName": "Segment", "AttributeType": "N"}],
            "KeySchema": [{"AttributeName": "Log", "KeyType": "HASH"}, {"AttributeName": "Segment", "KeyType": "RANGE"}],
        });
        let table = serde_json::from_value(table).unwrap();
        bench.engine.database.create_table(table).unwrap();
        let spec = LogSpec {
            buckets: 2,
            stream: None,
            ..LogSpec::new(TABLE)
        };
        bench
            .log()
            .create(&spec, bench.clock.instant() + 9 * SECOND)
            .await
            .unwrap();
        bench.engine.sent();
        bench
    }

    fn log(&self) -> Log {
        let client = self.engine.client();
        Log::new(&client, LOGS, TABLE, self.clock.clone(), Random::seeded(1))
    }

    /// Gaps in every bucket, which are segments like others.
    async fn fill(&self, times: u32) {
        for time in 0..times {
            let stop = self.clock.instant() + 9 * SECOND;
            self.log()
                .break_all("test", &time.to_string(), None, stop)
                .await
                .unwrap();
        }
    }

    /// The task, with what Lambda would answer: mappings by id, whether they are on, and whether they began at the beginning.
    fn task(&self, mappings: &[(&str, bool, bool)]) -> WatchLog {
        let mappings = mappings.iter().map(|(id, on, horizon)| {
            let position = match horizon {
                true => EventSourcePosition::TrimHorizon,
                false => EventSourcePosition::Latest,
            };
            EventSourceMappingConfiguration::builder()
                .uuid(*id)
                .event_source_arn(&self.stream)
                .state(if *on { "Enabled" } else { "Disabled" })
                .starting_position(position)
                .build()
        });
        let mappings: Vec<_> = mappings.collect();
        let listed = mock!(aws_sdk_lambda::Client::list_event_source_mappings)
            .match_requests(|request| request.function_name() == Some("forward"))
            .then_output(move || {
                aws_sdk_lambda::operation::list_event_source_mappings::ListEventSourceMappingsOutput::builder(
                )
                .set_event_source_mappings(Some(mappings.clone()))
                .build()
            });
        WatchLog {
            log: self.log(),
            client: self.engine.client(),
            table: TABLE.to_owned(),
            transport: Transport::Stream,
            retention: 3 * DAY,
            function: Some("forward".to_owned()),
            lambda: mock_client!(aws_sdk_lambda, RuleMode::MatchAny, [&listed]),
        }
    }

    fn time(&self, dry_run: bool) -> Run {
        let now = self.clock.instant();
        Run {
            last_call: now + 60 * SECOND,
            stop: now + 90 * SECOND,
            dry_run,
        }
    }

    async fn run(&self, task: &WatchLog) -> WatchLogReport {
        task.run(&self.clock, self.time(false)).await.unwrap()
    }

    /// The log's items without the times at which they were written: partition, number, entries and mapping.
    fn items(&self) -> Vec<Value> {
        let scan = serde_json::from_value(json!({"TableName": LOGS})).unwrap();
        let answer = self.engine.database.scan(scan).unwrap();
        let answer = serde_json::to_value(&answer).unwrap();
        let mut items: Vec<Value> = answer["Items"].as_array().unwrap().clone();
        for item in &mut items {
            for time in ["MappingSeen", "Appended", "GapAppended", "Edition", "Stream"] {
                item.as_object_mut().unwrap().remove(time);
            }
        }
        items.sort_by_key(|item| format!("{} {}", item["Log"]["S"], item["Segment"]["N"]));
        items
    }
}

const ON: (&str, bool, bool) = ("m", true, true);

#[tokio::test(start_paused = true)]
async fn what_is_past_its_retention_goes_and_what_nobody_reported_is_found() {
    let bench = Bench::new().await;
    bench.fill(3).await;
    let report = bench.run(&bench.task(&[ON])).await;
    assert!(
        report.stream.is_some() && report.not_checked.is_empty(),
        "{report:?}"
    );
    assert_eq!((report.mapping.as_deref(), report.removed), (Some("m"), 0));
    assert!(report.findings.is_empty() && report.is_complete(), "{report:?}");
    bench.clock.sleep(4 * DAY).await;
    // It was not seen for four days, and stands behind one that began later.
    let report = bench
        .run(&bench.task(&[("old", false, true), ("n", true, false)]))
        .await;
    assert_eq!(
        (report.mapping.as_deref(), report.findings.as_slice()),
        (Some("n"), [Finding::MappingReplaced].as_slice())
    );
    assert_eq!((report.removed, report.unfinished), (6, false), "{report:?}");
    let gaps = report
        .metrics()
        .iter()
        .find(|metric| metric.name == "watch_log_gaps")
        .unwrap()
        .value;
    assert_eq!(gaps, 1.0);
    bench.clock.sleep(DAY).await;
    assert_eq!(
        bench.run(&bench.task(&[("n", true, false)])).await.findings,
        [Finding::MappingWasOff]
    );
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_the_same_and_writes_nothing() {
    let bench = Bench::new().await;
    bench.fill(3).await;
    bench.run(&bench.task(&[ON])).await;
    bench.clock.sleep(4 * DAY).await;
    bench.engine.sent();
    let report = bench
        .task(&[ON])
        .run(&bench.clock, bench.time(true))
        .await
        .unwrap();
    assert_eq!(
        (report.findings.as_slice(), report.due_buckets.as_slice()),
        ([Finding::MappingWasOff].as_slice(), [0, 1].as_slice())
    );
    assert!(!report.is_complete());
    let sent = bench.engine.operations();
    assert!(
        sent.iter()
            .all(|sent| ["DescribeTable", "GetItem", "Query"].contains(&sent.as_str())),
        "{sent:?}"
    );
    assert_eq!(
        bench.run(&bench.task(&[ON])).await.findings,
        [Finding::MappingWasOff]
    );
    bench.clock.sleep(SECOND).await;
    // Only an empty segment is left in each bucket, or one that is new.
    let report = bench
        .task(&[ON])
        .run(&bench.clock, bench.time(true))
        .await
        .unwrap();
    assert!(report.is_complete(), "{report:?}");
}

/// What the table or Lambda does not tell is told, and is in nobody's way.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_at_is_no_success() {
    let bench = Bench::new().await;
    bench.fill(2).await;
    bench.clock.sleep(4 * DAY).await;
    let denied = mock!(aws_sdk_lambda::Client::list_event_source_mappings).then_error(|| {
        aws_sdk_lambda::operation::list_event_source_mappings::ListEventSourceMappingsError::unhandled(
            "denied",
        )
    });
    let task = WatchLog {
        lambda: mock_client!(aws_sdk_lambda, [&denied]),
        ..bench.task(&[])
    };
    let report = bench.run(&task).await;
    assert_eq!((report.not_checked.len(), report.removed), (1, 4), "{report:?}");
    assert!(!report.is_complete());
    let task = WatchLog {
        table: "gone".to_owned(),
        ..bench.task(&[ON])
    };
    let report = bench.run(&task).await;
    assert!(
        report.not_checked[0].contains("gone") && report.mapping.is_none(),
        "{report:?}"
    );
    // Nor is a log that nothing feeds.
    for mappings in [&[][..], &[("off", false, true)]] {
        let report = bench.run(&bench.task(mappings)).await;
        assert_eq!(report.not_checked.len(), 1, "{report:?}");
        assert!(!report.is_complete());
    }
}

/// Hour after hour, in a log to which nothing is appended.
#[tokio::test(start_paused = true)]
async fn an_idle_log_costs_next_to_nothing() {
    let bench = Bench::new().await;
    bench.fill(5).await;
    let task = bench.task(&[ON]);
    bench.run(&task).await;
    bench.clock.sleep(19 * SECOND * 3600).await;
    for hour in 0..100 {
        bench.clock.sleep(SECOND * 3600).await;
        bench.run(&task).await;
        let sent = bench.engine.sent();
        if hour < 60 {
            continue;
        }
        let operations: Vec<&str> = sent.iter().map(|sent| sent.operation.as_str()).collect();
        let (reads, writes): (Vec<&str>, Vec<&str>) = operations.iter().partition(|sent| **sent != "PutItem");
        assert_eq!(writes.len(), 1, "{operations:?}");
        // The table, which is free; the control item, four times; each bucket, twice.
        assert_eq!(reads.len(), 1 + 4 + 2 * 2, "{operations:?}");
        let read: usize = sent
            .iter()
            .filter_map(|sent| sent.answer["Items"].as_array())
            .map(Vec::len)
            .sum();
        assert_eq!(read, 4, "{operations:?}");
    }
}

/// Cut before and after each of its requests takes effect, and run again: the same segments, gaps and mapping.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_cut_anywhere_is_finished_by_the_next() {
    let whole = cut(None).await;
    assert!(whole.1 > 20, "{whole:?}");
    for request in 0..whole.1 {
        for after in [false, true] {
            let (items, _) = cut(Some((request, after))).await;
            assert_eq!(items, whole.0, "request {request}, cut after it: {after}");
        }
    }
}

/// What is in the log at the end, and how many requests the run had that was not cut.
async fn cut(at: Option<(usize, bool)>) -> (Vec<Value>, usize) {
    let bench = Bench::new().await;
    bench.fill(3).await;
    bench.run(&bench.task(&[ON])).await;
    bench.clock.sleep(4 * DAY).await;
    let task = bench.task(&[("n", true, false)]);
    bench.engine.sent();
    if let Some((request, after)) = at {
        let mut left = request;
        let never = 1000 * DAY;
        bench.engine.plan(move |_, _| {
            if left > 0 {
                left -= 1;
                return Fate::Served;
            }
            left = usize::MAX;
            match after {
                true => Fate::Delayed {
                    before: Duration::ZERO,
                    after: never,
                },
                false => Fate::Delayed {
                    before: never,
                    after: Duration::ZERO,
                },
            }
        });
        let run = task.run(&bench.clock, bench.time(false));
        let ended = bench.clock.timeout(SECOND, Box::pin(run)).await;
        assert!(ended.is_err(), "{at:?}: {ended:?}");
        bench.engine.plan(|_, _| Fate::Served);
        bench.engine.sent();
    }
    bench.run(&task).await;
    (bench.items(), bench.engine.sent().len())
}
