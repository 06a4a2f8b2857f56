//! Lambda, as far as it can hurt: batches are cut anew, sent again, cut off in the middle, go on after they were given up,
//! lose their answers, and are given up for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::world::World;
use crate::watch::log::{Appender, Failed, Incoming};

/// How a mapping behaves in a run.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) environments: Vec<Arc<Appender>>,
    /// How many of them, and from which on, are awake: the others keep what they remember.
    pub(super) awake: AtomicU64,
    /// Records may be given up.
    pub(super) gives_up: bool,
    /// The mapping is off.
    pub(super) off: AtomicBool,
    /// Nobody reports what was given up: planted.
    pub(super) silent: bool,
    pub(super) given_up: AtomicU64,
}

impl Mapping {
    fn environment(&self, world: &World) -> Arc<Appender> {
        let awake = self.awake.load(Ordering::Relaxed);
        let at = awake + world.random.below(2);
        Arc::clone(&self.environments[usize::try_from(at).unwrap() % self.environments.len()])
    }
}

/// Delivers a shard to its end, again and again as long as the run lasts.
pub(super) async fn deliver(world: Arc<World>, mapping: Arc<Mapping>, at: usize) {
    let random = world.random.clone();
    loop {
        let wait = random.jitter(Duration::from_millis(200)) + Duration::from_millis(10);
        world.clock.sleep(wait).await;
        if mapping.off.load(Ordering::Relaxed) {
            // A poll a minute is enough to see that it is on again.
            world.clock.sleep(Duration::from_secs(60)).await;
            continue;
        }
        let mut changed = std::pin::pin!(world.changed.notified());
        changed.as_mut().enable();
        let Some((from, batch)) = next(&world, at) else {
            if is_finished(&world, at) {
                return;
            }
            changed.await;
            continue;
        };
        let (stream, environment) = (world.stream(), mapping.environment(&world));
        let count = batch.len();
        let stop = world.clock.instant() + Duration::from_secs(30);
        let work = Box::pin(async move {
            let incoming: Vec<Incoming> = batch.into_iter().map(Incoming::Record).collect();
            environment.append(&stream, &incoming, stop).await
        });
        let chance = random.below(100);
        let limit = random.jitter(Duration::from_millis(150));
        let answer = match chance {
            // Killed in the middle.
            0..6 => world.clock.timeout(limit, work).await.ok(),
            // Given up as timed out, and goes on all the same.
            6..10 => {
                let (stalled, clock) = (
                    random.jitter(Duration::from_secs(15 * random.below(2))),
                    world.clock.clone(),
                );
                tokio::spawn(async move {
                    clock.sleep(stalled).await;
                    work.await
                });
                world.clock.sleep(limit).await;
                None
            }
            _ => Some(work.await),
        };
        let done = match answer {
            Some(Ok(_)) if random.below(100) < 80 => count,
            // The answer came, and was taken for another: all or some of it is sent again.
            Some(Ok(_)) => usize::try_from(random.below(count as u64 + 1)).unwrap(),
            Some(Err(Failed { first, .. })) => first,
            None if mapping.gives_up && random.below(100) < 50 => {
                give_up(&world, &mapping);
                count
            }
            None => 0,
        };
        let mut shards = world.shards.lock().unwrap();
        let shard = &mut shards[at];
        shard.checkpoint = shard.checkpoint.max(from + done);
        world.changed.notify_waiters();
    }
}

/// The next batch of a shard, and where it begins.
fn next(world: &World, at: usize) -> Option<(usize, Vec<crate::watch::record::Record>)> {
    let shards = world.shards.lock().unwrap();
    let shard = &shards[at];
    let parent = shard.parent.map(|parent| &shards[parent]);
    if parent.is_some_and(|parent| parent.checkpoint < parent.records.len()) {
        return None;
    }
    let most = 1 + usize::try_from(world.random.below(8)).unwrap();
    let batch: Vec<_> = shard
        .records
        .iter()
        .skip(shard.checkpoint)
        .take(most)
        .cloned()
        .collect();
    (!batch.is_empty()).then_some((shard.checkpoint, batch))
}

fn is_finished(world: &World, at: usize) -> bool {
    let shards = world.shards.lock().unwrap();
    let shard = &shards[at];
    shard.closed && shard.checkpoint == shard.records.len()
}

/// Lambda tells of what it gave up, some time later.
fn give_up(world: &Arc<World>, mapping: &Arc<Mapping>) {
    let number = mapping.given_up.fetch_add(1, Ordering::Relaxed);
    if mapping.silent {
        return;
    }
    let (world, environment) = (Arc::clone(world), mapping.environment(world));
    let lost_until = world.clock.now();
    tokio::spawn(async move {
        world
            .clock
            .sleep(world.random.jitter(Duration::from_secs(60)))
            .await;
        let id = format!("given up {number}");
        loop {
            let stop = world.clock.instant() + Duration::from_secs(30);
            if environment
                .break_all("Lambda gave up records", &id, Some(lost_until), stop)
                .await
                .is_ok()
            {
                return;
            }
        }
    });
}
