//! `tidewatch audit backfill` and `import-cursor`.

use serde_json::json;

use crate::lambda::{Lambda, delivered};
use crate::{TABLE, at, machine, stamp};

#[tokio::test]
async fn a_range_is_handed_to_the_function_and_goes_on_where_it_was_cut() {
    // Several days: a page each.
    let (machine, lambda) = (machine((0..100).step_by(5)).await, Lambda::start().await);
    let note = machine.home().join("position");
    let backfill = format!(
        "audit backfill --table {TABLE} --endpoint-url {} --function forward --function-endpoint {}",
        machine.url(),
        lambda.url
    );
    let range = "--from 2026-11-20 --to 2026-11-23";
    let dry = machine
        .bare(&format!("{backfill} {range} --dry-run --json"))
        .await
        .expect(0);
    let json = dry.json();
    // The last event of that day is number 85.
    assert_eq!(
        (&json["records"], &json["to"]),
        (&json!(18), &json!("2026-11-24T00:00:00Z"))
    );
    assert_eq!((dry.err.as_str(), lambda.asked().len()), ("", 0));

    lambda.fail(&[2]);
    let cut = machine
        .bare(&format!("{backfill} {range} --position {}", note.display()))
        .await
        .expect(1);
    assert!(
        cut.err.contains("it failed (Unhandled)")
            && cut
                .err
                .contains("records were taken); run it again to go on from"),
        "{}",
        cut.err
    );
    let before = lambda.asked();
    assert_eq!(before.len(), 3);
    // The range is that of the position.
    let done = machine
        .bare(&format!("{backfill} --json --position {}", note.display()))
        .await
        .expect(0);
    assert_eq!(done.json()["from"], "2026-11-20T00:00:00Z");
    let after = lambda.asked();
    assert_eq!(after[0].1, before[2].1);
    assert_eq!(after.len(), 2);
    assert_eq!(
        after[0].1["tidewatch"],
        json!({"origin": "backfill", "range": {"from": "2026-11-20T00:00:00Z", "to": "2026-11-24T00:00:00Z"}})
    );
    assert_eq!(delivered(&lambda.sink()), (0..=85).step_by(5).collect::<Vec<_>>());
    assert!(!note.exists());
}

#[tokio::test]
async fn it_serves_one_sink_of_this_process() {
    let machine = machine(0..3).await;
    let home = machine.home();
    let document = format!(
        "quarantine: file://{0}/quarantine\nsinks: {{ a: {{ uri: 'file://{0}/a' }}, b: {{ uri: 'file://{0}/b' }} }}\n",
        home.display()
    );
    std::fs::write(home.join("tidewatch.yaml"), document).unwrap();
    let backfill = format!(
        "audit backfill --from 2026-11-20 --table {TABLE} --endpoint-url {} --config {}/tidewatch.yaml",
        machine.url(),
        home.display()
    );
    let text = machine.bare(&format!("{backfill} --sink b")).await.expect(0);
    assert!(
        text.out.starts_with("3 records of 2026-11-20T00:00:00Z to "),
        "{}",
        text.out
    );
    assert_eq!(delivered(&home.join("b")), [0, 1, 2]);
    assert!(delivered(&home.join("a")).is_empty());
    let unknown = machine.bare(&format!("{backfill} --sink c")).await.expect(1);
    assert!(
        unknown.err.contains("the sink c, which is not configured"),
        "{}",
        unknown.err
    );
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let machine = machine(0..1).await;
    let url = machine.url();
    for (arguments, says) in [
        ("audit backfill --function f", "--from"),
        (
            "audit backfill --from 2026-11-20 --to 2026-11-19 --function f",
            "ends before it begins",
        ),
        ("audit backfill --from 2026-11-20", "--config"),
        ("audit import-cursor /nowhere", "/nowhere"),
    ] {
        let line = format!("{arguments} --table {TABLE} --endpoint-url {url}");
        let ended = machine.bare(&line).await.expect(2);
        assert!(ended.err.contains(says), "{arguments}: {}", ended.err);
    }
}

#[tokio::test]
async fn the_event_handlers_place_is_shown_and_gone_on_from() {
    let (machine, lambda) = (machine((0..100).step_by(10)).await, Lambda::start().await);
    let state = machine.home().join("state/teleport.example.com_443");
    std::fs::create_dir_all(&state).unwrap();
    // Event 70 is the last that it sent.
    let iterator =
        json!({"CreatedAt": at(70), "CreatedAtDate": "2026-11-23", "EventIndex": 0, "SessionID": "s70"});
    let cursor = json!({"date": "2026-11-23", "iterator": iterator.to_string()});
    std::fs::write(state.join("cursor"), cursor.to_string()).unwrap();
    std::fs::write(state.join("id"), "00000000-0000-4000-8000-000000000070").unwrap();
    let import = format!(
        "audit import-cursor {}/state --table {TABLE} --endpoint-url {}",
        machine.home().display(),
        machine.url()
    );
    let shown = machine.bare(&import).await.expect(0);
    let next = format!("go on with: tidewatch audit backfill --from {}", stamp(at(22)));
    assert!(
        shown
            .out
            .contains(&format!("up to {} (its cursor)", stamp(at(70))))
            && shown.out.contains(&next),
        "{}",
        shown.out
    );
    let json = machine.bare(&format!("{import} --json")).await.expect(0).json();
    assert_eq!(json["id"], "00000000-0000-4000-8000-000000000070");
    assert!(lambda.asked().is_empty());
    let start = format!(
        "{import} --start --function forward --function-endpoint {}",
        lambda.url
    );
    machine.bare(&start).await.expect(0);
    // 48 hours before; what lies more than two hours ahead of now is for the stream.
    let due: Vec<u64> = (30..100)
        .step_by(10)
        .filter(|n| {
            std::time::UNIX_EPOCH + std::time::Duration::from_secs(at(*n))
                < std::time::SystemTime::now() + std::time::Duration::from_secs(7_200)
        })
        .collect();
    assert_eq!(delivered(&lambda.sink()), due);
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 2);
}
