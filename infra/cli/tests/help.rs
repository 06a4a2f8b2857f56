//! The help of every command.

#![allow(clippy::unwrap_used, clippy::panic)] // A test may.

use clap::{Command, CommandFactory, Parser};
use tidewatch_cli::command::Cli;

/// Calls `look` with each command and the words that lead to it.
fn each(command: &Command, path: &str, look: &mut impl FnMut(&Command, &str)) {
    let path = format!("{path} {}", command.get_name());
    let path = path.trim_start();
    look(command, path);
    for command in command.get_subcommands() {
        each(command, path, look);
    }
}

/// The command lines in a command's help.
fn examples(command: &Command) -> Vec<String> {
    let help = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let lines = help.lines().skip_while(|line| !line.starts_with("Example"));
    lines
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_examples_of_itself() {
    let mut seen = Vec::new();
    each(&Cli::command(), "", &mut |command, path| {
        let examples = examples(command);
        assert!(!examples.is_empty(), "{path}");
        for example in &examples {
            assert!(example.contains(path), "{path}: {example}");
        }
        seen.push(path.to_owned());
    });
    for path in [
        "tidewatch",
        "tidewatch up",
        "tidewatch table create",
        "tidewatch state watch",
        "tidewatch watch-log break",
        "tidewatch completions",
    ] {
        assert!(seen.iter().any(|seen| seen == path), "{seen:?}");
    }
}

#[test]
fn the_examples_are_understood() {
    each(&Cli::command(), "", &mut |command, path| {
        for example in examples(command) {
            let (_, from_name) = example.split_at(example.find("tidewatch ").unwrap_or(0));
            // What follows a redirection or two spaces is not for us.
            let line = from_name.split(['>', '|']).next().unwrap_or_default();
            let line = line.trim().split("   ").next().unwrap_or_default();
            if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
                panic!("{path}: {line}: {error}");
            }
        }
    });
}
