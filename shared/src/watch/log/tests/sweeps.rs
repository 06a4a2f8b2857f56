//! What tells an expired item from a deleted one.

use super::*;
use crate::watch::log::Swept;

const EXPIRES: u64 = 1_799_999_990;

fn swept(revision: &str) -> Swept {
    Swept {
        key: "/a".into(),
        revision: revision.into(),
        expires: UNIX_EPOCH + Duration::from_secs(EXPIRES),
    }
}

fn previous(revision: &str, expires: u64) -> Put {
    Put {
        expires: Some(UNIX_EPOCH + Duration::from_secs(expires)),
        revision: revision.into(),
        value: Value::Omitted,
    }
}

async fn causes(bench: &Bench, batch: &[Incoming]) -> Vec<String> {
    bench
        .appender(Inline::None)
        .append(STREAM, batch, bench.stop())
        .await
        .unwrap();
    let all = bench.read(bench.beginning().await).await.unwrap();
    all.into_iter().rev().take(batch.len()).rev().collect()
}

#[tokio::test(start_paused = true)]
async fn an_intent_tells_of_a_delete_within_seconds() {
    let bench = Bench::new(1).await;
    // Before a sweep was announced nobody looks.
    bench.log().intend(&swept("r"), bench.stop()).await.unwrap();
    assert_eq!(
        causes(&bench, &[deletion("/a", 1, bench.clock.now(), None)]).await,
        ["/a unknown"]
    );
    bench.log().announce_sweeps(bench.stop()).await.unwrap();
    bench.log().intend(&swept("r"), bench.stop()).await.unwrap();
    let late = bench.clock.now() + Duration::from_secs(60);
    assert_eq!(
        causes(&bench, &[deletion("/a", 2, late, None)]).await,
        ["/a unknown"]
    );
    bench.clock.sleep(Duration::from_secs(120)).await;
    bench.log().intend(&swept("r"), bench.stop()).await.unwrap();
    assert_eq!(
        causes(&bench, &[deletion("/a", 3, bench.clock.now(), None)]).await,
        ["/a expired"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_void_after_another_write_of_the_key() {
    let bench = Bench::new(1).await;
    bench.log().announce_sweeps(bench.stop()).await.unwrap();
    bench.log().intend(&swept("r"), bench.stop()).await.unwrap();
    bench.clock.sleep(Duration::from_secs(1)).await;
    let now = bench.clock.now();
    // In the same batch.
    assert_eq!(
        causes(&bench, &[bench.put("/a", 1), deletion("/a", 2, now, None)]).await[1],
        "/a unknown"
    );
    // In the log.
    bench.log().intend(&swept("r"), bench.stop()).await.unwrap();
    causes(&bench, &[bench.put("/a", 3)]).await;
    assert_eq!(
        causes(&bench, &[deletion("/a", 4, now, None)]).await,
        ["/a unknown"]
    );
    bench.clock.sleep(Duration::from_secs(60)).await;
    // Taken back.
    bench.log().intend(&swept("r"), bench.stop()).await.unwrap();
    bench.log().void(&swept("r"), bench.stop()).await.unwrap();
    assert_eq!(
        causes(&bench, &[deletion("/a", 5, bench.clock.now(), None)]).await,
        ["/a unknown"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_marker_tells_by_the_old_image() {
    let bench = Bench::new(1).await;
    bench.log().announce_sweeps(bench.stop()).await.unwrap();
    let marker = bench.log().marker(&swept("r"), bench.stop()).await.unwrap();
    let write = aws_sdk_dynamodb::types::TransactWriteItem::builder()
        .put(marker)
        .build();
    bench
        .engine
        .client()
        .transact_write_items()
        .transact_items(write)
        .send()
        .await
        .unwrap();
    let of = |sequence, previous| deletion("/a", sequence, bench.clock.now(), Some(previous));
    let batch = [
        of(1, previous("r", EXPIRES)),
        of(2, previous("r", EXPIRES + 1)),
        of(3, previous("s", EXPIRES)),
    ];
    assert_eq!(
        causes(&bench, &batch).await,
        ["/a expired", "/a deleted", "/a deleted"]
    );
    // Notes go with compaction.
    let notes = async || {
        let scan = bench.engine.client().scan().table_name(LOGS);
        let items = scan.send().await.unwrap().items.unwrap();
        let is_note = |log: &str| log.contains("#swept#");
        items
            .iter()
            .filter(|item| is_note(item["Log"].as_s().unwrap()))
            .count()
    };
    assert!(notes().await > 0);
    bench.clock.sleep(Duration::from_secs(4 * 86_400)).await;
    bench
        .log()
        .compact(crate::watch::log::MIN_RETENTION, bench.stop())
        .await
        .unwrap();
    assert_eq!(notes().await, 0);
}
