//! A mapping as it must be, and each way of being another.

use super::super::filter::passes;
use super::super::function::{Facts, judge_function};
use super::super::judge::{judge, judge_queue};
use super::super::{Mapping, Reads};
use super::only;
use crate::table::Severity::{Advice, Broken, Degraded, Note};
use crate::table::{Difference, Severity};

const AUDIT: Reads = Reads::Audit { ordered: true };
const INSERT_MODIFY: &str = r#"{"eventName":["INSERT","MODIFY"]}"#;

/// As the deployment template makes them.
fn good(reads: Reads) -> Mapping {
    let audit = reads != Reads::Watch;
    let filters = if audit {
        vec![INSERT_MODIFY.to_owned()]
    } else {
        Vec::new()
    };
    let destination = if audit {
        "arn:aws:s3:::failures"
    } else {
        "arn:aws:sqs:eu-west-1:123456789012:failures"
    };
    Mapping {
        id: "one".to_owned(),
        source: "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026".to_owned(),
        state: "Enabled".to_owned(),
        last_result: "OK".to_owned(),
        starting_position: Some("TRIM_HORIZON".to_owned()),
        batch_size: 500,
        window: i32::from(audit),
        bisect: true,
        retries: 300,
        record_age: 82_800,
        parallelization: 1,
        reports_failures: true,
        failure_destination: Some(destination.to_owned()),
        tumbling_window: 0,
        filters: Some(filters),
    }
}

#[track_caller]
fn changed(reads: Reads, change: impl FnOnce(&mut Mapping)) -> Difference {
    let mut mapping = good(reads);
    change(&mut mapping);
    only(judge(&mapping, reads, 300))
}

#[track_caller]
fn is(found: &Difference, severity: Severity, code: &str, consequence: &str) {
    assert_eq!((found.severity, found.code), (severity, code), "{found:?}");
    assert!(found.consequence.contains(consequence), "{found:?}");
}

#[test]
fn the_template_is_what_it_must_be() {
    for reads in [AUDIT, Reads::Audit { ordered: false }, Reads::Watch] {
        assert_eq!(judge(&good(reads), reads, 300), Vec::new());
        // Whatever else a new mapping may say of its last attempt.
        let mut idle = good(reads);
        idle.last_result = "No records processed".to_owned();
        assert_eq!(judge(&idle, reads, 300), Vec::new());
    }
}

#[test]
fn what_reads_nothing_loses_it() {
    for state in ["Disabled", "Disabling", "Deleting", "something new"] {
        let found = changed(AUDIT, |mapping| mapping.state = state.to_owned());
        is(
            &found,
            Broken,
            "mapping-state",
            "lost to the sinks 24 hours after",
        );
        let found = changed(Reads::Watch, |mapping| mapping.state = state.to_owned());
        is(&found, Broken, "mapping-state", "no watcher sees a change");
    }
    for state in ["Creating", "Enabling", "Updating"] {
        let found = changed(AUDIT, |mapping| mapping.state = state.to_owned());
        is(&found, Note, "mapping-state", "records wait");
    }
    let found = changed(AUDIT, |mapping| {
        mapping.last_result = "PROBLEM: Function call failed".to_owned();
    });
    is(&found, Degraded, "mapping-result", "23 hours is given up");
    assert!(found.found.contains("Function call failed"));
}

#[test]
fn an_answer_that_is_not_heeded_loses_records_now() {
    for reads in [AUDIT, Reads::Watch] {
        let found = changed(reads, |mapping| mapping.reports_failures = false);
        is(&found, Broken, "failure-reports", "counts as delivered");
    }
}

#[test]
fn tries_must_last_as_long_as_the_stream() {
    let few = changed(AUDIT, |mapping| mapping.retries = 2);
    is(&few, Degraded, "retries", "an outage of more than about 15m ");
    let none = changed(AUDIT, |mapping| mapping.retries = 0);
    is(&none, Degraded, "retries", "an outage of more than about 5m ");
    let forever = changed(AUDIT, |mapping| mapping.retries = -1);
    is(&forever, Degraded, "retries", "holds up its shard for 23 hours");
    assert!(forever.found.contains("for ever"), "{}", forever.found);
    let more = changed(AUDIT, |mapping| mapping.retries = 10_000);
    is(&more, Advice, "retries", "for longer");

    let young = changed(AUDIT, |mapping| mapping.record_age = 3600);
    is(&young, Degraded, "record-age", "an outage of more than 1h ");
    for age in [-1, 86_400, 604_800] {
        let old = changed(Reads::Watch, |mapping| mapping.record_age = age);
        is(&old, Degraded, "record-age", "fall out of the stream unread");
    }
    let whole = changed(AUDIT, |mapping| mapping.bisect = false);
    is(&whole, Degraded, "bisect", "the whole batch");
}

#[test]
fn where_it_began_tells_what_was_never_read() {
    for position in [Some("LATEST"), Some("AT_TIMESTAMP"), None] {
        let found = changed(AUDIT, |mapping| {
            mapping.starting_position = position.map(str::to_owned);
        });
        is(&found, Degraded, "starting-position", "may never have been read");
        assert!(found.remedy.contains("audit gaps"));
    }
    let found = changed(Reads::Watch, |mapping| {
        mapping.starting_position = Some("LATEST".to_owned());
    });
    assert!(found.remedy.contains("watch-log break"), "{}", found.remedy);
}

#[test]
fn order_is_a_must_where_it_is_promised() {
    let found = changed(AUDIT, |mapping| mapping.parallelization = 10);
    is(&found, Degraded, "parallelization", "events of a session");
    let found = changed(Reads::Watch, |mapping| mapping.parallelization = 2);
    is(&found, Degraded, "parallelization", "refuse each other");
    let unordered = Reads::Audit { ordered: false };
    let mut mapping = good(unordered);
    mapping.parallelization = 10;
    assert_eq!(judge(&mapping, unordered, 300), Vec::new());

    let found = changed(AUDIT, |mapping| mapping.tumbling_window = 60);
    is(&found, Degraded, "tumbling-window", "out of order");
}

#[test]
fn what_is_given_up_goes_where_it_is_of_use_and_nobody_reads_secrets() {
    let queue = "arn:aws:sqs:eu-west-1:123456789012:q";
    for (reads, to, consequence) in [
        (AUDIT, None, "nobody is told which"),
        (AUDIT, Some(queue), "read again within 24 hours"),
        (Reads::Watch, None, "no gap tells"),
        (Reads::Watch, Some("arn:aws:s3:::b"), "secrets among them"),
        (
            Reads::Watch,
            Some("arn:aws:sns:eu-west-1:123456789012:t"),
            "nothing of ours reads it",
        ),
    ] {
        let found = changed(reads, |mapping| {
            mapping.failure_destination = to.map(str::to_owned);
        });
        is(&found, Degraded, "failure-destination", consequence);
    }
}

#[test]
fn a_filter_hides_records_for_good() {
    let narrow = r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"EventType":{"S":["user.login"]}}}}"#;
    for filters in [
        vec![r#"{"eventName":["INSERT"]}"#],
        vec![narrow],
        vec![r#"{"eventName":[{"prefix":"I"}]}"#],
        vec!["not JSON"],
    ] {
        let found = changed(AUDIT, |mapping| {
            mapping.filters = Some(filters.iter().map(|&filter| filter.to_owned()).collect());
        });
        is(&found, Broken, "filter", "never forwarded");
    }
    let found = changed(Reads::Watch, |mapping| {
        mapping.filters = Some(vec![INSERT_MODIFY.to_owned()]);
    });
    is(&found, Broken, "filter", "never told");
    assert!(found.found.contains("every REMOVE"), "{}", found.found);
    let found = changed(AUDIT, |mapping| mapping.filters = Some(Vec::new()));
    is(&found, Note, "filter", "for nothing");
    // What could not be read is no difference.
    let mut unread = good(AUDIT);
    unread.filters = None;
    assert_eq!(judge(&unread, AUDIT, 300), Vec::new());
}

#[test]
fn one_of_several_filters_is_enough() {
    let each: Vec<String> = ["INSERT", "MODIFY"]
        .map(|kind| format!(r#"{{"eventName":["{kind}"]}}"#))
        .into();
    assert!(passes(&each, "INSERT") && passes(&each, "MODIFY") && !passes(&each, "REMOVE"));
    let all = ["{}".to_owned()];
    assert!(passes(&all, "REMOVE") && passes(&[], "REMOVE"));
}

#[test]
fn sizes_and_windows_are_late_or_dear() {
    for (size, consequence) in [(10, "more invocations"), (10_000, "comes again")] {
        let found = changed(AUDIT, |mapping| mapping.batch_size = size);
        is(&found, Advice, "batch-size", consequence);
    }
    let found = changed(AUDIT, |mapping| mapping.window = 300);
    is(&found, Advice, "window", "up to 300 s later");
    let found = changed(AUDIT, |mapping| mapping.window = 0);
    is(&found, Advice, "window", "nearly every event");
    let found = changed(Reads::Watch, |mapping| mapping.window = 1);
    is(&found, Degraded, "window", "up to 1 s later");
}

#[test]
fn a_failure_queue_must_be_read() {
    let mut queue = good(Reads::Watch);
    queue.starting_position = None;
    queue.batch_size = 10;
    queue.failure_destination = None;
    assert_eq!(judge_queue(&queue), Vec::new());
    queue.reports_failures = false;
    is(
        &only(judge_queue(&queue)),
        Broken,
        "failure-reports",
        "lost without a trace",
    );
    queue.reports_failures = true;
    queue.state = "Disabled".to_owned();
    is(&only(judge_queue(&queue)), Broken, "mapping-state", "no watcher");
}

#[test]
fn a_function_must_live_and_have_its_time() {
    let facts = |time_out, state: &str| Facts {
        time_out,
        state: state.to_owned(),
    };
    assert_eq!(judge_function(&facts(300, "Active")), Vec::new());
    // Lambda wakes it up.
    assert_eq!(judge_function(&facts(300, "Inactive")), Vec::new());
    is(
        &only(judge_function(&facts(60, "Active"))),
        Degraded,
        "time-out",
        "an outage of about 5h ",
    );
    is(
        &only(judge_function(&facts(900, "Active"))),
        Advice,
        "time-out",
        "may be read again",
    );
    is(
        &only(judge_function(&facts(300, "Failed"))),
        Broken,
        "function-state",
        "cannot be invoked",
    );
    // A short time-out makes the same retries last less.
    let found = judge(
        &Mapping {
            retries: 2,
            ..good(AUDIT)
        },
        AUDIT,
        60,
    );
    is(&only(found), Degraded, "retries", "more than about 3m ");
}
