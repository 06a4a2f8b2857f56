//! What a table's specification asks for beyond its schema.

use aws_sdk_dynamodb::types::TableStatus;

use super::super::tables::{is_key, judge};
use super::codes;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::table::Severity::{Advice, Degraded};
use crate::table::{Kind, Live, Recovery, Spec, Tables};

/// A table as it must be, on an engine.
async fn live() -> Live {
    let tables = Tables::new(Engine::new().client(), Clock::system(), Tables::WAIT);
    let spec = Spec::new(Kind::Audit, "audit").unwrap().with_protection(true);
    tables.create(&spec, &|_| {}).await.unwrap();
    let live = tables.read("audit").await.unwrap();
    assert_eq!(live.status, TableStatus::Active);
    live
}

#[tokio::test]
async fn what_is_asked_for_is_more_than_advice() {
    let mut live = live().await;
    let plain = Spec::new(Kind::Audit, "audit").unwrap();
    assert_eq!(judge(&plain, false, &live), Vec::new());
    (live.recovery, live.protection) = (Recovery::Off, false);
    let expected = [(Advice, "recovery"), (Advice, "deletion-protection")];
    assert_eq!(codes(&judge(&plain, false, &live)), expected);
    let strict = plain.with_recovery(true).with_protection(true);
    let expected = [(Degraded, "recovery"), (Degraded, "deletion-protection")];
    assert_eq!(codes(&judge(&strict, false, &live)), expected);
}

#[tokio::test]
async fn a_key_that_is_asked_for_must_be_the_tables() {
    let mut live = live().await;
    let plain = Spec::new(Kind::Audit, "audit").unwrap();
    let arn = "arn:aws:kms:eu-west-1:123456789012:key/1234";
    let keyed = plain.clone().with_kms_key(arn).unwrap();
    let found = judge(&keyed, false, &live);
    assert_eq!(codes(&found), [(Degraded, "encryption")]);
    assert!(found[0].consequence.contains("keeps nobody out"), "{found:?}");
    live.kms_key_arn = Some(arn.replace("1234", "9"));
    assert_eq!(codes(&judge(&keyed, false, &live)), [(Degraded, "encryption")]);
    live.kms_key_arn = Some(arn.to_owned());
    assert_eq!(judge(&keyed, false, &live), Vec::new());
    // A key that nobody asked for does no harm.
    assert_eq!(judge(&plain, false, &live), Vec::new());
}

#[test]
fn a_key_goes_by_several_names() {
    let arn = "arn:aws:kms:eu-west-1:123456789012:key/1234";
    assert!(is_key("1234", arn) && is_key(arn, arn) && is_key("alias/teleport", arn));
    assert!(!is_key("12345", arn));
}
