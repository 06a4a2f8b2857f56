//! Where a watcher is in its source, and the token that says so.
//!
//! A source has lanes: the buckets of the watch log, the shards of a stream. Order is kept within a lane, and a key
//! stays in one (or goes on in a child shard once its parent is read to the end). A position is a [`Mark`] in each lane.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// A lane's name.
pub(crate) type Lane = Arc<str>;

/// How far a lane has been read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// Nothing of it.
    Start,
    /// All below this number, and the first so many entries of what has it.
    At(Number, u32),
    /// All of it, and nothing more will come.
    Done,
}

impl Mark {
    /// Everything that has this number.
    pub(crate) fn behind(number: Number) -> Self {
        Self::At(number, u32::MAX)
    }
}

/// A number of up to 40 digits, as text: a sequence number of DynamoDB, or a segment's number. Ordered by length, then
/// by bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Number(Arc<str>);

impl Number {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// As a segment's number; none for what is no such number.
    pub(crate) fn segment(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl From<&str> for Number {
    /// Zeros in front, which DynamoDB Local writes, count for nothing.
    fn from(digits: &str) -> Self {
        let trimmed = digits.trim_start_matches('0');
        Self(if trimmed.is_empty() { "0" } else { trimmed }.into())
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a watcher is: everything up to here has been delivered to it, nothing behind.
///
/// Its text is a token to go on from, in this process or another; it holds no keys and no contents, but names of tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Which source: another one's positions mean nothing.
    pub(crate) source: Arc<str>,
    pub(crate) lanes: BTreeMap<Lane, Mark>,
}

/// A text that is no token of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no position: take one that a watcher gave, whole and unchanged")]
pub struct InvalidPosition;

impl Position {
    pub(crate) fn new(source: Arc<str>) -> Self {
        Self {
            source,
            lanes: BTreeMap::new(),
        }
    }

    /// Whether a lane has been read at least up to `mark`.
    pub(crate) fn covers(&self, lane: &str, mark: &Mark) -> bool {
        self.lanes.get(lane).is_some_and(|own| own >= mark)
    }

    /// Goes on to `mark` in a lane; never back.
    pub(crate) fn advance(&mut self, lane: &Lane, mark: Mark) {
        match self.lanes.get_mut(lane) {
            Some(own) if *own >= mark => {}
            Some(own) => *own = mark,
            None => {
                self.lanes.insert(Arc::clone(lane), mark);
            }
        }
    }
}

/// A position as its token holds it, in JSON: a lane is `"s"` (start), `"d"` (done) or number and count.
#[derive(Serialize, Deserialize)]
struct Token {
    s: String,
    l: BTreeMap<String, Place>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Place {
    At(String, u32),
    End(char),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lanes = self.lanes.iter().map(|(lane, mark)| {
            let place = match mark {
                Mark::Start => Place::End('s'),
                Mark::At(number, count) => Place::At(number.as_str().to_owned(), *count),
                Mark::Done => Place::End('d'),
            };
            (lane.to_string(), place)
        });
        let token = Token {
            s: self.source.to_string(),
            l: lanes.collect(),
        };
        // Maps of texts always serialize.
        let json = serde_json::to_vec(&token).unwrap_or_default();
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(token: &str) -> Result<Self, InvalidPosition> {
        let json = URL_SAFE_NO_PAD
            .decode(token.trim())
            .map_err(|_| InvalidPosition)?;
        let token: Token = serde_json::from_slice(&json).map_err(|_| InvalidPosition)?;
        let mut position = Self::new(token.s.into());
        for (lane, place) in token.l {
            let mark = match place {
                Place::End('s') => Mark::Start,
                Place::End('d') => Mark::Done,
                Place::At(number, count) if number.bytes().all(|digit| digit.is_ascii_digit()) => {
                    Mark::At(number.as_str().into(), count)
                }
                _ => return Err(InvalidPosition),
            };
            position.lanes.insert(lane.into(), mark);
        }
        Ok(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_as_numbers() {
        assert!(Number::from("9") < Number::from("10") && Number::from("0010") == Number::from("10"));
        assert!(Mark::Start < Mark::At(0.into(), 0) && Mark::behind(7.into()) < Mark::At(8.into(), 0));
        assert!(Mark::behind(7.into()) < Mark::Done);
        assert_eq!(Number::from("000"), Number::from(0));
    }

    #[test]
    fn a_token_is_a_position_again() {
        let mut position = Position::new("log".into());
        position.advance(&"0".into(), Mark::At(12.into(), 3));
        position.advance(&"1".into(), Mark::Start);
        position.advance(&"0".into(), Mark::At(11.into(), 9));
        assert!(position.covers("0", &Mark::At(12.into(), 3)) && !position.covers("2", &Mark::Start));
        let token = position.to_string();
        assert_eq!(token.parse(), Ok(position));
        for wrong in ["", "x", "e30", &token[1..]] {
            assert_eq!(wrong.parse::<Position>(), Err(InvalidPosition));
        }
    }
}
