//! What is due in a table that nothing else is known of: all of it is read, at the pace that is set.

use std::time::Duration;

use super::Error;
use super::progress::{Progress, Purpose};
use super::sweep::Sweep;
use crate::state::sweep::{Expiring, Page};

/// How many items one request reads.
const PAGE: usize = 500;
/// However often passes are asked for, a table is not read more often.
const APART: Duration = Duration::from_secs(60);

impl Sweep<'_> {
    pub(super) async fn repeat_scan(&mut self) -> Result<(), Error> {
        loop {
            let (next, failures) = (self.next_pass(APART), self.failures());
            let done = self.scan_pass().await;
            self.passed(done, failures)?;
            if !self.waits(next).await {
                return Ok(());
            }
        }
    }

    /// One time through the table, or what an earlier run had left of it. True if it came to the end.
    async fn scan_pass(&mut self) -> Result<bool, Error> {
        let mut progress = if self.run.dry_run {
            self.begin(Purpose::Sweep, None)
        } else {
            match self.kept().await? {
                Some(kept) if !kept.place.done && self.is_ours(&kept, Purpose::Sweep) => kept,
                earlier => self.begin(Purpose::Sweep, earlier),
            }
        };
        let mut unkept = false;
        while !progress.place.done {
            // A successor goes on where this one was.
            if self.expire.line.waits() || !self.rate.ready(self.run.last_call).await {
                break;
            }
            let page = self.page(&progress).await?;
            let is_due =
                |seen: &&Expiring| self.takes(&seen.key) && seen.is_past(self.latest(Some(&seen.key)));
            let mut due: Vec<Expiring> = page.items.iter().filter(is_due).cloned().collect();
            due.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
            if !self.delete_all(&due).await? {
                break;
            }
            progress.go_on(self.layout(), &page);
            unkept = true;
            if !self.run.dry_run && progress.is_old(self.clock().instant()) {
                self.keep(&mut progress).await?;
                unkept = false;
            }
        }
        if unkept && !self.run.dry_run {
            self.keep(&mut progress).await?;
        }
        Ok(progress.place.done)
    }

    /// The next page of a scan.
    pub(super) async fn page(&mut self, progress: &Progress) -> Result<Page, Error> {
        let (partition, after) = progress.at();
        let page = self.table().scan_page(partition, after, PAGE).await?;
        self.read(page.units);
        self.report.scanned += u64::try_from(page.scanned).unwrap_or_default();
        Ok(page)
    }
}
