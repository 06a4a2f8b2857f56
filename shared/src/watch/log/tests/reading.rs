//! Where reading begins and ends.

use super::*;

#[tokio::test(start_paused = true)]
async fn reading_goes_on_in_the_middle_of_a_segment() {
    let bench = Bench::new(1).await;
    let batch = [bench.put("/a", 1), bench.put("/b", 2), bench.put("/c", 3)];
    bench
        .appender(Inline::None)
        .append(STREAM, &batch, bench.stop())
        .await
        .unwrap();
    let mut from = bench.now().await;
    from.lanes
        .insert("0".into(), crate::watch::position::Mark::At(1.into(), 1));
    let from: Position = from.to_string().parse().unwrap();
    assert_eq!(bench.read(from).await.unwrap(), ["/b r2", "/c r3"]);
    assert_eq!(bench.read(bench.now().await).await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_beginning_is_behind_the_last_gap() {
    let bench = Bench::new(1).await;
    let appender = bench.appender(Inline::None);
    appender
        .append(STREAM, &[bench.put("/a", 1)], bench.stop())
        .await
        .unwrap();
    assert_eq!(bench.read(bench.beginning().await).await.unwrap(), ["/a r1"]);
    appender
        .break_all("a test", "1", None, bench.stop())
        .await
        .unwrap();
    appender
        .append(STREAM, &[bench.put("/a", 2)], bench.stop())
        .await
        .unwrap();
    assert_eq!(bench.read(bench.beginning().await).await.unwrap(), ["/a r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_log_or_above_the_head_is_compacted() {
    let (bench, other) = (Bench::new(1).await, Bench::new(2).await);
    let foreign = other.now().await;
    assert!(bench.read(foreign).await.unwrap_err().is_compacted());
    let mut above = bench.now().await;
    above
        .lanes
        .insert("0".into(), crate::watch::position::Mark::behind(5.into()));
    assert!(bench.read(above).await.unwrap_err().is_compacted());
}

#[tokio::test(start_paused = true)]
async fn a_seal_ends_reading_and_appending_goes_on_behind_it() {
    let bench = Bench::new(2).await;
    let appender = bench.appender(Inline::None);
    appender
        .append(STREAM, &[bench.put("/a", 1)], bench.stop())
        .await
        .unwrap();
    let before = bench.now().await;
    bench
        .log()
        .reconfigure(3, Transport::Stream, bench.stop())
        .await
        .unwrap();
    let after = bench.now().await;
    appender
        .append(STREAM, &[bench.put("/a", 2)], bench.stop())
        .await
        .unwrap();
    assert!(bench.read(before).await.unwrap_err().is_compacted());
    assert_eq!(bench.read(after).await.unwrap(), ["/a r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_buckets_cut_after_any_request_is_finished_by_the_next_appender() {
    for cut in 1..12 {
        let bench = Bench::new(2).await;
        let appender = bench.appender(Inline::None);
        appender
            .append(STREAM, &[bench.put("/a", 1)], bench.stop())
            .await
            .unwrap();
        let wire = bench.engine.beside();
        let mut sent = 0;
        wire.plan(move |_, _| {
            sent += 1;
            if sent > cut {
                crate::engine::Fate::Dropped
            } else {
                crate::engine::Fate::Served
            }
        });
        let log = Log::new(
            &wire.client(),
            LOGS,
            "state",
            bench.clock.clone(),
            Random::seeded(1),
        );
        let done = log
            .reconfigure(
                3,
                Transport::Stream,
                bench.clock.instant() + Duration::from_secs(2),
            )
            .await;
        appender
            .append(STREAM, &[bench.put("/a", 2), bench.put("/b", 3)], bench.stop())
            .await
            .unwrap();
        // Before the first write nothing has begun; behind it the change is in, whoever finished it.
        if cut >= 2 {
            bench
                .log()
                .reconfigure(3, Transport::Stream, bench.stop())
                .await
                .unwrap();
            assert_eq!(bench.now().await.lanes.len(), 3, "cut after {cut}");
        }
        let _ = done;
        assert_eq!(
            bench
                .appender(Inline::None)
                .append(STREAM, &[bench.put("/b", 4)], bench.stop())
                .await
                .unwrap()
                .appended,
            1
        );
    }
}
