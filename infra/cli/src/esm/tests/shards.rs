//! Shards: lineage, lanes and checkpoints.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewatch::clock::Clock;
use tidewatch::random::Random;

use super::super::*;
use super::{Calls, START, done, fails, numbers, plain, record, run, stream};

#[tokio::test(start_paused = true)]
async fn children_wait_until_the_parent_is_answered() {
    let stream = Stream::new("arn");
    stream.open("a-child", Some("parent"));
    stream.open("parent", None);
    stream.append("a-child", record(3, "x")).unwrap();
    stream.append("parent", record(1, "x")).unwrap();
    stream.append("parent", record(2, "x")).unwrap();
    stream.end();
    // The parent's second record fails once: the child must wait for it.
    let (calls, _) = run(plain(), &Arc::new(stream), |_, call| {
        if call == 0 { fails(2) } else { done() }
    })
    .await;
    assert_eq!(calls, [vec![1, 2], vec![2], vec![3]]);
}

/// For records of 8 sessions with 4 items each: whether the sessions' and the items' order was kept.
async fn order_kept(factor: u32) -> (bool, bool) {
    let stream = Stream::new("arn");
    stream.open("s", None);
    for number in 1..=400 {
        stream
            .append("s", record(number, &format!("{}", number % 32)))
            .unwrap();
    }
    stream.end();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (sink, clock) = (Arc::clone(&seen), Clock::simulated(START));
    // A sink whose speed differs from call to call.
    let handler: Handler = Arc::new(move |payload, _| {
        let (sink, clock, numbers) = (Arc::clone(&sink), clock.clone(), numbers(&payload));
        Box::pin(async move {
            clock.sleep(Duration::from_millis(numbers[0] * 7919 % 100)).await;
            sink.lock().unwrap().extend(numbers);
            done()
        })
    });
    let settings = Settings {
        parallelization_factor: factor,
        batch_size: 5,
        ..plain()
    };
    let mapping = Mapping::new(
        settings,
        Arc::new(stream),
        handler,
        Clock::simulated(START),
        Random::seeded(1),
    )
    .unwrap();
    mapping.run().await;
    let seen = seen.lock().unwrap().clone();
    let kept = |group: u64| {
        let mut last = BTreeMap::new();
        seen.iter().all(|number| {
            last.insert(number % group, *number)
                .is_none_or(|before| before < *number)
        })
    };
    assert_eq!(seen.len(), 400);
    (kept(8), kept(32))
}

#[tokio::test(start_paused = true)]
async fn above_factor_one_only_the_order_of_an_item_is_kept() {
    assert_eq!(order_kept(1).await, (true, true));
    assert_eq!(order_kept(4).await, (false, true));
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_behind_the_checkpoint() {
    let all = stream(6);
    let settings = || Settings {
        batch_size: 2,
        maximum_retry_attempts: None,
        ..plain()
    };
    let calls = Calls::default();
    // The function hangs on the third batch, and the process is killed there.
    let notes = Arc::clone(&calls);
    let handler: Handler = Arc::new(move |payload, _| {
        let numbers = numbers(&payload);
        let hangs = numbers[0] == 5;
        notes.lock().unwrap().push(numbers);
        Box::pin(async move {
            if hangs {
                std::future::pending().await
            } else {
                done()
            }
        })
    });
    let clock = Clock::simulated(START);
    let mapping = Mapping::new(
        settings(),
        Arc::clone(&all),
        handler,
        clock.clone(),
        Random::seeded(1),
    )
    .unwrap();
    clock
        .timeout(Duration::from_secs(10), mapping.run())
        .await
        .unwrap_err();
    let saved = serde_json::to_string(&all.checkpoints()).unwrap();
    assert_eq!(saved, r#"{"s":{"after":"4","finished":false}}"#);

    let again = Stream::restored("arn", serde_json::from_str(&saved).unwrap());
    again.open("s", None);
    (1..=6).for_each(|number| again.append("s", record(number, "x")).unwrap());
    again.end();
    let again = Arc::new(again);
    let (calls, _) = run(settings(), &again, |_, _| done()).await;
    assert_eq!(calls, [vec![5, 6]]);
    assert!(again.checkpoints()["s"].finished);
}
