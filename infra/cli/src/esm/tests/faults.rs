//! What the injected faults do, and what they must not do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewatch::clock::Clock;
use tidewatch::random::Random;

use super::super::*;
use super::{START, done, numbers, plain, stream};

/// With all faults every record arrives, first arrivals in order, and every fault happens.
async fn with_faults(seed: u64) -> (Vec<u64>, Counts) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (sink, clock) = (Arc::clone(&seen), Clock::simulated(START));
    let handler: Handler = Arc::new(move |payload, _| {
        let (sink, clock, numbers) = (Arc::clone(&sink), clock.clone(), numbers(&payload));
        Box::pin(async move {
            for number in numbers {
                clock.sleep(Duration::from_millis(1)).await;
                sink.lock().unwrap().push(number);
            }
            done()
        })
    });
    let settings = Settings {
        batch_size: 10,
        bisect_on_function_error: true,
        ..plain()
    };
    let faults = Faults::new(&Fault::ALL, 100, Duration::from_secs(5), Random::seeded(seed));
    let mapping = Mapping::new(
        settings,
        stream(500),
        handler,
        Clock::simulated(START),
        Random::seeded(seed),
    );
    let mapping = mapping.unwrap().with_faults(faults);
    mapping.run().await;
    let seen = seen.lock().unwrap().clone();
    (seen, mapping.counts())
}

#[tokio::test(start_paused = true)]
async fn faults_repeat_records_but_lose_none_and_keep_first_arrivals_in_order() {
    for seed in 0..20 {
        let (seen, counts) = with_faults(seed).await;
        for fault in Fault::ALL {
            assert!(
                counts.of(fault) > 0,
                "seed {seed}: {} never happened: {counts:?}",
                fault.name()
            );
        }
        let mut first = Vec::new();
        seen.iter().for_each(|number| {
            if first.last().is_none_or(|last| last < number) {
                first.push(*number)
            }
        });
        assert_eq!(first, (1..=500).collect::<Vec<_>>(), "seed {seed}");
        assert!(seen.len() > 500, "seed {seed}");
    }
}

/// What arrives if one of three batches of one record meets a zombie.
async fn with_a_zombie(seed: u64) -> Vec<u64> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (sink, clock) = (Arc::clone(&seen), Clock::simulated(START));
    let handler: Handler = Arc::new(move |payload, _| {
        let (sink, clock, numbers) = (Arc::clone(&sink), clock.clone(), numbers(&payload));
        Box::pin(async move {
            clock.sleep(Duration::from_millis(1)).await;
            sink.lock().unwrap().extend(numbers);
            done()
        })
    });
    let faults = Faults::new(&[Fault::Zombie], 0, Duration::from_secs(60), Random::seeded(seed));
    let settings = Settings {
        batch_size: 1,
        ..plain()
    };
    let mapping = Mapping::new(
        settings,
        stream(3),
        handler,
        Clock::simulated(START),
        Random::seeded(seed),
    )
    .unwrap();
    let mapping = mapping.with_faults(faults);
    mapping.run().await;
    assert_eq!(mapping.counts().zombies, mapping.counts().timeouts);
    seen.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_zombie_goes_on_after_its_batch_was_handled_again() {
    let mut late = 0;
    for seed in 0..20 {
        let seen = with_a_zombie(seed).await;
        assert_eq!(seen[..3], [1, 2, 3], "seed {seed}");
        // Its work arrives once more, after that of younger batches.
        late += usize::from(seen == [1, 2, 3, 1]);
    }
    assert!(late > 0);
}

#[tokio::test(start_paused = true)]
async fn one_seed_is_one_schedule() {
    assert_eq!(with_faults(7).await, with_faults(7).await);
    assert_ne!(with_faults(7).await.0, with_faults(8).await.0);
}
