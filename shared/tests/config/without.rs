//! A build that knows no DynamoDB: it cannot keep a watch log, and passes over what another function does.

use tidewatch::config::Config;

#[test]
fn a_watch_log_needs_a_build_that_can_keep_one() {
    let faults = Config::parse("watch: { table: state }", "t", []).unwrap_err();
    assert!(faults.to_string().contains("feature `watch`"), "{faults}");
}

#[test]
fn tasks_of_another_function_are_passed_over() {
    let text = "quarantine: file:///q\nsinks: { a: { uri: 'stdout://' } }\nmaintain: { anything: [1] }";
    assert!(Config::parse(text, "t", []).is_ok());
}
