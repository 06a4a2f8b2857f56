//! Where a key lives in the table.
//!
//! | layout | partition key | sort key | who writes it |
//! |---|---|---|---|
//! | [`Layout::Teleport`] | `HashKey` = `teleport` | `FullPath` = `teleport` + key | Teleport, and we beside it |
//! | [`Layout::Partitioned`] | `Part` = namespace + `#` + partition | `Key` = key | Tidewatch only |
//!
//! Neither can be opened as the other: the names of the keys differ, and Teleport refuses to start on a table with an
//! attribute called `Key`.

use sha2::{Digest, Sha256};

/// Which items hold a backend's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Teleport's own: one partition, which carries at most 1,000 writes of 1 KB a second.
    Teleport,
    /// Ours: a namespace spread over partitions.
    Partitioned(Partitioned),
}

/// A namespace of a partitioned table.
///
/// The partition of a key is the first eight bytes of the SHA-256 of the whole key, as a big-endian number, modulo the
/// number of partitions ([`Partitioned::HASH`]). With one partition a range is one query; with `n` it is `n` queries
/// merged, at least `n` requests and up to `n` pages in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitioned {
    namespace: String,
    partitions: u8,
}

/// Why a namespace cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The namespace's name.
    #[error("the namespace \"{0}\" is not valid: 1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-' are due")]
    Namespace(String),
    /// The number of partitions.
    #[error("{0} partitions are not possible: 1 to 64 are due")]
    Partitions(u8),
}

/// The namespace `default` in one partition.
impl Default for Partitioned {
    fn default() -> Self {
        Self {
            namespace: "default".to_owned(),
            partitions: 1,
        }
    }
}

impl Partitioned {
    /// The hash that spreads keys, as the layout record names it.
    pub const HASH: &'static str = "sha256-be64-mod";
    /// The most partitions of a namespace. Each adds 1,000 writes a second, and a request to every range read.
    pub const MAX_PARTITIONS: u8 = 64;
    /// The shards of the index `expiry`.
    pub const EXPIRY_SHARDS: u64 = 16;

    /// A namespace of its own in one partition.
    ///
    /// # Errors
    /// [`LayoutError::Namespace`].
    pub fn new(namespace: impl Into<String>) -> Result<Self, LayoutError> {
        let namespace = namespace.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !(1..=64).contains(&namespace.len()) || !namespace.chars().all(allowed) {
            return Err(LayoutError::Namespace(namespace));
        }
        Ok(Self {
            namespace,
            partitions: 1,
        })
    }

    /// Spreads it over `partitions`. Fixed when the namespace is first opened; another number needs a dump and a load.
    ///
    /// # Errors
    /// [`LayoutError::Partitions`] unless it is 1 to 64.
    pub fn with_partitions(mut self, partitions: u8) -> Result<Self, LayoutError> {
        if !(1..=Self::MAX_PARTITIONS).contains(&partitions) {
            return Err(LayoutError::Partitions(partitions));
        }
        self.partitions = partitions;
        Ok(self)
    }

    /// Its name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u8 {
        self.partitions
    }

    /// The partition of a key, from 0.
    pub fn partition(&self, key: &[u8]) -> u8 {
        if self.partitions == 1 {
            return 0;
        }
        u8::try_from(Self::hash(key) % u64::from(self.partitions)).unwrap_or_default()
    }

    /// The hash that spreads keys: the first eight bytes of the SHA-256, as a big-endian number.
    pub(crate) fn hash(key: &[u8]) -> u64 {
        let [first, _] = halves(key);
        first
    }

    /// The value of `Part` for a partition.
    pub(super) fn part(&self, partition: u8) -> String {
        format!("{}#{partition}", self.namespace)
    }

    /// The value of `ExpiryShard` for a key: the second eight bytes of its SHA-256, modulo 16.
    pub fn expiry_shard(key: &[u8]) -> u64 {
        let [_, second] = halves(key);
        second % Self::EXPIRY_SHARDS
    }
}

/// The first two big-endian words of the key's SHA-256.
fn halves(key: &[u8]) -> [u64; 2] {
    let digest = Sha256::digest(key);
    let word = |at: usize| {
        digest
            .iter()
            .skip(at)
            .take(8)
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    [word(0), word(8)]
}

impl Layout {
    /// `teleport` or `partitioned`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Teleport => "teleport",
            Self::Partitioned(_) => "partitioned",
        }
    }

    /// The shards of the index `expiry`: where its owner's attributes are all there is, the one partition.
    pub(crate) fn expiry_shards(&self) -> u64 {
        match self {
            Self::Teleport => 1,
            Self::Partitioned(_) => Partitioned::EXPIRY_SHARDS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_hash_stays_what_it_is() {
        // printf /a | sha256sum: 6a50dc85 84134c7d e537c005 2ff6d236 bf874355 e050c905 23e0c5ff 2a543a28
        assert_eq!(halves(b"/a"), [0x6a50_dc85_8413_4c7d, 0xe537_c005_2ff6_d236]);
        let spread = Partitioned::new("ns").unwrap().with_partitions(64).unwrap();
        assert_eq!(
            (spread.partition(b"/a"), Partitioned::expiry_shard(b"/a")),
            (0x7d % 64, 6)
        );
        assert_eq!(spread.part(9), "ns#9");
    }

    #[test]
    fn names_and_numbers_are_checked() {
        assert!(Partitioned::new("").is_err() && Partitioned::new("a#b").is_err());
        let one = Partitioned::new("a").unwrap();
        assert!(one.clone().with_partitions(0).is_err() && one.with_partitions(65).is_err());
    }
}
