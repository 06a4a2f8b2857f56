//! The due list: what falls due in a table that others write, where no index of ours can be asked.
//!
//! | item | `Log` | `Segment` | attributes |
//! |---|---|---|---|
//! | chunk | `<log id>#due` | ten seconds since 1970 × 10^20 + a hash of the chunk | `Keys`: JSON list of key, expiry (unix seconds), seen (unix milliseconds) |
//! | note | `<log id>#chain#<hash mod 8>` | hash of the key | `Key`; `Seen`: when a check of it was made that filed it again; `Expires`: where |
//!
//! Appenders file the keys that they see with an expiry, sweeps file again what they find renewed. All chunks stand
//! under one partition key in the order of their slots: what is filed late is the first to be found.
//!
//! # About one check a lease and TTL
//! - An appender files a key that is made, or made shorter, and else only if none of its own entries for it is pending: at
//!   an earlier slot or the same, and later than the change. Such an entry is checked after the change, and finds it.
//! - A check that finds a key renewed files it at its expiry, and notes when it looked, and where it filed it. As long as
//!   that entry can stand, an entry that was seen before is void: what it tells of, the check saw, and filed. So each new
//!   environment adds an entry a key, but no check.
//! - A key whose check found nothing to file again (deleted, gone, without an expiry) loses its note before its entry
//!   goes; entries that are pending are checked then.
//!
//! An entry is seen ten seconds after it arrived, for the clocks of sweeps may be so far behind. A lease that is made
//! shorter within those seconds of a check, or by a change that another environment than that of its last renewal saw, may
//! be found as late as it expired before; it is found.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::control::{Announced, Control, TENDED};
use super::requests::Tries;
use super::segment::{key_hash, millis, span, time};
use super::{Log, LogError, LogErrorKind};
use crate::clock::Instant;
use crate::state::Key;
use crate::state::fault::{Attributes, Fault};
use crate::state::item::{seconds, time_of};

/// What falls due within as long stands together.
const SLOT: u64 = 10;
/// Hashes are below this.
const HASHES: u128 = 100_000_000_000_000_000_000;
/// The most bytes of a chunk's keys.
const CHUNK: usize = 64 * 1024;
/// Over how many partitions notes are spread.
const SPREAD: u64 = 8;
/// DynamoDB's limit on the items of a BatchGetItem.
const BATCH: usize = 100;
/// How many requests are under way at once.
const AT_ONCE: usize = 16;
/// An announcement is repeated after this.
const REPEATED: Duration = Duration::from_secs(3600);
/// A sweep that has been away for longer does not count on appenders to have gone on.
const AWAY: Duration = Duration::from_secs(20 * 3600);
const _: () = assert!(AWAY.as_secs() + REPEATED.as_secs() < TENDED.as_secs());

/// A key to be looked at when it falls due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueKey {
    /// The key.
    pub key: Key,
    /// When it expires, as far as is known.
    pub expires: SystemTime,
    /// When that was known.
    pub seen: SystemTime,
}

/// Keys that were filed together, and fall due within the same ten seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueChunk {
    number: u128,
    /// The keys.
    pub keys: Vec<DueKey>,
}

/// An entry that no later check took over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// The entry.
    pub key: DueKey,
    /// Whether there is a note of the key, to be [forgotten](Sweeps::forget) unless the key is filed again.
    pub noted: bool,
}

/// A log that sweeps are announced in: its due list, and its notes. Cheap to clone; one is made for each run.
#[derive(Clone)]
pub struct Sweeps {
    pub(super) log: Log,
    pub(super) control: Arc<Control>,
}

impl fmt::Debug for Sweeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweeps")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored(String, i64, u64);

/// The ten seconds that a time is in.
fn slot(at: SystemTime) -> u64 {
    u64::try_from(seconds(at)).unwrap_or_default() / SLOT
}

/// Where the chunks of a slot begin.
fn first_of(slot: u64) -> u128 {
    u128::from(slot) * HASHES
}

impl Log {
    /// Tells the appenders that there are sweeps: from [`Sweeps::FILED`] on each of them looks for notes of what was
    /// deleted, a read unit a delete of unknown cause, and of a table in Teleport's layout files what falls due. One
    /// request; two once an hour.
    ///
    /// # Errors
    /// [`LogError`]; repeat it.
    pub async fn announce_sweeps(&self, stop: Instant) -> Result<Sweeps, LogError> {
        let now = millis(self.inner.clock.now());
        let control = self
            .change_control(&mut Tries::new(self, stop), |control| {
                let before = control.swept;
                let fresh = |swept: &Announced, limit| now < swept.last.saturating_add(span(limit));
                if before.is_some_and(|swept| fresh(&swept, REPEATED)) {
                    return false;
                }
                let since = before
                    .filter(|swept| fresh(swept, AWAY))
                    .map_or(now, |swept| swept.since);
                control.swept = Some(Announced { since, last: now });
                true
            })
            .await?;
        Ok(self.swept_by(control))
    }

    /// What [`announce_sweeps`](Self::announce_sweeps) answers, without telling anybody: to look at the list only. One
    /// request.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn sweeps(&self, stop: Instant) -> Result<Sweeps, LogError> {
        let control = self.control(&mut Tries::new(self, stop)).await?;
        Ok(self.swept_by(control))
    }

    fn swept_by(&self, control: Control) -> Sweeps {
        Sweeps {
            log: self.clone(),
            control: Arc::new(control),
        }
    }
}

impl Sweeps {
    /// How long after an announcement every appender knows of it.
    pub const FILED: Duration = super::view::REMEMBERED;

    /// Since when sweeps have been announced without a break: what changed at least [`FILED`](Self::FILED) later is in the
    /// list. None if they are not, or have not been for too long.
    pub fn since(&self) -> Option<SystemTime> {
        let now = millis(self.log.inner.clock.now());
        let swept = self.control.swept?;
        let fresh = now < swept.last.saturating_add(span(AWAY));
        time(swept.since).filter(|_| fresh)
    }

    fn list(&self) -> String {
        list(&self.control)
    }

    /// Chunks whose slot has begun by `until`, oldest first, behind `after`: up to 1 MB, none if there is none left. One
    /// request: a read unit for each 4 KB of chunks.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn due(
        &self,
        until: SystemTime,
        after: Option<&DueChunk>,
        stop: Instant,
    ) -> Result<Vec<DueChunk>, LogError> {
        let mut tries = Tries::new(&self.log, stop);
        let (list, from) = (self.list(), after.map_or(0, |after| after.number + 1));
        let to = first_of(slot(until) + 1) - 1;
        if from > to {
            return Ok(Vec::new());
        }
        let items = tries.read(|| self.log.between(&list, from, to)).await?;
        let chunk = |item| {
            // Passed over, it would end the list for whoever pages through it.
            let what = "a chunk of its due list cannot be read: another version wrote it";
            chunk_of(item).ok_or_else(|| self.log.error(LogErrorKind::WrongLog, what))
        };
        items.iter().map(chunk).collect()
    }

    /// Files keys: a request and a write unit for each slot that one of them falls due in, for each KB more another unit.
    /// Safe to repeat.
    ///
    /// # Errors
    /// [`LogError`]; some may be filed. Repeat it.
    pub async fn file(&self, keys: &[DueKey], stop: Instant) -> Result<(), LogError> {
        file(&self.log, &self.control, keys, stop).await
    }

    /// Files keys again that were found renewed, and notes of each that entries seen before are void. `seen` must be
    /// before the look was sent. Requests: as [`file`](Self::file), and one a key.
    ///
    /// # Errors
    /// [`LogError`]; leave their chunks standing then.
    pub async fn refile(&self, keys: &[DueKey], stop: Instant) -> Result<(), LogError> {
        // The entry first: a note says that there is one.
        self.file(keys, stop).await?;
        self.each(keys, stop, async |key, tries| {
            let number = |number: u64| AttributeValue::N(number.to_string());
            let seen = number(millis(key.seen));
            let mut item = self.note_of(&key.key);
            item.insert("Key".to_owned(), AttributeValue::S(text_of(&key.key)));
            item.insert("Seen".to_owned(), seen.clone());
            let expires = AttributeValue::N(seconds(key.expires).to_string());
            item.insert("Expires".to_owned(), expires);
            let later = (
                "attribute_not_exists(Seen) OR Seen <= :seen",
                Attributes::from([(":seen".to_owned(), seen)]),
            );
            tries.put_unless_later(item, later).await
        })
        .await
    }

    /// Takes the notes of keys away that were found deleted, gone or without an expiry, so that entries that are pending
    /// are checked. To be called before their chunks are [removed](Self::remove). A request a key.
    ///
    /// # Errors
    /// [`LogError`]; leave their chunks standing then.
    pub async fn forget(&self, keys: &[Key], stop: Instant) -> Result<(), LogError> {
        self.each(keys, stop, async |key, tries| {
            let partition = self.chain(key);
            let number = key_hash(key.as_bytes());
            tries.read(|| self.log.remove(&partition, number)).await
        })
        .await
    }

    /// Those of `keys` that no later check took over; of several entries of a key one. A request and at most 100 read units
    /// for each 100 keys.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn unchecked(&self, keys: Vec<DueKey>, stop: Instant) -> Result<Vec<Unchecked>, LogError> {
        let mut latest: BTreeMap<Key, DueKey> = BTreeMap::new();
        for key in keys {
            match latest.get_mut(&key.key) {
                Some(other) if (other.seen, other.expires) >= (key.seen, key.expires) => {}
                Some(other) => *other = key,
                None => drop(latest.insert(key.key.clone(), key)),
            }
        }
        let latest: Vec<DueKey> = latest.into_values().collect();
        let now = self.log.inner.clock.now();
        let mut notes: HashMap<String, (u64, SystemTime)> = HashMap::new();
        let mut tries = Tries::new(&self.log, stop);
        for some in latest.chunks(BATCH) {
            let places = some.iter().map(|key| self.note_of(&key.key)).collect();
            for item in tries.get_all(places).await? {
                let text = item.get("Key").and_then(|key| key.as_s().ok());
                let number = |name: &str| item.get(name)?.as_n().ok()?.parse::<i64>().ok();
                let seen = number("Seen").and_then(|seen| u64::try_from(seen).ok());
                let expires = number("Expires").and_then(time_of);
                if let (Some(key), Some(seen), Some(expires)) = (text, seen, expires) {
                    notes.insert(key.clone(), (seen, expires));
                }
            }
        }
        let open = latest.into_iter().filter_map(|key| {
            let note = notes.get(&text_of(&key.key));
            // Where its own entry must be gone, whoever put the note was overtaken.
            let void =
                note.is_some_and(|(seen, expires)| *seen > millis(key.seen) && slot(*expires) >= slot(now));
            (!void).then_some(Unchecked {
                noted: note.is_some(),
                key,
            })
        });
        Ok(open.collect())
    }

    /// Removes chunks of which every key is deleted, gone, without an expiry, filed again or void. A request a chunk.
    ///
    /// # Errors
    /// [`LogError`]; what is left is found again.
    pub async fn remove(&self, chunks: &[DueChunk], stop: Instant) -> Result<(), LogError> {
        let list = self.list();
        self.each(chunks, stop, async |chunk, tries| {
            tries.read(|| self.log.remove(&list, chunk.number)).await
        })
        .await
    }

    /// When the newest gap of all buckets was appended, or a generation sealed: what changed before may not be in the list.
    /// A request a bucket, those of sealed generations that are not compacted away included.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn newest_gap(&self, stop: Instant) -> Result<Option<SystemTime>, LogError> {
        let mut tries = Tries::new(&self.log, stop);
        let mut newest = None;
        let now = (self.control.generation, self.control.buckets);
        for &(generation, buckets) in self.control.past.iter().chain([&now]) {
            for bucket in 0..buckets {
                let bucket = self.control.bucket_of(generation, bucket);
                let segments = tries.read(|| self.log.below(&bucket, None, 1)).await?;
                if let Some(segment) = segments.first() {
                    let sealed = segment.sealed.then_some(segment.appended);
                    newest = newest.max(segment.gap.map(|gap| gap.appended)).max(sealed);
                }
            }
        }
        Ok(newest.and_then(time))
    }

    /// Does something for each, some at once.
    pub(super) async fn each<T>(
        &self,
        all: &[T],
        stop: Instant,
        work: impl AsyncFn(&T, &mut Tries<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        for some in all.chunks(AT_ONCE) {
            let works = some.iter().map(async |one| {
                let mut tries = Tries::new(&self.log, stop);
                work(one, &mut tries).await
            });
            try_join_all(works).await?;
        }
        Ok(())
    }

    fn chain(&self, key: &Key) -> String {
        format!("{}#chain#{}", self.control.id, key_hash(key.as_bytes()) % SPREAD)
    }

    /// The primary key of a key's note.
    fn note_of(&self, key: &Key) -> Attributes {
        super::requests::primary(&self.chain(key), key_hash(key.as_bytes()).into())
    }
}

fn list(control: &Control) -> String {
    format!("{}#due", control.id)
}

/// The keys of tables are texts.
fn text_of(key: &Key) -> String {
    String::from_utf8_lossy(key.as_bytes()).into_owned()
}

/// Files keys, slot by slot.
pub(super) async fn file(
    log: &Log,
    control: &Control,
    keys: &[DueKey],
    stop: Instant,
) -> Result<(), LogError> {
    let mut slots: BTreeMap<u64, Vec<Stored>> = BTreeMap::new();
    for key in keys {
        let stored = Stored(text_of(&key.key), seconds(key.expires), millis(key.seen));
        slots.entry(slot(key.expires)).or_default().push(stored);
    }
    let list = list(control);
    let chunks: Vec<(u128, String)> = slots
        .into_iter()
        .flat_map(|(slot, keys)| texts(&keys).into_iter().map(move |text| (slot, text)))
        .map(|(slot, text)| {
            let hash = key_hash(Sha256::digest(&text).as_slice());
            (first_of(slot) + u128::from(hash), text)
        })
        .collect();
    for some in chunks.chunks(AT_ONCE) {
        let puts = some.iter().map(async |(number, text)| {
            let mut item = super::requests::primary(&list, *number);
            item.insert("Keys".to_owned(), AttributeValue::S(text.clone()));
            let mut tries = Tries::new(log, stop);
            // Named by what it holds: one that stands there is the same.
            tries.read(|| log.overwrite(item.clone())).await
        });
        try_join_all(puts).await?;
    }
    Ok(())
}

/// Keys as the texts of chunks, none too large.
fn texts(keys: &[Stored]) -> Vec<String> {
    // Texts and numbers always serialize.
    let text = serde_json::to_string(keys).unwrap_or_default();
    if text.len() <= CHUNK || keys.len() < 2 {
        return vec![text];
    }
    let (left, right) = keys.split_at(keys.len() / 2);
    [texts(left), texts(right)].concat()
}

/// A chunk as it is stored; none of what is no chunk.
fn chunk_of(item: &Attributes) -> Option<DueChunk> {
    let number = item.get("Segment")?.as_n().ok()?.parse().ok()?;
    let keys: Vec<Stored> = serde_json::from_str(item.get("Keys")?.as_s().ok()?).ok()?;
    let keys = keys.into_iter().map(|Stored(key, expires, seen)| DueKey {
        key: Key::from(key.as_str()),
        expires: time_of(expires).unwrap_or(UNIX_EPOCH),
        seen: time(seen).unwrap_or(UNIX_EPOCH),
    });
    Some(DueChunk {
        number,
        keys: keys.collect(),
    })
}

impl DueChunk {
    /// The slot that an expiry is filed in.
    pub(super) fn slot_of(expires: SystemTime) -> u64 {
        slot(expires)
    }

    /// Whether the chunks of a slot are looked at later than a time, by any sound clock.
    pub(super) fn is_after(slot: u64, at: SystemTime) -> bool {
        u64::try_from(seconds(at)).unwrap_or_default() + SLOT <= slot * SLOT
    }
}

impl Tries<'_> {
    /// Puts an item unless one of the same key is later: then it is as good as done.
    pub(super) async fn put_unless_later(
        &mut self,
        item: Attributes,
        (condition, values): (&str, Attributes),
    ) -> Result<(), LogError> {
        loop {
            let put = self.log().put(item.clone(), Some((condition, values.clone())));
            match self.send(put).await {
                Ok(()) | Err(Fault::Refused(_)) => return Ok(()),
                Err(fault) => self.again(&fault).await?,
            }
        }
    }
}
