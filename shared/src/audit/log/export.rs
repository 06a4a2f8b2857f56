//! Reading a range of any length, as a stream that can be gone on with.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use time::Date;
use tokio::task::JoinSet;

use super::condition::Condition;
use super::cursor::{Cursor, Key, Place, Scope, date};
use super::dynamo::Dynamo;
use super::error::LogError;
use super::pages::{Found, In, Page, Pages, decode, sort};
use super::search::{Order, days, seconds, tell};
use crate::audit::canonical::Canonical;
use crate::audit::item;
use crate::state::ErrorKind;

/// What is exported.
#[derive(Debug, Clone)]
pub struct Export {
    /// Events of this second and later.
    pub from: SystemTime,
    /// Events up to this second, inclusive.
    pub to: SystemTime,
    /// Only these types; all if empty.
    pub types: Vec<String>,
    /// Only events for which this holds.
    pub condition: Option<Condition>,
    /// Whether each event comes with its row as it is stored, for whoever hands it on as a stream record.
    pub rows: bool,
    /// How many days are read at a time. With 1 the days come in order.
    pub parallel: usize,
    /// Where an earlier export of the same range came to.
    pub position: Option<Position>,
}

/// A part of an export: a page of one day.
#[derive(Debug, Clone)]
pub struct Part {
    /// The events, in the order of their times; there may be none.
    pub events: Vec<Found>,
    /// The day that they are of, `yyyy-mm-dd`. The parts of a day come in its order.
    pub day: String,
    /// Where to go on once this part, and all before it, are taken.
    pub position: Position,
    /// Read capacity units that it took.
    pub units: f64,
    /// Rows that are no events that can be read; they were logged by their keys and left out.
    pub unreadable: usize,
    /// Rows that are no events, such as `CHUNK#`.
    pub no_events: usize,
}

/// Where an export came to. Its text is opaque to callers, and grows with the days that are read at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Of the range, in seconds.
    from: i64,
    to: i64,
    /// The first day that was not begun; none if all were.
    next: Option<Date>,
    /// Days that were begun and not ended.
    open: BTreeMap<Date, Place>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    export: u32,
    from: i64,
    to: i64,
    next: Option<String>,
    open: Vec<String>,
}

impl Export {
    /// All events of a time, four days at a time.
    pub fn new(from: SystemTime, to: SystemTime) -> Self {
        Self {
            from,
            to,
            types: Vec::new(),
            condition: None,
            rows: false,
            parallel: 4,
            position: None,
        }
    }
}

impl Position {
    /// The range of the export, to go on with it.
    pub fn range(&self) -> (SystemTime, SystemTime) {
        let time = |at: i64| match u64::try_from(at) {
            Ok(after) => UNIX_EPOCH.checked_add(Duration::from_secs(after)),
            Err(_) => UNIX_EPOCH.checked_sub(Duration::from_secs(at.unsigned_abs())),
        };
        let time = |at| time(at).unwrap_or(UNIX_EPOCH);
        (time(self.from), time(self.to))
    }

    /// Whether nothing is left.
    pub fn is_end(&self) -> bool {
        self.next.is_none() && self.open.is_empty()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open.iter().map(|(date, place)| {
            let cursor = Cursor {
                scope: Scope::Day(*date),
                place: place.clone(),
            };
            cursor.to_string()
        });
        let written = Written {
            export: 1,
            from: self.from,
            to: self.to,
            next: self.next.map(|date| date.to_string()),
            open: open.collect(),
        };
        let text = serde_json::to_string(&written).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Position {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "this is no position of an export";
        let written: Written = serde_json::from_str(text).map_err(|_| WRONG)?;
        if written.export != 1 {
            return Err("this is a position of a later version");
        }
        let next = match written.next {
            Some(text) => Some(date(&text).ok_or(WRONG)?),
            None => None,
        };
        let mut open = BTreeMap::new();
        for cursor in written.open {
            let cursor: Cursor = cursor.parse().map_err(|_| WRONG)?;
            let Scope::Day(date) = cursor.scope else {
                return Err(WRONG);
            };
            open.insert(date, cursor.place);
        }
        Ok(Self {
            from: written.from,
            to: written.to,
            next,
            open,
        })
    }
}

impl Dynamo {
    /// The events of a range, part by part, as they are asked for: a part is a page of at most 1 MB, one for each of the
    /// days that are read at a time is held, never more. Each part says where to go on after it, in this process or
    /// another; what was read beyond it is read again then. Pages are read on tasks of their own, so a part may be taken as
    /// late as one likes.
    ///
    /// Parts of different days may come in any order, those of a day in its own. What is written meanwhile may or may not
    /// be seen; no row that is in the index when its page is read is skipped.
    ///
    /// Cost: half a read unit for each 4 KB of rows, whether they pass the filter or not, rounded up for each page, and half
    /// a unit for an empty day. Each request is tried for up to 30 s. Dropping the stream ends it.
    ///
    /// # Errors
    /// Each in its place, after which the stream ends; the position of the part before it holds.
    /// [`BadParameter`](ErrorKind::BadParameter) for a range that ends before it begins, or the position of another range.
    pub fn export(&self, export: Export) -> impl Stream<Item = Result<Part, LogError>> + Send + use<> {
        let reading = Reading::new(self, export);
        stream::try_unfold(Some(reading), |reading| async move {
            let Some(reading) = reading else { return Ok(None) };
            let mut reading = reading?;
            let part = reading.part().await?;
            Ok(part.map(|part| (part, Some(Ok(reading)))))
        })
    }
}

type Answered = (Date, Result<Option<Page>, LogError>);

struct Reading {
    pages: Pages,
    last: Date,
    rows: bool,
    parallel: usize,
    /// What the parts that were handed out say.
    position: Position,
    /// Open days that no page is asked for.
    waiting: Vec<(Date, Place)>,
    /// Each on its own: the time that a request may take must not pass while the parts' taker is busy. Ended when dropped.
    asked: JoinSet<Answered>,
    out: Canonical,
}

impl Reading {
    fn new(log: &Dynamo, export: Export) -> Result<Self, LogError> {
        let range = (seconds(export.from), seconds(export.to));
        let (first, last) = days(log, range)?;
        let position = match export.position {
            None => Position {
                from: range.0,
                to: range.1,
                next: Some(first),
                open: BTreeMap::new(),
            },
            Some(position) if (position.from, position.to) == range => position,
            Some(_) => {
                let what = "the position is of an export of another range";
                return Err(log.error(ErrorKind::BadParameter, what));
            }
        };
        let condition = export.condition.as_ref();
        Ok(Self {
            pages: Pages::new(log, range, Order::Ascending, &export.types, condition),
            last,
            rows: export.rows,
            parallel: export.parallel.clamp(1, 64),
            // The oldest is taken from the end.
            waiting: position.open.clone().into_iter().rev().collect(),
            position,
            asked: JoinSet::new(),
            out: Canonical::default(),
        })
    }

    fn ask(&mut self, date: Date, place: Place) {
        let pages = self.pages.clone();
        self.asked
            .spawn(async move { (date, pages.page(In::Day(date), &place, None).await) });
    }

    async fn part(&mut self) -> Result<Option<Part>, LogError> {
        while self.asked.len() < self.parallel {
            if let Some((date, place)) = self.waiting.pop() {
                self.ask(date, place);
            } else if let Some(date) = self.position.next {
                self.position.next = date.next_day().filter(|next| *next <= self.last);
                self.position.open.insert(date, Place::Start);
                self.ask(date, Place::Start);
            } else {
                break;
            }
        }
        let Some(read) = self.asked.join_next().await else {
            return Ok(None);
        };
        let (date, page) = read.map_err(|ended| self.pages.ended(&ended))?;
        let page = page?;
        let mut part = Part {
            events: Vec::new(),
            day: date.to_string(),
            position: self.position.clone(),
            units: 0.0,
            unreadable: 0,
            no_events: 0,
        };
        let mut last = None;
        if let Some(page) = page {
            part.units = page.units;
            for item in &page.items {
                match decode(item, &mut self.out) {
                    Ok(Some(mut found)) => {
                        found.row = self.rows.then(|| item::json(item));
                        part.events.push(found);
                    }
                    Ok(None) => part.no_events += 1,
                    Err(what) => {
                        part.unreadable += 1;
                        tell(Key::of(item).as_ref(), &what);
                    }
                }
            }
            last = page.last;
        }
        sort(&mut part.events, Order::Ascending);
        match last {
            Some(key) => {
                let place = Place::After(key);
                self.position.open.insert(date, place.clone());
                // Before other days: fewer stay open.
                self.waiting.push((date, place));
            }
            None => {
                self.position.open.remove(&date);
            }
        }
        part.position = self.position.clone();
        Ok(Some(part))
    }
}
