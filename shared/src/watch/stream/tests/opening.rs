//! What is refused before anybody waits.

use std::time::Duration;

use super::engine::{Fate, refusal};
use super::fake::{Fake, silence};
use crate::watch::WatchError;
use crate::watch::source::Source;

#[tokio::test(start_paused = true)]
async fn a_table_without_a_usable_stream_is_refused() {
    let fake = Fake::new();
    for view in ["KEYS_ONLY", "OLD_IMAGE"] {
        fake.world().view = view;
        let refused = fake.refused().await;
        assert!(
            matches!(&refused, WatchError::WrongSource(said) if said.contains(view)),
            "{refused}"
        );
    }
    fake.world().on = false;
    let refused = fake.refused().await;
    assert!(
        matches!(&refused, WatchError::WrongSource(said) if said.contains("has no stream")),
        "{refused}"
    );
    for view in ["NEW_IMAGE", "NEW_AND_OLD_IMAGES"] {
        (fake.world().on, fake.world().view) = (true, view);
        fake.source(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_cannot_be_reached_is_told_at_once() {
    let fake = Fake::new();
    for fate in [Fate::Dropped, silence()] {
        fake.calls();
        fake.plan(move |operation, _| {
            if operation == "DescribeStream" {
                fate.clone()
            } else {
                Fate::Served
            }
        });
        let refused = fake.refused().await;
        assert!(
            matches!(&refused, WatchError::Unavailable(said) if said.contains("streams endpoint")),
            "{refused}"
        );
        assert_eq!(fake.calls().len(), 4, "a DescribeTable, and three attempts");
    }
    fake.plan(|operation, _| {
        if operation == "DescribeStream" {
            refusal("AccessDeniedException")
        } else {
            Fate::Served
        }
    });
    assert!(matches!(fake.refused().await, WatchError::AccessDenied(_)));
}

#[tokio::test(start_paused = true)]
async fn capacity_is_waited_for() {
    let fake = Fake::new();
    fake.shard("a", None, 1);
    let mut left = 6;
    fake.plan(move |operation, _| {
        left -= u32::from(operation != "DescribeTable" && left > 0);
        if left > 0 && operation != "DescribeTable" {
            refusal("LimitExceededException")
        } else {
            Fate::Served
        }
    });
    let source = fake.source(1).await;
    fake.plan(|operation, _| {
        if operation == "DescribeStream" {
            refusal("ThrottlingException")
        } else {
            Fate::Served
        }
    });
    let begun = super::clock().instant();
    let failed = source.now().await.unwrap_err();
    assert!(matches!(failed, WatchError::Unavailable(_)), "{failed}");
    let took = super::clock().instant() - begun;
    assert!(
        took > Duration::from_secs(10) && took <= Duration::from_secs(30),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_table_is_refused() {
    let fake = Fake::new();
    let source = fake.source(1).await;
    let other = crate::watch::Position::new("arn:aws:dynamodb:eu-west-1:1:table/other/stream/1".into());
    let failed = super::Follower::new(&source, other).end().await;
    assert!(matches!(failed, WatchError::BadParameter(_)), "{failed}");
}
