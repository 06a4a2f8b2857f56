//! Compaction and examination.

use super::*;
use crate::watch::log::{Facts, Finding, LogErrorKind, MIN_RETENTION, MappingFacts};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn the_newest_stays_and_numbers_go_on() {
    let bench = Bench::new(1).await;
    let (appender, log) = (bench.appender(Inline::None), bench.log());
    for sequence in 1..4 {
        appender
            .append(STREAM, &[bench.put("/a", sequence)], bench.stop())
            .await
            .unwrap();
        bench.clock.sleep(DAY - Duration::from_secs(60)).await;
    }
    let (old, from) = (bench.all().await, bench.now().await);
    assert_eq!(old.len(), 3);
    assert_eq!(log.compact(MIN_RETENTION, bench.stop()).await.unwrap().removed, 1);
    bench.clock.sleep(3 * DAY).await;
    assert_eq!(log.compact(MIN_RETENTION, bench.stop()).await.unwrap().removed, 2);
    // An idle bucket has one empty segment, and is left alone.
    assert_eq!(log.compact(MIN_RETENTION, bench.stop()).await.unwrap().removed, 0);
    appender
        .append(STREAM, &[bench.put("/a", 9)], bench.stop())
        .await
        .unwrap();
    assert_eq!(bench.read(from).await.unwrap(), ["/a r9"]);
    let error = log.compact(DAY, bench.stop()).await.unwrap_err();
    assert_eq!(error.kind(), LogErrorKind::BadParameter);
}

#[tokio::test(start_paused = true)]
async fn who_comes_too_late_is_told_so() {
    let bench = Bench::new(1).await;
    let appender = bench.appender(Inline::None);
    appender
        .append(STREAM, &[bench.put("/a", 1)], bench.stop())
        .await
        .unwrap();
    let from = bench.now().await;
    for sequence in 2..4 {
        appender
            .append(STREAM, &[bench.put("/a", sequence)], bench.stop())
            .await
            .unwrap();
    }
    bench.clock.sleep(3 * DAY).await;
    bench.log().compact(MIN_RETENTION, bench.stop()).await.unwrap();
    let Err(WatchError::Compacted { floor, .. }) = bench.read(from).await else {
        panic!("not told")
    };
    assert_eq!(bench.read(*floor).await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_sealed_generation_goes_as_a_whole() {
    let bench = Bench::new(2).await;
    bench
        .appender(Inline::None)
        .append(STREAM, &[bench.put("/a", 1)], bench.stop())
        .await
        .unwrap();
    bench
        .log()
        .reconfigure(1, Transport::Stream, bench.stop())
        .await
        .unwrap();
    bench.clock.sleep(3 * DAY).await;
    let done = bench.log().compact(MIN_RETENTION, bench.stop()).await.unwrap();
    assert_eq!((done.removed, done.unfinished), (3, false));
    bench.engine.sent();
    bench.log().compact(MIN_RETENTION, bench.stop()).await.unwrap();
    assert_eq!(bench.engine.operations(), ["GetItem", "Query"]);
}

/// What is left for lack of time is told, and the next run does it.
#[tokio::test(start_paused = true)]
async fn a_compaction_that_runs_out_of_time_says_so() {
    let bench = Bench::new(2).await;
    let appender = bench.appender(Inline::None);
    for sequence in 1..20 {
        let put = bench.put(&format!("/{sequence}"), sequence);
        appender.append(STREAM, &[put], bench.stop()).await.unwrap();
    }
    bench.clock.sleep(3 * DAY).await;
    bench.engine.plan(|_, _| crate::engine::Fate::Delayed {
        before: Duration::from_millis(50),
        after: Duration::ZERO,
    });
    let mut runs = 0;
    loop {
        runs += 1;
        assert!(runs < 50);
        let stop = bench.clock.instant() + Duration::from_millis(420);
        if !bench.log().compact(MIN_RETENTION, stop).await.unwrap().unfinished {
            break;
        }
    }
    assert!(runs > 2, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reported_is_found() {
    let bench = Bench::new(1).await;
    let log = bench.log();
    let mapping = |id: &str, enabled, from_trim_horizon| MappingFacts {
        id: id.to_owned(),
        enabled,
        from_trim_horizon,
    };
    let facts = |stream: &str, mapping| Facts {
        stream: Some(stream.to_owned()),
        mapping: Some(mapping),
    };
    let examine = async |facts: Facts| log.examine(&facts, bench.stop()).await.unwrap();
    assert_eq!(examine(facts(STREAM, mapping("m", true, true))).await, []);
    bench.clock.sleep(DAY / 2).await;
    assert_eq!(examine(facts(STREAM, mapping("m", false, true))).await, []);
    bench.clock.sleep(DAY / 2).await;
    assert_eq!(
        examine(facts(STREAM, mapping("m", true, true))).await,
        [Finding::MappingWasOff]
    );
    assert_eq!(examine(facts(STREAM, mapping("m", true, true))).await, []);
    assert_eq!(
        examine(facts(STREAM, mapping("n", true, false))).await,
        [Finding::MappingReplaced]
    );
    assert_eq!(examine(facts(STREAM, mapping("o", true, true))).await, []);
    assert_eq!(
        examine(facts(LATER, mapping("o", true, true))).await,
        [Finding::StreamReplaced]
    );
    assert_eq!(bench.all().await.len(), 3);
}
