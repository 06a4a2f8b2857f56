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
    let sweeps = bench.log().sweeps(bench.stop()).await.unwrap();
    sweeps.intend(&[swept("r")], bench.stop()).await.unwrap();
    assert_eq!(
        causes(&bench, &[deletion("/a", 1, bench.clock.now(), None)]).await,
        ["/a unknown"]
    );
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    sweeps.intend(&[swept("r")], bench.stop()).await.unwrap();
    let late = bench.clock.now() + Duration::from_secs(60);
    assert_eq!(
        causes(&bench, &[deletion("/a", 2, late, None)]).await,
        ["/a unknown"]
    );
    bench.clock.sleep(Duration::from_secs(120)).await;
    sweeps.intend(&[swept("r")], bench.stop()).await.unwrap();
    assert_eq!(
        causes(&bench, &[deletion("/a", 3, bench.clock.now(), None)]).await,
        ["/a expired"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_void_after_another_write_of_the_key() {
    let bench = Bench::new(1).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    sweeps.intend(&[swept("r")], bench.stop()).await.unwrap();
    bench.clock.sleep(Duration::from_secs(1)).await;
    let now = bench.clock.now();
    // In the same batch.
    assert_eq!(
        causes(&bench, &[bench.put("/a", 1), deletion("/a", 2, now, None)]).await[1],
        "/a unknown"
    );
    // In the log.
    sweeps.intend(&[swept("r")], bench.stop()).await.unwrap();
    causes(&bench, &[bench.put("/a", 3)]).await;
    assert_eq!(
        causes(&bench, &[deletion("/a", 4, now, None)]).await,
        ["/a unknown"]
    );
    bench.clock.sleep(Duration::from_secs(60)).await;
    // Taken back.
    sweeps.intend(&[swept("r")], bench.stop()).await.unwrap();
    sweeps.void(&[swept("r")], bench.stop()).await.unwrap();
    assert_eq!(
        causes(&bench, &[deletion("/a", 5, bench.clock.now(), None)]).await,
        ["/a unknown"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_old_image_tells_beside_an_intent() {
    let bench = Bench::new(1).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    sweeps.intend(&[swept("r")], bench.stop()).await.unwrap();
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

/// Of a key that was swept in the morning, and is deleted by its owner at night.
#[tokio::test(start_paused = true)]
async fn a_note_that_says_nothing_of_a_delete_does_not_make_the_log_be_read_back_to_it() {
    let bench = Bench::new(1).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    sweeps.intend(&[swept("r")], bench.stop()).await.unwrap();
    for sequence in 1..40 {
        bench.clock.sleep(Duration::from_secs(600)).await;
        causes(&bench, &[bench.put(&format!("/{sequence}"), sequence)]).await;
    }
    let mut read = Vec::new();
    for (sequence, key) in [(100, "/never/swept"), (101, "/a")] {
        for previous in [None, Some(previous("s", EXPIRES))] {
            bench.clock.sleep(Duration::from_secs(600)).await;
            bench.engine.sent();
            let deletion = deletion(key, sequence, bench.clock.now(), previous);
            bench
                .appender(Inline::None)
                .append(STREAM, &[deletion], bench.stop())
                .await
                .unwrap();
            let queries = bench.engine.sent();
            read.push(queries.iter().filter(|sent| sent.operation == "Query").count());
        }
    }
    assert!(read.iter().all(|queries| queries == &read[0]), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn of_two_sweeps_of_a_key_neither_waits_for_the_other() {
    let bench = Bench::new(1).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    let item = swept("r");
    // Another sweep's note, noted later by its clock.
    let mut later = item.item(&sweeps.control, bench.clock.now() + Duration::from_secs(3));
    assert!(bench.log().overwrite(later.clone()).await.is_ok());
    let begun = bench.clock.instant();
    sweeps
        .intend(std::slice::from_ref(&item), bench.stop())
        .await
        .unwrap();
    assert_eq!(bench.clock.instant(), begun);
    let place = later.remove("Segment").unwrap().as_n().unwrap().parse().unwrap();
    let stands = bench
        .log()
        .item(later["Log"].as_s().unwrap(), place)
        .await
        .ok()
        .flatten()
        .unwrap();
    assert_eq!(stands["Noted"], later["Noted"]);
}
