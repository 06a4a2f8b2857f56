//! Judgements case by case, and the readings over canned answers as AWS writes them.

#![allow(clippy::unwrap_used)]

mod aws;
mod buckets;
mod mappings;
mod running;
mod tables;
mod world;

use crate::table::{Difference, Severity};

/// Severities and codes.
fn codes(differences: &[Difference]) -> Vec<(Severity, &'static str)> {
    differences
        .iter()
        .map(|found| (found.severity, found.code))
        .collect()
}

/// The one difference, with all three sentences.
#[track_caller]
fn only(differences: Vec<Difference>) -> Difference {
    assert_eq!(differences.len(), 1, "{differences:#?}");
    let one = differences.into_iter().next().unwrap();
    assert!(!one.consequence.is_empty() && !one.remedy.is_empty(), "{one:?}");
    one
}
