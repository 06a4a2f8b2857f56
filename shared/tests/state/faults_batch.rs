//! What DynamoDB leaves of a batch unprocessed: sent again, only that, until the deadline.

use std::time::Duration;

use serde_json::{Value, json};
use tidewatch::state::{BatchOutcome, Error, ErrorKind, Item, Key, Range};

use crate::mocked::{Answer, Asked, EXPIRES, LIMIT, Mocked, PINNED, TABLE, names, stored};

fn keys(numbers: std::ops::Range<usize>) -> Vec<Key> {
    numbers.map(|n| Key::from(format!("/{n:02}").as_str())).collect()
}

fn items(numbers: std::ops::Range<usize>) -> Vec<Item> {
    keys(numbers).iter().map(|key| Item::new(key, "v")).collect()
}

/// The answer to a batch of which these writes were left.
fn left(numbers: std::ops::Range<usize>, delete: bool) -> Answer {
    let write = |key: &Key| {
        let primary =
            json!({ "HashKey": { "S": "teleport" }, "FullPath": { "S": format!("teleport{key}") } });
        if delete {
            json!({ "DeleteRequest": { "Key": primary } })
        } else {
            json!({ "PutRequest": { "Item": primary } })
        }
    };
    let left: Vec<Value> = keys(numbers).iter().map(write).collect();
    Answer::Body(200, json!({ "UnprocessedItems": { TABLE: left } }).to_string())
}

/// A page of a query for a range.
fn page(numbers: std::ops::Range<usize>, more: bool) -> Answer {
    let items: Vec<Value> = keys(numbers)
        .iter()
        .map(|key| stored(&key.to_string(), PINNED, EXPIRES))
        .collect();
    let mut body = json!({ "Count": items.len(), "ScannedCount": items.len(), "Items": items });
    if more {
        body["LastEvaluatedKey"] =
            json!({ "HashKey": { "S": "teleport" }, "FullPath": { "S": "teleport/x" } });
    }
    Answer::Body(200, body.to_string())
}

/// How many writes each batch had.
fn sizes(asked: &[Asked]) -> Vec<usize> {
    let batches = asked.iter().filter(|asked| asked.operation == "BatchWriteItem");
    batches
        .map(|asked| asked.body["RequestItems"][TABLE].as_array().unwrap().len())
        .collect()
}

fn kinds<T>(outcome: &BatchOutcome<T>) -> Vec<Option<ErrorKind>> {
    let results = outcome.results.iter();
    results
        .map(|(_, result)| result.as_ref().err().map(Error::kind))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn only_what_was_left_is_sent_again() {
    // Teleport gives up where the number does not fall; here it stays, even rises by none, and goes on.
    let answers = |delete| {
        [
            left(20..25, delete),
            left(20..25, delete),
            left(24..25, delete),
            Answer::Done,
        ]
    };
    let mocked = Mocked::new(answers(false), Answer::Done);
    let outcome = mocked.backend.put_batch(&items(0..30)).await;
    assert_eq!(kinds(&outcome), vec![None; 30]);
    assert_eq!(sizes(&mocked.asked()), [25, 5, 5, 1, 5]);
    assert!(!mocked.passed().is_zero(), "without a pause between");

    let mocked = Mocked::new(answers(true), Answer::Done);
    let outcome = mocked.backend.delete_batch(&keys(0..30)).await;
    assert_eq!(kinds(&outcome), vec![None; 30]);
    assert_eq!(sizes(&mocked.asked()), [25, 5, 5, 1, 5]);

    let mut answers: Vec<Answer> = answers(true).into();
    answers.insert(0, page(0..30, false));
    let mocked = Mocked::new(answers, Answer::Done);
    assert_eq!(
        mocked.backend.delete_range(&Range::prefix("/")).await.unwrap(),
        30
    );
    let asked = mocked.asked();
    assert_eq!(names(&asked)[0], "Query");
    assert_eq!(sizes(&asked), [25, 5, 5, 1, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_put_left_unprocessed_keeps_its_revision() {
    let mocked = Mocked::new([left(1..2, false)], Answer::Done);
    let revisions = mocked.backend.put_batch(&items(0..2)).await.all().unwrap();
    let asked = mocked.asked();
    let again = &asked[1].body["RequestItems"][TABLE][0]["PutRequest"]["Item"]["Revision"]["S"];
    assert_eq!(again, &json!(revisions[1].as_str()));
}

#[tokio::test(start_paused = true)]
async fn without_progress_it_ends_at_the_deadline_and_says_which() {
    for delete in [false, true] {
        // 22 of the first batch go through, then nothing moves.
        let mocked = Mocked::new([left(22..25, delete)], left(22..25, delete));
        let kinds = if delete {
            kinds(&mocked.backend.delete_batch(&keys(0..25)).await)
        } else {
            kinds(&mocked.backend.put_batch(&items(0..25)).await)
        };
        let mut expected = vec![None; 22];
        expected.extend(vec![Some(ErrorKind::Throttled); 3]);
        assert_eq!(kinds, expected, "delete: {delete}");
        assert!(mocked.passed() <= LIMIT && mocked.passed() > LIMIT / 4);
        let sizes = sizes(&mocked.asked());
        assert_eq!(sizes[..2], [25, 3], "{sizes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_progress_it_goes_on_for_as_long_as_there_is_time() {
    // One item an answer: more answers than any fixed number of attempts would allow.
    let answers: Vec<Answer> = (1..25).map(|n| left(n..25, false)).collect();
    let mocked = Mocked::new(answers, Answer::Done);
    let patient = mocked
        .backend
        .with_deadline(mocked.clock.instant() + Duration::from_secs(300));
    let outcome = patient.put_batch(&items(0..25)).await;
    assert_eq!(kinds(&outcome), vec![None; 25]);
    assert_eq!(sizes(&mocked.asked()), (1..=25).rev().collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn delete_range_says_how_far_it_came() {
    // A page is deleted, of the next a part.
    let answers = [page(0..25, true), Answer::Done, page(25..35, false)];
    let mocked = Mocked::new(answers, left(30..35, true));
    let error = mocked
        .backend
        .delete_range(&Range::prefix("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unfinished);
    let text = error.to_string();
    assert!(
        text.contains("30 items were deleted; call again to go on") && text.contains("unprocessed"),
        "{text}"
    );
    assert!(mocked.passed() <= LIMIT);

    let mocked = Mocked::new(
        [page(0..25, true), Answer::Done],
        Answer::Error(400, "ThrottlingException"),
    );
    let error = mocked
        .backend
        .delete_range(&Range::prefix("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unfinished, "{error}");
    assert!(error.to_string().contains("25 items were deleted"), "{error}");

    // Nothing done yet: the fault itself.
    let mocked = Mocked::new([page(0..25, false)], left(0..25, true));
    let error = mocked
        .backend
        .delete_range(&Range::prefix("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled, "{error}");

    // A lost answer to a deletion is no reason to stop.
    let answers = [
        page(0..25, false),
        Answer::Error(500, "InternalServerError"),
        left(3..25, true),
        Answer::Error(503, "ServiceUnavailable"),
    ];
    let mocked = Mocked::new(answers, Answer::Done);
    assert_eq!(
        mocked.backend.delete_range(&Range::prefix("/")).await.unwrap(),
        25
    );
    assert_eq!(sizes(&mocked.asked()), [25, 25, 22, 22]);
}

#[tokio::test(start_paused = true)]
async fn a_key_given_twice_is_sent_once_as_the_last_says() {
    let mocked = Mocked::new([], Answer::Done);
    let twice = [Item::new("/a", "1"), Item::new("/b", "1"), Item::new("/a", "2")];
    let outcome = mocked.backend.put_batch(&twice).await;
    assert_eq!(
        outcome.results[0].1.as_ref().unwrap(),
        outcome.results[2].1.as_ref().unwrap()
    );
    let asked = mocked.asked();
    assert_eq!(sizes(&asked), [2]);
    assert_eq!(
        asked[0].body["RequestItems"][TABLE][0]["PutRequest"]["Item"]["Value"]["B"],
        json!("Mg==")
    );
}

#[tokio::test(start_paused = true)]
async fn keys_left_unread_by_the_settling_read_are_read_again() {
    let unread = json!({
        "Responses": { TABLE: [] },
        "UnprocessedKeys": { TABLE: { "Keys": [
            { "HashKey": { "S": "teleport" }, "FullPath": { "S": "teleport/01" } },
        ] } },
    });
    let lost = Answer::Error(500, "InternalServerError");
    let mocked = Mocked::new(
        [lost, Answer::Body(200, unread.to_string()), Answer::Ours],
        Answer::Done,
    );
    let outcome = mocked.backend.put_batch(&items(0..2)).await;
    assert_eq!(kinds(&outcome)[1], None);
    assert_eq!(
        names(&mocked.asked()),
        ["BatchWriteItem", "BatchGetItem", "BatchGetItem"]
    );
}
