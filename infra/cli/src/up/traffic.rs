//! Sample traffic, made from a seed before the first write, with what must come out of it.
//!
//! A row in twenty is special: a legacy row and its migration, poison, a repeat, bookkeeping, a rewrite.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use tidewatch::random::Random;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::events::{Session, oversize, single, uuid};
use super::json::Json;

/// A table row in DynamoDB's typed JSON.
pub type Item = BTreeMap<String, Value>;

/// Sessions in progress at once.
const SESSIONS: usize = 12;
/// A row in so many is special.
const SPECIAL: usize = 20;
/// A special row in so many is close to 400 KB.
const OVERSIZE: usize = 100;
/// The follow-up of a special row comes so many steps later, at most.
const LATER: u64 = 60;

/// One write and its consequence.
#[derive(Debug, Clone)]
pub struct Step {
    /// The row to store.
    pub item: Item,
    /// The row that must be there before, for a replacement; none for an insert.
    pub old: Option<Item>,
    /// What must come of it.
    pub fate: Fate,
}

/// What must come of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// This line in the file of this day, once; lines of one session in the order of the writes.
    Forwarded {
        /// `yyyy-mm-dd` of the event's time
        date: String,
        /// The exact text
        line: String,
        /// The row's `SessionID`
        session: String,
    },
    /// The record is put into quarantine and nothing is forwarded.
    Quarantined,
    /// Nothing: no event, or one that was forwarded before.
    Nothing,
}

impl Step {
    /// Its partition key.
    pub fn session(&self) -> &str {
        self.item
            .get("SessionID")
            .and_then(|id| id.get("S"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Its sort key.
    pub fn index(&self) -> &str {
        self.item
            .get("EventIndex")
            .and_then(|index| index.get("N"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// Makes `count` steps; the same for the same seed and start.
pub fn steps(seed: u64, start: OffsetDateTime, spacing: Duration, count: usize) -> Vec<Step> {
    let mut generator = Generator {
        random: Random::seeded(seed),
        start,
        spacing,
        made: 0,
        specials: 0,
        sessions: Vec::new(),
        later: VecDeque::new(),
    };
    (0..count).map(|_| generator.step()).collect()
}

struct Generator {
    random: Random,
    start: OffsetDateTime,
    spacing: Duration,
    made: usize,
    specials: usize,
    sessions: Vec<Session>,
    /// Follow-ups and the step from which on each is due.
    later: VecDeque<(usize, Step)>,
}

impl Generator {
    fn step(&mut self) -> Step {
        self.made += 1;
        if let Some(place) = self.later.iter().position(|(due, _)| *due <= self.made)
            && let Some((_, step)) = self.later.remove(place)
        {
            return step;
        }
        if self.made % SPECIAL == SPECIAL / 2 {
            self.specials += 1;
            return self.special();
        }
        if self.random.below(5) == 0 {
            self.single()
        } else {
            self.in_session()
        }
    }

    fn in_session(&mut self) -> Step {
        let (id, index, event) = self.session_event();
        forwarded(row(&id, index, &event, self.now()), &event)
    }

    /// The next event of some session, which has then happened.
    fn session_event(&mut self) -> (String, u64, Json) {
        while self.sessions.len() < SESSIONS {
            self.sessions.push(Session::start(&self.random));
        }
        let place = usize::try_from(self.random.below(SESSIONS as u64)).unwrap_or_default();
        let time = self.time();
        let Some(session) = self.sessions.get_mut(place) else {
            return (uuid(&self.random), 0, single(&self.random, &time));
        };
        let (id, index, event) = (
            session.id.clone(),
            session.next,
            session.event(&self.random, &time),
        );
        session.next += 1;
        session.left -= 1;
        if session.left == 0 {
            self.sessions.swap_remove(place);
        }
        (id, index, event)
    }

    fn single(&mut self) -> Step {
        let event = single(&self.random, &self.time());
        forwarded(row(&uuid(&self.random), 0, &event, self.now()), &event)
    }

    fn special(&mut self) -> Step {
        if self.specials % OVERSIZE == 3 {
            let event = oversize(&self.random, &self.time());
            return forwarded(row(&uuid(&self.random), 0, &event, self.now()), &event);
        }
        match self.specials % 7 {
            0 => self.legacy(),
            1 => self.poison(|item| item.insert("FieldsMap".to_owned(), json!({"S": "not a map"}))),
            2 => self.repeated(),
            3 => self.chunk(),
            4 => self.rewritten(),
            5 => self.poison(|item| {
                item.remove("FieldsMap");
                item.insert("Fields".to_owned(), json!({"S": "{\"event\": cut o"}))
            }),
            _ => self.renewed(),
        }
    }

    /// A row from before FieldsMap, then the migration that adds it: one line.
    fn legacy(&mut self) -> Step {
        let (id, index, event) = self.session_event();
        let whole = row(&id, index, &event, self.now());
        let mut old = whole.clone();
        old.remove("FieldsMap");
        old.insert("Fields".to_owned(), json!({"S": event.text()}));
        let mut new = old.clone();
        new.extend(whole);
        self.after(Step {
            item: new,
            old: Some(old.clone()),
            fate: Fate::Nothing,
        });
        forwarded(old, &event)
    }

    /// A row of a session that cannot be read; the session goes on.
    fn poison(&mut self, spoil: impl FnOnce(&mut Item) -> Option<Value>) -> Step {
        let (id, index, event) = self.session_event();
        let mut item = row(&id, index, &event, self.now());
        spoil(&mut item);
        Step {
            item,
            old: None,
            fate: Fate::Quarantined,
        }
    }

    /// An event that its emitter sends again: stored under another random key, to come out once.
    fn repeated(&mut self) -> Step {
        let mut event = single(&self.random, &self.time());
        event.set("uid", uuid(&self.random).as_str());
        let again = row(&uuid(&self.random), 0, &event, self.now());
        self.after(Step {
            item: again,
            old: None,
            fate: Fate::Nothing,
        });
        forwarded(row(&uuid(&self.random), 0, &event, self.now()), &event)
    }

    /// Bookkeeping of a bulk export: opened, later closed, never an event.
    fn chunk(&mut self) -> Step {
        let item = |status: &str, key: &str, now: OffsetDateTime| {
            Item::from([
                ("SessionID".to_owned(), json!({"S": key})),
                ("EventIndex".to_owned(), json!({"N": "0"})),
                ("ChunkStatus".to_owned(), json!({"S": status})),
                (
                    "CreatedAt".to_owned(),
                    json!({"N": now.unix_timestamp().to_string()}),
                ),
                ("CreatedAtDate".to_owned(), json!({"S": now.date().to_string()})),
            ])
        };
        let (key, now) = (format!("CHUNK#{}", uuid(&self.random)), self.now());
        let old = item("OPEN", &key, now);
        self.after(Step {
            item: item("CLOSED", &key, now),
            old: Some(old.clone()),
            fate: Fate::Nothing,
        });
        Step {
            item: old,
            old: None,
            fate: Fate::Nothing,
        }
    }

    /// An event that is later overwritten by another one: two lines.
    fn rewritten(&mut self) -> Step {
        let (id, index, event) = self.session_event();
        let old = row(&id, index, &event, self.now());
        let mut other = event.clone();
        other.set("message", "written over the first one");
        let new = row(&id, index, &other, self.now());
        let next = Step {
            old: Some(old.clone()),
            ..forwarded(new, &other)
        };
        self.after(next);
        forwarded(old, &event)
    }

    /// An event whose expiry alone is changed later: one line.
    fn renewed(&mut self) -> Step {
        let (id, index, event) = self.session_event();
        let old = row(&id, index, &event, self.now());
        let mut new = old.clone();
        let expires = (self.now() + Duration::days(3650)).unix_timestamp();
        new.insert("Expires".to_owned(), json!({"N": expires.to_string()}));
        self.after(Step {
            item: new,
            old: Some(old.clone()),
            fate: Fate::Nothing,
        });
        forwarded(old, &event)
    }

    fn after(&mut self, step: Step) {
        let due = self.made + 1 + usize::try_from(self.random.below(LATER)).unwrap_or_default();
        self.later.push_back((due, step));
    }

    fn now(&self) -> OffsetDateTime {
        self.start + self.spacing * u32::try_from(self.made).unwrap_or(u32::MAX)
    }

    fn time(&self) -> String {
        self.now().format(&Rfc3339).unwrap_or_default()
    }
}

/// The row that Teleport stores for an event, emitted at `now`.
fn row(session: &str, index: u64, event: &Json, now: OffsetDateTime) -> Item {
    let kind = event.get("event").and_then(Json::as_text).unwrap_or_default();
    let time = event.get("time").and_then(Json::as_text).unwrap_or_default();
    let created = OffsetDateTime::parse(time, &Rfc3339).unwrap_or(now);
    let expires = (now + Duration::days(365)).unix_timestamp();
    Item::from([
        ("SessionID".to_owned(), json!({"S": session})),
        ("EventIndex".to_owned(), json!({"N": index.to_string()})),
        ("EventType".to_owned(), json!({"S": kind})),
        (
            "CreatedAt".to_owned(),
            json!({"N": created.unix_timestamp().to_string()}),
        ),
        (
            "CreatedAtDate".to_owned(),
            json!({"S": created.date().to_string()}),
        ),
        ("Expires".to_owned(), json!({"N": expires.to_string()})),
        ("EventNamespace".to_owned(), json!({"S": "default"})),
        ("FieldsMap".to_owned(), event.dynamo()),
    ])
}

fn forwarded(item: Item, event: &Json) -> Step {
    let time = event.get("time").and_then(Json::as_text).unwrap_or_default();
    let fate = Fate::Forwarded {
        date: time.chars().take(10).collect(),
        line: event.text(),
        session: String::new(),
    };
    let mut step = Step {
        item,
        old: None,
        fate,
    };
    let id = step.session().to_owned();
    if let Fate::Forwarded { session, .. } = &mut step.fate {
        *session = id;
    }
    step
}

#[cfg(test)]
mod tests;
