//! What is due by the table's index: what is read is what is due, in one request a shard or more.

use std::collections::VecDeque;

use futures_util::future::join_all;

use super::Error;
use super::sweep::{BATCH, Sweep};
use crate::state::fault::Attributes;
use crate::state::sweep::Expiring;

/// How many entries of a shard one request asks for: all shards' are held at once.
const PAGE: usize = BATCH;

/// A shard of the index, as far as it was read.
struct Shard {
    number: u64,
    next: Option<Attributes>,
    is_read: bool,
    found: VecDeque<Expiring>,
}

impl Shard {
    /// Nothing of it is held, and there may be more.
    fn is_wanting(&self) -> bool {
        self.found.is_empty() && !self.is_read
    }
}

impl Sweep<'_> {
    /// One pass: what was due at its begin, oldest first. True if all of it was tried.
    pub(super) async fn index_pass(&mut self) -> Result<bool, Error> {
        let latest = self.latest(None);
        let mut shards: Vec<Shard> = (0..self.layout().expiry_shards())
            .map(|number| Shard {
                number,
                next: None,
                is_read: false,
                found: VecDeque::new(),
            })
            .collect();
        loop {
            while shards.iter().any(Shard::is_wanting) {
                if !self.rate.ready(self.run.last_call).await {
                    return Ok(false);
                }
                self.fill_shards(&mut shards, latest).await?;
            }
            let due = first(&mut shards);
            if due.is_empty() {
                return Ok(true);
            }
            let due: Vec<Expiring> = due
                .into_iter()
                .filter(|seen| self.takes(&seen.key) && seen.is_past(self.latest(Some(&seen.key))))
                .collect();
            if !self.delete_all(&due).await? {
                return Ok(false);
            }
        }
    }

    /// Reads on in those shards of which nothing is held.
    async fn fill_shards(&mut self, shards: &mut [Shard], latest: i64) -> Result<(), Error> {
        let table = self.table();
        let reads = shards.iter_mut().filter(|shard| shard.is_wanting()).map(|shard| {
            let page = table.due_page(shard.number, latest, shard.next.take(), PAGE);
            async { (shard, page.await) }
        });
        for (shard, page) in join_all(reads).await {
            let page = page?;
            self.read(page.units);
            shard.found.extend(page.items);
            shard.is_read = page.next.is_none();
            shard.next = page.next;
        }
        Ok(())
    }
}

/// Takes what is known to be the oldest: nothing in what was not read of a shard comes before the last that was.
fn first(shards: &mut [Shard]) -> Vec<Expiring> {
    let ends = shards.iter().filter(|shard| !shard.is_read);
    let known = ends
        .map(|shard| shard.found.back().map(|last| last.expires))
        .min();
    let mut due = Vec::new();
    for shard in shards {
        let is_known = |seen: &Expiring| known.is_none_or(|known| Some(seen.expires) <= known);
        while shard.found.front().is_some_and(is_known) {
            due.extend(shard.found.pop_front());
        }
    }
    due.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    due
}
