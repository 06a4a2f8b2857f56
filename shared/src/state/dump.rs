//! A range as lines of text, and back.
//!
//! The first line is a [`Header`], the last one an `end` with the number of items; between them each item is a line of
//! JSON: `{"key":"/a","value":"<base64>","expires":1800000000,"revision":"…"}`. A dump without its end is refused.
//!
//! A dump is read page by page, so it may tear an atomic write that happens meanwhile; for one moment in time use
//! DynamoDB's export to S3 of a table with point-in-time recovery.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::item::{seconds, time_of};
use super::{Backend, Error, ErrorKind, Item, Key, Range, Revision};

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// `state-dump`.
    pub tidewatch: String,
    /// 1.
    pub version: u32,
    /// The table it was read from.
    pub table: String,
    /// The layout it had: `teleport` or `partitioned`.
    pub layout: String,
    /// When the dump began, in unix seconds.
    pub at: i64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<i64>,
    revision: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    end: u64,
}

/// Why a dump or a load ended early.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The backend refused.
    #[error(transparent)]
    Backend(#[from] Error),
    /// The lines could not be read or written.
    #[error("the dump cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The lines are no dump, or not all of one.
    #[error("line {line} of the dump: {message}")]
    Malformed {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
}

const KIND: &str = "state-dump";

/// Hands the items of a range to `write`, a line each, and answers how many there were. Cost as
/// [`Backend::items`]; `progress` is told each number reached.
///
/// # Errors
/// [`DumpError::Backend`] and [`DumpError::Io`]; what was written then has no end, and is refused by [`read`].
pub async fn dump(
    backend: &Backend,
    range: Range,
    mut write: impl FnMut(&str) -> io::Result<()>,
    progress: impl Fn(u64),
) -> Result<u64, DumpError> {
    let header = Header {
        tidewatch: KIND.to_owned(),
        version: 1,
        table: backend.table().to_owned(),
        layout: backend.layout().name().to_owned(),
        at: seconds(backend.clock().now()),
    };
    write(&text(&header)?)?;
    let mut count = 0;
    let mut items = std::pin::pin!(backend.items(range.into()));
    while let Some(item) = items.try_next().await? {
        let line = Line {
            key: item.key.as_str().unwrap_or_default().to_owned(),
            value: STANDARD.encode(&item.value),
            expires: item.expires.map(seconds),
            revision: item.revision.as_str().to_owned(),
        };
        write(&text(&line)?)?;
        count += 1;
        progress(count);
    }
    write(&text(&End { end: count })?)?;
    Ok(count)
}

fn text(line: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(line).map_err(io::Error::other)
}

/// The header and the items of a dump, one after the other.
///
/// # Errors
/// [`DumpError::Malformed`] if the lines do not begin as a dump; the iterator ends with it where an item is malformed or
/// the end is missing or counts otherwise.
pub fn read<L>(lines: L) -> Result<(Header, impl Iterator<Item = Result<Item, DumpError>>), DumpError>
where
    L: IntoIterator<Item = io::Result<String>>,
{
    let mut lines = lines.into_iter();
    let malformed = |line, message: &str| DumpError::Malformed {
        line,
        message: message.to_owned(),
    };
    let first = lines.next().ok_or_else(|| malformed(1, "the dump is empty"))??;
    let header: Header = serde_json::from_str(&first).map_err(|_| malformed(1, "this is no state dump"))?;
    if header.tidewatch != KIND || header.version != 1 {
        return Err(malformed(1, "this is no state dump of version 1"));
    }
    let mut number = 1;
    let mut seen = 0;
    let mut ended = false;
    let items = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        number += 1;
        let fail = |message: &str| Some(Err(malformed(number, message)));
        let line = match lines.next() {
            Some(Ok(line)) => line,
            Some(Err(error)) => {
                ended = true;
                return Some(Err(error.into()));
            }
            None => {
                ended = true;
                return fail("the dump ends before its end: it is not complete");
            }
        };
        if let Ok(end) = serde_json::from_str::<End>(&line) {
            ended = true;
            return match (end.end == seen, lines.next()) {
                (true, None) => None,
                (true, Some(_)) => fail("something follows the end"),
                (false, _) => fail("the number of items is not that of the end"),
            };
        }
        let item = serde_json::from_str::<Line>(&line).ok().and_then(Line::item);
        let Some(item) = item else {
            ended = true;
            return fail("this is no item");
        };
        seen += 1;
        Some(Ok(item))
    });
    Ok((header, items))
}

impl Line {
    fn item(self) -> Option<Item> {
        let expires = match self.expires {
            Some(at) => Some(time_of(at)?),
            None => None,
        };
        Some(Item {
            key: Key::from(self.key),
            value: STANDARD.decode(self.value).ok()?,
            expires,
            revision: Revision::from(self.revision.as_str()),
        })
    }
}

/// What becomes of an item of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// There was none: created.
    Created,
    /// There was another: replaced, in the revision that was shown.
    Overwritten,
    /// There is the same value and expiry already.
    Same,
    /// There is another, which stays.
    Kept,
    /// A lock, which is never loaded.
    Lock,
    /// Expired meanwhile.
    Expired,
    /// A fencing number that is not above the stored one.
    Fence,
}

impl Backend {
    /// What [`load_item`](Self::load_item) would do with an item, and the revision that would be overwritten. One
    /// request for what is neither a lock nor expired.
    ///
    /// # Errors
    /// Those of [`get`](Self::get) but `NotFound`.
    pub async fn plan_load(&self, item: &Item, overwrite: bool) -> Result<(Fate, Option<Revision>), Error> {
        if item.key.has_prefix(&Key::from(format!("{}/", Key::LOCKS))) {
            return Ok((Fate::Lock, None));
        }
        if item
            .expires
            .is_some_and(|at| seconds(at) < seconds(self.clock().now()))
        {
            return Ok((Fate::Expired, None));
        }
        let stored = match self.get(&item.key).await {
            Ok(stored) => stored,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Fate::Created, None)),
            Err(error) => return Err(error),
        };
        if stored.value == item.value && stored.expires.map(seconds) == item.expires.map(seconds) {
            return Ok((Fate::Same, None));
        }
        if item.key.has_prefix(&Key::from(format!("{}/", Key::FENCES))) {
            // A number only grows, overwriting or not: one that went back would let an old holder in.
            return Ok(match (decimal(&stored.value), decimal(&item.value)) {
                (Some(there), Some(new)) if new > there => (Fate::Overwritten, Some(stored.revision)),
                _ => (Fate::Fence, None),
            });
        }
        if overwrite {
            return Ok((Fate::Overwritten, Some(stored.revision)));
        }
        Ok((Fate::Kept, None))
    }

    /// Does what [`plan_load`](Self::plan_load) said: creates, or replaces the revision that it showed. One request, or
    /// none. What changed since stays as it is.
    ///
    /// # Errors
    /// Those of [`create`](Self::create) and [`conditional_update`](Self::conditional_update) but their refusals.
    pub async fn load_item(&self, item: &Item, plan: (Fate, Option<Revision>)) -> Result<Fate, Error> {
        let refused = |error: Error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::IncorrectRevision => Ok(Fate::Kept),
            _ => Err(error),
        };
        match plan {
            (Fate::Created, _) => match self.create(item).await {
                Ok(_) => Ok(Fate::Created),
                Err(error) => refused(error),
            },
            (Fate::Overwritten, Some(revision)) => {
                match self.conditional_update(&item.clone().at(revision)).await {
                    Ok(_) => Ok(Fate::Overwritten),
                    Err(error) => refused(error),
                }
            }
            (fate, _) => Ok(fate),
        }
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl Header {
    /// When the dump began.
    pub fn time(&self) -> SystemTime {
        time_of(self.at).unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<Vec<Item>, String> {
        let lines: Vec<io::Result<String>> = lines.iter().map(|line| Ok((*line).to_owned())).collect();
        let (_, items) = read(lines).map_err(|error| error.to_string())?;
        items.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_whole_dump_is_read() {
        let header = r#"{"tidewatch":"state-dump","version":1,"table":"t","layout":"teleport","at":5}"#;
        let item = r#"{"key":"/a","value":"AAE=","expires":7,"revision":"r"}"#;
        let whole = parse(&[header, item, r#"{"end":1}"#]).unwrap();
        assert_eq!(
            whole,
            [Item::new("/a", [0, 1]).expiring(time_of(7).unwrap()).at("r")]
        );
        for (lines, message) in [
            (&[][..], "line 1 of the dump: the dump is empty"),
            (&[item][..], "line 1 of the dump: this is no state dump"),
            (
                &[header, item][..],
                "line 3 of the dump: the dump ends before its end",
            ),
            (
                &[header, item, r#"{"end":2}"#][..],
                "line 3 of the dump: the number of items",
            ),
            (
                &[header, r#"{"end":0}"#, item][..],
                "line 2 of the dump: something follows",
            ),
            (&[header, "{}"][..], "line 2 of the dump: this is no item"),
        ] {
            let error = parse(lines).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
