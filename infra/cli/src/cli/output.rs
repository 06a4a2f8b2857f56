//! Results on standard output, as text or JSON; the conversation with the operator on standard error.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write as _};
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Failure, Global};

/// How a command speaks.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// As the global options say.
    pub fn new(global: &Global) -> Self {
        Self { json: global.json }
    }

    /// Prints the result of a command: `json` as one document for machines, or `text` for people. Colours in `text`
    /// survive only on a terminal. A reader that has gone away (`| head`) is no failure.
    ///
    /// # Errors
    /// [`Failure`] if `json` cannot be serialised or standard output cannot be written.
    pub fn result(self, json: &impl Serialize, text: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout();
        let written = if self.json {
            let document = serde_json::to_string_pretty(json);
            let document =
                document.map_err(|error| Failure::from(format!("no JSON could be made: {error}")))?;
            writeln!(out, "{document}")
        } else {
            write!(out, "{text}")
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritten(&error)),
            _ => Ok(()),
        }
    }

    /// Prints one of many results as it comes: `json` on one line for machines, or `text` for people. False if the reader
    /// has gone away (`| head`): nobody wants more.
    ///
    /// # Errors
    /// As [`result`](Self::result).
    pub fn line(self, json: &impl Serialize, text: &str) -> Result<bool, Failure> {
        let mut out = anstream::stdout();
        let written = if self.json {
            let line = serde_json::to_string(json);
            let line = line.map_err(|error| Failure::from(format!("no JSON could be made: {error}")))?;
            writeln!(out, "{line}")
        } else {
            write!(out, "{text}")
        };
        match written.and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(unwritten(&error)),
        }
    }

    /// Tells the operator something beside the result; machines are not told.
    pub fn say(self, text: impl Display) {
        if !self.json {
            tell(text);
        }
    }

    /// Reports why a command failed, on standard error.
    pub fn failure(self, failure: &Failure) {
        if self.json {
            tell(format!("{}\n", serde_json::json!({"error": failure.to_string()})));
        } else {
            tell(format!("{}: {failure}\n", paint(ERROR, "tidewatch")));
        }
    }

    /// A spinner on standard error, if that is a terminal and the output is for people.
    pub fn spinner(self) -> indicatif::ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return indicatif::ProgressBar::hidden();
        }
        let spinner = indicatif::ProgressBar::new_spinner();
        spinner.enable_steady_tick(std::time::Duration::from_millis(100));
        spinner
    }

    /// A progress bar on standard error, if that is a terminal and the output is for people.
    pub fn bar(self, total: usize) -> indicatif::ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return indicatif::ProgressBar::hidden();
        }
        indicatif::ProgressBar::new(u64::try_from(total).unwrap_or_default())
    }
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::from(format!(
        "the result could not be written to standard output: {error}"
    ))
}

/// Writes to standard error. That nobody reads it is no reason to stop half-way through a change.
pub(super) fn tell(text: impl Display) {
    let _ = write!(anstream::stderr(), "{text}");
}

/// What is wrong.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What needs attention.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// What is right.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// A heading.
pub const HEAD: Style = Style::new().bold();
/// What matters less.
pub const FAINT: Style = Style::new().dimmed();

/// `text` in `style`.
pub fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A time as people write it; in unix seconds where it is none that they write.
pub fn stamp(at: SystemTime) -> String {
    const YEAR_10000: u64 = 253_402_300_800;
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) if since.as_secs() < YEAR_10000 => humantime::format_rfc3339_seconds(at).to_string(),
        Ok(since) => format!("@{}", since.as_secs()),
        Err(before) => format!("@-{}", before.duration().as_secs()),
    }
}
