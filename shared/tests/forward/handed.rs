//! Records that a task hands over: for whom they are, and that nothing of them is acknowledged that is not done.

use super::poison;
use super::support::{Behaviour, Setup, event_line, handed, insert, payload};
use tidewatch::forward::HandleError;
use tidewatch::forward::handed::Origin;

#[tokio::test(start_paused = true)]
async fn they_go_to_the_sink_that_they_are_for_and_never_to_the_spool() {
    let setup = Setup::spooled(&[("a", ""), ("b", "")]).await;
    let records: Vec<String> = (1..=4).map(|n| insert("s", n, n)).collect();
    let drain = handed(r#"{"origin":"drain","sink":"a"}"#, &records);
    setup.fake("a").set(Behaviour::FailAfter(2));
    let begun = tokio::time::Instant::now();
    let first = setup.handle(&drain).await.unwrap();
    assert_eq!(first.first_failed.as_deref(), Some("3"));
    assert_eq!(
        (first.report.origin, first.report.retried),
        (Some(Origin::Drain), 2)
    );
    assert_eq!(first.report.lag, None);
    assert!(begun.elapsed().as_secs() <= 10, "{:?}", begun.elapsed());
    assert!(setup.objects("spool/a").is_empty() && setup.lines("b").is_empty());
    assert!(!first.report.sinks.contains_key("b"));
    setup.fake("a").set(Behaviour::Work);
    assert_eq!(setup.handle(&drain).await.unwrap().first_failed, None);
    assert_eq!(
        setup.lines("a"),
        (1..=4).map(|n| event_line("s", n)).collect::<Vec<_>>()
    );
    // What waits is not asked for either.
    setup.fake("b").set(Behaviour::Fail);
    setup.handle(&payload(&[insert("s", 5, 5)])).await.unwrap();
    setup.fake("b").set(Behaviour::Work);
    let all = handed(r#"{"origin":"redrive"}"#, &[insert("s", 6, 6)]);
    setup.handle(&all).await.unwrap();
    assert_eq!(setup.lines("b"), [event_line("s", 6)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_for_nobody_or_is_no_envelope_is_refused_whole() {
    let setup = Setup::spooled(&[("a", "")]).await;
    let unknown = handed(
        r#"{"origin":"drain","sink":"gone"}"#,
        &[insert("s", 1, 1), poison(2)],
    );
    let failed = setup.handle(&unknown).await;
    assert_eq!(failed, Err(HandleError::UnknownSink("gone".to_owned())));
    assert!(setup.quarantined().is_empty());
    for header in [
        "null",
        "{}",
        r#"{"origin":"stream"}"#,
        r#"{"origin":"drain","sinks":"a"}"#,
        r#"{"origin":"drain","sink":7}"#,
        r#"{"origin":"drain"},"tidewatch":{"origin":"drain"}"#,
    ] {
        for records in [vec![insert("s", 1, 1)], vec![insert("s", 1, 1), poison(2)]] {
            let failed = setup.handle(&handed(header, &records)).await;
            assert_eq!(failed, Err(HandleError::NotAnEvent), "{header}");
        }
    }
    assert!(setup.lines("a").is_empty());
    // Wherever it stands, an envelope is one.
    let behind = format!(
        r#"{{"Records":[{}],"tidewatch":{{"origin":"backfill"}}}}"#,
        insert("s", 1, 1)
    );
    let handled = setup.handle(&behind).await.unwrap();
    assert_eq!(handled.report.origin, Some(Origin::Backfill));
}

#[tokio::test(start_paused = true)]
async fn the_origin_stands_in_the_envelope() {
    for origin in ["drain", "quarantine", "redrive", "backfill"] {
        let setup = Setup::spooled(&[("a", "format: envelope")]).await;
        let header = format!(r#"{{"origin":"{origin}"}}"#);
        setup
            .handle(&handed(&header, &[insert("s", 1, 1)]))
            .await
            .unwrap();
        assert!(setup.lines("a")[0].contains(&format!(r#""origin":"{origin}""#)));
    }
}

/// Acknowledging it would let the task delete the one object that holds it.
#[tokio::test(start_paused = true)]
async fn what_comes_from_the_quarantine_stays_there_if_it_is_still_poison() {
    let setup = Setup::spooled(&[("a", "")]).await;
    let header = r#"{"origin":"quarantine"}"#;
    let records = [insert("s", 1, 1), poison(2), insert("s", 3, 3)];
    let handled = setup.handle(&handed(header, &records)).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("2"));
    assert_eq!(setup.lines("a"), [event_line("s", 1)]);
    setup.fake("a").set(Behaviour::PanicOn("uid-s-4\""));
    let header = r#"{"origin":"quarantine","sink":"a"}"#;
    let handled = setup.handle(&handed(header, &[insert("s", 4, 4)])).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("4"));
    assert!(setup.quarantined().is_empty());
    // What waited in the spool has nowhere else to stay.
    let header = r#"{"origin":"drain","sink":"a"}"#;
    let handled = setup
        .handle(&handed(header, &[insert("s", 4, 4), poison(5)]))
        .await
        .unwrap();
    assert_eq!((handled.first_failed, setup.quarantined().len()), (None, 2));
}

/// A change that was taken for new when it arrived is not dropped because it is delivered hours later.
#[tokio::test(start_paused = true)]
async fn what_was_judged_before_it_waited_is_not_judged_by_its_second_arrival() {
    let modify = insert("s", 1, 1)
        .replace("INSERT", "MODIFY")
        .replace(r#""ApproximateCreationDateTime":1795168801.25,"#, "")
        .replace(
            r#""CreatedAt":{"N":"1795168801"}"#,
            r#""CreatedAt":{"N":"1763632860"}"#,
        );
    let setup = Setup::spooled(&[("a", "")]).await;
    setup.fake("a").set(Behaviour::Fail);
    let handled = setup
        .handle(&payload(std::slice::from_ref(&modify)))
        .await
        .unwrap();
    assert_eq!(handled.report.spooled, 1, "{:?}", handled.report);
    setup.fake("a").set(Behaviour::Work);
    tokio::time::sleep(std::time::Duration::from_secs(7200)).await;
    let report = setup.drain().await;
    assert_eq!((report.sinks["a"].records, setup.lines("a").len()), (1, 1));
}
