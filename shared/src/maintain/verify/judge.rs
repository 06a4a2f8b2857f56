//! What an event source mapping must be for nothing to be lost (each rule answers a way in which records were).
//!
//! Broken is what loses or hides records now; degraded what does so in an outage, or makes them late or unordered.

use std::time::Duration;

use super::filter::passes;
use super::{Mapping, Reads};
use crate::table::{Difference, Severity};

/// How often Lambda must try: with bisection this isolates a record that crashes the function.
pub(super) const RETRIES: i32 = 300;
/// How old a record may get, in seconds: 23 h, an hour before the stream forgets it.
const RECORD_AGE: i32 = 82_800;
/// The longest that one try may take, in seconds.
pub(super) const TIME_OUT: i32 = 300;

/// Every way in which a mapping from a stream is not what it must be. `time_out` is that of its function, in seconds.
pub(super) fn judge(mapping: &Mapping, reads: Reads, time_out: i32) -> Vec<Difference> {
    [
        state(mapping, reads),
        result(mapping),
        starting_position(mapping, reads),
        failure_reports(mapping),
        bisect(mapping),
        retries(mapping, time_out),
        record_age(mapping),
        parallelization(mapping, reads),
        tumbling_window(mapping),
        failure_destination(mapping, reads),
        filter(mapping, reads),
        batch_size(mapping),
        window(mapping, reads),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every way in which the mapping from a failure queue is not what it must be.
pub(super) fn judge_queue(mapping: &Mapping) -> Vec<Difference> {
    [
        state(mapping, Reads::Watch),
        result(mapping),
        failure_reports(mapping),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn state(mapping: &Mapping, reads: Reads) -> Option<Difference> {
    let found = format!("it is {}", mapping.state);
    match mapping.state.as_str() {
        "Enabled" => None,
        "Creating" | "Enabling" | "Updating" => Some(
            Difference::new(Severity::Note, "mapping-state", found)
                .so("records wait until it is Enabled, and are read then")
                .remedy("nothing, if it is Enabled at the next look"),
        ),
        _ => {
            let consequence = match reads {
                Reads::Audit { .. } => {
                    "nothing is forwarded, and an event is lost to the sinks 24 hours after it was written"
                }
                Reads::Watch => {
                    "no watcher sees a change, and off for 20 hours or more changes are lost: every watcher lists again"
                }
            };
            let difference = Difference::new(Severity::Broken, "mapping-state", found)
                .so(consequence)
                .remedy(
                    "enable it (`aws lambda update-event-source-mapping --enabled`); do not make another one",
                );
            Some(difference)
        }
    }
}

fn result(mapping: &Mapping) -> Option<Difference> {
    if !mapping.last_result.starts_with("PROBLEM") {
        return None;
    }
    let difference = Difference::new(
        Severity::Degraded,
        "mapping-result",
        format!("Lambda says of its last attempt: {}", mapping.last_result),
    )
    .so("records wait; what has waited for 23 hours is given up")
    .remedy("see the function's log, its role and its concurrency");
    Some(difference)
}

fn starting_position(mapping: &Mapping, reads: Reads) -> Option<Difference> {
    let position = mapping.starting_position.as_deref().unwrap_or("unknown");
    if position == "TRIM_HORIZON" {
        return None;
    }
    let remedy = match reads {
        Reads::Audit { .. } => {
            "look for what is missing with `tidewatch audit gaps`, and make it again from TRIM_HORIZON: what the stream still \
             holds comes once more, under the same ids"
        }
        Reads::Watch => {
            "tell the watchers with `tidewatch watch-log break`, and make it again from TRIM_HORIZON: repeats are dropped"
        }
    };
    let found = format!("it began at {position}; must be TRIM_HORIZON");
    let difference = Difference::new(Severity::Degraded, "starting-position", found)
        .so("what was written while the mapping was made may never have been read")
        .remedy(remedy);
    Some(difference)
}

fn failure_reports(mapping: &Mapping) -> Option<Difference> {
    if mapping.reports_failures {
        return None;
    }
    let found = "it does not heed the function's answer: ReportBatchItemFailures is missing";
    let difference = Difference::new(Severity::Broken, "failure-reports", found)
        .so("every record that the function could not deliver counts as delivered, and is lost without a trace")
        .remedy("set FunctionResponseTypes to ReportBatchItemFailures at once, then look for what is missing");
    Some(difference)
}

fn bisect(mapping: &Mapping) -> Option<Difference> {
    if mapping.bisect {
        return None;
    }
    let found = "a batch is not split when the function fails";
    let difference = Difference::new(Severity::Degraded, "bisect", found)
        .so("one record that crashes the function takes with it the whole batch that Lambda gives up")
        .remedy("set BisectBatchOnFunctionError");
    Some(difference)
}

fn retries(mapping: &Mapping, time_out: i32) -> Option<Difference> {
    let remedy = format!("set MaximumRetryAttempts to {RETRIES}");
    let (severity, consequence) = match mapping.retries {
        RETRIES => return None,
        ..0 => (
            Severity::Degraded,
            "a record that crashes the function holds up its shard for 23 hours, and then takes with it what has waited behind it"
                .to_owned(),
        ),
        some if some > RETRIES => (
            Severity::Advice,
            "a record that crashes the function holds up its shard for longer before it is set aside".to_owned(),
        ),
        few => (
            Severity::Degraded,
            format!(
                "in an outage of more than about {} Lambda gives up what waits, most of it never tried",
                seconds(few.saturating_add(1).saturating_mul(time_out))
            ),
        ),
    };
    let times = match mapping.retries {
        ..0 => "for ever".to_owned(),
        times => format!("{times} times"),
    };
    let found = format!("a batch is tried again {times}; must be {RETRIES}");
    let difference = Difference::new(severity, "retries", found)
        .so(consequence)
        .remedy(remedy);
    Some(difference)
}

fn record_age(mapping: &Mapping) -> Option<Difference> {
    let consequence = match mapping.record_age {
        RECORD_AGE => return None,
        age if (0..RECORD_AGE).contains(&age) => {
            format!(
                "in an outage of more than {} Lambda gives up what waits, which the stream would keep for 24 hours",
                seconds(age)
            )
        }
        _ => "in an outage of 24 hours records fall out of the stream unread: no failure destination gets them, and nobody is told"
            .to_owned(),
    };
    let age = match mapping.record_age {
        ..0 => "any age".to_owned(),
        age => format!("{age} s"),
    };
    let found = format!("a record may reach {age}; must be {RECORD_AGE} s");
    let difference = Difference::new(Severity::Degraded, "record-age", found)
        .so(consequence)
        .remedy(format!("set MaximumRecordAgeInSeconds to {RECORD_AGE}"));
    Some(difference)
}

fn parallelization(mapping: &Mapping, reads: Reads) -> Option<Difference> {
    let consequence = match reads {
        _ if mapping.parallelization == 1 => return None,
        Reads::Audit { ordered: false } => return None,
        Reads::Audit { ordered: true } => {
            "events of a session reach the sinks out of order: only those of one row keep theirs"
        }
        Reads::Watch => {
            "watchers may see changes of different keys out of order, and invocations that append to one bucket at once refuse each other"
        }
    };
    let found = format!(
        "{} batches of a shard are handled at once; must be 1",
        mapping.parallelization
    );
    let difference = Difference::new(Severity::Degraded, "parallelization", found)
        .so(consequence)
        .remedy("set ParallelizationFactor to 1");
    Some(difference)
}

fn tumbling_window(mapping: &Mapping) -> Option<Difference> {
    if mapping.tumbling_window == 0 {
        return None;
    }
    let found = format!("a tumbling window of {} s; must be none", mapping.tumbling_window);
    let difference = Difference::new(Severity::Degraded, "tumbling-window", found)
        .so("Lambda cuts batches by the clock and waits for a state that the function does not keep: records come late, and again, out of order")
        .remedy("set TumblingWindowInSeconds to 0");
    Some(difference)
}

fn failure_destination(mapping: &Mapping, reads: Reads) -> Option<Difference> {
    let service = mapping.failure_destination.as_deref().map(service);
    let (due, consequence) = match (reads, service) {
        (Reads::Audit { .. }, Some("s3")) | (Reads::Watch, Some("sqs")) => return None,
        (Reads::Audit { .. }, None) => (
            "a bucket",
            "events that Lambda gives up are lost to the sinks, and nobody is told which",
        ),
        (Reads::Watch, None) => (
            "a queue",
            "no gap tells of changes that Lambda gives up: watchers keep what is not so any more",
        ),
        (Reads::Audit { .. }, Some(_)) => (
            "a bucket",
            "what Lambda gives up is told without the records: they must be read again within 24 hours of their writing, or are lost to the sinks",
        ),
        (Reads::Watch, Some("s3")) => (
            "a queue",
            "the values of the state table, secrets among them, are copied to that bucket for whoever may read it, and no gap tells \
             of what is lost",
        ),
        (Reads::Watch, Some(_)) => (
            "a queue",
            "nothing of ours reads it: no gap tells of changes that Lambda gives up, and watchers keep what is not so any more",
        ),
    };
    let found = match &mapping.failure_destination {
        Some(arn) => format!("what is given up goes to {arn}; must go to {due}"),
        None => format!("what is given up goes nowhere; must go to {due}"),
    };
    let difference = Difference::new(Severity::Degraded, "failure-destination", found)
        .so(consequence)
        .remedy(format!("set OnFailure to {due}, as the deployment template does"));
    Some(difference)
}

/// `s3` of `arn:aws:s3:::bucket`.
pub(super) fn service(arn: &str) -> &str {
    arn.split(':').nth(2).unwrap_or_default()
}

fn filter(mapping: &Mapping, reads: Reads) -> Option<Difference> {
    let filters = mapping.filters.as_deref()?;
    let (due, consequence): (&[&str], _) = match reads {
        Reads::Audit { .. } => (
            &["INSERT", "MODIFY"],
            "events that the filter keeps out are never forwarded, and leave no trace",
        ),
        Reads::Watch => (
            &["INSERT", "MODIFY", "REMOVE"],
            "watchers are never told of the changes that the filter keeps out, and keep what is not so any more",
        ),
    };
    let missing: Vec<&str> = due
        .iter()
        .copied()
        .filter(|kind| !passes(filters, kind))
        .collect();
    if !missing.is_empty() {
        let found = format!("its filter does not let every {} through", missing.join(" and "));
        let remedy = match reads {
            Reads::Audit { .. } => {
                "set the filter to {\"eventName\":[\"INSERT\",\"MODIFY\"]}; choose events by rules in the configuration"
            }
            Reads::Watch => "remove the filter; choose what a watch sees by its prefixes",
        };
        let difference = Difference::new(Severity::Broken, "filter", found)
            .so(consequence)
            .remedy(remedy);
        return Some(difference);
    }
    let idle = matches!(reads, Reads::Audit { .. }) && passes(filters, "REMOVE");
    let difference = || {
        Difference::new(Severity::Note, "filter", "its filter lets removals through")
            .so("every event that expires invokes the function for nothing")
            .remedy("set the filter to {\"eventName\":[\"INSERT\",\"MODIFY\"]}")
    };
    idle.then(difference)
}

fn batch_size(mapping: &Mapping) -> Option<Difference> {
    let consequence = match mapping.batch_size {
        100..=500 => return None,
        ..100 => "more invocations, and more and smaller objects or segments, for the same records",
        _ => "a slow sink may not take a whole batch within an invocation, and what it took comes again",
    };
    let found = format!("{} records a batch; 100 to 500 are due", mapping.batch_size);
    let difference = Difference::new(Severity::Advice, "batch-size", found)
        .so(consequence)
        .remedy("set BatchSize to 500");
    Some(difference)
}

fn window(mapping: &Mapping, reads: Reads) -> Option<Difference> {
    let (severity, due, consequence) = match (reads, mapping.window) {
        (Reads::Watch, 0) | (Reads::Audit { .. }, 1..=5) => return None,
        (Reads::Watch, late) => (
            Severity::Degraded,
            "0 s",
            format!("watchers see changes up to {late} s later"),
        ),
        (Reads::Audit { .. }, 0) => (
            Severity::Advice,
            "1 s to 5 s",
            "an invocation and an object for nearly every event".to_owned(),
        ),
        (Reads::Audit { .. }, late) => (
            Severity::Advice,
            "1 s to 5 s",
            format!("events reach the sinks up to {late} s later"),
        ),
    };
    let found = format!("Lambda gathers records for {} s; {due} is due", mapping.window);
    let difference = Difference::new(severity, "window", found)
        .so(consequence)
        .remedy("set MaximumBatchingWindowInSeconds");
    Some(difference)
}

/// `2h 5m`.
pub(super) fn seconds(count: i32) -> String {
    let count = u64::try_from(count).unwrap_or_default();
    humantime::format_duration(Duration::from_secs(count)).to_string()
}
