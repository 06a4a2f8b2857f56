//! Where a search goes on. Ours is Teleport's with a mark: `{"date":"2026-11-20","iterator":"{…}","tidewatch":1}`, the
//! iterator being the JSON of the last row's keys, so Teleport can go on from it as well. Theirs are read in both forms:
//!
//! | written by | iterator | what else |
//! |---|---|---|
//! | Teleport 17 and later | text of JSON, plain values | `event_key`, the hash of an event on the page: not to be matched by us, so its page is read again from the start |
//! | Teleport 16 and before | object of attribute values, `{"CreatedAt":{"N":"1626915092","S":null,…},…}` | as above |
//!
//! Some versions of Teleport let `EventIndex` go through a float. A number of theirs that may be rounded is not trusted:
//! its whole second is read again. So a search that goes on from a cursor of theirs may repeat events, and skips none.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use time::Date;

use crate::audit::number;
use crate::state::fault::Attributes;

/// Where a search goes on. Its text is opaque to callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(super) scope: Scope,
    pub(super) place: Place,
}

/// What the search was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Day(Date),
    Session,
}

/// Where in a day of the index, or in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    After(Key),
    /// With the rows of this second, all of them.
    Second(i64),
}

/// The keys of a row in table and index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) session_id: String,
    /// Exact.
    pub(super) event_index: String,
    pub(super) created_at: i64,
    pub(super) date: String,
}

/// A text is no cursor of a search.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a search: {0}")]
pub struct CursorError(&'static str);

impl Key {
    /// Of a row of the index, or of a query's last key; a row of the table may lack the time. None also for a time that is
    /// no whole number, which Teleport never writes: nobody could go on from there.
    pub(super) fn of(item: &Attributes) -> Option<Self> {
        let text = |name: &str| item.get(name)?.as_s().ok().cloned();
        let number =
            |name: &str| number::plain(item.get(name)?.as_n().ok()?).map(std::borrow::Cow::into_owned);
        Some(Self {
            session_id: text("SessionID")?,
            event_index: number("EventIndex")?,
            created_at: match item.get("CreatedAt") {
                Some(_) => number("CreatedAt")?.parse().ok()?,
                None => 0,
            },
            date: text("CreatedAtDate").unwrap_or_default(),
        })
    }

    /// As a query of the table takes it, or of the index.
    pub(super) fn start(&self, index: bool) -> Attributes {
        let mut start = Attributes::from([
            ("SessionID".to_owned(), AttributeValue::S(self.session_id.clone())),
            (
                "EventIndex".to_owned(),
                AttributeValue::N(self.event_index.clone()),
            ),
        ]);
        if index {
            start.insert(
                "CreatedAt".to_owned(),
                AttributeValue::N(self.created_at.to_string()),
            );
            start.insert("CreatedAtDate".to_owned(), AttributeValue::S(self.date.clone()));
        }
        start
    }

    fn json(&self) -> String {
        // By hand: serde_json would make the index a number of 64 bits, or a float.
        format!(
            "{{\"CreatedAt\":{},\"CreatedAtDate\":{},\"EventIndex\":{},\"SessionID\":{}}}",
            self.created_at,
            json!(self.date),
            self.event_index,
            json!(self.session_id),
        )
    }
}

/// Of `yyyy-mm-dd`, as dates are shown.
pub(super) fn date(text: &str) -> Option<Date> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    Date::parse(text, &format).ok()
}

impl Cursor {
    /// The second up to which a search in ascending order has come, at least.
    pub fn reached(&self) -> Option<SystemTime> {
        let at = match (&self.place, self.scope) {
            (Place::After(Key { created_at: at, .. }) | Place::Second(at), _) => *at,
            (Place::Start, Scope::Day(date)) => date.midnight().assume_utc().unix_timestamp(),
            (Place::Start, Scope::Session) => return None,
        };
        let at = u64::try_from(at).ok().filter(|at| *at > 0)?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(at))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut members = serde_json::Map::new();
        if let Scope::Day(date) = self.scope {
            members.insert("date".to_owned(), date.to_string().into());
        }
        match &self.place {
            Place::Start => {}
            Place::After(key) => {
                members.insert("iterator".to_owned(), key.json().into());
            }
            Place::Second(at) => {
                members.insert("second".to_owned(), (*at).into());
            }
        }
        members.insert("tidewatch".to_owned(), 1.into());
        write!(f, "{}", serde_json::Value::Object(members))
    }
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(default)]
    date: Option<String>,
    #[serde(borrow, default)]
    iterator: Option<&'a RawValue>,
    #[serde(default)]
    event_key: Option<String>,
    #[serde(default)]
    second: Option<i64>,
    #[serde(default)]
    tidewatch: Option<u32>,
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        // serde would take an array for a struct.
        let text = text.trim_start();
        if !text.starts_with('{') {
            return Err(CursorError("not the JSON that is due"));
        }
        let read: Read<'_> =
            serde_json::from_str(text).map_err(|_| CursorError("not the JSON that is due"))?;
        let ours = match read.tidewatch {
            None => false,
            Some(1) => true,
            Some(_) => return Err(CursorError("of a later version")),
        };
        // The page that it was cut from begins where its iterator says: there it is read again.
        let _ = read.event_key;
        let scope = match read.date.as_deref().filter(|date| !date.is_empty()) {
            Some(text) => Scope::Day(date(text).ok_or(CursorError("its date is none"))?),
            None => Scope::Session,
        };
        let place = match read.iterator {
            Some(iterator) => place(iterator.get(), ours, matches!(scope, Scope::Day(_)))?,
            None => read.second.map_or(Place::Start, Place::Second),
        };
        if let (Scope::Day(date), Place::After(key)) = (scope, &place)
            && key.date != date.to_string()
        {
            return Err(CursorError("its row is not of its date"));
        }
        Ok(Self { scope, place })
    }
}

/// An iterator: a text of JSON, or an object; nothing, or an empty one, is the start.
fn place(json: &str, ours: bool, in_day: bool) -> Result<Place, CursorError> {
    const WRONG: CursorError = CursorError("its iterator is not the JSON that is due");
    let inner: String;
    let json = match json.as_bytes().first() {
        Some(b'"') => {
            inner = serde_json::from_str(json).map_err(|_| WRONG)?;
            inner.trim()
        }
        _ => json,
    };
    if matches!(json, "" | "null" | "{}") {
        return Ok(Place::Start);
    }
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).map_err(|_| WRONG)?;
    let member = |name: &str| members.get(name).and_then(|value| scalar(value.get()));
    let (Some((session_id, _)), Some((index, typed))) = (member("SessionID"), member("EventIndex")) else {
        return Err(CursorError("its iterator lacks SessionID or EventIndex"));
    };
    let whole =
        |text: &str| Some(number::plain(text)?.into_owned()).filter(|text| !text.contains(['.', 'e', 'E']));
    // Ours name whatever is in the table.
    let index = match ours {
        true => number::plain(&index).map(std::borrow::Cow::into_owned),
        false => whole(&index),
    };
    let index = index.ok_or(CursorError("its EventIndex is no whole number"))?;
    let created_at = match member("CreatedAt") {
        Some((at, _)) => whole(&at)
            .and_then(|at| at.parse().ok())
            .ok_or(CursorError("its CreatedAt is no whole number"))?,
        None if in_day => return Err(CursorError("its iterator lacks CreatedAt")),
        None => 0,
    };
    let date = member("CreatedAtDate").map(|(date, _)| date).unwrap_or_default();
    if !ours && !typed && may_be_rounded(&index) {
        return Ok(Place::Second(created_at));
    }
    Ok(Place::After(Key {
        session_id,
        event_index: index,
        created_at,
        date,
    }))
}

/// The text of a plain value, or of an attribute value; in the latter a number is exact.
fn scalar(json: &str) -> Option<(String, bool)> {
    match json.as_bytes().first()? {
        b'"' => Some((serde_json::from_str(json).ok()?, false)),
        b'{' => {
            let typed: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            let text = |tag: &str| {
                typed
                    .get(tag)
                    .and_then(|value| serde_json::from_str::<String>(value.get()).ok())
            };
            Some((text("S").or_else(|| text("N"))?, true))
        }
        _ => Some((json.to_owned(), false)),
    }
}

/// Whether a whole number is what a float prints, beyond the numbers that floats hold exactly.
fn may_be_rounded(text: &str) -> bool {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    text.parse::<f64>()
        .is_ok_and(|float| float.abs() >= EXACT && float.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(index: &str) -> Cursor {
        Cursor {
            scope: Scope::Day(time::macros::date!(2021 - 07 - 22)),
            place: Place::After(Key {
                session_id: "a\"b".to_owned(),
                event_index: index.to_owned(),
                created_at: 1_626_915_092,
                date: "2021-07-22".to_owned(),
            }),
        }
    }

    #[test]
    fn ours_come_back_exactly() {
        let mut all = ["1795170931001234567", "1795170931001234700", "1.5", "-3"]
            .map(after)
            .to_vec();
        for place in [Place::Start, Place::Second(7)] {
            all.push(Cursor { place, ..after("0") });
        }
        all.push(Cursor {
            scope: Scope::Session,
            ..after("5")
        });
        for cursor in all {
            assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()), "{cursor}");
        }
    }

    #[test]
    fn teleports_are_read_in_both_forms() {
        let text = r#"{"date":"2021-07-22","iterator":"{\"CreatedAt\":1626915092,\"CreatedAtDate\":\"2021-07-22\",\"EventIndex\":1795170931001234567,\"SessionID\":\"a\\\"b\"}"}"#;
        assert_eq!(text.parse(), Ok(after("1795170931001234567")));
        let old = r#"{"date":"2021-07-22","iterator":{"CreatedAt":{"B":null,"BOOL":null,"BS":null,"L":null,"M":null,"N":"1626915092","NS":null,"NULL":null,"S":null,"SS":null},"CreatedAtDate":{"N":null,"S":"2021-07-22"},"EventIndex":{"N":"1795170931001234700","S":null},"SessionID":{"S":"a\"b"}},"event_key":"abc"}"#;
        assert_eq!(old.parse(), Ok(after("1795170931001234700")));
        let second = Cursor {
            place: Place::Second(1_626_915_092),
            ..after("0")
        };
        for index in ["1795170931001234700", "1.7951709310012347e+18"] {
            assert_eq!(
                text.replace("1795170931001234567", index).parse(),
                Ok(second.clone())
            );
        }
        let start = Cursor {
            place: Place::Start,
            ..after("0")
        };
        for text in [
            r#"{"date":"2021-07-22"}"#,
            r#"{"date":"2021-07-22","iterator":""}"#,
            r#"{"date":"2021-07-22","iterator":null,"event_key":"x"}"#,
        ] {
            assert_eq!(text.parse(), Ok(start.clone()));
        }
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            "x",
            "[]",
            r#"{"date":"yesterday"}"#,
            r#"{"date":"2021-07-22","iterator":"x"}"#,
            r#"{"date":"2021-07-22","iterator":"{\"SessionID\":\"a\"}"}"#,
            r#"{"date":"2021-07-23","iterator":"{\"CreatedAt\":1,\"CreatedAtDate\":\"2021-07-22\",\"EventIndex\":1,\"SessionID\":\"a\"}"}"#,
            r#"{"date":"2021-07-22","iterator":"{\"CreatedAt\":1,\"CreatedAtDate\":\"2021-07-22\",\"EventIndex\":1.5,\"SessionID\":\"a\"}"}"#,
            r#"{"date":"2021-07-22","iterator":"{\"CreatedAtDate\":\"2021-07-22\",\"EventIndex\":1,\"SessionID\":\"a\"}"}"#,
            r#"{"date":"2021-07-22","tidewatch":2}"#,
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
