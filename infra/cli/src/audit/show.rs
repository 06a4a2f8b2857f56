//! Events for people and machines.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tidewatch::audit::log::Found;

use crate::cli::{FAINT, HEAD, Output, paint};

/// An event for machines: exactly as it is stored.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    id: &'a str,
    session_id: &'a str,
    /// Text: it may be beyond what JSON's readers hold exactly.
    event_index: &'a str,
    event: &'a RawValue,
}

pub(super) fn json(found: &Found) -> Option<Line<'_>> {
    Some(Line {
        id: &found.id,
        session_id: &found.session_id,
        event_index: &found.event_index,
        event: serde_json::from_str(&found.json).ok()?,
    })
}

pub(super) fn head() -> String {
    paint(
        HEAD,
        format!(
            "{:<24}  {:<28}  {:<7}  {:<24}  {}\n",
            "TIME", "TYPE", "CODE", "USER", "DETAILS"
        ),
    )
}

/// An event on one line.
pub(super) fn line(found: &Found) -> String {
    let event: Value = serde_json::from_str(&found.json).unwrap_or_default();
    let text = |name: &str| plain(event.get(name).and_then(Value::as_str).unwrap_or_default());
    let time = match text("time") {
        time if time.is_empty() => format!("@{}", found.created_at),
        time => time,
    };
    let mut details = Vec::new();
    if event.get("success") == Some(&Value::Bool(false)) {
        details.push("failed".to_owned());
    }
    for (label, name) in [
        ("from", "addr.remote"),
        ("login", "login"),
        ("server", "server_hostname"),
        ("session", "sid"),
        ("path", "path"),
        ("error", "error"),
    ] {
        let value = text(name);
        if !value.is_empty() {
            details.push(format!("{} {value}", paint(FAINT, label)));
        }
    }
    format!(
        "{time:<24}  {:<28}  {:<7}  {:<24}  {}\n",
        plain(found.event_type.as_deref().unwrap_or("?")),
        text("code"),
        text("user"),
        details.join("  ")
    )
}

/// What an event says must not steer the terminal.
fn plain(text: &str) -> String {
    let short: String = text.chars().take(120).collect();
    let mut plain: String = short
        .chars()
        .map(|c| match c {
            c if c.is_control() || Output::steers(c) => '\u{fffd}',
            c => c,
        })
        .collect();
    if short.len() < text.len() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_events_say_does_not_steer_the_terminal() {
        assert_eq!(plain("a\x1b[31m\n\u{202e}b"), "a\u{fffd}[31m\u{fffd}\u{fffd}b");
        assert_eq!(plain("\u{61c}\u{2028}\u{2029}\u{9b}\u{7f}"), "\u{fffd}".repeat(5));
        assert_eq!(plain(&"x".repeat(200)).chars().count(), 121);
    }
}
