//! The fan-out over a source in memory, under a paused clock.

mod contract;
mod ending;
mod model;
mod script;
mod slow;
mod telling;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use script::Script;

use super::{Notice, Settings, Watcher, Watches};
use crate::clock::Clock;
use crate::random::Random;
use crate::watch::{Event, Filter, Operation, Operations, Prefix};

const SECOND: Duration = Duration::from_secs(1);

/// A source, and watches over it.
struct Setup {
    clock: Clock,
    random: Random,
    script: Script,
    watches: Watches,
}

fn setup(seed: u64, lanes: usize, delay: Duration, settings: &Settings) -> Setup {
    let clock = Clock::simulated(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let random = Random::seeded(seed);
    let script = Script::new(lanes, &clock, &random, delay);
    let watches = Watches::over(script.clone(), clock.clone(), random.clone(), settings);
    Setup {
        clock,
        random,
        script,
        watches,
    }
}

/// Answers at once, and keeps little.
fn small() -> Settings {
    Settings {
        buffer_size: 16,
        readers: 2,
        ..Settings::default()
    }
}

fn plain(prefix: &str) -> Filter {
    Filter::new([Prefix::plain(prefix)], Operations::All)
}

/// What tells an event from others of its key.
fn tag(event: &Event) -> String {
    match &event.operation {
        Operation::Put(put) => put.revision.as_str().to_owned(),
        Operation::Delete(_) => format!("-{}", event.key),
        Operation::Unknown => format!("?{}", event.key),
    }
}

async fn event(watcher: &mut Watcher) -> Arc<Event> {
    match within(watcher).await {
        Some(Notice::Event { event, .. }) => event,
        other => panic!("an event is due, there is {other:?}"),
    }
}

/// The next notice, if there is one soon.
async fn within(watcher: &mut Watcher) -> Option<Notice> {
    let clock = Clock::system();
    let next = clock.timeout(Duration::from_secs(30), watcher.next()).await;
    next.ok().map(Result::unwrap)
}
