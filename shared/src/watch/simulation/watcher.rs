//! Watchers that read all along, stall, and list again when they are told to; and what each must have seen.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::world::{Told, Truth, World, told};
use crate::state::Key;
use crate::watch::log::Pace;
use crate::watch::{Filter, Notice, Operations, Prefix, Start, WatchError, WatchParams, Watches};

/// Readers that are idle look rarely: a run has days in it.
pub(super) const PACE: Pace = Pace {
    busy: Duration::from_millis(400),
    idle: Duration::from_secs(12 * 3600),
};

/// For how long a watcher stalls at the most.
pub(super) const LONGEST: Duration = Duration::from_secs(200_000);

/// What a watcher was told: key, what of it, and since which list.
#[derive(Debug, Clone)]
struct Seen {
    key: Key,
    told: Told,
    /// After how many lists.
    list: usize,
    /// For the trace.
    #[allow(dead_code)]
    at: SystemTime,
}

#[derive(Debug)]
pub(super) struct Watcher {
    filter: Filter,
    stalls: bool,
    seen: Mutex<Vec<Seen>>,
    /// When it listed, the first time before it began to watch.
    lists: Mutex<Vec<SystemTime>>,
    /// Why it was told to list again.
    told: Mutex<Vec<String>>,
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
            told: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Why it was told to list again, each time.
    pub(super) fn reasons(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Watches as long as the run lasts.
    pub(super) async fn watch(self: Arc<Self>, world: Arc<World>, watches: Watches) {
        loop {
            let params = || WatchParams {
                filter: self.filter.clone(),
                ..WatchParams::default()
            };
            let mut watcher = loop {
                match watches.watch(params()).await {
                    Ok(watcher) => break watcher,
                    Err(WatchError::Unavailable(_)) => {}
                    Err(error) => return self.fail(&error),
                }
            };
            self.lists.lock().unwrap().push(world.clock.now());
            loop {
                let stalls = self.stalls && !world.over.load(Ordering::Relaxed);
                if stalls && world.random.below(10) == 0 {
                    // Sometimes for so long that compaction overtakes it.
                    let longest = match world.random.below(4) {
                        0 => LONGEST,
                        _ => Duration::from_secs(20),
                    };
                    world.clock.sleep(world.random.jitter(longest)).await;
                }
                match watcher.next().await {
                    Ok(Notice::Event { event, .. }) => self.seen.lock().unwrap().push(Seen {
                        key: event.key.clone(),
                        told: told(&event),
                        list: self.lists.lock().unwrap().len(),
                        at: world.clock.now(),
                    }),
                    Ok(_) => {}
                    Err(WatchError::Compacted { why, .. }) => {
                        self.told.lock().unwrap().push(why);
                        break;
                    }
                    Err(error) => return self.fail(&error),
                }
                if world.random.below(20) == 0 {
                    // As another process would go on.
                    let token = watcher.position().to_string();
                    let start = Start::At(token.parse().unwrap());
                    match watches.watch(WatchParams { start, ..params() }).await {
                        Ok(resumed) => watcher = resumed,
                        Err(WatchError::Unavailable(_)) => {}
                        Err(error) => return self.fail(&error),
                    }
                }
            }
        }
    }

    /// All that it was told, and when.
    pub(super) fn trace(&self) -> String {
        format!("{:?} {:?}", self.lists.lock().unwrap(), self.seen.lock().unwrap())
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
            // What was appended again in another generation may be seen again after a list, in order.
            for list in 1..=lists.len() {
                // From the last back: of changes that look the same it is the later one that was seen.
                let mut changes = changes.iter().rev();
                let mut missing = |change: &Truth| {
                    let unsaid = list == lists.len() && change.written > last_list;
                    unsaid.then(|| format!("{key}: {:?} was not seen, and nobody said so", change.told))
                };
                for seen in seen
                    .iter()
                    .rev()
                    .filter(|seen| seen.key == key && seen.list == list)
                {
                    loop {
                        let change = changes.next().ok_or_else(|| {
                            format!(
                                "{key}: {:?} was seen twice, out of order, or never was",
                                seen.told
                            )
                        })?;
                        if change.told == seen.told {
                            break;
                        }
                        missing(change).map_or(Ok(()), Err)?;
                    }
                }
                changes.find_map(&mut missing).map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }
}
