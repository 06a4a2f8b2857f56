//! Events from a seed: what must be found is written down here, before anything is staged.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidewatch::random::Random;

/// When everything happens.
pub(crate) fn start() -> SystemTime {
    // 2025-11-20 10:01 UTC.
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_632_860)
}

/// A staged line.
pub(crate) fn line(id: &str, created: &str, event: &str) -> String {
    format!(
        r#"{{"id":{},"origin":"stream","created":"{created}","event":{event}}}"#,
        json!(id)
    )
}

pub(crate) struct Generated {
    events: Vec<Event>,
}

struct Event {
    session_id: String,
    event_index: usize,
    event: Value,
}

const TYPES: [&str; 4] = ["user.login", "session.start", "session.end", "db.session.query"];
const USERS: [&str; 4] = ["alice", "bob", "\u{e9}lo\u{ef}se \u{1f512}", ""];

impl Generated {
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let random = Random::seeded(seed);
        let below = |bound: u64| usize::try_from(random.below(bound)).unwrap();
        let events = (0..count).map(|number| {
            let (day, second) = (15 + below(5), below(86_400));
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            let fraction = ["", ".5", ".123", ".217591"][below(4)];
            let event_type = TYPES[below(4)];
            let mut event = json!({
                "event": event_type,
                "ei": number,
                "time": format!("2025-11-{day}T{hour:02}:{minute:02}:{second:02}{fraction}Z"),
                "uid": match below(20) {
                    0 => String::new(),
                    1 => format!("uid {number}"),
                    _ => random.uuid().to_string(),
                },
                "user": USERS[below(4)],
                "addr.remote": "[::1]:3022",
                "labels": {"team": "a\"b\\c\n", "n": below(1000)},
            });
            let session_id = random.uuid().to_string();
            if event_type.starts_with("session") {
                event["sid"] = Value::String(session_id.clone());
            }
            Event {
                session_id,
                event_index: number,
                event,
            }
        });
        Self {
            events: events.collect(),
        }
    }

    /// The list, a line an event.
    pub(crate) fn source(&self) -> String {
        let mut lines = String::new();
        for event in &self.events {
            let line = json!({
                "session_id": event.session_id,
                "event_index": event.event_index,
                "event": event.event,
            });
            writeln!(lines, "{line}").unwrap();
        }
        lines
    }

    /// Lines as they are staged.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.events.iter().enumerate().map(|(number, event)| {
            line(
                &format!("{number}:00"),
                "2025-11-20T10:00:00.000Z",
                &event.event.to_string(),
            )
        });
        lines.collect()
    }

    /// Lambda's events, of so many records each.
    pub(crate) fn payloads(&self, size: usize) -> Vec<String> {
        let records: Vec<Value> = self.events.iter().enumerate().map(record).collect();
        let payloads = records
            .chunks(size)
            .map(|chunk| json!({ "Records": chunk }).to_string());
        payloads.collect()
    }
}

fn record((number, event): (usize, &Event)) -> Value {
    json!({
        "eventID": format!("e{number}"),
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_763_632_800,
            "Keys": {
                "SessionID": attribute(&json!(event.session_id)),
                "EventIndex": attribute(&json!(event.event_index)),
            },
            "NewImage": {
                "SessionID": attribute(&json!(event.session_id)),
                "EventIndex": attribute(&json!(event.event_index)),
                "EventType": attribute(&event.event["event"]),
                "FieldsMap": attribute(&event.event),
            },
            "SequenceNumber": format!("{}", 1000 + number),
        },
    })
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({ "S": text }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), attribute(value)));
            json!({ "M": members.collect::<serde_json::Map<_, _>>() })
        }
        other => panic!("{other}"),
    }
}
