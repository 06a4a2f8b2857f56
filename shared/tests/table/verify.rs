//! Every single difference, on a table that really has it.

use aws_sdk_dynamodb::types::ScalarAttributeType::{B, N, S};
use aws_sdk_dynamodb::types::{IndexStatus, ProjectionType, StreamViewType, TableStatus};
use tidewatch::table::{ChangeKind, Difference, Kind, Live, Recovery, guess, plan, verify};

use super::engine::{Engine, Wrong, WrongIndex, codes};

/// What is found on `wrong`, less the advice every table here gets.
async fn found(kind: Kind, wrong: Wrong) -> (Vec<Difference>, Live) {
    let engine = Engine::start().await;
    wrong.make(&engine, "wrong").await;
    let live = engine.tables.read("wrong").await.unwrap();
    let mut found = verify(kind, &live);
    found.retain(|difference| difference.code != "deletion-protection");
    for difference in &found {
        let parts = [&difference.found, &difference.consequence, &difference.remedy];
        assert!(parts.iter().all(|text| !text.is_empty()), "{difference:?}");
    }
    (found, live)
}

#[track_caller]
fn assert_only(found: &[Difference], expected: &str, text: &str) {
    assert_eq!(codes(found), [expected]);
    assert!(found[0].found.contains(text), "{:?}", found[0]);
}

#[tokio::test]
async fn right_tables_have_no_difference() {
    for kind in Kind::ALL {
        let (found, live) = found(kind, Wrong::right(kind)).await;
        assert_eq!(found, []);
        assert_eq!(guess(&live), Some(kind));
    }
}

#[tokio::test]
async fn keys() {
    let mut wrong = Wrong::state();
    (wrong.hash, wrong.range) = (("FullPath", S), Some(("HashKey", S)));
    let (swapped, live) = found(Kind::State, wrong).await;
    assert_only(
        &swapped,
        "broken keys",
        "keys FullPath and HashKey; must be HashKey (S) and FullPath (S)",
    );
    assert_eq!(guess(&live), Some(Kind::State));

    let mut wrong = Wrong::audit();
    wrong.range = None;
    let (alone, live) = found(Kind::Audit, wrong).await;
    assert_only(&alone, "broken keys", "key SessionID alone");
    assert_eq!(guess(&live), Some(Kind::Audit));

    let (other, live) = found(Kind::State, Wrong::audit()).await;
    assert_eq!(codes(&other), ["broken keys", "note other-index"]);
    assert_eq!(guess(&live), Some(Kind::Audit));
}

#[tokio::test]
async fn key_types() {
    let mut wrong = Wrong::audit();
    wrong.range = Some(("EventIndex", S));
    assert_only(
        &found(Kind::Audit, wrong).await.0,
        "broken key-type",
        "EventIndex is of type S; must be N",
    );
    let mut wrong = Wrong::state();
    wrong.range = Some(("FullPath", B));
    assert_only(
        &found(Kind::State, wrong).await.0,
        "broken key-type",
        "FullPath is of type B; must be S",
    );
}

#[tokio::test]
async fn the_schema_from_before_2017() {
    let mut wrong = Wrong::state();
    wrong.range = Some(("Key", S));
    let (old, live) = found(Kind::State, wrong).await;
    assert_only(&old, "broken old-schema", "before 2017");
    assert_eq!(guess(&live), Some(Kind::State));
}

#[tokio::test]
async fn one_layout_opened_as_the_other() {
    let (partitioned, _) = found(Kind::State, Wrong::partitioned()).await;
    assert_eq!(
        codes(&partitioned),
        ["broken layout", "broken keys", "note other-index"]
    );
    assert_eq!(
        partitioned[0].found,
        "this is a partitioned table, a Teleport layout was expected"
    );
    assert!(
        partitioned[1]
            .found
            .contains("must be HashKey (S) and FullPath (S)"),
        "{partitioned:?}"
    );

    let (teleport, _) = found(Kind::Partitioned, Wrong::state()).await;
    assert_eq!(
        codes(&teleport),
        ["broken layout", "broken keys", "degraded index"]
    );
    assert_eq!(
        teleport[0].found,
        "this is a table of Teleport's layout, a partitioned one was expected"
    );
    assert!(
        teleport[1].found.contains("must be Part (S) and Key (S)"),
        "{teleport:?}"
    );

    // A table of before 2017 is neither.
    let mut old = Wrong::state();
    old.range = Some(("Key", S));
    let (old, _) = found(Kind::Partitioned, old).await;
    assert_eq!(codes(&old), ["broken keys", "degraded index"]);
    // An audit table is no layout of state.
    let (audit, _) = found(Kind::Partitioned, Wrong::audit()).await;
    assert!(!codes(&audit).contains(&"broken layout".to_owned()), "{audit:?}");
}

#[tokio::test]
async fn the_schema_from_before_2017_is_known_by_any_attribute_called_key() {
    let mut wrong = Wrong::state();
    wrong.indexes.push(WrongIndex {
        name: "mine",
        hash: ("Key", S),
        ..WrongIndex::expiry()
    });
    let (old, live) = found(Kind::State, wrong).await;
    assert_eq!(codes(&old), ["broken old-schema", "note other-index"]);
    assert_eq!(guess(&live), Some(Kind::State));
}

#[tokio::test]
async fn the_index_of_what_expires() {
    let mut wrong = Wrong::partitioned();
    wrong.indexes.clear();
    let (missing, _) = found(Kind::Partitioned, wrong).await;
    assert_only(&missing, "degraded index", "no index expiry");
    assert!(
        missing[0].remedy.contains("projection INCLUDE Revision"),
        "{missing:?}"
    );

    let mut wrong = Wrong::partitioned();
    wrong.indexes[0].included = &["Value"];
    assert_only(
        &found(Kind::Partitioned, wrong).await.0,
        "degraded index-projection",
        "projects INCLUDE; must be INCLUDE Revision",
    );
    let mut wrong = Wrong::partitioned();
    (wrong.indexes[0].projection, wrong.indexes[0].included) = (ProjectionType::KeysOnly, &[]);
    assert_only(
        &found(Kind::Partitioned, wrong).await.0,
        "degraded index-projection",
        "projects KEYS_ONLY",
    );
    // More than is needed is right too.
    let mut more = Wrong::partitioned();
    (more.indexes[0].projection, more.indexes[0].included) = (ProjectionType::All, &[]);
    assert_eq!(found(Kind::Partitioned, more).await.0, []);

    let mut wrong = Wrong::partitioned();
    wrong.indexes[0].hash = ("Shard", N);
    assert_only(
        &found(Kind::Partitioned, wrong).await.0,
        "degraded index-keys",
        "Shard and Expires; must be ExpiryShard (N) and Expires (N)",
    );
    let mut wrong = Wrong::partitioned();
    wrong.indexes[0].hash = ("ExpiryShard", S);
    assert_only(
        &found(Kind::Partitioned, wrong).await.0,
        "broken index-type",
        "ExpiryShard is of type S; must be N",
    );
}

/// A log's newest segments must stay, and nobody needs its stream or a restored one.
#[tokio::test]
async fn a_watch_log_has_neither_time_to_live_nor_stream() {
    let (right, live) = found(Kind::WatchLog, Wrong::watch_log()).await;
    assert_eq!((right, guess(&live)), (Vec::new(), Some(Kind::WatchLog)));
    let nothing = plan(
        Kind::WatchLog,
        &live,
        &[ChangeKind::Stream, ChangeKind::Ttl, ChangeKind::Recovery],
    );
    assert!(
        nothing.changes.is_empty() && nothing.manual.len() == 1,
        "{nothing:?}"
    );

    let mut wrong = Wrong::watch_log();
    (wrong.ttl, wrong.stream) = (Some("Expires"), Some(StreamViewType::KeysOnly));
    let (wrong, _) = found(Kind::WatchLog, wrong).await;
    assert_eq!(codes(&wrong), ["degraded ttl-attribute", "note other-stream"]);
    assert!(
        wrong[0].found.contains("must be off") && wrong[0].remedy.contains("compact"),
        "{wrong:?}"
    );

    let mut wrong = Wrong::watch_log();
    wrong.range = Some(("Segment", S));
    let (wrong, _) = found(Kind::WatchLog, wrong).await;
    assert_eq!(codes(&wrong), ["broken key-type"]);
}

#[tokio::test]
async fn a_strange_table_is_not_guessed() {
    let mut wrong = Wrong::state();
    (wrong.hash, wrong.range) = (("id", S), None);
    assert_eq!(guess(&found(Kind::State, wrong).await.1), None);
}

#[tokio::test]
async fn the_index_missing_or_misnamed() {
    let mut wrong = Wrong::audit();
    wrong.indexes.clear();
    assert_only(
        &found(Kind::Audit, wrong).await.0,
        "broken index",
        "no index timesearchV2",
    );

    let mut wrong = Wrong::audit();
    wrong.indexes[0].name = "timesearchv2";
    let (misnamed, _) = found(Kind::Audit, wrong).await;
    assert_eq!(codes(&misnamed), ["broken index", "note other-index"]);
    assert!(
        misnamed[0]
            .found
            .contains("timesearchv2 has its keys under another name"),
        "{misnamed:?}"
    );

    let old = WrongIndex {
        hash: ("EventNamespace", S),
        ..WrongIndex::timesearch("timesearch")
    };
    let mut wrong = Wrong::audit();
    wrong.indexes = vec![old];
    let (old, _) = found(Kind::Audit, wrong).await;
    assert_eq!(codes(&old), ["broken index", "advice old-index"]);
    assert!(
        old[0].found.contains("only timesearch from before Teleport 6.2"),
        "{old:?}"
    );
}

#[tokio::test]
async fn the_index_wrong() {
    let mut wrong = Wrong::audit();
    wrong.indexes[0].hash = ("EventNamespace", S);
    assert_only(
        &found(Kind::Audit, wrong).await.0,
        "broken index-keys",
        "EventNamespace and CreatedAt",
    );

    let mut wrong = Wrong::audit();
    wrong.indexes[0].range = ("CreatedAt", S);
    assert_only(
        &found(Kind::Audit, wrong).await.0,
        "broken index-type",
        "CreatedAt is of type S; must be N",
    );

    let mut wrong = Wrong::audit();
    wrong.indexes[0].projection = ProjectionType::KeysOnly;
    assert_only(
        &found(Kind::Audit, wrong).await.0,
        "broken index-projection",
        "projects KEYS_ONLY; must be ALL",
    );
}

#[tokio::test]
async fn indexes_that_need_not_be() {
    let mut wrong = Wrong::state();
    wrong.indexes.push(WrongIndex {
        name: "mine",
        hash: ("Revision", S),
        range: ("ID", N),
        projection: ProjectionType::All,
        included: &[],
    });
    assert_only(
        &found(Kind::State, wrong).await.0,
        "note other-index",
        "index mine",
    );

    let mut wrong = Wrong::audit();
    wrong.indexes.push(WrongIndex {
        hash: ("EventNamespace", S),
        ..WrongIndex::timesearch("timesearch")
    });
    assert_only(
        &found(Kind::Audit, wrong).await.0,
        "advice old-index",
        "timesearch",
    );
}

#[tokio::test]
async fn the_stream() {
    for kind in [Kind::Audit, Kind::State, Kind::Partitioned] {
        let with = |stream| Wrong {
            stream,
            ..Wrong::right(kind)
        };
        assert_only(&found(kind, with(None)).await.0, "broken stream", "no stream");
        let keys = found(kind, with(Some(StreamViewType::KeysOnly))).await.0;
        assert_only(&keys, "broken stream-view", "KEYS_ONLY");
        let old = found(kind, with(Some(StreamViewType::OldImage))).await.0;
        assert_only(&old, "broken stream-view", "OLD_IMAGE");
        let new = found(kind, with(Some(StreamViewType::NewImage))).await.0;
        assert_only(&new, "note stream-view", "NEW_IMAGE");
    }
}

#[tokio::test]
async fn time_to_live() {
    let off = Wrong {
        ttl: None,
        ..Wrong::audit()
    };
    assert_only(
        &found(Kind::Audit, off).await.0,
        "degraded ttl",
        "time to live is off",
    );
    let other = Wrong {
        ttl: Some("ttl"),
        ..Wrong::state()
    };
    assert_only(
        &found(Kind::State, other).await.0,
        "degraded ttl-attribute",
        "on for ttl; must be Expires",
    );
    let fatal = Wrong {
        ttl: Some("CreatedAt"),
        ..Wrong::audit()
    };
    let (fatal, _) = found(Kind::Audit, fatal).await;
    assert_only(&fatal, "broken ttl-attribute", "on for CreatedAt");
    assert!(fatal[0].consequence.contains("deletes live items"), "{fatal:?}");
}

#[tokio::test]
async fn what_the_engine_never_shows() {
    let (_, right) = found(Kind::Audit, Wrong::audit()).await;
    let with = |change: &dyn Fn(&mut Live)| {
        let mut live = right.clone();
        live.protection = true;
        change(&mut live);
        codes(&verify(Kind::Audit, &live))
    };
    assert!(with(&|_| {}).is_empty());
    assert_eq!(
        with(&|live| live.status = TableStatus::Creating),
        ["broken status"]
    );
    assert_eq!(
        with(&|live| live.status = TableStatus::InaccessibleEncryptionCredentials),
        ["broken status"]
    );
    assert_eq!(
        with(&|live| live.status = TableStatus::Archived),
        ["broken status"]
    );
    assert_eq!(with(&|live| live.status = TableStatus::Updating), ["note status"]);
    assert_eq!(
        with(&|live| live.indexes[0].status = IndexStatus::Creating),
        ["degraded index-status"]
    );
    assert_eq!(with(&|live| live.recovery = Recovery::Off), ["advice recovery"]);
    // The worst comes first.
    let worst = with(&|live| {
        live.recovery = Recovery::Off;
        live.stream = None;
        live.indexes[0].status = IndexStatus::Creating;
    });
    assert_eq!(
        worst,
        ["broken stream", "degraded index-status", "advice recovery"]
    );
}
