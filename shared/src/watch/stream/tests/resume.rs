//! From each position that anybody can have, going on loses nothing and doubles nothing.

use super::descent::in_descent;
use super::failures::trouble;
use super::fake::Fake;
use super::{Follower, all, sorted};
use crate::random::Random;
use crate::watch::Position;
use crate::watch::position::Mark;
use crate::watch::source::Source;

/// Something happens to the stream.
fn happen(fake: &Fake, random: &Random, born: &mut u32) {
    let open = fake.open_shards();
    let one = &open[usize::try_from(random.below(open.len() as u64)).unwrap()];
    let mut child = |parent: &str| {
        *born += 1;
        let id = format!("s{}-{born}", random.below(10));
        fake.shard(&id, Some(parent), usize::try_from(random.below(5)).unwrap());
        id
    };
    match random.below(6) {
        0 if open.len() < 5 => {
            fake.close(one);
            child(one);
            child(one);
        }
        1 => {
            // A chain that is over before anybody looks.
            fake.close(one);
            let next = child(one);
            fake.close(&next);
            child(&next);
        }
        2 if open.len() > 1 => {
            // A merge: one parent is named.
            let other = open.iter().find(|other| *other != one).unwrap();
            fake.close(one);
            fake.close(other);
            child(one);
        }
        _ => {
            fake.put(one, usize::try_from(random.below(8)).unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_prefix_and_its_rest_are_the_whole() {
    let mut resumed = 0;
    for seed in 0..25 {
        let random = Random::seeded(seed);
        let fake = Fake::new();
        fake.world().page = usize::try_from(1 + random.below(5)).unwrap();
        fake.world().listing = usize::try_from(1 + random.below(6)).unwrap();
        fake.world().padded = random.below(2) == 0;
        fake.world().empty = random.below(2);
        fake.shard("r1", None, 3);
        fake.shard("r2", None, 3);
        let mut born = 0;
        let source = fake.source(seed).await;
        let from_now = random.below(2) == 0;
        if from_now {
            happen(&fake, &random, &mut born);
        }
        let start = if from_now {
            source.now().await
        } else {
            source.beginning().await
        }
        .unwrap();
        let first = if from_now { fake.world().number + 1 } else { 1 };
        let mut follower = Follower::new(&source, start);
        // Whoever keeps what is done must fare as well.
        follower.forgets = random.below(2) == 0;
        if random.below(2) == 0 {
            fake.plan(trouble(seed, 30));
        }
        for _ in 0..12 {
            happen(&fake, &random, &mut born);
            follower.secs(random.below(6)).await;
        }
        fake.serve();
        follower.secs(120).await;
        let last = fake.world().number;
        assert_eq!(sorted(&follower.seen), all(first..=last), "seed {seed}");
        in_descent(&fake, &follower.seen);
        // By whoever knows nothing but the token.
        let elsewhere = fake.source(seed + 100).await;
        let mut previous: Option<&Position> = None;
        for (seen, position) in &follower.positions {
            if previous == Some(position) {
                continue;
            }
            previous = Some(position);
            let token: Position = position.to_string().parse().unwrap();
            // An iterator that only its source has: what was before may be seen, and is not counted.
            let kept = position
                .lanes
                .values()
                .any(|mark| matches!(mark, Mark::At(number, _) if *number == 0.into()));
            let mut rest = Follower::new(&elsewhere, token);
            rest.secs(60).await;
            resumed += 1;
            let mut whole = follower.seen[..*seen].to_vec();
            whole.extend(rest.seen.iter().filter(|number| !kept || **number >= first));
            assert_eq!(
                sorted(&whole),
                all(first..=last),
                "seed {seed} behind {seen}: {position:?}"
            );
            in_descent(&fake, &rest.seen);
        }
    }
    assert!(resumed > 1000, "{resumed}");
}
