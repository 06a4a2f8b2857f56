//! As in `policy`: the audit log, with the policy for its table.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use tidewatch::audit::log::{Dynamo, Log, Outcome, Search};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::table::{Kind, Spec, Tables};

use crate::policy::{tried, variable};

#[tokio::test]
async fn policy_allows_the_audit_log() {
    let Some((tried, config)) = tried("policy_allows_the_audit_log") else {
        return;
    };
    let (table, clock, random) = (config.table_name, Clock::system(), Random::system());
    let creates = variable("TIDEWATCH_POLICY_FORM") == "create";
    if creates {
        let spec = Spec::new(Kind::Audit, &table).unwrap().with_recovery(true);
        let tables = Tables::new(tried.clone(), clock.clone(), Tables::WAIT);
        tables.ensure(&spec, &|_| {}).await.unwrap();
    }
    let opened = Dynamo::open(&tried, &table, Dynamo::RETENTION, clock.clone(), random.clone());
    let opened = opened.await.unwrap();
    let log = Log::new([opened.clone().into()], clock.clone(), random.clone());
    let uid = random.uuid().to_string();
    let event = json!({"event": "user.login", "code": "T1000I", "uid": uid, "time": "2026-11-20T10:00:00Z"});
    for due in [Outcome::Stored, Outcome::Repeated] {
        let emitted = log.emit(&event.to_string()).await.unwrap();
        assert_eq!(emitted.outcomes, [due]);
    }
    let now = clock.now();
    let session = opened.search(&Search::session(&uid, now)).await.unwrap();
    assert_eq!(session.events.len(), 1);
    let (since, until) = (
        now - Duration::from_hours(24 * 365),
        now + Duration::from_hours(24 * 365),
    );
    let found = opened.search(&Search::new(since, until)).await.unwrap();
    assert!(!found.events.is_empty());
    // Where an engine does not tell with its refusal what stands there.
    let key = HashMap::from([
        ("SessionID".to_owned(), AttributeValue::S(uid)),
        ("EventIndex".to_owned(), AttributeValue::N("0".to_owned())),
    ]);
    let stored = tried.get_item().table_name(&table).set_key(Some(key));
    stored.send().await.unwrap();
    #[cfg(feature = "streams")]
    if !creates {
        use crate::policy_watch::stream::{polled, streams};
        let described = crate::policy::client("OWNER").describe_table().table_name(&table);
        let described = described.send().await.unwrap().table.unwrap();
        polled(&streams(), described.latest_stream_arn().unwrap()).await;
    }
}
