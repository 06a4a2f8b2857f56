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
    looked: SystemTime,
    told: HashMap<u128, i64>,
    begun: bool,
}

impl Tail {
    /// Tells events from `since` on. `search` says which; its times, order and cursor are not looked at.
    pub fn new(log: &Dynamo, since: SystemTime, search: Search) -> Self {
        let looked = log.clock().now();
        Self {
            log: log.clone(),
            search: Search {
                from: since,
                cursor: None,
                order: super::Order::Ascending,
                ..search
            },
            since,
            looked,
            told: HashMap::new(),
            begun: false,
        }
    }

    /// A page of events that were not told yet, and whether there may be more at once; if not, the caller waits before
    /// it looks again. Cost as [`Dynamo::search`] over the last five minutes, or since the last look if that is longer ago.
    ///
    /// # Errors
    /// As [`Dynamo::search`]; the same look can be taken again.
    pub async fn next(&mut self) -> Result<(Vec<Found>, bool), LogError> {
        if self.search.cursor.is_none() {
            let now = self.log.clock().now();
            if self.begun {
                // From before the last look: what was written since lies there.
                let from = self.looked.checked_sub(TAIL_WINDOW).unwrap_or(self.since);
                self.search.from = from.max(self.since);
                let oldest = seconds(self.search.from);
                self.told.retain(|_, created_at| *created_at >= oldest);
            }
            // Clocks of writers may be ahead of ours.
            self.search.to = now + TAIL_WINDOW;
            self.looked = now;
        }
        let answer = self.log.search(&self.search).await?;
        self.begun = true;
        self.search.cursor = answer.cursor;
        let told = &mut self.told;
        let mut events = answer.events;
        events.retain(|event| told.insert(event.key, event.created_at).is_none());
        Ok((events, self.search.cursor.is_some()))
    }
}
