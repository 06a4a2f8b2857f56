//! Comparing a table with what it must be: every difference, its consequence and what to do.

mod index;
mod keys;
mod settings;

use std::fmt;

use super::schema::{OLD_AUDIT_INDEX, OLD_STATE_KEY, STATE_EXPIRY};
use super::{IndexSchema, Kind, Live};

/// How bad a [`Difference`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Allowed, but worth knowing.
    Note,
    /// Works; a risk that can be taken away.
    Advice,
    /// Works in part, or not for long.
    Degraded,
    /// Something that reads or writes this table fails, or loses data.
    Broken,
}

impl Severity {
    /// `note`, `advice`, `degraded` or `broken`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Advice => "advice",
            Self::Degraded => "degraded",
            Self::Broken => "broken",
        }
    }

    /// Whether a check that found this has failed.
    pub fn fails(self) -> bool {
        self >= Self::Degraded
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One way in which a table, or what works on one, is not what it must, or should, be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, stable for machines: `layout`, `keys`, `key-type`, `old-schema`, `index`, `index-keys`,
    /// `index-type`, `index-projection`, `index-status`, `old-index`, `other-index`, `stream`, `stream-view`,
    /// `other-stream`, `ttl`, `ttl-attribute`, `recovery`, `deletion-protection` or `status`; those of what is no table
    /// are in [`maintain::verify`](crate::maintain::verify).
    pub code: &'static str,
    /// What was found.
    pub found: String,
    /// What follows from it.
    pub consequence: String,
    /// What to do.
    pub remedy: String,
}

impl Difference {
    pub(crate) fn new(severity: Severity, code: &'static str, found: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            found: found.into(),
            consequence: String::new(),
            remedy: String::new(),
        }
    }

    pub(crate) fn so(mut self, consequence: impl Into<String>) -> Self {
        self.consequence = consequence.into();
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

/// Every difference between `live` and a table of `kind`, worst first. What could not be read is in
/// [`Live::warnings`] and makes no difference here.
///
/// A NEW_IMAGE stream is accepted with a note: it is what Teleport itself creates.
pub fn verify(kind: Kind, live: &Live) -> Vec<Difference> {
    compare(kind, kind.schema().index.as_ref(), live)
}

/// The same of a state table in Teleport's layout that must have the index [`Added::index`](super::Added::index) beside.
pub(crate) fn verify_indexed(live: &Live) -> Vec<Difference> {
    compare(Kind::State, Some(&STATE_EXPIRY), live)
}

fn compare(kind: Kind, index: Option<&IndexSchema>, live: &Live) -> Vec<Difference> {
    let schema = kind.schema();
    let mut all = keys::verify(schema, live);
    all.extend(index::verify(schema, index, live));
    all.extend(settings::verify(schema, live));
    all.sort_by_key(|difference| std::cmp::Reverse(difference.severity));
    all
}

/// The kind a table is meant to be, judged by its keys in any order and, failing that, its old schema or index.
pub fn guess(live: &Live) -> Option<Kind> {
    let has = |name: &str| live.keys.hash == name || live.keys.range.as_deref() == Some(name);
    // `Key` alone may be a state table from before 2017.
    let named = |name: &str| name != OLD_STATE_KEY && has(name);
    let matches = |kind: &Kind| named(kind.schema().hash.name) || named(kind.schema().range.name);
    let by_keys: Vec<Kind> = Kind::ALL.into_iter().filter(matches).collect();
    match by_keys.as_slice() {
        [kind] => Some(*kind),
        [] if live.attributes.contains_key(OLD_STATE_KEY) => Some(Kind::State),
        [] if live
            .indexes
            .iter()
            .any(|index| index.name.starts_with(OLD_AUDIT_INDEX)) =>
        {
            Some(Kind::Audit)
        }
        _ => None,
    }
}

/// `"Name" (S)`, as in every message about keys.
fn named(attribute: &super::Attribute) -> String {
    format!("{} ({})", attribute.name, attribute.scalar.as_str())
}
