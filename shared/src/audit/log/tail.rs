//! Following the log: the last minutes are read again and again, and what was told already is left out.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::dynamo::Dynamo;
use super::error::LogError;
use super::pages::Found;
use super::search::{Search, seconds};

/// How far back each look goes: what arrives later than that shows in the stream and the lake only.
pub const TAIL_WINDOW: Duration = Duration::from_mins(5);

/// Follows the log. It remembers the ids of what it told in the last minutes: 24 bytes each.
#[derive(Debug)]
pub struct Tail {
    log: Dynamo,
    search: Search,
    since: SystemTime,
    /// The look that is under way began then.
    begun: SystemTime,
    /// The last look that came to its end began then.
    looked: Option<SystemTime>,
    told: HashMap<u128, i64>,
}

impl Tail {
    /// Tells events from `since` on. `search` says which; its times, order and cursor are not looked at.
    pub fn new(log: &Dynamo, since: SystemTime, search: Search) -> Self {
        let begun = log.clock().now();
        Self {
            log: log.clone(),
            search: Search {
                from: since,
                cursor: None,
                order: super::Order::Ascending,
                ..search
            },
            since,
            begun,
            looked: None,
            told: HashMap::new(),
        }
    }

    /// A page of events that were not told yet, and whether there may be more at once; if not, the caller waits before
    /// it looks again. Cost as [`Dynamo::search`] over the last five minutes, or since the last look that came to its end if that is longer ago.
    ///
    /// # Errors
    /// As [`Dynamo::search`]; the same look can be taken again.
    pub async fn next(&mut self) -> Result<(Vec<Found>, bool), LogError> {
        if self.search.cursor.is_none() {
            // Our clock may be set back; what was forgotten must not be looked at again.
            let now = self.log.clock().now();
            self.begun = self.looked.map_or(now, |looked| looked.max(now));
            // From before the last look that came to its end, however long ago: what was written since lies there.
            let from = self.looked.and_then(|looked| looked.checked_sub(TAIL_WINDOW));
            self.search.from = from.map_or(self.since, |from| from.max(self.since));
            // Clocks of writers may be ahead of ours.
            self.search.to = self.begun + TAIL_WINDOW;
        }
        let answer = self.log.search(&self.search).await?;
        self.search.cursor = answer.cursor;
        // The next look begins there: what is older need not be remembered.
        let oldest = self.begun.checked_sub(TAIL_WINDOW).map_or(i64::MIN, seconds);
        let told = &mut self.told;
        let mut events = answer.events;
        events.retain(|event| match event.created_at >= oldest {
            true => told.insert(event.key, event.created_at).is_none(),
            false => !told.contains_key(&event.key),
        });
        let more = self.search.cursor.is_some();
        if !more {
            self.looked = Some(self.begun);
            told.retain(|_, created_at| *created_at >= oldest);
        }
        Ok((events, more))
    }
}
