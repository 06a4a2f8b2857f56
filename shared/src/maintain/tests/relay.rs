//! One run after the other, without a hole between them.

use std::cell::{Cell, RefCell};

use super::*;
use crate::clock::Instant;
use crate::maintain::Turn;
use crate::maintain::line::{Line, relayed};

const EVERY: Duration = Duration::from_secs(5);
/// What an invocation has.
const TIME: Duration = Duration::from_secs(260);

/// Passes of all runs, when each began; and how many runs there were at most at a time.
#[derive(Default)]
struct Passes {
    begun: RefCell<Vec<Instant>>,
    now: Cell<usize>,
    most: Cell<usize>,
}

impl Passes {
    /// As `expire` does: again and again, until its last call or its successor.
    async fn run(&self, clock: &Clock, last_call: Instant, line: Line) {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        while clock.instant() < last_call && !line.waits() {
            self.begun.borrow_mut().push(clock.instant());
            clock.sleep(EVERY).await;
        }
        self.now.set(self.now.get() - 1);
    }

    /// The longest time between two passes.
    fn hole(&self) -> Duration {
        let begun = self.begun.borrow();
        begun.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }
}

/// An invocation that begins so long from now.
async fn invocation(world: &World, passes: &Passes, after: Duration) -> Turn<()> {
    world.clock.sleep(after).await;
    let last_call = world.clock.instant() + TIME;
    let work = |line| passes.run(&world.clock, last_call, line);
    Box::pin(relayed(&world.backend, "expire", last_call, work))
        .await
        .unwrap()
}

/// Once a minute, at any second of it: starts are 1 to 119 s apart.
#[tokio::test(start_paused = true)]
async fn a_successor_takes_over_without_a_hole() {
    let (world, passes) = (World::new().await, Passes::default());
    let random = Random::seeded(3);
    let runs = (0..12u64).map(|minute| {
        let after = Duration::from_secs(minute * 60 + random.below(60));
        invocation(&world, &passes, after)
    });
    let turns = Box::pin(futures_util::future::join_all(runs)).await;
    assert!(
        turns.iter().all(|turn| matches!(turn, Turn::Ran(()))),
        "{turns:?}"
    );
    assert!(passes.hole() <= EVERY + 2 * SECOND, "{:?}", passes.hole());
    assert_eq!(passes.most.get(), 1);
    // The last one had no successor, and ended by itself.
    assert!(passes.begun.borrow().len() > 11 * 60 / 7);
}

/// Where starts fail to come, who runs goes on for as long as it may.
#[tokio::test(start_paused = true)]
async fn missed_starts_make_no_hole() {
    let (world, passes) = (World::new().await, Passes::default());
    let turns = Box::pin(futures_util::future::join(
        invocation(&world, &passes, Duration::ZERO),
        invocation(&world, &passes, 240 * SECOND),
    ))
    .await;
    assert!(matches!(turns, (Turn::Ran(()), Turn::Ran(()))));
    assert!(passes.hole() <= EVERY + 2 * SECOND, "{:?}", passes.hole());
}

#[tokio::test(start_paused = true)]
async fn one_is_in_line_and_others_leave() {
    let world = World::new().await;
    let busy = |_: Line| world.clock.sleep(30 * SECOND);
    let until = world.clock.instant() + TIME;
    let run = async |after: u32| {
        world.clock.sleep(SECOND * after).await;
        let turn = Box::pin(relayed(&world.backend, "expire", until, busy))
            .await
            .unwrap();
        (matches!(turn, Turn::Ran(())), world.clock.now())
    };
    let begun = world.clock.now();
    let (first, second, third) = tokio::join!(run(0), run(2), run(4));
    assert!(first.0 && second.0 && !third.0, "{first:?} {second:?} {third:?}");
    assert!(third.1 < begun + 6 * SECOND);
    assert!(second.1 < begun + 64 * SECOND, "{second:?}");
}

/// Who dies while it runs keeps the others out until its lease ends.
#[tokio::test(start_paused = true)]
async fn after_a_runner_that_died_the_next_waits_for_its_lease() {
    let (world, passes) = (World::new().await, Passes::default());
    let died = world
        .clock
        .timeout(40 * SECOND, invocation(&world, &passes, Duration::ZERO))
        .await;
    assert!(died.is_err());
    invocation(&world, &passes, 10 * SECOND).await;
    assert!(passes.hole() <= 62 * SECOND, "{:?}", passes.hole());
}
