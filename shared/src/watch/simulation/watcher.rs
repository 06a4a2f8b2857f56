//! Watchers that read all along, stall, and list again when they are told to; and what each must have seen.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::world::{World, told};
use crate::state::{Key, Revision};
use crate::watch::WatchError;
use crate::watch::filter::{Filter, Operations, Prefix};
use crate::watch::log::{LogSource, Pace};
use crate::watch::source::{Entry, Source};

/// Readers that are idle look rarely: a run has days in it.
pub(super) const PACE: Pace = Pace {
    busy: Duration::from_millis(400),
    idle: Duration::from_secs(12 * 3600),
};

/// What a watcher was told: key, what of it, and since which list.
#[derive(Debug, Clone)]
struct Seen {
    key: Key,
    put: Option<(Revision, Option<SystemTime>)>,
}

#[derive(Debug)]
pub(super) struct Watcher {
    filter: Filter,
    stalls: bool,
    seen: Mutex<Vec<Seen>>,
    /// When it listed, the first time before it began to watch.
    lists: Mutex<Vec<SystemTime>>,
    failed: Mutex<Option<String>>,
}

impl Watcher {
    pub(super) fn new(number: u64) -> Self {
        let prefixes = match number % 3 {
            0 => vec![],
            1 => vec![Prefix::component("/a")],
            _ => vec![Prefix::plain("/a"), Prefix::component("/b")],
        };
        Self {
            filter: Filter::new(prefixes, Operations::All),
            stalls: number % 2 == 1,
            seen: Mutex::default(),
            lists: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// How often it was told to list again.
    pub(super) fn relisted(&self) -> usize {
        self.lists.lock().unwrap().len().saturating_sub(1)
    }

    /// Watches as long as the run lasts.
    pub(super) async fn watch(self: Arc<Self>, world: Arc<World>) {
        let source = LogSource::new(world.log(&world.wire(), world.clock.clone()), PACE);
        loop {
            let from = loop {
                match source.now().await {
                    Ok(from) => break from,
                    Err(WatchError::Unavailable(_)) => {}
                    Err(error) => return self.fail(&error),
                }
            };
            self.lists.lock().unwrap().push(world.clock.now());
            let mut reader = source.reader(from);
            loop {
                if self.stalls && world.random.below(10) == 0 {
                    // Sometimes for so long that compaction overtakes it.
                    let longest = if world.random.below(4) == 0 { 200_000 } else { 20 };
                    world
                        .clock
                        .sleep(world.random.jitter(Duration::from_secs(longest)))
                        .await;
                }
                match reader.next().await {
                    Ok(chunks) => {
                        let gap = chunks.iter().any(|chunk| {
                            chunk.entries.iter().any(|(_, entry)| match entry {
                                Entry::Event(event) if self.filter.takes(event) => {
                                    let seen = Seen {
                                        key: event.key.clone(),
                                        put: told(&event.operation),
                                    };
                                    self.seen.lock().unwrap().push(seen);
                                    false
                                }
                                Entry::Event(_) => false,
                                Entry::Gap(_) => true,
                            })
                        });
                        if gap {
                            break;
                        }
                    }
                    Err(WatchError::Compacted { .. }) => break,
                    Err(error) => return self.fail(&error),
                }
            }
        }
    }

    fn fail(&self, error: &WatchError) {
        *self.failed.lock().unwrap() = Some(error.to_string());
    }

    /// Compares what it saw with what there was.
    ///
    /// # Errors
    /// What it saw twice, out of order, or not at all without having been told to list again later.
    pub(super) fn judge(&self, world: &World) -> Result<(), String> {
        if let Some(failed) = self.failed.lock().unwrap().as_ref() {
            return Err(format!("a watcher ended: {failed}"));
        }
        let (seen, lists) = (self.seen.lock().unwrap(), self.lists.lock().unwrap());
        let last_list = lists.last().copied().ok_or("a watcher never began")?;
        for (key, changes) in world.by_key() {
            if !self.filter.takes_key(&key) {
                continue;
            }
            let mut changes = changes.iter();
            for seen in seen.iter().filter(|seen| seen.key == key) {
                loop {
                    let change = changes.next().ok_or_else(|| {
                        format!("{key}: {:?} was seen twice, out of order, or never was", seen.put)
                    })?;
                    if change.put == seen.put {
                        break;
                    }
                    if change.written > last_list {
                        return Err(format!(
                            "{key}: {:?} was not seen, and nobody said so",
                            change.put
                        ));
                    }
                }
            }
            if let Some(missing) = changes.find(|change| change.written > last_list) {
                return Err(format!(
                    "{key}: {:?} was not seen in the end, and nobody said so",
                    missing.put
                ));
            }
        }
        Ok(())
    }
}
