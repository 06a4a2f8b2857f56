//! Renewals beside deletes, and sweepers beside each other.

use std::sync::{Arc, Mutex};

use super::*;

/// What renewals were taken, by key: until when.
type Renewed = Arc<Mutex<BTreeMap<String, i64>>>;

/// Far behind the end of a race.
const LATER: i64 = 600;

/// One who holds a lease and renews it around its expiry, in one of the ways there are, on a slow wire.
async fn renew(world: &World, name: String, expires: i64, renewed: Renewed) {
    let random = Random::seeded(world.random.u64());
    let wire = world.engine.beside();
    let slow = random.clone();
    let backend = world.backend(&wire);
    let item = Item::new(name.as_str(), "v").expiring(world.at(expires));
    let lease = backend.put(&item).await.unwrap();
    wire.plan(move |_, _| Fate::Delayed {
        before: millis(slow.below(2_500)),
        after: millis(slow.below(200)),
    });
    // Sent up to the last moment of the item's life, and arriving when it may be deleted.
    let sent = START + secs(expires.unsigned_abs()) - millis(random.below(1_200)) + millis(740);
    let wait = sent.saturating_sub(world.clock.now().duration_since(UNIX_EPOCH).unwrap());
    world.clock.sleep(wait).await;
    let later = item.clone().expiring(world.at(LATER));
    let taken = match random.below(4) {
        0 => backend.keep_alive(&lease, world.at(LATER)).await.is_ok(),
        1 => backend
            .keep_alive_unchecked(&item.key, world.at(LATER))
            .await
            .is_ok(),
        2 => backend
            .conditional_update(&later.at(lease.revision))
            .await
            .is_ok(),
        _ => backend.put(&later).await.is_ok(),
    };
    if taken {
        renewed
            .lock()
            .unwrap()
            .insert(name, START.as_secs() as i64 + LATER);
    }
}

/// What was renewed is there, and what was not is gone.
async fn judge(world: &World, renewed: &Renewed) -> Result<(), String> {
    // What is late has arrived.
    world.clock.sleep(secs(20)).await;
    let report = world.sweep().await;
    if !is_done(&report) {
        return Err(format!("the last run did not come to its end: {report:?}"));
    }
    let stored: BTreeMap<String, i64> = world
        .stored()
        .into_iter()
        .map(|(key, expires)| (key, expires.unwrap_or_default()))
        .collect();
    let renewed = renewed.lock().unwrap();
    match stored == *renewed {
        true => Ok(()),
        false => Err(format!("{stored:?} are there, {renewed:?} were renewed")),
    }
}

async fn race(by: FoundBy, seed: u64, leases: i64, sweepers: u64) -> Result<(), String> {
    let world = World::new(by, seed).await;
    let renewed = Renewed::default();
    let every = Settings {
        every: Some(millis(150)),
        ..Settings::default()
    };
    let leases = (0..leases).map(|n| renew(&world, format!("/{n}"), 2 + n % 2, Arc::clone(&renewed)));
    let sweeps = (0..sweepers).map(|_| async {
        let expire = world.expire(&world.rough(), every.clone());
        let end = world.clock.instant() + secs(10);
        loop {
            // A run reads a table once.
            let report = expire
                .run(world.run(secs(if by == FoundBy::Scan { 1 } else { 10 })))
                .await;
            if report.is_err() || world.clock.instant() >= end {
                return report;
            }
            world.clock.sleep(millis(50)).await;
        }
    });
    let all = async {
        tokio::join!(
            futures_util::future::join_all(leases),
            futures_util::future::join_all(sweeps)
        )
    };
    let (_, ended) = match &world.feed {
        None => all.await,
        Some(feed) => tokio::select! {
            ended = all => ended,
            () = feed.run() => unreachable!(),
        },
    };
    for report in ended {
        report.map_err(|error| error.to_string())?;
    }
    judge(&world, &renewed).await
}

#[test]
fn a_renewal_that_races_the_delete_is_never_lost() {
    for by in [FoundBy::Index, FoundBy::List] {
        // Twenty leases each: a thousand renewals. `TIDEWATCH_SEEDS` asks for more.
        assert_eq!(seeds(50, |seed| race(by, seed, 20, 1)), [], "{by:?}");
    }
}

#[test]
fn two_sweepers_do_no_harm() {
    for by in [FoundBy::Index, FoundBy::List, FoundBy::Scan] {
        assert_eq!(seeds(40, |seed| race(by, seed, 4, 2)), [], "{by:?}");
    }
}
