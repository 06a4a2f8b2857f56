//! Searching by time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, OffsetDateTime};

use super::ahead::{Ahead, Size};
use super::condition::Condition;
use super::cursor::{Cursor, Key, Place, Scope};
use super::dynamo::Dynamo;
use super::error::LogError;
use super::pages::{Found, In, Page, Pages, decode, sort};
use crate::audit::canonical::Canonical;
use crate::state::ErrorKind;

/// Bytes of event JSON in an answer, unless its one event has more.
pub const MAX_ANSWER: usize = 1024 * 1024;
/// An answer that is so full is not filled up with a page for the rest.
const FULL: usize = MAX_ANSWER / 100 * 95;
/// Rows that are read first, before it is known how large they are and how many pass the filter.
const FIRST: usize = 500;
/// Days that a search may walk: a request each.
const MAX_DAYS: i64 = 36_600;

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Search {
    /// Events of this second and later.
    pub from: SystemTime,
    /// Events up to this second, inclusive.
    pub to: SystemTime,
    /// Only these types; all if empty.
    pub types: Vec<String>,
    /// Only this session, read from the table itself, in the order of indexes.
    pub session: Option<String>,
    /// Only events for which this holds.
    pub condition: Option<Condition>,
    /// From the oldest or from the newest.
    pub order: Order,
    /// At most so many events in an answer; 0 for as many as fit.
    pub limit: usize,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Read capacity after which an answer ends, even without an event; none for no bound.
    pub max_units: Option<f64>,
}

/// The order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The oldest first.
    #[default]
    Ascending,
    /// The newest first.
    Descending,
}

/// A page of events.
#[derive(Debug, Clone)]
pub struct Answer {
    /// In the order of their times within this answer; the second is what orders one answer after the other. Those of a
    /// session are read in the order of their indexes, so times may go back from one answer to the next: who wants the
    /// order of times reads to the end and sorts by [`Order::sort`].
    pub events: Vec<Found>,
    /// Where the next answer goes on; none if all was read.
    pub cursor: Option<Cursor>,
    /// Read capacity units that it took.
    pub units: f64,
    /// Rows that are no events that can be read; they were logged by their keys and left out.
    pub unreadable: usize,
}

impl Search {
    /// All events of a time, the oldest first.
    pub fn new(from: SystemTime, to: SystemTime) -> Self {
        Self {
            from,
            to,
            types: Vec::new(),
            session: None,
            condition: None,
            order: Order::Ascending,
            limit: 0,
            cursor: None,
            max_units: None,
        }
    }

    /// All events of a session.
    pub fn session(session: impl Into<String>, to: SystemTime) -> Self {
        Self {
            session: Some(session.into()),
            ..Self::new(UNIX_EPOCH, to)
        }
    }
}

/// Whole seconds since 1970, cut towards the past.
pub(super) fn seconds(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -whole - i64::from(before > Duration::from_secs(before.as_secs()))
        }
    }
}

/// The days of a range, in UTC, both inclusive.
pub(super) fn days(log: &Dynamo, (from, to): (i64, i64)) -> Result<(Date, Date), LogError> {
    let wrong = |what: &str| log.error(ErrorKind::BadParameter, what);
    let date = |at: i64| {
        let at = OffsetDateTime::from_unix_timestamp(at).ok();
        at.map(OffsetDateTime::date)
            .ok_or_else(|| wrong("a time of the range is beyond the year 9999"))
    };
    if from > to {
        return Err(wrong("from date is after to date"));
    }
    let (first, last) = (date(from)?, date(to)?);
    if (last - first).whole_days() >= MAX_DAYS {
        return Err(wrong("a range of 100 years at most can be walked"));
    }
    Ok((first, last))
}

impl Dynamo {
    /// A page of the events that `search` describes: at most 1 MiB of their JSON, but always one if there is one.
    ///
    /// Days are walked in UTC, up to nine at a time where they have little to answer. A cursor names the row after which to go on, so that events that are
    /// written meanwhile neither repeat nor hide others: no row that is in the index when its page is read is skipped. The
    /// index is eventually consistent, and an event that is written late, with an old time, behind the cursor is not seen.
    ///
    /// Cost: half a read unit for each 4 KB of rows that are read, whether they pass the filter or not, rounded up for each
    /// request; a request for a day is half a unit at least, also if the day is empty. Nothing is read twice but what did
    /// not fit into an answer, and days that were read ahead and did not. Each request is tried for up to 30 s. Dropping the future ends it.
    ///
    /// # Errors
    /// [`BadParameter`](ErrorKind::BadParameter) for a range that ends before it begins, or a cursor of another kind of
    /// search; what a request may end with.
    pub async fn search(&self, search: &Search) -> Result<Answer, LogError> {
        let range = (seconds(search.from), seconds(search.to));
        let (first, last) = days(self, range)?;
        let pages = Pages::new(
            self,
            range,
            search.order,
            &search.types,
            search.condition.as_ref(),
        );
        let mut filling = Filling::new(search);
        if let Some(session) = &search.session {
            let place = match &search.cursor {
                Some(Cursor {
                    scope: Scope::Session,
                    place,
                }) => place.clone(),
                // A cursor of days has another order: the session begins again.
                _ => Place::Start,
            };
            let left = filling.fill(&pages, In::Session(session), place, None).await?;
            return Ok(filling.end(left.map(|place| (Scope::Session, place))));
        }
        let (mut date, mut place) = match &search.cursor {
            None => (search.order.begin(first, last), Place::Start),
            Some(Cursor {
                scope: Scope::Day(date),
                place,
            }) => match search.order.beside(*date, first, last) {
                Beside::Before => (search.order.begin(first, last), Place::Start),
                Beside::Within => (*date, place.clone()),
                Beside::After => return Ok(filling.end(None)),
            },
            Some(_) => {
                return Err(self.error(
                    ErrorKind::BadParameter,
                    "the cursor is of a search in a session: name the session with it",
                ));
            }
        };
        let mut ahead = Ahead::new(&pages);
        let left = loop {
            let (whole, before) = (place == Place::Start, filling.size());
            let read = ahead.take(date).await?;
            let left = filling.fill(&pages, In::Day(date), place, read).await?;
            if let Some(place) = left {
                break (Scope::Day(date), place);
            }
            let Some(next) = search.order.next(date, first, last) else {
                return Ok(filling.end(None));
            };
            (date, place) = (next, Place::Start);
            if filling.is_full() {
                break (Scope::Day(date), place);
            }
            if whole {
                ahead.learn(filling.size().less(before));
            }
            let days = std::iter::successors(Some(next), |day| search.order.next(*day, first, last));
            ahead.ask(days, filling.room(), filling.rows(&pages));
        };
        filling.units += ahead.end();
        Ok(filling.end(Some(left)))
    }
}

/// Where a cursor's day is beside the range, in the order of the search.
enum Beside {
    Before,
    Within,
    After,
}

impl Order {
    /// Sorts events by their times; those of a session at one time by their indexes.
    pub fn sort(self, events: &mut [Found]) {
        sort(events, self);
    }

    fn begin(self, first: Date, last: Date) -> Date {
        match self {
            Self::Ascending => first,
            Self::Descending => last,
        }
    }

    fn next(self, date: Date, first: Date, last: Date) -> Option<Date> {
        match self {
            Self::Ascending => date.next_day().filter(|next| *next <= last),
            Self::Descending => date.previous_day().filter(|next| *next >= first),
        }
    }

    fn beside(self, date: Date, first: Date, last: Date) -> Beside {
        match (self, date < first, date > last) {
            (_, false, false) => Beside::Within,
            (Self::Ascending, true, _) | (Self::Descending, _, true) => Beside::Before,
            _ => Beside::After,
        }
    }
}

/// An answer that is being filled.
struct Filling<'s> {
    search: &'s Search,
    events: Vec<Found>,
    bytes: usize,
    scanned: usize,
    units: f64,
    unreadable: usize,
    /// Rows that a page with a filter reads at least.
    least: usize,
    out: Canonical,
}

impl<'s> Filling<'s> {
    fn new(search: &'s Search) -> Self {
        Self {
            search,
            events: Vec::new(),
            bytes: 0,
            scanned: 0,
            units: 0.0,
            unreadable: 0,
            least: FIRST,
            out: Canonical::default(),
        }
    }

    fn is_full(&self) -> bool {
        let limit = self.search.limit;
        (limit > 0 && self.events.len() >= limit)
            || (self.bytes >= FULL && !self.events.is_empty())
            || self.search.max_units.is_some_and(|max| self.units >= max)
    }

    /// What it has.
    fn size(&self) -> Size {
        Size {
            events: self.events.len(),
            bytes: self.bytes,
            units: self.units,
        }
    }

    /// What it has room for.
    fn room(&self) -> Size {
        let Search { limit, max_units, .. } = self.search;
        let whole = Size {
            events: if *limit == 0 { usize::MAX } else { *limit },
            bytes: MAX_ANSWER,
            units: max_units.unwrap_or(f64::INFINITY),
        };
        whole.less(self.size())
    }

    /// Reads on until the answer is full, and answers where to go on; none at the end of the day or session. `read` is
    /// the first page, if there is one already.
    async fn fill(
        &mut self,
        pages: &Pages,
        within: In<'_>,
        mut place: Place,
        mut read: Option<Page>,
    ) -> Result<Option<Place>, LogError> {
        loop {
            let page = match read.take() {
                Some(page) => Some(page),
                None => pages.page(within, &place, self.rows(pages)).await?,
            };
            let Some(page) = page else { return Ok(None) };
            self.scanned += page.scanned;
            self.units += page.units;
            if page.items.is_empty() {
                self.least = self.least.saturating_mul(2);
            }
            if let Some(cut) = self.take(&page, place) {
                return Ok(Some(cut));
            }
            let Some(last) = page.last else { return Ok(None) };
            place = Place::After(last);
            if self.is_full() {
                return Ok(Some(place));
            }
        }
    }

    /// Takes the events of a page that fit, and answers where it was cut, if it was.
    fn take(&mut self, page: &Page, mut place: Place) -> Option<Place> {
        for (at, item) in page.items.iter().enumerate() {
            let key = Key::of(item);
            match decode(item, &mut self.out) {
                Ok(None) => {}
                // Nobody could go on behind it.
                Ok(Some(_)) if key.is_none() => {
                    self.unreadable += 1;
                    tell(None, "its keys or its time are not what an index has");
                }
                Ok(Some(found)) => {
                    if !self.events.is_empty() && self.bytes + found.json.len() > MAX_ANSWER {
                        return Some(place);
                    }
                    self.bytes += found.json.len();
                    self.events.push(found);
                }
                Err(what) => {
                    self.unreadable += 1;
                    tell(key.as_ref(), &what);
                }
            }
            if let Some(key) = key {
                place = Place::After(key);
            }
            let more = at + 1 < page.items.len();
            if more && self.search.limit > 0 && self.events.len() >= self.search.limit {
                return Some(place);
            }
        }
        None
    }

    /// How many rows the rest of the answer is likely to take, by those that were read; none for as many as fit into a
    /// page. Rows beyond it would be paid for twice.
    fn rows(&self, pages: &Pages) -> Option<usize> {
        let limit = self.search.limit;
        let left = (limit > 0).then(|| limit.saturating_sub(self.events.len()));
        if self.scanned == 0 {
            return match (pages.is_filtered(), left) {
                (true, None) => None,
                (true, Some(left)) => Some(left.max(FIRST)),
                (false, left) => Some(left.unwrap_or(FIRST).min(FIRST)),
            };
        }
        if self.events.is_empty() {
            return None;
        }
        let share = |left: usize, of: usize| left.saturating_mul(self.scanned) / of.max(1);
        let by_bytes = share(MAX_ANSWER.saturating_sub(self.bytes), self.bytes);
        let by_count = left.map_or(usize::MAX, |left| share(left, self.events.len()).max(left));
        // Those that match may all have stood together: more and more is read until there is another.
        let least = if pages.is_filtered() { self.least } else { 1 };
        Some(by_bytes.min(by_count).max(least))
    }

    fn end(mut self, left: Option<(Scope, Place)>) -> Answer {
        sort(&mut self.events, self.search.order);
        Answer {
            events: self.events,
            cursor: left.map(|(scope, place)| Cursor { scope, place }),
            units: self.units,
            unreadable: self.unreadable,
        }
    }
}

/// A row that cannot be read hides no others.
pub(super) fn tell(key: Option<&Key>, what: &str) {
    match key {
        Some(key) => tracing::warn!(
            session_id = key.session_id,
            event_index = key.event_index,
            "a row of the audit table cannot be read and is left out: {what}"
        ),
        None => {
            tracing::warn!("a row of the audit table has no keys that can be used and is left out: {what}")
        }
    }
}
