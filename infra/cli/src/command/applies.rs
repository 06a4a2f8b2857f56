//! Refusing what a command would ignore: an operator who names a table or a region means it.

use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::cli::Failure;

/// Refuses options of every command that are given on the command line and that this command has no use for. What the
/// environment says is for every command, and may be idle.
///
/// # Errors
/// [`Failure`] that names the options.
pub(super) fn check(matches: &ArgMatches) -> Result<(), Failure> {
    let mut path = Vec::new();
    let mut last = matches;
    while let Some((name, inner)) = last.subcommand() {
        path.push(name);
        last = inner;
    }
    let (idle, why): (&[&str], &str) = match path.as_slice() {
        ["up"] => (
            &["config", "table", "region", "profile", "endpoint_url"],
            "it runs everything on this machine, with tables and a configuration of its own",
        ),
        ["completions"] => (
            &["config", "table", "region", "profile", "endpoint_url", "json"],
            "it only prints a script",
        ),
        ["config", "schema"] => (
            &["config", "table", "region", "profile", "endpoint_url"],
            "it only prints the schema",
        ),
        ["maintain"] => (
            &["table"],
            "the document's section maintain names what it works on",
        ),
        ["config", "check"] => (&["table"], "it works on no table"),
        ["iam", "policy"] => (&["config", "profile", "endpoint_url"], "it sends nothing"),
        ["table", "print"] => (
            &["config", "region", "profile", "endpoint_url"],
            "it sends nothing",
        ),
        _ => return Ok(()),
    };
    let given: Vec<String> = idle
        .iter()
        .filter(|id| last.value_source(id) == Some(ValueSource::CommandLine))
        .map(|id| format!("--{}", id.replace('_', "-")))
        .collect();
    if given.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "`tidewatch {}` takes no {}: {why}",
        path.join(" "),
        given.join(", ")
    )))
}
