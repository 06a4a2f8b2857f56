//! The days that a search comes to next, read before their turn, as long as its answer has room for them.
//!
//! A year with few events is 365 requests: one after the other they take seconds. What is read ahead and not answered is
//! paid for twice, so it is read only as far as the days before it let expect that it fits, and no further ahead than as
//! many days as the answer has behind it.

use std::collections::{BTreeMap, BTreeSet};

use time::Date;
use tokio::task::JoinSet;

use super::cursor::Place;
use super::error::LogError;
use super::pages::{In, Page, Pages};

/// Days that are read at a time at the most: what they hold is in memory, 1 MB each.
const MOST: usize = 8;

type Read = Result<Option<Page>, LogError>;

/// What a day, or the rest of an answer, has: events, bytes and read units.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) units: f64,
}

impl Size {
    pub(super) fn less(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            bytes: self.bytes.saturating_sub(other.bytes),
            units: self.units - other.units,
        }
    }
}

/// First pages of days. Ended when dropped.
pub(super) struct Ahead {
    pages: Pages,
    asked: JoinSet<(Date, Read)>,
    waiting: BTreeSet<Date>,
    read: BTreeMap<Date, Read>,
    /// Whole days that the answer has.
    days: usize,
    /// The most that one of them had.
    most: Size,
}

impl Ahead {
    pub(super) fn new(pages: &Pages) -> Self {
        Self {
            pages: pages.clone(),
            asked: JoinSet::new(),
            waiting: BTreeSet::new(),
            read: BTreeMap::new(),
            days: 0,
            most: Size::default(),
        }
    }

    /// A day was read from its begin to its end.
    pub(super) fn learn(&mut self, day: Size) {
        self.days += 1;
        self.most.events = self.most.events.max(day.events);
        self.most.bytes = self.most.bytes.max(day.bytes);
        self.most.units = self.most.units.max(day.units);
    }

    /// Asks for the first of the days that come, as many as `room` is likely to have space for; `rows` bounds what is
    /// read for each.
    pub(super) fn ask(&mut self, days: impl Iterator<Item = Date>, room: Size, rows: Option<usize>) {
        let whole = [
            room.events / self.most.events.max(1),
            room.bytes / self.most.bytes.max(1),
        ];
        let days = days.take(whole.into_iter().min().unwrap_or_default());
        let mut units = room.units;
        for date in days.take(self.days.min(MOST)) {
            units -= self.most.units;
            if units < 0.0 {
                return;
            }
            if !self.read.contains_key(&date) && self.waiting.insert(date) {
                let pages = self.pages.clone();
                self.asked
                    .spawn(async move { (date, pages.page(In::Day(date), &Place::Start, rows).await) });
            }
        }
    }

    /// The first page of a day, if it was asked for.
    pub(super) async fn take(&mut self, date: Date) -> Read {
        while self.waiting.contains(&date) {
            let Some(read) = self.asked.join_next().await else {
                break;
            };
            self.keep(read.map_err(|ended| self.pages.ended(&ended))?);
        }
        self.read.remove(&date).unwrap_or(Ok(None))
    }

    fn keep(&mut self, (date, read): (Date, Read)) {
        self.waiting.remove(&date);
        self.read.insert(date, read);
    }

    /// The read units of what was read in vain. What is still on its way is given up, and not known.
    pub(super) fn end(mut self) -> f64 {
        while let Some(Ok(read)) = self.asked.try_join_next() {
            self.keep(read);
        }
        let pages = self.read.values().filter_map(|read| read.as_ref().ok());
        pages.flatten().map(|page| page.units).sum()
    }
}
