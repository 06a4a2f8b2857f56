//! What an append costs, and what it does with what comes twice, late, or cannot be read.

use super::*;
use crate::engine::Fate;

#[tokio::test(start_paused = true)]
async fn a_batch_is_a_put_once_the_head_is_known() {
    let bench = Bench::new(1).await;
    let appender = bench.appender(Inline::None);
    let first = [bench.put("/a", 1), bench.put("/b", 2)];
    let done = appender.append(STREAM, &first, bench.stop()).await.unwrap();
    assert_eq!((done.appended, done.segments), (2, 1));
    assert_eq!(bench.engine.operations(), ["GetItem", "Query", "PutItem"]);
    bench.clock.sleep(Duration::from_secs(1)).await;
    appender
        .append(STREAM, &[bench.put("/a", 3)], bench.stop())
        .await
        .unwrap();
    assert_eq!(bench.engine.operations(), ["PutItem"]);
    // A repeat is found in memory.
    let done = appender.append(STREAM, &first, bench.stop()).await.unwrap();
    assert_eq!(
        (done.appended, done.repeats, bench.engine.operations().len()),
        (0, 2, 0)
    );
    assert_eq!(bench.all().await, ["/a r1", "/b r2", "/a r3"]);
}

#[tokio::test(start_paused = true)]
async fn values_of_an_attached_table_stay_out_of_the_log() {
    let bench = Bench::new(1).await;
    let previous = Put {
        expires: None,
        revision: "r0".into(),
        value: Value::Inline(b"secret".to_vec()),
    };
    let batch = [
        bench.put("/a", 1),
        deletion("/a", 2, bench.clock.now(), Some(previous)),
    ];
    bench
        .appender(Inline::None)
        .append(STREAM, &batch, bench.stop())
        .await
        .unwrap();
    let sent: String = bench
        .engine
        .sent()
        .iter()
        .map(|sent| sent.body.to_string())
        .collect();
    assert!(!sent.contains("c2VjcmV0") && sent.contains("r0"), "{sent}");
    bench
        .appender(Inline::All)
        .append(STREAM, &[bench.put("/a", 3)], bench.stop())
        .await
        .unwrap();
    let sent: String = bench
        .engine
        .sent()
        .iter()
        .map(|sent| sent.body.to_string())
        .collect();
    assert!(sent.contains("c2VjcmV0"));
}

#[tokio::test(start_paused = true)]
async fn two_appenders_race_and_a_lost_answer_is_no_repeat() {
    let bench = Bench::new(1).await;
    let (one, two) = (bench.appender(Inline::None), bench.appender(Inline::None));
    one.append(STREAM, &[bench.put("/a", 1)], bench.stop())
        .await
        .unwrap();
    two.append(STREAM, &[bench.put("/b", 2)], bench.stop())
        .await
        .unwrap();
    bench.engine.sent();
    // The first one's head is behind: its put is refused, and it reads only what came since.
    one.append(STREAM, &[bench.put("/c", 3)], bench.stop())
        .await
        .unwrap();
    assert_eq!(bench.engine.operations(), ["PutItem", "Query", "PutItem"]);
    bench.engine.fates("PutItem", [Fate::AnswerLost]);
    one.append(STREAM, &[bench.put("/d", 4)], bench.stop())
        .await
        .unwrap();
    assert_eq!(bench.engine.operations(), ["PutItem", "Query"]);
    assert_eq!(bench.all().await, ["/a r1", "/b r2", "/c r3", "/d r4"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_overtaken_is_a_gap_once() {
    let bench = Bench::new(1).await;
    let appender = bench.appender(Inline::None);
    appender
        .append(STREAM, &[bench.put("/a", 2)], bench.stop())
        .await
        .unwrap();
    let done = appender
        .append(STREAM, &[bench.put("/a", 1), bench.put("/b", 1)], bench.stop())
        .await
        .unwrap();
    assert_eq!((done.appended, done.gaps), (1, 1));
    // Again, by somebody who remembers nothing: the gap stands behind the later change.
    let done = bench
        .appender(Inline::None)
        .append(STREAM, &[bench.put("/a", 1)], bench.stop())
        .await
        .unwrap();
    assert_eq!((done.gaps, done.segments), (1, 0));
    assert_eq!(
        bench.all().await,
        [
            "/a r2",
            "gap: a change came after a later one of its key",
            "/b r1"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn times_that_cannot_be_are_absent_and_do_not_move_the_walk() {
    let bench = Bench::new(1).await;
    let appender = bench.appender(Inline::None);
    let ahead = bench.clock.now() + Duration::from_secs(30 * 3600);
    let batch = [bench.at("/a", 1, Some(ahead)), bench.at("/b", 2, None)];
    appender.append(STREAM, &batch, bench.stop()).await.unwrap();
    for sequence in 3..6 {
        bench.clock.sleep(Duration::from_secs(10)).await;
        appender
            .append(STREAM, &[bench.put("/c", sequence)], bench.stop())
            .await
            .unwrap();
    }
    // Found all the same, by walking to the end.
    let done = bench
        .appender(Inline::None)
        .append(STREAM, &batch, bench.stop())
        .await
        .unwrap();
    assert_eq!((done.repeats, done.segments), (2, 0));
    // What has a time ends its walk at it.
    bench.clock.sleep(Duration::from_secs(1)).await;
    bench.engine.sent();
    bench
        .appender(Inline::None)
        .append(STREAM, &[bench.put("/d", 9)], bench.stop())
        .await
        .unwrap();
    assert_eq!(bench.engine.operations(), ["GetItem", "Query", "PutItem"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_gap_in_every_bucket_once() {
    let bench = Bench::new(3).await;
    let unreadable = [Incoming::Unreadable {
        id: Some("7".to_owned()),
        created: Some(bench.clock.now()),
    }];
    for segments in [3, 0] {
        let done = bench
            .appender(Inline::None)
            .append(STREAM, &unreadable, bench.stop())
            .await
            .unwrap();
        assert_eq!((done.gaps, done.segments), (1, segments));
    }
    assert_eq!(bench.all().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_is_cut_into_segments_below_their_limit() {
    let bench = Bench::new(1).await;
    let batch: Vec<Incoming> = (0..2000)
        .map(|sequence| bench.put(&format!("/a/{sequence}"), sequence))
        .collect();
    let done = bench
        .appender(Inline::All)
        .append(STREAM, &batch, bench.stop())
        .await
        .unwrap();
    assert_eq!(done.appended, 2000);
    let puts = bench
        .engine
        .sent()
        .into_iter()
        .filter(|sent| sent.operation == "PutItem");
    let sizes: Vec<usize> = puts
        .map(|put| put.body["Item"]["Events"]["S"].as_str().unwrap().len())
        .collect();
    assert!(
        sizes.len() == done.segments && sizes.iter().all(|size| *size <= 66 * 1024),
        "{sizes:?}"
    );
    assert_eq!(bench.all().await.len(), 2000);
}

#[tokio::test(start_paused = true)]
async fn a_newer_stream_breaks_every_bucket_and_the_older_one_is_dropped() {
    let bench = Bench::new(2).await;
    let appender = bench.appender(Inline::None);
    appender
        .append(STREAM, &[bench.put("/a", 1)], bench.stop())
        .await
        .unwrap();
    appender
        .append(LATER, &[bench.put("/a", 100)], bench.stop())
        .await
        .unwrap();
    let zombie = appender
        .append(STREAM, &[bench.put("/a", 2)], bench.stop())
        .await
        .unwrap();
    assert_eq!((zombie.appended, zombie.gaps), (0, 1));
    let all = bench.all().await;
    assert_eq!(
        all.iter().filter(|entry| entry.starts_with("gap")).count(),
        2,
        "{all:?}"
    );
    assert!(!all.contains(&"/a r2".to_owned()));
    let other = "arn:aws:dynamodb:eu-west-1:000000000000:table/other/stream/2027-01-15T08:00:00.000";
    assert!(
        appender
            .append(other, &[bench.put("/a", 3)], bench.stop())
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn equal_times_of_kinesis_count_as_overtaken() {
    let spec = LogSpec {
        transport: Transport::Kinesis,
        buckets: 1,
        ..LogSpec::new("state")
    };
    let bench = Bench::with(spec).await;
    let of = |micros: u64, id: &str| {
        let Incoming::Record(mut record) = bench.put("/a", micros) else {
            panic!()
        };
        record.order = Order::Created(micros, id.to_owned());
        Incoming::Record(record)
    };
    let appender = bench.appender(Inline::None);
    let done = appender
        .append(
            "state",
            &[of(5, "x"), of(5, "x"), of(5, "y"), of(6, "z")],
            bench.stop(),
        )
        .await
        .unwrap();
    assert_eq!((done.appended, done.repeats, done.gaps), (2, 1, 1));
    let done = appender
        .append("state", &[of(5, "x"), of(6, "z")], bench.stop())
        .await
        .unwrap();
    assert_eq!(done.repeats, 2);
}

#[tokio::test(start_paused = true)]
async fn what_fails_until_the_end_names_the_lowest_record_that_is_not_in() {
    let bench = Bench::new(1).await;
    let appender = bench.appender(Inline::None);
    appender
        .append(STREAM, &[bench.put("/a", 1)], bench.stop())
        .await
        .unwrap();
    bench.engine.plan(|operation, _| match operation {
        "PutItem" => crate::engine::refusal("ProvisionedThroughputExceededException"),
        _ => Fate::Served,
    });
    let failed = appender
        .append(STREAM, &[bench.put("/a", 1), bench.put("/b", 2)], bench.stop())
        .await
        .unwrap_err();
    assert_eq!(failed.first, 1);
}
