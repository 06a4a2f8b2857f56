//! Canonical event JSON: compact, object keys sorted by their bytes at every level, numbers as plain decimal text.
//!
//! It is what sinks are given and what an event's id is a hash of, so it must come out the same whichever way a
//! row was read (stream, query, export). It is written in one pass, without a tree: a map's members are appended
//! as they come, each as a chunk `,"key":value`, and put in order when the map ends.

use std::ops::Range;

/// Why a payload cannot be written. Says what and never quotes contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text is not JSON, or not of the shape that is due.
    #[error("not the JSON that is due here")]
    Shape,
    /// An attribute value carries a type tag that DynamoDB does not have, several tags, or the wrong kind of value.
    #[error("unknown or malformed attribute type")]
    AttributeType,
    /// A number attribute holds something that is no decimal number.
    #[error("not a decimal number")]
    Number,
    /// A binary attribute is not base64.
    #[error("not base64")]
    Base64,
    /// One map holds a key twice.
    #[error("duplicate key")]
    DuplicateKey,
    /// Nested deeper than DynamoDB stores (32 levels; twice that is accepted).
    #[error("nested too deeply")]
    Depth,
    /// The row is an event's, but its keys or its payload are missing.
    #[error("no SessionID, no EventIndex, or neither FieldsMap nor Fields")]
    Incomplete,
}

/// Levels that are accepted; DynamoDB stores 32.
pub(crate) const MAX_DEPTH: usize = 64;

/// A buffer of canonical payloads, one after the other; each is known by its range.
#[derive(Debug, Default)]
pub(crate) struct Canonical {
    text: Vec<u8>,
    /// Members of the maps that are open, innermost last.
    members: Vec<Member>,
    /// Keys that needed escapes, as they are without them.
    escaped_keys: Vec<u8>,
    scratch: Vec<u8>,
    depth: usize,
    /// Where the top-level members that identify an event stand, in the payload that was ended last.
    pub(crate) facts: Facts,
    /// Why the last payload failed, and the keys that lead there, innermost first.
    pub(crate) fault: Option<Fault>,
    pub(crate) fault_path: Vec<String>,
}

/// Ranges of the values of the top-level members that identify an event; JSON text, quotes included.
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    pub(crate) uid: Range<usize>,
    pub(crate) time: Range<usize>,
    pub(crate) code: Range<usize>,
    pub(crate) event: Range<usize>,
    pub(crate) user: Range<usize>,
}

#[derive(Debug, Clone)]
struct Member {
    /// The key's first eight bytes: most comparisons end here.
    prefix: u64,
    /// The key without escapes: a range of `text`, or of `escaped_keys`.
    key: Range<usize>,
    escaped: bool,
    chunk: Range<usize>,
    value: usize,
}

/// The first eight bytes as a number that sorts as they do; zeros stand for what a shorter key lacks.
fn prefix(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; 8];
    if let Some(start) = bytes.get_mut(..key.len()) {
        start.copy_from_slice(key);
    }
    u64::from_be_bytes(bytes)
}

/// A map that has been begun.
#[derive(Debug)]
pub(crate) struct OpenMap {
    start: usize,
    members: usize,
    escaped_keys: usize,
}

/// A member whose value is being written.
#[derive(Debug)]
pub(crate) struct OpenMember(usize);

impl Canonical {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Where the next payload will begin.
    pub(crate) fn mark(&self) -> usize {
        self.text.len()
    }

    /// Forgets what was written since `mark`, and a fault.
    pub(crate) fn rewind(&mut self, mark: usize) {
        self.text.truncate(mark);
        self.members.clear();
        self.escaped_keys.clear();
        self.depth = 0;
        self.facts = Facts::default();
        self.fault = None;
        self.fault_path.clear();
    }

    /// Takes back what was written since `mark`, inside a payload.
    pub(crate) fn cut(&mut self, mark: usize) {
        self.text.truncate(mark);
    }

    pub(crate) fn get(&self, range: Range<usize>) -> &[u8] {
        self.text.get(range).unwrap_or_default()
    }

    /// Notes a fault; the caller fails its parse.
    pub(crate) fn fail(&mut self, fault: Fault) -> Fault {
        self.fault.get_or_insert(fault);
        fault
    }

    /// Adds a key or position that leads to the fault, innermost first.
    pub(crate) fn fail_at(&mut self, key: &str) {
        if self.fault_path.len() < MAX_DEPTH * 2 {
            // Names are told, contents are not; a name may be as long as an item.
            self.fault_path.push(key.chars().take(64).collect());
        }
    }

    // === scalars ===

    pub(crate) fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.text.push(byte);
    }

    /// A string that is known to need no escapes, such as one that JSON held without any.
    pub(crate) fn plain_string(&mut self, text: &str) {
        self.text.reserve(text.len() + 2);
        self.text.push(b'"');
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'"');
    }

    /// Any string.
    pub(crate) fn string(&mut self, text: &str) {
        // Writing to a Vec cannot fail.
        let _ = serde_json::to_writer(&mut self.text, text);
    }

    // === containers ===

    /// Enters a map or list.
    pub(crate) fn descend(&mut self) -> Result<(), Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(self.fail(Fault::Depth));
        }
        self.depth += 1;
        Ok(())
    }

    /// Leaves a list.
    pub(crate) fn ascend(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    pub(crate) fn begin_map(&mut self) -> Result<OpenMap, Fault> {
        self.descend()?;
        Ok(OpenMap {
            start: self.text.len(),
            members: self.members.len(),
            escaped_keys: self.escaped_keys.len(),
        })
    }

    /// Writes a member's key; its value is written next. `plain` says that the key needs no escapes.
    pub(crate) fn key(&mut self, key: &str, plain: bool) -> OpenMember {
        let start = self.text.len();
        self.text.push(b',');
        let at = if plain {
            self.plain_string(key);
            start + 2..start + 2 + key.len()
        } else {
            self.string(key);
            let at = self.escaped_keys.len();
            self.escaped_keys.extend_from_slice(key.as_bytes());
            at..self.escaped_keys.len()
        };
        self.text.push(b':');
        self.members.push(Member {
            prefix: prefix(key.as_bytes()),
            key: at,
            escaped: !plain,
            chunk: start..start,
            value: self.text.len(),
        });
        OpenMember(self.members.len() - 1)
    }

    pub(crate) fn end_member(&mut self, member: &OpenMember) {
        let end = self.text.len();
        if let Some(member) = self.members.get_mut(member.0) {
            member.chunk.end = end;
        }
    }

    /// Puts the members in order and closes the map.
    pub(crate) fn end_map(&mut self, map: &OpenMap) -> Result<(), Fault> {
        self.depth = self.depth.saturating_sub(1);
        let Self {
            text,
            members,
            escaped_keys,
            scratch,
            ..
        } = self;
        let Some(own) = members.get_mut(map.members..) else {
            return Err(Fault::Shape);
        };
        let key = |member: &Member| -> &[u8] {
            let from: &[u8] = if member.escaped { escaped_keys } else { text };
            from.get(member.key.clone()).unwrap_or_default()
        };
        let order = |a: &Member, b: &Member| a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b)));
        let sorted = own.is_sorted_by(|a, b| order(a, b).is_lt());
        if !sorted {
            own.sort_unstable_by(order);
            if own
                .windows(2)
                .any(|pair| matches!(pair, [a, b] if order(a, b).is_eq()))
            {
                return Err(self.fail(Fault::DuplicateKey));
            }
        }
        if self.depth == 0 {
            let mut facts = Facts::default();
            let mut at = map.start;
            for member in own.iter() {
                let value = at + (member.value - member.chunk.start)..at + member.chunk.len();
                match key(member) {
                    b"uid" => facts.uid = value,
                    b"time" => facts.time = value,
                    b"code" => facts.code = value,
                    b"event" => facts.event = value,
                    b"user" => facts.user = value,
                    _ => {}
                }
                at += member.chunk.len();
            }
            self.facts = facts;
        }
        if !sorted {
            scratch.clear();
            for member in own.iter() {
                scratch.extend_from_slice(text.get(member.chunk.clone()).unwrap_or_default());
            }
            text.truncate(map.start);
            text.extend_from_slice(scratch);
        }
        // The first member's comma becomes the map's brace.
        match text.get_mut(map.start) {
            Some(comma) => *comma = b'{',
            None => text.push(b'{'),
        }
        text.push(b'}');
        members.truncate(map.members);
        escaped_keys.truncate(map.escaped_keys);
        Ok(())
    }
}
