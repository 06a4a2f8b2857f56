//! The traffic holds what the checks count on.

use std::collections::{BTreeSet, HashSet};

use time::macros::datetime;

use super::*;

fn some(count: usize) -> Vec<Step> {
    steps(5, datetime!(2026-11-20 23:00 UTC), Duration::seconds(1), count)
}

#[test]
fn the_same_seed_makes_the_same_traffic() {
    let lines = |seed| -> Vec<Item> {
        steps(seed, datetime!(2026-11-20 23:00 UTC), Duration::SECOND, 300)
            .into_iter()
            .map(|s| s.item)
            .collect()
    };
    assert_eq!(lines(1), lines(1));
    assert_ne!(lines(1), lines(2));
}

#[test]
fn no_line_is_expected_twice_and_each_row_is_inserted_once() {
    let (mut lines, mut keys) = (HashSet::new(), HashSet::new());
    for step in some(10_000) {
        if let Fate::Forwarded { line, .. } = &step.fate {
            assert!(lines.insert(line.clone()), "{line}");
            assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
        }
        let key = (step.session().to_owned(), step.index().to_owned());
        assert_eq!(keys.insert(key.clone()), step.old.is_none(), "{key:?}");
    }
}

#[test]
fn six_hundred_steps_hold_every_kind() {
    let steps = some(600);
    let count = |is: &dyn Fn(&Step) -> bool| steps.iter().filter(|step| is(step)).count();
    assert!(count(&|step| step.fate == Fate::Quarantined) >= 4);
    assert!(count(&|step| step.session().starts_with("CHUNK#")) >= 4);
    assert!(count(&|step| step.old.is_some() && step.fate == Fate::Nothing) >= 6);
    assert!(count(&|step| step.old.is_some() && step.fate != Fate::Nothing) >= 2);
    assert!(count(&|step| step.old.is_none() && step.fate == Fate::Nothing) >= 4);
    assert!(count(&|step| step.session().len() == 64) >= 10);
    let sizes: Vec<usize> = steps
        .iter()
        .map(|step| json!(step.item).to_string().len())
        .collect();
    assert!(
        sizes.iter().any(|size| (380_000..409_600).contains(size)),
        "{:?}",
        sizes.iter().max()
    );
    let types: BTreeSet<&str> = steps
        .iter()
        .filter_map(|step| step.item.get("EventType")?["S"].as_str())
        .collect();
    for kind in [
        "user.login",
        "session.start",
        "session.end",
        "exec",
        "db.session.query",
        "sftp",
        "cert.create",
    ] {
        assert!(types.contains(kind), "{kind}");
    }
    let days: BTreeSet<&str> = steps
        .iter()
        .filter_map(|step| step.item["CreatedAtDate"]["S"].as_str())
        .collect();
    assert_eq!(days.len(), 1);
}
