//! Requests whose answer was lost: a read decides, or the call ends as `OutcomeUnknown`, never as a refusal.

use std::time::Duration;

use tidewatch::clock::Clock;
use tidewatch::state::{Error, ErrorKind, Item, Key, Layout};

use crate::engine::{Engine, Fate};
use crate::mocked::{
    Answer, EXPIRES, LIMIT, Mocked, PINNED, START, call, calls, cancelled, condition_failed, names, stored,
};

/// The ways in which an answer says nothing.
fn lost() -> [Answer; 4] {
    [
        Answer::Error(500, "InternalServerError"),
        Answer::Error(503, "ServiceUnavailable"),
        Answer::Body(502, "<html>".to_owned()),
        Answer::Body(200, "{\"Attributes\": {\"Fu".to_owned()),
    ]
}

fn kind(done: Result<(), Error>) -> Result<(), ErrorKind> {
    done.map_err(|error| error.kind())
}

const UNKNOWN: Result<(), ErrorKind> = Err(ErrorKind::OutcomeUnknown);

/// Operation, what is answered after the lost answer, the requests that makes, how the call ends.
type Row = (
    &'static str,
    Vec<Answer>,
    &'static [&'static str],
    Result<(), ErrorKind>,
);

fn rows() -> Vec<Row> {
    use Answer::{Done, Nothing, Others, Ours};
    let mut rows: Vec<Row> = vec![
        ("get", vec![Done], &["GetItem", "GetItem"], Ok(())),
        ("items", vec![Done], &["Query", "Query"], Ok(())),
        ("entries", vec![Done], &["Query", "Query"], Ok(())),
        ("count", vec![Done], &["Query", "Query"], Ok(())),
        // Nothing that a read finds would tell who deleted, or whose expiry it is.
        ("delete", vec![], &["DeleteItem"], UNKNOWN),
        ("keep_alive_unchecked", vec![], &["UpdateItem"], UNKNOWN),
        ("delete_batch", vec![], &["BatchWriteItem"], UNKNOWN),
        // What was there at the call is deleted by either.
        (
            "delete_range",
            vec![Done, Done],
            &["Query", "Query", "BatchWriteItem"],
            Ok(()),
        ),
    ];
    for name in ["put", "create", "update", "compare_and_swap"] {
        rows.push((name, vec![Ours], &["PutItem", "GetItem"], Ok(())));
        // Pinned is what the call would replace, but it is not pinned to it.
        for found in [Nothing, Others, Done] {
            rows.push((name, vec![found], &["PutItem", "GetItem"], UNKNOWN));
        }
    }
    let repeated: &[&str] = &["PutItem", "GetItem", "PutItem"];
    let twice: &[&str] = &["PutItem", "GetItem", "PutItem", "GetItem", "PutItem"];
    let name = "conditional_update";
    rows.push((name, vec![Ours], &["PutItem", "GetItem"], Ok(())));
    rows.push((name, vec![Others], &["PutItem", "GetItem"], UNKNOWN));
    rows.push((name, vec![Nothing], &["PutItem", "GetItem"], UNKNOWN));
    rows.push((name, vec![Done, Done], repeated, Ok(())));
    let [lost, ..] = lost();
    rows.push((name, vec![Done, lost.clone(), Done, Done], twice, Ok(())));
    // The refusal may be by our own first attempt: the old item tells.
    let refused = condition_failed(&stored("/k", "33333333-3333-4333-8333-333333333333", EXPIRES));
    rows.push((name, vec![Done, refused.clone()], repeated, UNKNOWN));
    rows.push((
        name,
        vec![Done, Answer::Error(400, "ConditionalCheckFailedException")],
        repeated,
        UNKNOWN,
    ));
    // A last word about the repeat says nothing of the first.
    for code in ["AccessDeniedException", "ValidationException"] {
        rows.push((name, vec![Done, Answer::Error(400, code)], repeated, UNKNOWN));
    }

    let repeated: &[&str] = &["DeleteItem", "GetItem", "DeleteItem"];
    let name = "conditional_delete";
    rows.push((name, vec![Done, Done], repeated, Ok(())));
    rows.push((name, vec![Nothing], &["DeleteItem", "GetItem"], UNKNOWN));
    rows.push((name, vec![Others], &["DeleteItem", "GetItem"], UNKNOWN));
    rows.push((name, vec![Done, refused.clone()], repeated, UNKNOWN));

    let repeated: &[&str] = &["UpdateItem", "GetItem", "UpdateItem"];
    let name = "keep_alive";
    rows.push((name, vec![Ours], &["UpdateItem", "GetItem"], Ok(())));
    rows.push((name, vec![Done, Done], repeated, Ok(())));
    rows.push((name, vec![Nothing], &["UpdateItem", "GetItem"], UNKNOWN));
    rows.push((name, vec![Others], &["UpdateItem", "GetItem"], UNKNOWN));
    rows.push((name, vec![Done, refused], repeated, UNKNOWN));
    let later = condition_failed(&stored("/k", PINNED, EXPIRES + 60));
    rows.push((name, vec![Done, later], repeated, Ok(())));

    let again: &[&str] = &["TransactWriteItems", "TransactWriteItems"];
    let read: &[&str] = &["TransactWriteItems", "TransactWriteItems", "GetItem"];
    let name = "atomic_write";
    rows.push((name, vec![Done], again, Ok(())));
    for answer in [
        cancelled(&["ConditionalCheckFailed", "None"]),
        Answer::Error(400, "IdempotentParameterMismatchException"),
        Answer::Error(400, "AccessDeniedException"),
    ] {
        rows.push((name, vec![answer.clone(), Ours], read, Ok(())));
        rows.push((name, vec![answer.clone(), Others], read, UNKNOWN));
        rows.push((name, vec![answer, Nothing], read, UNKNOWN));
    }

    let name = "put_batch";
    rows.push((name, vec![Ours], &["BatchWriteItem", "BatchGetItem"], Ok(())));
    rows.push((name, vec![Others], &["BatchWriteItem", "BatchGetItem"], UNKNOWN));
    rows.push((name, vec![Nothing], &["BatchWriteItem", "BatchGetItem"], UNKNOWN));
    rows
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_settled_or_unknown() {
    let rows = rows();
    for call in calls() {
        assert!(
            rows.iter().any(|row| row.0 == call.name),
            "no row for {}",
            call.name
        );
    }
    for (name, answers, requests, end) in rows {
        for lost in lost() {
            let what = format!("{name}: {lost:?}, then {answers:?}");
            let mocked = Mocked::new([lost].into_iter().chain(answers.clone()), Answer::Done);
            let done = call(name).on(&mocked.backend).await;
            assert_eq!(kind(done), end, "{what}");
            assert_eq!(names(&mocked.asked()), requests, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_answers_nothing_useful_is_unavailable_to_reads_and_unknown_to_writes() {
    for call in calls() {
        for lost in lost().into_iter().step_by(3) {
            let what = format!("{}: {lost:?}", call.name);
            let mocked = Mocked::new([], lost);
            let error = call.on(&mocked.backend).await.unwrap_err();
            let reads = call
                .requests
                .first()
                .is_some_and(|first| matches!(*first, "GetItem" | "Query"));
            let expected = if reads {
                ErrorKind::Unavailable
            } else {
                ErrorKind::OutcomeUnknown
            };
            assert_eq!(error.kind(), expected, "{what}: {error}");
            let advice = if reads {
                "nothing was changed"
            } else {
                "read, and decide"
            };
            assert!(error.to_string().contains(advice), "{what}: {error}");
            assert!(mocked.passed() <= LIMIT, "{what}: {:?}", mocked.passed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_became_unknown_stays_so_whatever_ends_the_call() {
    let [lost, ..] = lost();
    // The item is still as it was, so the pinned ones may try again: into throttling until the deadline.
    for name in ["conditional_update", "conditional_delete", "keep_alive"] {
        for code in [
            "ThrottlingException",
            "TransactionConflictException",
            "ExpiredTokenException",
        ] {
            let mocked = Mocked::new([lost.clone(), Answer::Done], Answer::Error(400, code));
            let done = call(name).on(&mocked.backend).await;
            assert_eq!(kind(done), UNKNOWN, "{name}, then {code}");
            assert!(mocked.asked().len() >= 5, "{name}, then {code}");
        }
    }
    for code in [
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    ] {
        let mocked = Mocked::new([lost.clone()], Answer::Error(400, code));
        let done = call("atomic_write").on(&mocked.backend).await;
        assert_eq!(kind(done), UNKNOWN, "atomic_write, then {code}");
    }
    // The read that would settle it never succeeds.
    for name in ["put", "conditional_update", "keep_alive", "put_batch"] {
        let mocked = Mocked::new([lost.clone()], Answer::Error(400, "ThrottlingException"));
        let done = call(name).on(&mocked.backend).await;
        assert_eq!(kind(done), UNKNOWN, "{name}");
        let denied = Mocked::new([lost.clone()], Answer::Error(400, "AccessDeniedException"));
        let done = call(name).on(&denied.backend).await;
        assert_eq!(kind(done), UNKNOWN, "{name}");
        assert_eq!(denied.asked().len(), 2, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_least_once_repeats_what_is_safe_for_a_single_writer() {
    let [lost, ..] = lost();
    for (name, answers, requests) in [
        ("put", vec![Answer::Ours], &["PutItem", "GetItem"][..]),
        ("put", vec![Answer::Others], &["PutItem", "GetItem", "PutItem"]),
        ("put", vec![Answer::Nothing], &["PutItem", "GetItem", "PutItem"]),
        ("delete", vec![], &["DeleteItem", "DeleteItem"]),
        // Gone, by the first attempt or by the expiry: what was asked for.
        (
            "delete",
            vec![Answer::Error(400, "ConditionalCheckFailedException")],
            &["DeleteItem", "DeleteItem"],
        ),
    ] {
        let what = format!("{name}, then {answers:?}");
        let mocked = Mocked::new([lost.clone()].into_iter().chain(answers), Answer::Done);
        let done = call(name).on(&mocked.backend.at_least_once()).await;
        assert_eq!(kind(done), Ok(()), "{what}");
        assert_eq!(names(&mocked.asked()), requests, "{what}");
    }
    for call in calls() {
        let mocked = Mocked::new([], lost.clone());
        let error = call.on(&mocked.backend.at_least_once()).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::OutcomeUnknown | ErrorKind::Unavailable),
            "{error}"
        );
        let asked = mocked.asked();
        let writes = asked
            .iter()
            .filter(|asked| ["PutItem", "UpdateItem", "DeleteItem"].contains(&asked.operation.as_str()));
        assert!(writes.count() <= 1 || call.name == "delete", "{}", call.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_repeated_under_its_token_for_ten_seconds_and_then_proved() {
    for answer in [
        Answer::Error(500, "InternalServerError"),
        Answer::Error(400, "TransactionInProgressException"),
    ] {
        let mocked = Mocked::new([answer.clone(), answer.clone()], Answer::Done);
        call("atomic_write").on(&mocked.backend).await.unwrap();
        let asked = mocked.asked();
        assert_eq!(asked.len(), 3);
        assert!(
            asked.iter().all(|again| again.body == asked[0].body),
            "the same request"
        );
        assert!(asked[2].at > asked[0].at);

        // Ten seconds of it, and a revision that proves it.
        let mocked = Mocked::new([], answer.clone());
        let patient = mocked
            .backend
            .with_deadline(mocked.clock.instant() + Duration::from_secs(30));
        let error = call("atomic_write").on(&patient).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
        let asked = mocked.asked();
        let writes: Vec<_> = asked
            .iter()
            .filter(|asked| asked.operation == "TransactWriteItems")
            .collect();
        assert!(writes.iter().all(|again| again.body == writes[0].body));
        let last = writes.last().unwrap().at.duration_since(writes[0].at).unwrap();
        assert!(
            last > Duration::from_secs(7) && last <= Duration::from_millis(11_024),
            "{last:?}"
        );
    }
    // A refusal that is known before anything is unknown: a new token; after it the old one again.
    let mocked = Mocked::new(
        [
            cancelled(&["TransactionConflict", "None"]),
            Answer::Error(500, "InternalServerError"),
            cancelled(&["TransactionConflict", "None"]),
        ],
        Answer::Done,
    );
    call("atomic_write").on(&mocked.backend).await.unwrap();
    let asked = mocked.asked();
    let tokens: Vec<_> = asked
        .iter()
        .map(|asked| &asked.body["ClientRequestToken"])
        .collect();
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(tokens[1..], [tokens[1]; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_tells_the_keys_that_were_stored_from_those_that_may_yet_be() {
    let mocked = Mocked::new(
        [Answer::Error(500, "InternalServerError"), Answer::Done],
        Answer::Done,
    );
    let items: Vec<Item> = (0..30)
        .map(|n| Item::new(format!("/{n:02}").as_str(), "v"))
        .collect();
    let outcome = mocked.backend.put_batch(&items).await;
    let asked = mocked.asked();
    assert_eq!(
        names(&asked),
        ["BatchWriteItem", "BatchGetItem", "BatchWriteItem"]
    );
    for (n, (key, result)) in outcome.results.iter().enumerate() {
        let result = result.as_ref().map(drop).map_err(Error::kind);
        assert_eq!(result, if n < 25 { UNKNOWN } else { Ok(()) }, "{key}");
    }
    let first = outcome.results[3].1.as_ref().unwrap_err();
    assert_eq!(first.key(), Some(&Key::from("/03")));
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_or_silence_on_the_engine() {
    // What the engine holds afterwards is what the call said, and never less than a success.
    let silence = Fate::Delayed {
        before: Duration::ZERO,
        after: Duration::from_secs(60),
    };
    for (fate, applied) in [(Fate::AnswerLost, true), (silence, true), (Fate::Dropped, false)] {
        let clock = Clock::simulated(std::time::UNIX_EPOCH + START);
        let engine = Engine::new();
        let backend = engine.backend("lost", Layout::Teleport, &clock, 3).await;
        let key = Key::from("/k");
        let settled = if applied { Ok(()) } else { UNKNOWN };

        engine.fates("PutItem", [fate.clone()]);
        let done = backend.create(&Item::new(&key, "1")).await.map(drop);
        assert_eq!(kind(done), settled, "create: {fate:?}");
        assert_eq!(backend.get(&key).await.is_ok(), applied, "create: {fate:?}");

        engine.plan(|_, _| Fate::Served);
        let lease = backend
            .put(&Item::new(&key, "2").expiring(clock.now() + LIMIT * 9))
            .await
            .unwrap();
        engine.fates("UpdateItem", [fate.clone()]);
        let later = clock.now() + LIMIT * 10;
        assert_eq!(
            kind(backend.keep_alive(&lease, later).await),
            Ok(()),
            "keep_alive: {fate:?}"
        );
        engine.fates("PutItem", [fate.clone()]);
        let pinned = Item::new(&key, "3").at(&lease.revision);
        let lease = backend.conditional_update(&pinned).await;
        let lease = lease.unwrap_or_else(|error| panic!("conditional_update: {fate:?}: {error}"));
        engine.fates("TransactWriteItems", [fate.clone()]);
        let swap = [
            tidewatch::state::ConditionalAction::put(
                Item::new(&key, "4"),
                tidewatch::state::Condition::Revision(lease.revision.clone()),
            ),
            tidewatch::state::ConditionalAction::put(
                Item::new("/l", "4"),
                tidewatch::state::Condition::NotExists,
            ),
        ];
        let revision = backend.atomic_write(&swap).await;
        let revision = revision.unwrap_or_else(|error| panic!("atomic_write: {fate:?}: {error}"));
        assert_eq!(Some(backend.get(&key).await.unwrap().revision), revision);
        engine.fates("DeleteItem", [fate.clone()]);
        let pinned = backend.conditional_delete(&key, &revision.unwrap()).await;
        assert_eq!(
            kind(pinned),
            if applied { UNKNOWN } else { Ok(()) },
            "conditional_delete: {fate:?}"
        );
        assert!(backend.get(&key).await.is_err());
        engine.fates("DeleteItem", [fate.clone()]);
        assert_eq!(
            kind(backend.delete(&Key::from("/l")).await),
            UNKNOWN,
            "delete: {fate:?}"
        );
        assert_eq!(
            backend.get(&Key::from("/l")).await.is_err(),
            applied,
            "delete: {fate:?}"
        );
        engine.plan(|_, _| Fate::Served);
        backend.put(&Item::new("/l", "5")).await.unwrap();
        engine.fates("DeleteItem", [fate.clone()]);
        let gone = backend.at_least_once().delete(&Key::from("/l")).await;
        assert_eq!(kind(gone), Ok(()), "at least once: {fate:?}");
    }
}
