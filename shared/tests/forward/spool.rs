//! A sink that is down: its records wait in the spool, in order, and hold up nobody.

use std::sync::Arc;
use std::time::Duration;

use super::poison;
use super::support::{Behaviour, Setup, event_line, insert, payload};

fn batch(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|n| insert("s", n, n)).collect()
}

fn lines(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|n| event_line("s", n)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_does_not_take_waits_and_all_that_follows_waits_with_it() {
    let setup = Setup::spooled(&[("a", ""), ("b", "")]).await;
    setup.fake("a").set(Behaviour::FailAfter(2));
    let begun = tokio::time::Instant::now();
    let handled = setup.handle(&payload(&batch(1..=5))).await.unwrap();
    assert!(
        begun.elapsed() <= Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(handled.first_failed, None);
    let report = &handled.report;
    assert_eq!((report.delivered, report.spooled, report.retried), (2, 3, 0));
    assert_eq!((report.sinks["a"].delivered, report.sinks["a"].spooled), (2, 3));
    assert_eq!((report.sinks["b"].delivered, report.sinks["b"].spooled), (5, 0));
    let objects = setup.objects("spool/a");
    assert_eq!(objects.len(), 1);
    assert!(
        objects[0].0.starts_with(&format!("{:0>40}-", 3)),
        "{}",
        objects[0].0
    );
    assert_eq!(objects[0].1, batch(3..=5));

    // The sink is back, but it is not called while anything waits.
    setup.fake("a").set(Behaviour::Work);
    let handled = setup.handle(&payload(&batch(6..=7))).await.unwrap();
    assert_eq!((handled.first_failed, handled.report.spooled), (None, 2));
    assert_eq!(setup.lines("a"), lines(1..=2));
    assert_eq!(setup.lines("b"), lines(1..=7));

    let report = setup.drain_as(true).await;
    assert!(
        report.dry_run && report.sinks["a"].left.oldest_seconds.is_some(),
        "{report:?}"
    );
    let bytes: usize = setup
        .objects("spool/a")
        .iter()
        .flat_map(|(_, lines)| lines)
        .map(|line| line.len() + 1)
        .sum();
    assert_eq!(report.sinks["a"].left.bytes, bytes as u64);
    assert_eq!(
        (report.sinks["a"].records, report.sinks["a"].left.objects),
        (0, 2)
    );
    assert_eq!(setup.lines("a"), lines(1..=2));
    let report = setup.drain().await;
    let drained = &report.sinks["a"];
    assert_eq!(
        (drained.objects, drained.records, drained.left.objects),
        (2, 5, 0),
        "{report:?}"
    );
    assert_eq!(setup.lines("a"), lines(1..=7));
    assert_eq!(setup.lines("b"), lines(1..=7));
    let handled = setup.handle(&payload(&batch(8..=8))).await.unwrap();
    assert_eq!(handled.report.delivered, 1);
    assert_eq!(setup.lines("a"), lines(1..=8));
}

/// A hanging sink costs its budget, not its timeout and not the deadline.
#[tokio::test(start_paused = true)]
async fn a_hanging_sink_delays_the_answer_by_its_budget_at_most() {
    for (settings, most) in [("", 10), ("budget: 2s", 2), ("timeout: 1s, budget: 5s", 5)] {
        let setup = Setup::spooled(&[("a", settings), ("b", "")]).await;
        setup.fake("a").set(Behaviour::Hang);
        let begun = tokio::time::Instant::now();
        let handled = setup.handle(&payload(&batch(1..=3))).await.unwrap();
        let took = begun.elapsed();
        assert!(took <= Duration::from_secs(most), "{settings}: {took:?}");
        assert_eq!(
            (handled.first_failed, handled.report.spooled),
            (None, 3),
            "{settings}"
        );
        // What follows does not even wait for that.
        let begun = tokio::time::Instant::now();
        setup.handle(&payload(&batch(4..=5))).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(100),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(setup.lines("b"), lines(1..=5));
    }
}

/// What one sink put aside is not put aside again because another sink makes Lambda deliver it again.
#[tokio::test(start_paused = true)]
async fn what_waits_is_not_appended_again_by_a_redelivery() {
    let setup = Setup::spooled(&[("a", ""), ("b", "on_failure: retry")]).await;
    setup.fake("a").set(Behaviour::Fail);
    setup.fake("b").set(Behaviour::Fail);
    let handled = setup.handle(&payload(&batch(1..=4))).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("1"));
    setup.fake("b").set(Behaviour::Work);
    let handled = setup.handle(&payload(&batch(1..=3))).await.unwrap();
    assert_eq!((handled.first_failed, handled.report.repeats), (None, 3));
    assert_eq!(
        (handled.report.spooled, handled.report.sinks["a"].spooled),
        (3, 0)
    );
    assert_eq!(setup.objects("spool/a").len(), 1);
    setup.fake("a").set(Behaviour::Work);
    setup.drain().await;
    assert_eq!(setup.lines("a"), lines(1..=4));
    assert_eq!(setup.lines("b"), lines(1..=3));
}

/// Records that went to the spool are delivered by the drain, though this environment remembers having put them there.
#[tokio::test(start_paused = true)]
async fn the_drain_goes_on_where_the_sink_stopped() {
    let setup = Setup::spooled(&[("a", "")]).await;
    setup.fake("a").set(Behaviour::Fail);
    setup.handle(&payload(&batch(1..=6))).await.unwrap();
    let report = setup.drain().await;
    assert_eq!(
        (report.sinks["a"].records, report.sinks["a"].left.objects),
        (0, 1)
    );
    assert!(report.sinks["a"].error.is_some());
    setup.fake("a").set(Behaviour::FailAfter(4));
    let report = setup.drain().await;
    assert_eq!(
        (report.sinks["a"].records, report.sinks["a"].objects),
        (4, 0),
        "{report:?}"
    );
    assert_eq!(setup.objects("spool/a").len(), 1);
    setup.fake("a").set(Behaviour::Work);
    let report = setup.drain().await;
    assert_eq!(
        (report.sinks["a"].objects, report.sinks["a"].left.objects),
        (1, 0)
    );
    assert_eq!(setup.lines("a"), lines(1..=6));
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_many_payloads_is_drained_in_order() {
    let setup = Setup::spooled(&[("a", "spool: always")]).await;
    // Two records of 1.5 MB a payload.
    let large = |n: u32| insert("s", n, n).replace("session.command", &"x".repeat(500_000));
    for from in [1, 6, 11] {
        let records: Vec<String> = (from..from + 5).map(large).collect();
        let handled = setup.handle(&payload(&records)).await.unwrap();
        assert_eq!((handled.first_failed, handled.report.spooled), (None, 5));
    }
    assert!(setup.lines("a").is_empty());
    let report = setup.drain().await;
    assert_eq!((report.sinks["a"].objects, report.sinks["a"].records), (3, 15));
    let found: Vec<u64> = setup
        .lines("a")
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["ei"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(found, (1..=15).collect::<Vec<_>>());
}

/// Every queue is found, whatever its name, and one whose sink hangs does not keep the others waiting.
#[tokio::test(start_paused = true)]
async fn each_queue_is_drained_by_itself() {
    let names = ["-a", "a", "a-b", "a0", "a_b", "b", "probe"];
    let setup = Setup::spooled(&names.map(|name| (name, "spool: always"))).await;
    setup.handle(&payload(&batch(1..=3))).await.unwrap();
    setup.fake("a0").set(Behaviour::Hang);
    let report = setup.drain().await;
    assert!(report.sinks.keys().eq(names), "{report:?}");
    for name in names {
        let taken = if name == "a0" { 0 } else { 3 };
        assert_eq!(
            (report.sinks[name].records, setup.lines(name).len()),
            (taken, taken),
            "{name}"
        );
    }
    setup.fake("a0").set(Behaviour::Work);
    let report = setup.drain().await;
    assert!(report.sinks.keys().eq(&["a0"]), "{report:?}");
    assert_eq!(report.error, None);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["sinks"]["a0"]["records"], 3, "{json}");
}

/// Where the spool cannot be looked at or written, records are reported: what waits is never overtaken.
#[tokio::test(start_paused = true)]
async fn without_a_spool_nothing_is_overtaken_and_records_are_sent_again() {
    let setup = Setup::spooled(&[("a", ""), ("b", "")]).await;
    setup.fake("a").set(Behaviour::Fail);
    setup.handle(&payload(&batch(1..=2))).await.unwrap();
    setup.fake("a").set(Behaviour::Work);
    setup.break_place("spool", true);
    let begun = tokio::time::Instant::now();
    let handled = setup.handle(&payload(&batch(3..=4))).await.unwrap();
    assert_eq!(handled.first_failed.as_deref(), Some("3"));
    assert_eq!(handled.report.retried, 2);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(260) && took <= Duration::from_secs(270),
        "{took:?}"
    );
    assert!(setup.lines("a").is_empty());
    // The sinks whose queues cannot be seen get nothing, which is no harm: it comes again.
    setup.break_place("spool", false);
    setup.handle(&payload(&batch(3..=4))).await.unwrap();
    assert!(setup.lines("a").is_empty());
    setup.drain().await;
    assert_eq!(setup.lines("a"), lines(1..=4));
    assert_eq!(setup.lines("b"), lines(1..=4));
}

#[tokio::test(start_paused = true)]
async fn a_forwarder_does_not_start_without_its_spool() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for place in ["spool", "spill"] {
        let document = format!(
            "quarantine: file://{path}/quarantine\n{place}: file://{path}/file/x\nsinks: {{ a: {{ uri: 'file://{path}/a' }} }}"
        );
        let config = tidewatch::config::Config::parse(&document, "test", []).unwrap();
        let clock = tidewatch::clock::Clock::system();
        let random = tidewatch::random::Random::seeded(1);
        let started = tidewatch::forward::Forwarder::start(&config, clock, random).await;
        assert!(started.unwrap_err().to_string().contains(place));
    }
}

/// The promise itself: an hour of one sink down or hanging, and another that panics on a record, repeats nothing at the
/// others and delays no answer beyond the budget.
#[tokio::test(start_paused = true)]
async fn an_hour_of_a_sink_down_repeats_nothing_elsewhere() {
    for down in [Behaviour::Fail, Behaviour::Hang] {
        let setup = Arc::new(Setup::spooled(&[("a", ""), ("b", ""), ("c", "")]).await);
        setup.fake("a").set(down);
        setup.fake("c").set(Behaviour::PanicOn("uid-s-77\""));
        let begun = tokio::time::Instant::now();
        let (mut next, mut refused) = (1, Vec::new());
        let mut drains = 0;
        while begun.elapsed() < Duration::from_secs(3600) {
            let mut records = batch(next..=next + 9);
            if next % 50 == 1 {
                records[3] = poison(next + 3);
                refused.push(next + 3);
            }
            next += 10;
            let answered = tokio::time::Instant::now();
            let handled = setup.handle(&payload(&records)).await.unwrap();
            assert_eq!(handled.first_failed, None);
            assert!(
                answered.elapsed() <= Duration::from_secs(10),
                "{:?}",
                answered.elapsed()
            );
            if begun.elapsed() > Duration::from_secs(60 * drains) {
                setup.drain().await;
                drains += 1;
            }
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
        let all: Vec<u32> = (1..next).filter(|n| !refused.contains(n)).collect();
        let lines: Vec<String> = all.iter().map(|n| event_line("s", *n)).collect();
        let without: Vec<String> = all
            .iter()
            .filter(|n| **n != 77)
            .map(|n| event_line("s", *n))
            .collect();
        assert!(lines.len() > 1000 && drains > 30, "{} {drains}", lines.len());
        assert!(setup.lines("a").is_empty());
        assert_eq!(setup.lines("b"), lines);
        assert_eq!(setup.lines("c"), without);
        assert_eq!(setup.quarantined().len(), refused.len() + 1);
        setup.fake("a").set(Behaviour::Work);
        for _ in 0..10 {
            setup.drain().await;
        }
        assert_eq!(setup.lines("a"), lines);
        assert!(setup.objects("spool/a").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn filters_decide_which_events_a_sink_gets() {
    let user = |n: u32, user: &str| {
        insert("s", n, n).replace(
            r#""ei":{"N""#,
            &format!(
                r#""user":{{"S":"{user}"}},"server_labels":{{"M":{{"env":{{"S":"prod"}}}}}},"ei":{{"N""#
            ),
        )
    };
    let setup = Setup::spooled(&[
        ("all", ""),
        (
            "alice",
            "filter: { allow: [{ users: [al*], types: [session.*] }] }",
        ),
        (
            "notalice",
            "filter: { deny: [{ users: alice, labels: { server_labels.env: prod } }] }",
        ),
        (
            "none",
            "filter: { allow: [{ types: ['*'] }], deny: [{ types: session.command }] }",
        ),
        ("coded", "filter: { allow: [{ codes: ['*'] }] }"),
    ])
    .await;
    let records = [
        user(1, "alice"),
        user(2, "bob"),
        insert("s", 3, 3),
        user(4, "al\\\"x"),
    ];
    let handled = setup.handle(&payload(&records)).await.unwrap();
    let got = |sink: &str| -> Vec<u64> {
        let lines = setup.lines(sink);
        let events = lines
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.map(|event| event["ei"].as_u64().unwrap()).collect()
    };
    assert_eq!(got("all"), [1, 2, 3, 4]);
    assert_eq!(got("alice"), [1, 4]);
    assert_eq!(got("notalice"), [2, 3, 4]);
    assert_eq!((got("none").len(), got("coded").len()), (0, 0));
    assert_eq!(handled.report.sinks["alice"].filtered, 2);
    assert_eq!((handled.report.delivered, handled.report.filtered), (4, 0));
    let calls = setup
        .fake("none")
        .calls
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(calls, 0);

    let setup = Setup::spooled(&[("a", "filter: { deny: [{ users: bob }] }")]).await;
    let handled = setup
        .handle(&payload(&[user(1, "alice"), user(2, "bob")]))
        .await
        .unwrap();
    let report = handled.report;
    assert_eq!((report.records_in, report.delivered, report.filtered), (2, 1, 1));
}

/// A large event is kept whole elsewhere, and pointed to; a repeat points to the same.
#[tokio::test(start_paused = true)]
async fn a_large_event_is_spilled_and_pointed_to() {
    let setup = Setup::spooled(&[
        ("a", "max_event_bytes: 4096"),
        ("b", "format: envelope"),
        ("c", "max_event_bytes: 5000"),
    ])
    .await;
    let large = |n: u32| insert("s", n, n).replace("session.command", &"x".repeat(4500));
    let records = [insert("s", 1, 1), large(2), insert("s", 3, 3)];
    // Not before the event is safe.
    setup.break_place("spill", true);
    let handled = setup.handle(&payload(&records)).await.unwrap();
    assert_eq!(
        (handled.first_failed.as_deref(), handled.report.spooled),
        (None, 3)
    );
    assert!(setup.lines("a").is_empty());
    assert_eq!(setup.lines("c").len(), 3);
    setup.break_place("spill", false);
    let report = setup.drain().await;
    assert_eq!(report.sinks["a"].records, 3, "{report:?}");
    let lines = setup.lines("a");
    assert_eq!(
        (lines[0].clone(), lines[2].clone()),
        (event_line("s", 1), event_line("s", 3))
    );
    let pointer: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    let whole: serde_json::Value = serde_json::from_str(&setup.lines("b")[1]).unwrap();
    let event = serde_json::to_string(&whole["event"]).unwrap();
    assert_eq!((&pointer["id"], &pointer["session"]), (&whole["id"], &"s".into()));
    assert_eq!(
        (&pointer["time"], &pointer["size"]),
        (&whole["event"]["time"], &event.len().into())
    );
    // It must fit where the event does not.
    assert_eq!(pointer["type"], "x".repeat(256));
    assert!(lines[1].len() <= 4096, "{}", lines[1].len());
    let kept = std::fs::read_to_string(pointer["location"].as_str().unwrap()).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&kept).unwrap(),
        whole["event"]
    );
    assert_eq!(setup.objects("spill/2026-11-20").len(), 1);
    assert!(setup.lines("c").iter().all(|line| !line.contains("location")));
}

/// What waits is appended again behind a record that does not wait: the object that begins lower comes first, and
/// must not leave out what stands between.
#[tokio::test(start_paused = true)]
async fn an_object_that_comes_first_leaves_nothing_out() {
    let setup = Setup::spooled(&[("a", ""), ("b", "on_failure: retry")]).await;
    setup.fake("a").set(Behaviour::PanicOn("uid-s-1\""));
    let poison = setup.fake("a");
    setup.fake("b").set(Behaviour::Fail);
    // The first makes the sink panic and is quarantined; then the sink is down, and the second waits.
    setup.handle(&payload(&batch(1..=1))).await.unwrap();
    poison.set(Behaviour::Fail);
    setup.handle(&payload(&batch(2..=2))).await.unwrap();
    setup.fake("b").set(Behaviour::Work);
    setup.handle(&payload(&batch(1..=3))).await.unwrap();
    poison.set(Behaviour::Work);
    setup.drain().await;
    let mut first = setup.lines("a");
    let mut seen = std::collections::HashSet::new();
    first.retain(|line| seen.insert(line.clone()));
    assert_eq!(first, lines(1..=3));
}

/// The shortest budget is one: a sink that works is called, by the stream's batch and by the drain.
#[tokio::test(start_paused = true)]
async fn a_short_budget_is_used() {
    let setup = Setup::spooled(&[("a", "budget: 100ms")]).await;
    let handled = setup.handle(&payload(&batch(1..=2))).await.unwrap();
    assert_eq!((handled.report.delivered, handled.report.spooled), (2, 0));
    setup.fake("a").set(Behaviour::Fail);
    setup.handle(&payload(&batch(3..=4))).await.unwrap();
    setup.fake("a").set(Behaviour::Work);
    setup.drain().await;
    assert_eq!(setup.lines("a"), lines(1..=4));
}

/// A drain leaves alone what is none of a spool's objects, and says so.
#[tokio::test(start_paused = true)]
async fn a_drain_deletes_nothing_that_is_not_its_own() {
    let setup = Setup::spooled(&[("a", "")]).await;
    setup.fake("a").set(Behaviour::Fail);
    setup.handle(&payload(&batch(1..=2))).await.unwrap();
    let path = setup.folder("spool/a").join("0-foreign.ndjson");
    std::fs::write(&path, "{}\n").unwrap();
    setup.fake("a").set(Behaviour::Work);
    let report = setup.drain().await;
    let error = report.sinks["a"].error.clone().unwrap_or_default();
    assert!(error.contains("0-foreign.ndjson"), "{error}");
    assert!(path.exists());
    std::fs::remove_file(path).unwrap();
    setup.drain().await;
    assert_eq!(setup.lines("a"), lines(1..=2));
}
