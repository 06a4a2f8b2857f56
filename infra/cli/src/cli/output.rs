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
        match self.write(serde_json::to_string_pretty(json), text)? {
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
        match self.write(serde_json::to_string(json), text)? {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(unwritten(&error)),
        }
    }

    fn write(
        self,
        json: Result<String, serde_json::Error>,
        text: &str,
    ) -> Result<std::io::Result<()>, Failure> {
        if !self.json {
            let mut out = anstream::stdout();
            return Ok(write!(out, "{text}").and_then(|()| out.flush()));
        }
        let json = json.map_err(|error| Failure::from(format!("no JSON could be made: {error}")))?;
        // Not through anstream, which takes characters out of it.
        let mut out = std::io::stdout().lock();
        Ok(writeln!(out, "{}", Self::shown(json)).and_then(|()| out.flush()))
    }

    /// JSON as standard output may have it: exactly as it is, but on a terminal without what would steer it, which is
    /// escaped and so means the same.
    pub fn shown(json: String) -> String {
        match std::io::stdout().is_terminal() {
            true => escaped(&json),
            false => json,
        }
    }

    /// Whether a character, beside the control characters below space, steers a terminal or turns the writing around.
    pub fn steers(c: char) -> bool {
        matches!(
            c,
            '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
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

/// JSON, in whose texts whatever steers a terminal is escaped. What is below space is so in any JSON.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match Output::steers(c) {
            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => text.push(c),
        }
    }
    text
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

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn json_on_a_terminal_steers_nothing_and_means_the_same() {
        let json = "{\n  \"a\": \"x\u{7f}\u{9b}31m\u{202e}\u{2028}\u{61c}é\u{1f980}\"\n}";
        let safe = escaped(json);
        assert_eq!(
            safe,
            "{\n  \"a\": \"x\\u007f\\u009b31m\\u202e\\u2028\\u061cé\u{1f980}\"\n}"
        );
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).ok();
        assert_eq!(read(&safe), read(json));
    }
}
