//! Keys: bytes with `/` between their parts, as Teleport writes them.

use std::fmt;

/// The name of an item: `/nodes/default/x`, `.locks/refresh`.
///
/// Any bytes can be held and compared; what DynamoDB cannot store (not UTF-8, empty, too long) is refused by the
/// operation that is given it. Keys are ordered by their bytes, as the table orders them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// What stands between parts.
    pub const SEPARATOR: char = '/';
    /// Where locks live: `.locks/<name>`, outside every range that begins with `/`.
    pub const LOCKS: &'static str = ".locks";
    /// Where fencing numbers live.
    pub const FENCES: &'static str = ".fences";

    /// A key of these parts: `["a", "b"]` is `/a/b`, `["a", ""]` is `/a/`.
    pub fn new<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> Self {
        Self::internal("", parts)
    }

    /// As [`new`](Self::new) with a separator at the end, so that as a prefix `/a/` does not take `/ab`.
    pub fn exact<S: AsRef<str>>(parts: impl IntoIterator<Item = S>) -> Self {
        Self::new(parts).join("")
    }

    /// A key under a name without a leading separator, such as [`LOCKS`](Self::LOCKS): `.locks/a/b`.
    pub fn internal<S: AsRef<str>>(root: &str, parts: impl IntoIterator<Item = S>) -> Self {
        let mut text = root.to_owned();
        for part in parts {
            text.push(Self::SEPARATOR);
            text.push_str(part.as_ref());
        }
        Self(text.into_bytes())
    }

    /// This key with a separator and a part more.
    pub fn join(&self, part: &str) -> Self {
        let mut bytes = self.0.clone();
        bytes.push(b'/');
        bytes.extend_from_slice(part.as_bytes());
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether it is empty, which no item's key is.
    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it begins with the bytes of `prefix`, separators or not.
    pub fn has_prefix(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }

    /// What follows `prefix`; the whole key if it does not begin with it.
    pub fn trim_prefix(&self, prefix: &Self) -> Self {
        Self(
            self.0
                .strip_prefix(prefix.0.as_slice())
                .unwrap_or(&self.0)
                .to_vec(),
        )
    }

    /// The end of the range of keys that begin with this one, in Teleport's call shape: `/a/` ends at `/a0`.
    ///
    /// The last character that has a successor is replaced by it, so the end is valid UTF-8 and no key between is
    /// foreign; Teleport counts bytes up, and an end that is not UTF-8 reaches it as U+FFFD. None if there is no such
    /// character, or if the key is not UTF-8. Ranges include their end, hence also a key equal to it: to list a prefix
    /// exactly, use [`Range::prefix`](super::Range::prefix).
    pub fn range_end(&self) -> Option<Self> {
        let mut text = self.as_str()?.to_owned();
        while let Some(last) = text.pop() {
            // Surrogates are no characters: U+D7FF is followed by U+E000.
            let next = match last {
                '\u{d7ff}' => Some('\u{e000}'),
                last => char::from_u32(u32::from(last) + 1),
            };
            if let Some(next) = next {
                text.push(next);
                return Some(Self(text.into_bytes()));
            }
        }
        None
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

/// As text; bytes and characters that do not print are escaped.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(\"{self}\")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_as_teleport_joins_them() {
        assert_eq!(Key::new(["a", "b"]), Key::from("/a/b"));
        assert_eq!(Key::new(["a", ""]), Key::from("/a/"));
        assert_eq!(Key::exact(["a"]), Key::from("/a/"));
        assert_eq!(Key::internal(Key::LOCKS, ["x", "y"]), Key::from(".locks/x/y"));
        assert_eq!(Key::from("/a").join("b"), Key::from("/a/b"));
        assert!(Key::default().is_zero() && !Key::new([""]).is_zero());
        assert!(Key::from("/ab").has_prefix(&Key::from("/a")));
        assert_eq!(Key::from("/a/b").trim_prefix(&Key::from("/a")), Key::from("/b"));
        assert_eq!(Key::from("/b").trim_prefix(&Key::from("/a")), Key::from("/b"));
    }

    #[test]
    fn a_range_ends_before_the_next_foreign_key() {
        let end = |text: &str| {
            Key::from(text)
                .range_end()
                .map(|end| end.as_str().unwrap().to_owned())
        };
        assert_eq!(end("/a/").as_deref(), Some("/a0"));
        assert_eq!(end("/a\u{7f}").as_deref(), Some("/a\u{80}"));
        assert_eq!(end("/\u{43f}").as_deref(), Some("/\u{440}"));
        assert_eq!(end("/\u{d7ff}").as_deref(), Some("/\u{e000}"));
        assert_eq!(end("/a\u{10ffff}\u{10ffff}").as_deref(), Some("/b"));
        assert_eq!((end("\u{10ffff}"), end("")), (None, None));
        assert_eq!(Key::from(vec![b'/', 0xff]).range_end(), None);
    }

    #[test]
    fn what_does_not_print_is_escaped() {
        assert_eq!(
            Key::from(vec![b'/', 0xff, b'\n', 0xc3, 0xa4]).to_string(),
            "/\\xff\\nä"
        );
    }
}
