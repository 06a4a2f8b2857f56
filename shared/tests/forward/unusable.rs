//! Versions that cannot be read or opened.

use std::time::Duration;

use tidewatch::forward::HandleError;
use tidewatch::forward::sinks::file::File;

use super::engine::Fate;
use super::support::payload;
use super::versions::{World, lines, records};

#[tokio::test(start_paused = true)]
async fn without_a_readable_configuration_nothing_is_delivered() {
    let world = World::new(true);
    world.apply("a: { uri: 'file://PATH/a' }", 0).await;
    let forwarder = world.forwarder().await;
    world.store.sent();
    world.handle(&forwarder, &payload(&records(1..=1))).await.unwrap();
    assert_eq!(
        world.store.sent(),
        [("GET".to_owned(), "config/pointer".to_owned())]
    );
    world.store.plan(|_, _| Fate::Dropped);
    let begun = tokio::time::Instant::now();
    let failed = world.handle(&forwarder, &payload(&records(2..=3))).await;
    assert!(
        matches!(failed, Err(HandleError::NoConfiguration(_))),
        "{failed:?}"
    );
    assert!(
        begun.elapsed() <= Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(world.lines("a"), lines(1..=1));
    let mut tries = 0;
    world.store.plan(move |_, _| {
        tries += 1;
        if tries < 3 { Fate::Dropped } else { Fate::Served }
    });
    let handled = world.handle(&forwarder, &payload(&records(2..=3))).await.unwrap();
    assert_eq!(handled.report.delivered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_cannot_be_opened_leaves_the_one_before_until_it_can() {
    let world = World::new(false);
    world.apply("a: { uri: 'file://PATH/a' }", 0).await;
    let forwarder = world.forwarder().await;
    let obstacle = File::open(&world.path("b"), 10).unwrap();
    world.apply("b: { uri: 'file://PATH/b' }", 3).await;
    let handled = world.handle(&forwarder, &payload(&records(1..=4))).await.unwrap();
    assert_eq!((handled.first_failed, world.lines("a")), (None, lines(1..=4)));
    assert_eq!(handled.report.config_faults, 1);
    drop(obstacle);
    world.clock.sleep(Duration::from_secs(61)).await;
    let handled = world.handle(&forwarder, &payload(&records(5..=6))).await.unwrap();
    assert_eq!(handled.report.config_faults, 0);
    assert_eq!((world.lines("a"), world.lines("b")), (lines(1..=4), lines(5..=6)));
    // Nor may a try take longer than half of the invocation.
    world
        .apply(
            "slow: { uri: 'file://PATH/slow', timeout: 170s, on_failure: retry }",
            15,
        )
        .await;
    let handled = world
        .handle(&forwarder, &payload(&records(21..=21)))
        .await
        .unwrap();
    assert_eq!((handled.first_failed, handled.report.config_faults), (None, 1));
    assert_eq!(world.lines("b"), [lines(5..=6), lines(21..=21)].concat());
    // The quarantine of a version is tried too.
    std::fs::write(world.path("file"), "").unwrap();
    let bad = "quarantine: file://PATH/file/quarantine\nsinks: { c: { uri: 'file://PATH/c' } }";
    world.document(bad, 30).await.unwrap();
    // Neither of two: what is older was good for other records.
    let failed = world.handle(&forwarder, &payload(&records(31..=31))).await;
    assert!(
        matches!(failed, Err(HandleError::TimeoutTooLong { .. })),
        "{failed:?}"
    );
    world.apply("b: { uri: 'file://PATH/b' }", 40).await;
    world.document(bad, 50).await.unwrap();
    let handled = world
        .handle(&forwarder, &payload(&records(51..=51)))
        .await
        .unwrap();
    assert_eq!(handled.report.config_faults, 1);
    assert_eq!(world.lines("b").len(), 4);
}

/// A sink of an earlier version that cannot be opened any more is as one that is down.
#[tokio::test(start_paused = true)]
async fn an_earlier_sink_that_cannot_be_opened_keeps_its_records_and_no_others() {
    let world = World::new(false);
    world
        .apply("a: { uri: 'file://PATH/a', on_failure: retry }", 0)
        .await;
    world.apply("b: { uri: 'file://PATH/b' }", 3).await;
    let obstacle = File::open(&world.path("a"), 10).unwrap();
    let forwarder = world.forwarder().await;
    let handled = world.handle(&forwarder, &payload(&records(1..=4))).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("1"));
    assert_eq!(world.lines("b"), lines(3..=4));
    drop(obstacle);
    let handled = world.handle(&forwarder, &payload(&records(1..=4))).await.unwrap();
    assert_eq!((handled.first_failed, world.lines("a")), (None, lines(1..=2)));
}

/// A directory is opened once, whatever name and options the versions give it, and by however many batches at once.
#[tokio::test(start_paused = true)]
async fn a_directory_stays_open_over_versions() {
    let world = World::new(false);
    world.apply("a: { uri: 'file://PATH/a?remember=100' }", 0).await;
    let forwarder = world.forwarder().await;
    world.apply("a: { uri: 'file://PATH/a?remember=200' }", 3).await;
    world
        .apply(
            "renamed: { uri: 'file://PATH/a' }, b: { uri: 'file://PATH/b' }",
            6,
        )
        .await;
    let (one, other) = (payload(&records(1..=5)), payload(&records(6..=7)));
    let (one, other) = tokio::join!(world.handle(&forwarder, &one), world.handle(&forwarder, &other));
    assert_eq!(
        (one.unwrap().first_failed, other.unwrap().first_failed),
        (None, None)
    );
    let mut found = world.lines("a");
    found.sort();
    assert_eq!((found, world.lines("b")), (lines(1..=7), lines(6..=7)));
    // Two sinks of one version may not share one.
    world
        .apply("c: { uri: 'file://PATH/c' }, d: { uri: 'file://PATH/c' }", 8)
        .await;
    world.handle(&forwarder, &payload(&records(8..=9))).await.unwrap();
    assert!(world.lines("c").is_empty() && world.lines("b").len() == 4);
}

/// A version that is damaged is passed over for the one before it, in an environment that knows that one and in a new
/// one, and is used once it is mended; what both hold is read once.
#[tokio::test(start_paused = true)]
async fn a_damaged_version_leaves_the_one_before_until_it_is_mended() {
    let world = World::new(true);
    let first = world.apply("a: { uri: 'file://PATH/a' }", 0).await;
    let running = world.forwarder().await;
    let second = world.apply("b: { uri: 'file://PATH/b' }", 3).await;
    let (objects, name) = (
        world.store.objects("config"),
        format!("versions/{}.json", second.version),
    );
    let good = objects.get(&name).await.unwrap().unwrap();
    objects.replace(&name, b"{}".to_vec()).await.unwrap();
    world.clock.sleep(Duration::from_secs(200)).await;
    world.store.sent();
    for numbers in [1..=2, 3..=4] {
        let handled = world.handle(&running, &payload(&records(numbers))).await.unwrap();
        assert_eq!((handled.first_failed, handled.report.config_faults), (None, 1));
        assert_eq!(handled.report.config.as_ref(), Some(&first.version));
    }
    assert!(
        world
            .store
            .sent()
            .iter()
            .all(|(_, key)| !key.contains(&first.version))
    );
    drop(running);
    let new = world.forwarder().await;
    world.handle(&new, &payload(&records(5..=6))).await.unwrap();
    assert_eq!((world.lines("a"), world.lines("b")), (lines(1..=6), Vec::new()));
    objects.replace(&name, good.body).await.unwrap();
    let handled = world.handle(&new, &payload(&records(7..=8))).await.unwrap();
    assert_eq!(
        (handled.report.config, handled.report.config_faults),
        (Some(second.version), 0)
    );
    assert_eq!((world.lines("a"), world.lines("b")), (lines(1..=6), lines(7..=8)));
    // A request for a new version that fails by itself does not give its records other sinks.
    let third = world.apply("c: { uri: 'file://PATH/c' }", 500).await;
    let mut fails = 1;
    world
        .store
        .plan(move |_, key| match (key.contains(&third.version), fails) {
            (true, 1) => {
                fails -= 1;
                Fate::Dropped
            }
            _ => Fate::Served,
        });
    let late = records(501..=502);
    world.handle(&new, &payload(&late)).await.unwrap();
    assert_eq!(
        (world.lines("b"), world.lines("c")),
        (lines(7..=8), lines(501..=502))
    );
    // Neither is there any more: nothing is delivered, and nothing by what is known.
    let pointer = br#"{"current":"3-x","before":"2-x"}"#;
    objects.replace("pointer", pointer.to_vec()).await.unwrap();
    let failed = world.handle(&new, &payload(&records(9..=9))).await;
    assert!(
        matches!(failed, Err(HandleError::NoConfiguration(_))),
        "{failed:?}"
    );
    assert_eq!(world.lines("b"), lines(7..=8));
}

/// What fails for a moment while a version is opened does not give its records other sinks.
#[tokio::test(start_paused = true)]
async fn a_place_that_fails_for_a_moment_does_not_pass_a_version_over() {
    let world = World::new(false);
    world.apply("a: { uri: 'file://PATH/a' }", 0).await;
    world.apply("b: { uri: 'file://PATH/b' }", 3).await;
    let (quarantine, aside) = (world.path("quarantine"), world.path("aside"));
    std::fs::write(&quarantine, "").unwrap();
    let mended = async {
        world.clock.sleep(Duration::from_millis(500)).await;
        std::fs::rename(&quarantine, &aside).unwrap();
    };
    let (forwarder, ()) = futures_util::join!(world.forwarder(), mended);
    let handled = world.handle(&forwarder, &payload(&records(4..=5))).await.unwrap();
    assert_eq!(handled.report.config_faults, 0);
    assert_eq!((world.lines("a"), world.lines("b")), (Vec::new(), lines(4..=5)));
    drop(forwarder);
    // Nor what fails for longer: both versions write there.
    std::fs::remove_dir_all(&quarantine).unwrap();
    std::fs::rename(&aside, &quarantine).unwrap();
    let refused = world.starts().await;
    assert!(refused.is_err_and(|error| error.to_string().contains("quarantine")));
}
