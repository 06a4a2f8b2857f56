//! What was certainly not applied: sent again with a fresh clock until the deadline, or not at all where that is no use.

use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tidewatch::state::ErrorKind;

use crate::mocked::{Answer, Asked, Call, LIMIT, Mocked, TABLE, calls, cancelled, error, names};

/// Answers that say "not applied, try again", and what a call ends with that meets nothing else.
fn refusals(call: &Call) -> Vec<(Answer, ErrorKind)> {
    let mut all: Vec<(Answer, ErrorKind)> = [
        ("ProvisionedThroughputExceededException", ErrorKind::Throttled),
        ("ThrottlingException", ErrorKind::Throttled),
        ("RequestLimitExceeded", ErrorKind::Throttled),
        ("TransactionConflictException", ErrorKind::Contended),
        ("ReplicatedWriteConflictException", ErrorKind::Contended),
        ("ExpiredTokenException", ErrorKind::AccessDenied),
        ("UnrecognizedClientException", ErrorKind::AccessDenied),
        ("InvalidSignatureException", ErrorKind::AccessDenied),
    ]
    .map(|(code, kind)| (Answer::Error(400, code), kind))
    .into();
    if call.name == "atomic_write" {
        all.push((cancelled(&["None", "TransactionConflict"]), ErrorKind::Contended));
        all.push((cancelled(&["ThrottlingError", "None"]), ErrorKind::Throttled));
        all.push((
            cancelled(&["None", "ProvisionedThroughputExceeded"]),
            ErrorKind::Throttled,
        ));
        // The conflict may be with what throttles.
        all.push((
            cancelled(&["ThrottlingError", "TransactionConflict"]),
            ErrorKind::Contended,
        ));
    }
    all
}

/// All values under this name, however deep.
fn all_of<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(member, value)| {
            if member == name {
                found.push(value);
            }
            all_of(value, name, found);
        }),
        Value::Array(values) => values.iter().for_each(|value| all_of(value, name, found)),
        _ => {}
    }
}

/// What the attempts of one call must have in common, and what not.
fn check_attempts(asked: &[Asked], what: &str) {
    let mut revisions: HashSet<Vec<&Value>> = HashSet::new();
    let mut tokens = HashSet::new();
    for asked in asked {
        let sent = asked.at.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
        let mut found = Vec::new();
        all_of(&asked.body, ":now", &mut found);
        if matches!(asked.operation.as_str(), "PutItem" | "TransactWriteItems") {
            all_of(&asked.body, "Timestamp", &mut found);
        }
        for now in found {
            assert_eq!(now, &json!({ "N": sent }), "{what}: a clock that is not fresh");
        }
        let mut found = Vec::new();
        all_of(&asked.body, "Revision", &mut found);
        if asked.body.get("ConsistentRead").is_none() && !found.is_empty() {
            revisions.insert(found);
        }
        if let Some(token) = asked.body.get("ClientRequestToken") {
            assert!(
                tokens.insert(token.as_str().unwrap()),
                "{what}: a token used again"
            );
        }
    }
    assert!(
        revisions.len() <= 1,
        "{what}: a revision for each attempt: {revisions:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_faults_each_operation_takes_its_one_request() {
    for call in calls() {
        let mocked = Mocked::new([], Answer::Done);
        let done = call.on(&mocked.backend).await;
        assert_eq!(done.map_err(|error| error.kind()), Ok(()), "{}", call.name);
        assert_eq!(names(&mocked.asked()), call.requests, "{}", call.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_sent_again_with_a_fresh_clock() {
    for call in calls() {
        for (refusal, kind) in refusals(&call) {
            for (place, refused) in call.requests.iter().enumerate() {
                let what = format!("{}: {refusal:?} for request {place}", call.name);
                let before = vec![Answer::Done; place];
                // Two of them: the third attempt is the last for credentials.
                let mocked = Mocked::new(
                    before.into_iter().chain([refusal.clone(), refusal.clone()]),
                    Answer::Done,
                );
                let done = call.on(&mocked.backend).await;
                assert!(done.is_ok(), "{what}: {done:?}");
                let asked = mocked.asked();
                let mut expected = call.requests.to_vec();
                expected.splice(place..place, [*refused, *refused]);
                assert_eq!(names(&asked), expected, "{what}");
                check_attempts(&asked, &what);
                let [first, .., third] = &asked[place..=place + 2] else {
                    panic!("{what}")
                };
                let pause = third.at.duration_since(first.at).unwrap();
                let most = if kind == ErrorKind::Throttled { 150 } else { 75 };
                assert!(
                    !pause.is_zero() && pause <= Duration::from_millis(most + 2),
                    "{what}: {pause:?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_end_ends_at_the_deadline() {
    for call in calls() {
        // The codes of a kind differ in nothing from here on.
        let mut refusals = refusals(&call);
        refusals.dedup_by_key(|(_, kind)| *kind);
        for (refusal, kind) in refusals {
            for place in 0..call.requests.len() {
                let what = format!("{}: {refusal:?} from request {place} on", call.name);
                let mocked = Mocked::new(vec![Answer::Done; place], refusal.clone());
                let error = call.on(&mocked.backend).await.unwrap_err();
                assert_eq!(error.kind(), kind, "{what}: {error}");
                let asked = mocked.asked();
                check_attempts(&asked, &what);
                let refused = asked.len() - place;
                if kind == ErrorKind::AccessDenied {
                    assert_eq!(refused, 3, "{what}");
                } else {
                    assert!(refused > 5, "{what}: {refused}");
                    assert!(mocked.passed() > LIMIT / 4, "{what}: {:?}", mocked.passed());
                }
                assert!(mocked.passed() <= LIMIT, "{what}: {:?}", mocked.passed());
                assert_eq!(error.attempts() as usize, refused, "{what}");
                assert_eq!((error.operation(), error.table()), (call.name, TABLE));
                let text = error.to_string();
                for part in [
                    call.name,
                    TABLE,
                    &format!("({refused} attempts)"),
                    if kind == ErrorKind::AccessDenied {
                        "renew the credentials"
                    } else {
                        "nothing was applied"
                    },
                ] {
                    assert!(text.contains(part), "{what}: {text}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_deadline_holds() {
    for call in calls() {
        let mocked = Mocked::new([], Answer::Error(400, "ThrottlingException"));
        let deadline = mocked.clock.instant() + Duration::from_millis(300);
        let error = call
            .on(&mocked.backend.with_deadline(deadline))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled, "{}", call.name);
        assert!(mocked.passed() <= Duration::from_millis(300), "{}", call.name);

        // Passed already: nothing is sent.
        let mocked = Mocked::new([], Answer::Done);
        let deadline = mocked.clock.instant();
        mocked.clock.sleep(Duration::from_millis(1)).await;
        let error = call
            .on(&mocked.backend.with_deadline(deadline))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", call.name);
        assert_eq!(names(&mocked.asked()), Vec::<&str>::new(), "{}", call.name);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_work_is_sent_once() {
    let size = error(
        "ValidationException",
        &json!({ "message": "Item size has exceeded the maximum allowed size" }),
    );
    let update = error(
        "ValidationException",
        &json!({ "message": "Item size to update has exceeded the maximum allowed size" }),
    );
    let value = error(
        "ValidationException",
        &json!({ "message": "One or more parameter values were invalid: Aggregated size of all range keys has \
                             exceeded the size limit of 1024 bytes" }),
    );
    let other = error(
        "ValidationException",
        &json!({ "message": "One or more parameter values are not valid" }),
    );
    let last = [
        (
            Answer::Error(400, "AccessDeniedException"),
            ErrorKind::AccessDenied,
        ),
        (
            Answer::Error(400, "ResourceNotFoundException"),
            ErrorKind::WrongTable,
        ),
        (
            Answer::Error(400, "ItemCollectionSizeLimitExceededException"),
            ErrorKind::TooLarge,
        ),
        (Answer::Body(400, size), ErrorKind::TooLarge),
        (Answer::Body(400, update), ErrorKind::TooLarge),
        (Answer::Body(400, value), ErrorKind::TooLarge),
        (Answer::Body(400, other), ErrorKind::BadParameter),
        (
            Answer::Error(400, "SerializationException"),
            ErrorKind::BadParameter,
        ),
    ];
    for call in calls() {
        for (answer, kind) in &last {
            for place in 0..call.requests.len() {
                let what = format!("{}: {answer:?}", call.name);
                let mocked = Mocked::new(vec![Answer::Done; place], answer.clone());
                let error = call.on(&mocked.backend).await.unwrap_err();
                assert_eq!(error.kind(), *kind, "{what}: {error}");
                assert_eq!(names(&mocked.asked()), call.requests[..=place], "{what}");
                assert_eq!(mocked.passed(), Duration::ZERO, "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_permission_that_is_missing_is_named() {
    let denied = error(
        "AccessDeniedException",
        &json!({ "message": "User: x is not authorized to perform: dynamodb:ConditionCheckItem on resource: y" }),
    );
    let mocked = Mocked::new([], Answer::Body(400, denied));
    let error = crate::mocked::call("atomic_write")
        .on(&mocked.backend)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("allow dynamodb:ConditionCheckItem"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_transaction_is_read_by_its_weightiest_reason() {
    for (reasons, kind, requests) in [
        (["ConditionalCheckFailed", "None"], ErrorKind::ConditionFailed, 1),
        (
            ["TransactionConflict", "ConditionalCheckFailed"],
            ErrorKind::ConditionFailed,
            1,
        ),
        (
            ["ConditionalCheckFailed", "ThrottlingError"],
            ErrorKind::ConditionFailed,
            1,
        ),
        (
            ["ItemCollectionSizeLimitExceeded", "None"],
            ErrorKind::TooLarge,
            1,
        ),
        (["ValidationError", "None"], ErrorKind::BadParameter, 1),
    ] {
        let mocked = Mocked::new([], cancelled(&reasons));
        let error = crate::mocked::call("atomic_write")
            .on(&mocked.backend)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{reasons:?}: {error}");
        assert_eq!(mocked.asked().len(), requests, "{reasons:?}");
    }
}
