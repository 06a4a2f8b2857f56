//! Several clients, clocks apart, requests slow and lost: two never hold the lock, and numbers only grow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use tidewatch::clock::{Clock, Instant};
use tidewatch::random::Random;
use tidewatch::state::{Backend, Layout, LockConfiguration};

use crate::engine::{Engine, Fate, config, refusal};
use crate::locks::{TABLE, millis, secs, start};

/// How long a client believed in the lock, and what identifies its turn.
#[derive(Debug, Clone)]
struct Turn {
    who: u64,
    from: Instant,
    to: Instant,
    revision: String,
    fence: Option<u64>,
}

/// A round is two simulated minutes of three clients.
const ROUNDS: u64 = 8;

type Turns = Arc<Mutex<Vec<Turn>>>;

/// Teleport's own requests, which are left alone.
const TELEPORTS: &str = "attribute_not_exists(FullPath)";
const TELEPORTS_DELETE: &str = "Expires <= :ts";

fn fates(engine: &Engine, random: &Random, late: bool) {
    let random = random.clone();
    engine.plan(move |operation, body| {
        let condition = body["ConditionExpression"].as_str().unwrap_or_default();
        // A plain delete of its that is late deletes our live lock: that is documented, not tested.
        let release = operation == "DeleteItem" && condition.is_empty();
        if release || condition == TELEPORTS || condition == TELEPORTS_DELETE {
            return Fate::Served;
        }
        let some = |limit: u64| millis(random.below(limit));
        match random.below(20) {
            0 => Fate::AnswerLost,
            1 => Fate::Dropped,
            2 if late => Fate::Late(some(4_000)),
            3 => refusal("ThrottlingException"),
            4..=6 => Fate::Delayed {
                before: some(7_000),
                after: if late { some(3_000) } else { Duration::ZERO },
            },
            7..=12 => Fate::Delayed {
                before: some(300),
                after: if late { some(300) } else { Duration::ZERO },
            },
            _ => Fate::Served,
        }
    });
}

async fn client(
    who: u64,
    backend: Backend,
    configuration: LockConfiguration,
    random: Random,
    turns: Turns,
    until: Instant,
) {
    let clock = backend.clock().clone();
    while clock.instant() < until {
        clock.sleep(millis(random.below(2_000))).await;
        let bounded = backend.with_deadline(clock.instant() + secs(30));
        let acquiring = bounded.acquire_lock(&configuration);
        // A crash half-way.
        let limit = match random.below(5) {
            0 => millis(random.below(8_000)),
            _ => secs(60),
        };
        let Ok(acquired) = clock.timeout(limit, Box::pin(acquiring)).await else {
            continue;
        };
        let Ok(guard) = acquired else { continue };
        let (from, fence) = (clock.instant(), guard.fence());
        let revision = guard.lease().revision.as_str().to_owned();
        for _ in 0..random.below(4) {
            let step = clock.sleep(millis(random.below(4_000)));
            tokio::select! { () = guard.lost() => break, () = step => {} }
            if random.below(2) == 0 {
                tokio::select! { () = guard.lost() => break, _ = guard.refresh() => {} }
            }
        }
        let (to, crash) = (clock.instant(), random.below(4) == 0);
        turns.lock().unwrap().push(Turn {
            who,
            from,
            to,
            revision,
            fence,
        });
        if !crash {
            let _ = guard.release().await;
        }
    }
}

/// Teleport up to version 17, as far as locks go: what has expired is deleted, to the moment; then created.
async fn teleport(engine: Engine, clock: Clock, random: Random, turns: Turns, until: Instant) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let key = [
        ("HashKey", text("teleport")),
        ("FullPath", text("teleport.locks/r")),
    ];
    let client = engine.client();
    while clock.instant() < until {
        clock.sleep(millis(300 + random.below(500))).await;
        let now = clock.now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let number = |number: u64| AttributeValue::N(number.to_string());
        let purge = client.delete_item().table_name(TABLE);
        let purge = purge.condition_expression(TELEPORTS_DELETE);
        let purge = purge.expression_attribute_values(":ts", number(now));
        let purge = purge
            .key(key[0].0, key[0].1.clone())
            .key(key[1].0, key[1].1.clone());
        let _ = purge.send().await;
        let (from, ttl) = (clock.instant(), 2 + random.below(3));
        let create = client
            .put_item()
            .table_name(TABLE)
            .condition_expression(TELEPORTS);
        let create = create
            .item(key[0].0, key[0].1.clone())
            .item(key[1].0, key[1].1.clone());
        let create = create.item("Value", AttributeValue::B(Blob::new([who_of(&random); 16])));
        let create = create.item("Expires", number(now + ttl));
        if create.send().await.is_ok() {
            clock.sleep(millis(random.below((ttl - 1) * 1000))).await;
            let to = clock.instant();
            let who = u64::MAX;
            let (revision, fence) = (String::new(), None);
            turns.lock().unwrap().push(Turn {
                who,
                from,
                to,
                revision,
                fence,
            });
            if random.below(2) == 0 {
                let delete = client.delete_item().table_name(TABLE);
                let delete = delete.key(key[0].0, key[0].1.clone());
                delete.key(key[1].0, key[1].1.clone()).send().await.unwrap();
            }
            clock.sleep(millis(random.below(20_000))).await;
        }
    }
}

fn who_of(random: &Random) -> u8 {
    u8::try_from(random.below(256)).unwrap()
}

/// Runs three clients, clocks up to `apart` milliseconds apart, and perhaps a Teleport; answers their turns.
async fn race(seed: u64, apart: u64, fenced: bool, with_teleport: bool, late: bool) -> (Vec<Turn>, Engine) {
    let (engine, random) = (Engine::new(), Random::seeded(seed));
    let until = Clock::simulated(start()).instant() + secs(120);
    let turns = Turns::default();
    let mut configuration = LockConfiguration::new(["r"], millis(3_000 + random.below(6_000)));
    if fenced {
        configuration = configuration.fenced();
    }
    let clock_of = || Clock::simulated(start() + millis(random.below(apart + 1)));
    let first = engine.backend(TABLE, Layout::Teleport, &clock_of(), seed).await;
    drop(first);
    fates(&engine, &random, late);
    let clients = (0..3).map(|who| {
        let own = Random::seeded(seed * 100 + who);
        let backend = Backend::unverified(
            &engine.client(),
            config(TABLE, Layout::Teleport),
            clock_of(),
            own.clone(),
        );
        client(
            who,
            backend,
            configuration.clone(),
            own,
            Arc::clone(&turns),
            until,
        )
    });
    let clients = join_all(clients.collect::<Vec<_>>());
    if with_teleport {
        let own = Random::seeded(seed + 7_777);
        let beside = teleport(engine.clone(), clock_of(), own, Arc::clone(&turns), until);
        tokio::join!(clients, beside);
    } else {
        clients.await;
    }
    let mut turns = std::mem::take(&mut *turns.lock().unwrap());
    turns.sort_by_key(|turn| (turn.from, turn.to));
    (turns, engine)
}

fn seeds() -> std::ops::Range<u64> {
    let of = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (first, many) = (of("LOCK_SEED").unwrap_or(1), of("LOCK_ROUNDS").unwrap_or(ROUNDS));
    println!("seeds {first} to {} (LOCK_SEED, LOCK_ROUNDS)", first + many - 1);
    first..first + many
}

#[tokio::test(start_paused = true)]
async fn two_never_hold_it_while_the_clocks_are_as_near_as_allowed() {
    let (mut all, mut contended) = (0, 0);
    for seed in seeds() {
        let (turns, _) = race(seed, 1_000, seed % 2 == 0, seed % 3 > 0, true).await;
        for (index, turn) in turns.iter().enumerate() {
            for next in &turns[index + 1..] {
                // A timer is a millisecond late at most.
                let apart = next.from + millis(2) >= turn.to;
                assert!(apart, "seed {seed}: {turn:#?} and {next:#?}");
            }
        }
        let fences: Vec<u64> = turns.iter().filter_map(|turn| turn.fence).collect();
        assert!(
            fences.windows(2).all(|two| two[0] < two[1]),
            "seed {seed}: {fences:?}"
        );
        all += turns.len();
        contended += turns.windows(2).filter(|two| two[0].who != two[1].who).count();
    }
    println!("{all} turns, {contended} changes of hands");
    assert!(all > 50 && contended > 20, "{all} turns, {contended} changes");
}

#[tokio::test(start_paused = true)]
async fn numbers_grow_with_the_turns_whatever_the_clocks_say() {
    let (mut all, mut wrong_clocks) = (0, 0);
    for seed in seeds() {
        // Clocks up to a minute apart: here two do hold the lock, and only the number tells which came later.
        let (turns, engine) = race(seed, 60_000, true, false, false).await;
        // The order in which the lock was created, by its revision.
        let created: HashMap<String, usize> = engine
            .sent()
            .into_iter()
            .filter(|sent| sent.operation == "PutItem" && sent.answer.get("__type").is_none())
            .filter_map(|sent| {
                let item = &sent.body["Item"];
                let lock = item["FullPath"]["S"] == "teleport.locks/r";
                lock.then(|| item["Revision"]["S"].as_str().unwrap().to_owned())
            })
            .enumerate()
            .map(|(index, revision)| (revision, index))
            .collect();
        let mut by_creation: Vec<(usize, u64)> = turns
            .iter()
            .map(|turn| (created[&turn.revision], turn.fence.unwrap()))
            .collect();
        by_creation.sort_unstable();
        let grow = by_creation.windows(2).all(|two| two[0].1 < two[1].1);
        assert!(grow, "seed {seed}: {by_creation:?}");
        all += turns.len();
        wrong_clocks += turns.windows(2).filter(|two| two[0].to > two[1].from).count();
    }
    println!("{all} turns, {wrong_clocks} of them together");
    assert!(all > 50 && wrong_clocks > 5, "{all}, {wrong_clocks}");
}
