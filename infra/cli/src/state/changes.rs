//! Changes for people and machines, a line each.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tidewatch::state::Item;
use tidewatch::watch::{Event, Operation, Position, Put, Value};

use super::show;
use crate::cli::{Exit, FAINT, Failure, Global, Output, WARN, paint, stamp};

/// Prints what a watcher is told. Each call answers whether somebody reads it still.
pub(super) struct Printer {
    output: Output,
    reveal: bool,
}

impl Printer {
    pub(super) fn new(global: &Global, reveal: bool) -> Self {
        Self {
            output: Output::new(global),
            reveal,
        }
    }

    /// What the list showed.
    pub(super) fn list(&self, items: &[Item], now: SystemTime) -> Result<bool, Failure> {
        for item in items {
            let mut json = show::item_json(item, self.reveal);
            if let Json::Object(members) = &mut json {
                members.insert("type".to_owned(), "item".into());
            }
            let value = if self.reveal {
                format!("  {}", show::text(&item.value))
            } else {
                String::new()
            };
            let text = format!(
                "{:20}  listed   {}  {} bytes, expires {}, revision {}{value}\n",
                "",
                item.key,
                item.value.len(),
                show::expires(item.expires, now),
                item.revision,
            );
            if !self.output.line(&json, &text)? {
                return Ok(false);
            }
        }
        self.output
            .line(&json!({"type": "listed", "items": items.len()}), "")
    }

    /// From here on changes are seen.
    pub(super) fn watching(&self, told: &Json) -> Result<bool, Failure> {
        self.output.say(paint(FAINT, "watching; Ctrl-C ends\n"));
        self.output.line(told, "")
    }

    /// A change.
    pub(super) fn event(&self, event: &Event, may_precede_list: bool) -> Result<bool, Failure> {
        let text = text(event, may_precede_list, self.reveal);
        self.output
            .line(&event_json(event, may_precede_list, self.reveal), &text)
    }

    /// Changes were missed.
    pub(super) fn missed(&self, floor: &Position, why: &str) -> Result<bool, Failure> {
        self.output
            .say(format_args!("{}: {why}\n", paint(WARN, "changes were missed")));
        let json = json!({"type": "compacted", "why": why, "floor": floor.to_string()});
        self.output.line(&json, "")
    }

    /// The end.
    pub(super) fn position(&self, position: &Position) -> Result<Exit, Failure> {
        self.output.say(format_args!("go on with --from {position}\n"));
        let json = json!({"type": "position", "position": position.to_string()});
        self.output.line(&json, "")?;
        Ok(Exit::Done)
    }
}

fn text(event: &Event, may_precede_list: bool, reveal: bool) -> String {
    let (kind, rest) = match &event.operation {
        Operation::Put(put) => {
            let expires = put.expires.map_or("never".to_owned(), stamp);
            let rest = format!(
                "{}, expires {expires}, revision {}{}",
                size(&put.value),
                put.revision,
                value(put, reveal)
            );
            ("put", rest)
        }
        Operation::Delete(delete) => ("delete", delete.cause.as_str().to_owned()),
        Operation::Unknown => (
            "unknown",
            "the record of it cannot be read: get the key".to_owned(),
        ),
    };
    let older = if may_precede_list {
        ", perhaps older than the list"
    } else {
        ""
    };
    format!(
        "{}  {kind:7}  {}  {rest}{older}\n",
        paint(
            FAINT,
            format!("{:20}", event.created.map_or("-".to_owned(), stamp))
        ),
        event.key,
    )
}

fn size(value: &Value) -> String {
    match value.bytes() {
        Some(bytes) => format!("{} bytes", bytes.len()),
        None => "value not carried".to_owned(),
    }
}

fn value(put: &Put, reveal: bool) -> String {
    match put.value.bytes() {
        Some(bytes) if reveal => format!("  {}", show::text(bytes)),
        _ => String::new(),
    }
}

pub(crate) fn event_json(event: &Event, may_precede_list: bool, reveal: bool) -> Json {
    let mut json = json!({
        "type": "event",
        "operation": event.operation.name(),
        "key": event.key.to_string(),
        "created": show::seconds(event.created),
    });
    let Json::Object(members) = &mut json else {
        return json;
    };
    match &event.operation {
        Operation::Put(put) => {
            if let Json::Object(put) = put_json(put, reveal) {
                members.extend(put);
            }
        }
        Operation::Delete(delete) => {
            members.insert("cause".to_owned(), delete.cause.as_str().into());
            let previous = delete.previous.as_ref().map(|put| put_json(put, reveal));
            members.insert("previous".to_owned(), previous.into());
        }
        Operation::Unknown => {}
    }
    if may_precede_list {
        members.insert("may_precede_list".to_owned(), true.into());
    }
    json
}

/// `bytes` is null, and there is no `value`, where the source does not carry it.
fn put_json(put: &Put, reveal: bool) -> Json {
    let mut json = json!({
        "revision": put.revision.as_str(),
        "expires": show::seconds(put.expires),
        "bytes": put.value.bytes().map(<[u8]>::len),
    });
    if let (true, Some(bytes), Json::Object(members)) = (reveal, put.value.bytes(), &mut json) {
        members.insert("value".to_owned(), STANDARD.encode(bytes).into());
    }
    json
}
