//! Planning and applying: the stream and TTL are repaired, keys never.

use aws_sdk_dynamodb::types::{ScalarAttributeType, StreamViewType};
use tidewatch::table::{ChangeKind, Error, Kind, Live, Outcome, Plan, Recovery, Ttl, plan};

use super::engine::{Engine, Wrong, codes, quiet};

fn kinds(plan: &Plan) -> Vec<ChangeKind> {
    plan.changes.iter().map(|change| change.kind).collect()
}

#[tokio::test]
async fn stream_ttl_and_protection_are_repaired() {
    let engine = Engine::start().await;
    Wrong {
        stream: None,
        ttl: None,
        ..Wrong::audit()
    }
    .make(&engine, "bare")
    .await;
    let before = engine.tables.read("bare").await.unwrap();
    let repairs = plan(Kind::Audit, &before, &ChangeKind::ALL);
    assert_eq!(
        kinds(&repairs),
        [
            ChangeKind::Stream,
            ChangeKind::Ttl,
            ChangeKind::DeletionProtection
        ]
    );
    assert_eq!(repairs.manual, []);
    engine.requests();

    let applied = engine.tables.apply(&repairs, &quiet).await.unwrap();
    let made = |change| Outcome::Made { change };
    let all = [
        made(ChangeKind::Stream),
        made(ChangeKind::Ttl),
        made(ChangeKind::DeletionProtection),
    ];
    assert_eq!(applied.outcomes, all);
    let update = ["DescribeTable", "UpdateTable", "DescribeTable"];
    let read = ["DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups"];
    assert_eq!(
        engine.requests(),
        [&update[..], &["UpdateTimeToLive"], &update, &read].concat()
    );

    assert_eq!(applied.left, []);
    let stream = applied.live.stream.clone().unwrap();
    assert_eq!(stream.view, StreamViewType::NewAndOldImages);
    assert!(stream.arn.is_some());
    assert_eq!(applied.live.ttl, Ttl::On("Expires".to_owned()));
    assert_eq!(
        (&applied.live.keys, &applied.live.indexes),
        (&before.keys, &before.indexes)
    );

    let again = plan(Kind::Audit, &applied.live, &ChangeKind::ALL);
    assert_eq!(kinds(&again), []);
}

#[tokio::test]
async fn only_what_is_wanted_is_changed() {
    let engine = Engine::start().await;
    Wrong {
        stream: None,
        ttl: None,
        ..Wrong::state()
    }
    .make(&engine, "bare")
    .await;
    let before = engine.tables.read("bare").await.unwrap();
    let stream = plan(Kind::State, &before, &[ChangeKind::Stream]);
    assert_eq!(kinds(&stream), [ChangeKind::Stream]);
    assert_eq!(
        codes(&stream.manual),
        ["degraded ttl", "advice deletion-protection"]
    );
    let applied = engine.tables.apply(&stream, &quiet).await.unwrap();
    assert_eq!(
        codes(&applied.left),
        ["degraded ttl", "advice deletion-protection"]
    );
}

#[tokio::test]
async fn a_table_with_other_keys_is_never_changed() {
    let engine = Engine::start().await;
    let mut swapped = Wrong {
        stream: None,
        ttl: None,
        ..Wrong::state()
    };
    (swapped.hash, swapped.range) = (
        ("FullPath", ScalarAttributeType::S),
        Some(("HashKey", ScalarAttributeType::S)),
    );
    swapped.make(&engine, "swapped").await;
    let mut typed = Wrong {
        stream: None,
        ttl: None,
        ..Wrong::audit()
    };
    typed.range = Some(("EventIndex", ScalarAttributeType::S));
    typed.make(&engine, "typed").await;

    for (kind, name, code) in [
        (Kind::State, "swapped", "broken keys"),
        (Kind::Audit, "typed", "broken key-type"),
    ] {
        let before = engine.tables.read(name).await.unwrap();
        let none = plan(kind, &before, &ChangeKind::ALL);
        assert_eq!(kinds(&none), []);
        assert_eq!(codes(&none.manual)[0], code);
        engine.requests();
        let applied = engine.tables.apply(&none, &quiet).await.unwrap();
        assert_eq!(applied.live, before);
        assert!(
            !engine
                .requests()
                .iter()
                .any(|operation| operation.starts_with("Update"))
        );
    }
}

#[tokio::test]
async fn a_wrong_view_or_ttl_attribute_is_left_to_the_owner() {
    let engine = Engine::start().await;
    Wrong {
        stream: Some(StreamViewType::KeysOnly),
        ttl: Some("ttl"),
        ..Wrong::state()
    }
    .make(&engine, "wrong")
    .await;
    let live = engine.tables.read("wrong").await.unwrap();
    let manual = plan(Kind::State, &live, &[ChangeKind::Stream, ChangeKind::Ttl]);
    assert_eq!(kinds(&manual), []);
    let expected = [
        "broken stream-view",
        "degraded ttl-attribute",
        "advice deletion-protection",
    ];
    assert_eq!(codes(&manual.manual), expected);
    assert!(
        manual.manual[0].remedy.contains("new ARN"),
        "{:?}",
        manual.manual[0]
    );
}

#[tokio::test]
async fn recovery_that_the_engine_lacks_is_a_named_warning() {
    let engine = Engine::start().await;
    Wrong::audit().make(&engine, "table").await;
    let mut live = engine.tables.read("table").await.unwrap();
    live.recovery = Recovery::Off; // As an engine would say that has the one operation and lacks the other.
    let recovery = plan(Kind::Audit, &live, &[ChangeKind::Recovery]);
    let applied = engine.tables.apply(&recovery, &quiet).await.unwrap();
    let [
        Outcome::Lacking {
            change: ChangeKind::Recovery,
            warning,
        },
    ] = applied.outcomes.as_slice()
    else {
        panic!("{:?}", applied.outcomes)
    };
    assert_eq!(warning.operation, "UpdateContinuousBackups");
}

#[tokio::test]
async fn a_table_changed_since_the_plan_is_an_error_that_names_it() {
    let engine = Engine::start().await;
    Wrong::state().make(&engine, "raced").await;
    let mut stale = engine.tables.read("raced").await.unwrap();
    stale.stream = None;
    let stale = plan(Kind::State, &stale, &[ChangeKind::Stream]);
    let arn = |live: Live| live.stream.unwrap().arn;
    let before = arn(engine.tables.read("raced").await.unwrap());
    let error = engine.tables.apply(&stale, &quiet).await.unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert!(error.to_string().contains("table raced has a stream"), "{error}");
    assert_eq!(arn(engine.tables.read("raced").await.unwrap()), before);
}
