//! Chaos: twenty streams of events from `emit` to several sinks at once, while everything between fails as it may.
//!
//! ```text
//! emitters ─▶ audit::log ─▶ table (embedded engine) ─▶ stream ─▶ mapping (simulated) ─▶ three environments of `forward`
//!                                                                     ▲                  │ archive (S3)  lake (S3)
//!                                                      drain ─────────┘     spool (S3) ◀─┤ local (files)
//!                                                      lake task ─▶ Parquet              │ remote (down, hangs)
//! ```
//! What goes wrong, drawn from a seed, counted, and bounded in number: requests to table and S3 are lost, late, refused,
//! or take effect unheard; the table refuses all for a while; events are emitted twice; invocations are killed, given up
//! and go on, answered twice, cut anew; sinks refuse, answer in part or not at all; `remote` is down or hangs for minutes;
//! drains and lake runs are killed, and run twice at once. When all is over every event is at every sink: once in the lake
//! and in the files, and at the others after repeats are dropped by id. Repeats are counted: there are no more than what the
//! mapping or a drain gave to the function again, for a fault that was counted, and what a sink took without saying so.
//!
//! The clock is simulated, but files are written by threads: a seed draws the same faults, not the same order of all that
//! happens.
//!
//! `TIDEWATCH_CHAOS_EVENTS` is the number of events of a stream, `TIDEWATCH_CHAOS_SEED` the seed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // A test may.

mod emitters;
mod end;
#[path = "../../../../shared/tests/state/engine.rs"]
#[allow(dead_code)]
mod engine;
mod faults;
mod sinks;
#[path = "../../../../shared/tests/support/store.rs"]
mod store;
mod tasks;
mod verdict;
mod world;

use std::time::Duration;

use tidewatch_cli::esm::Fault;
use world::{Options, Plant, World};

fn variable(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(otherwise, |text| text.parse().unwrap())
}

fn small() -> Options {
    Options {
        seed: variable("TIDEWATCH_CHAOS_SEED", 1),
        events: 16,
        ..Options::default()
    }
}

#[tokio::test(start_paused = true)]
async fn chaos_loses_nothing() {
    let events = usize::try_from(variable("TIDEWATCH_CHAOS_EVENTS", 64)).unwrap();
    let world = World::new(Options { events, ..small() }).await;
    let end = world.run().await;
    println!("{end}");
    assert!(end.wrong.is_empty(), "{end}");

    // Nothing was spared.
    for fault in Fault::ALL {
        let name = fault.name();
        assert!(end.mapping.of(fault) > 0, "{name} never happened: {end}");
    }
    for (what, times) in &end.happened {
        assert!(*times > 0, "{what} never happened: {end}");
    }
    assert_eq!((end.mapping.exhausted, end.mapping.too_old), (0, 0), "{end}");

    // The mapping gives a batch again for a fault only: one of its own, or one that made the function fail.
    let counts = &end.mapping;
    let s3: u64 = faults::S3.iter().map(|fault| end.happened[fault]).sum();
    let failures = counts.crashes + counts.zombies + counts.slow + s3;
    assert!(counts.errors + counts.partial <= failures, "{end}");
    let bound = end.batch * (counts.redeliveries + counts.recut + failures);
    assert!(end.again <= bound, "{} of {bound}: {end}", end.again);
}

/// The promise while nothing crashes: a sink that is down or hangs for an hour, and poison, repeat nothing anywhere.
#[tokio::test(start_paused = true)]
async fn chaos_of_one_sink_alone_repeats_nothing() {
    for hangs in [false, true] {
        let outage = (Duration::from_secs(900), Duration::from_secs(4_500), hangs);
        let world = World::new(Options {
            calm: true,
            span: Duration::from_secs(5_400),
            poll: Duration::from_secs(120),
            outages: vec![outage],
            events: 24,
            poison: 10,
            ..small()
        });
        let end = world.await.run().await;
        println!("{end}");
        assert!(end.wrong.is_empty(), "{end}");
        assert_eq!(end.quarantined, 10, "{end}");
        assert!(end.happened["records drained"] > 300, "{end}");
        let repeats = |sink: &str| (end.repeats[sink].given, end.repeats[sink].stand);
        for sink in end::SINKS {
            assert_eq!(repeats(sink), (0, 0), "{sink}: {end}");
        }
        let counts = &end.mapping;
        assert_eq!(
            (counts.partial, counts.errors, counts.retries, end.again),
            (0, 0, 0, 0),
            "{end}"
        );
    }
}

/// Each mistake is found, as what it is.
#[tokio::test(start_paused = true)]
async fn chaos_finds_planted_mistakes() {
    for (plant, due) in [
        (
            Plant::EmitNotRepeated,
            ["archive: lost", "lake: lost", "local: lost", "remote: lost"].as_slice(),
        ),
        (Plant::SpoolUnwritten, &["remote: lost"]),
        (Plant::SpoolDeletedEarly, &["remote: lost"]),
        (Plant::LakeInputsDeletedEarly, &["lake: lost"]),
        (Plant::SidecarsLost, &["lake: doubled"]),
        (Plant::AcknowledgedUnwritten, &["local: lost"]),
        (Plant::GivenTwice, &["local: repeated without a cause"]),
    ] {
        let mut found = Vec::new();
        for seed in 1..=5 {
            let world = World::new(Options {
                plant: Some(plant),
                poll: Duration::from_secs(40),
                seed,
                ..small()
            });
            let end = world.await.run().await;
            found = end.wrong.keys().cloned().collect();
            println!("{plant:?}, seed {seed}: {:?}", end.wrong);
            if due.iter().all(|due| found.iter().any(|found| found == due)) {
                break;
            }
        }
        assert!(
            due.iter().all(|due| found.iter().any(|found| found == due)),
            "{plant:?}: {found:?}"
        );
    }
}
