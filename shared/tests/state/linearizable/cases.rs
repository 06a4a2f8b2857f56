//! Histories by hand: what the checker lets pass, and what it does not.

use std::time::Duration;

use tidewatch::state::ErrorKind;

use super::checker::{Rules, counterexample, is_linearizable};
use super::history::{
    Act, Attempt, Call, Effect, History, Must, Operation, Outcome, Stamp, Stored, Told, Write,
};

fn at(millis: u64) -> Stamp {
    Stamp::before(Duration::from_millis(millis))
}

/// A call from one millisecond to another, of one attempt that was sent at once.
fn made(called: u64, returned: u64, call: Call, outcome: Outcome) -> Operation {
    let told = match outcome {
        Outcome::Unknown => Told::Nothing,
        Outcome::Refused(_) if !matches!(call, Call::Get(_)) => Told::Refused,
        _ => Told::Applied,
    };
    Operation {
        client: 0,
        call,
        called: at(called),
        attempts: vec![attempt(called, told)],
        returned: at(returned),
        outcome,
    }
}

fn attempt(sent: u64, told: Told) -> Attempt {
    Attempt {
        sent: at(sent),
        read: i64::try_from(sent / 1000).unwrap(),
        told,
        token: None,
    }
}

/// Of key 0 or 1; each value `n` is written in revision `n`.
fn write(key: usize, value: u32, expires: Option<i64>) -> Write {
    Write { key, value, expires }
}

fn put(from: u64, to: u64, value: u32) -> Operation {
    made(
        from,
        to,
        Call::Put(write(0, value, None)),
        Outcome::Applied(Some(value)),
    )
}

fn get(from: u64, to: u64, key: usize, value: u32) -> Operation {
    let stored = Stored {
        value,
        expires: None,
        revision: value,
    };
    made(from, to, Call::Get(key), Outcome::Read(stored))
}

fn missing(from: u64, to: u64) -> Operation {
    made(from, to, Call::Get(0), Outcome::Refused(ErrorKind::NotFound))
}

fn passes(operations: impl IntoIterator<Item = Operation>) -> bool {
    let operations = operations.into_iter().collect();
    is_linearizable(&History { seed: 0, operations }, Rules::Exact)
}

#[test]
fn linearizable_is_what_each_could_see_in_some_order() {
    assert!(passes([put(0, 10, 1), put(20, 30, 2), get(40, 50, 0, 2)]));
    assert!(!passes([put(0, 10, 1), put(20, 30, 2), get(40, 50, 0, 1)]));
    assert!(passes([put(0, 90, 1), put(10, 80, 2), get(95, 96, 0, 1)]));
    assert!(passes([put(0, 90, 1), missing(5, 6), get(20, 30, 0, 1)]));
    assert!(!passes([put(0, 90, 1), get(20, 30, 0, 1), missing(40, 41)]));
}

#[test]
fn linearizable_takes_an_unknown_outcome_for_later_or_never_but_once() {
    let unknown = || made(20, 30, Call::Put(write(0, 2, None)), Outcome::Unknown);
    assert!(passes([put(0, 10, 1), unknown(), get(40, 50, 0, 1)]));
    assert!(passes([
        put(0, 10, 1),
        unknown(),
        get(40, 50, 0, 1),
        get(60, 61, 0, 2)
    ]));
    assert!(!passes([put(0, 10, 1), get(12, 13, 0, 2), unknown()]));
    assert!(!passes([
        unknown(),
        get(40, 41, 0, 2),
        put(50, 60, 3),
        get(70, 71, 0, 2)
    ]));
    // A delete of unknown outcome that is judged by an earlier second than it took effect in.
    let lease = |from, to| {
        made(
            from,
            to,
            Call::Put(write(0, 1, Some(0))),
            Outcome::Applied(Some(1)),
        )
    };
    let late = made(
        900,
        950,
        Call::KeepAlive {
            key: 0,
            revision: 1,
            expires: 9,
        },
        Outcome::Unknown,
    );
    let alive = Stored {
        value: 1,
        expires: Some(9),
        revision: 1,
    };
    let alive = made(1300, 1310, Call::Get(0), Outcome::Read(alive));
    assert!(passes([lease(0, 10), late, missing(1100, 1110), alive]));
}

#[test]
fn linearizable_sees_an_atomic_write_whole() {
    let acts = [0, 1].map(|key| Act {
        key,
        condition: Must::Whatever,
        effect: Effect::Put {
            value: 7,
            expires: None,
        },
    });
    let both = made(0, 90, Call::AtomicWrite(acts.to_vec()), Outcome::Applied(Some(7)));
    let none = made(40, 41, Call::Get(1), Outcome::Refused(ErrorKind::NotFound));
    assert!(passes([both.clone(), none.clone(), get(50, 51, 0, 7)]));
    assert!(!passes([both, get(20, 30, 0, 7), none]));
}

#[test]
fn linearizable_judges_expiry_by_the_effective_attempt() {
    let lease = made(0, 10, Call::Put(write(0, 1, Some(1))), Outcome::Applied(Some(1)));
    let exists = |from, to| {
        made(
            from,
            to,
            Call::Create(write(0, 2, None)),
            Outcome::Refused(ErrorKind::AlreadyExists),
        )
    };
    assert!(passes([lease.clone(), exists(1900, 1990)]));
    assert!(!passes([lease.clone(), exists(2000, 2001)]));
    let mut retried = exists(1900, 2200);
    retried.attempts = vec![attempt(1900, Told::NotApplied), attempt(2100, Told::Refused)];
    assert!(!passes([lease.clone(), retried]));
    // Its answer came in the next second, so nobody can have been between.
    let kept = Call::KeepAlive {
        key: 0,
        revision: 1,
        expires: 9,
    };
    let kept = made(1900, 2300, kept, Outcome::Applied(None));
    let gone = [lease, kept, missing(2100, 2110)];
    assert!(!passes(gone.clone()));
    let gone = History {
        seed: 0,
        operations: gone.to_vec(),
    };
    assert!(is_linearizable(&gone, Rules::Within(Duration::from_millis(300))));
}

#[test]
fn linearizable_shows_the_shortest_history() {
    let operations = vec![
        put(0, 10, 1),
        get(12, 13, 0, 1),
        put(20, 30, 2),
        get(40, 50, 0, 1),
        put(60, 70, 3),
    ];
    let least = counterexample(&History { seed: 0, operations }, Rules::Exact).unwrap();
    let shown: Vec<String> = least.operations.iter().map(|one| one.call.to_string()).collect();
    assert_eq!(shown, ["put a=1", "put a=2", "get a"]);
}
