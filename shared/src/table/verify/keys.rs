//! The table's own keys and their types.

use super::super::schema::OLD_STATE_KEY;
use super::super::{Attribute, Kind, Live, Schema};
use super::{Difference, Severity, named};

pub(super) fn verify(schema: &Schema, live: &Live) -> Vec<Difference> {
    let has_keys_of = |schema: &Schema| {
        live.keys.hash == schema.hash.name && live.keys.range.as_deref() == Some(schema.range.name)
    };
    let other = other_layout(schema.kind).filter(|other| has_keys_of(other.schema()));
    if let Some(other) = other {
        return vec![wrong_layout(other), wrong_keys(schema, live)];
    }
    if schema.kind == Kind::State && live.attributes.contains_key(OLD_STATE_KEY) {
        return vec![old_schema()];
    }
    if !has_keys_of(schema) {
        return vec![wrong_keys(schema, live)];
    }
    [&schema.hash, &schema.range]
        .into_iter()
        .filter_map(|key| wrong_type(live, key, "key-type"))
        .collect()
}

/// State is kept in one of two kinds of table.
fn other_layout(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::State => Some(Kind::Partitioned),
        Kind::Partitioned => Some(Kind::State),
        Kind::Audit | Kind::WatchLog => None,
    }
}

fn wrong_layout(found: Kind) -> Difference {
    let (found, consequence) = match found {
        Kind::Partitioned => (
            "this is a partitioned table, a Teleport layout was expected",
            "Teleport refuses to start on it (\"unsupported schema\"), and keys would be looked for where none are",
        ),
        Kind::State | Kind::Audit | Kind::WatchLog => (
            "this is a table of Teleport's layout, a partitioned one was expected",
            "it is another program's: keys would be looked for, and written, where none are",
        ),
    };
    Difference::new(Severity::Broken, "layout", found)
        .so(consequence)
        .remedy("open it as the layout it has, or name another table; a dump and a load take keys from one to the other")
}

fn old_schema() -> Difference {
    Difference::new(
        Severity::Broken,
        "old-schema",
        format!("key attribute {OLD_STATE_KEY}: the schema from before 2017"),
    )
    .so("Teleport refuses to start on it (\"unsupported schema\"), and so do we")
    .remedy("create a new state table and load a backup of the cluster into it; no tool converts this one")
}

fn wrong_keys(schema: &Schema, live: &Live) -> Difference {
    let found = match &live.keys.range {
        Some(range) => format!("keys {} and {range}", live.keys.hash),
        None => format!("key {} alone", live.keys.hash),
    };
    let must = format!("{} and {}", named(&schema.hash), named(&schema.range));
    let consequence = match schema.kind {
        Kind::WatchLog => "nothing can be appended to a log there, or read from it",
        _ => "every read and write of Teleport and Tidewatch fails with a ValidationException",
    };
    Difference::new(Severity::Broken, "keys", format!("{found}; must be {must}"))
        .so(consequence)
        .remedy(NEW_TABLE)
}

const NEW_TABLE: &str = "keys cannot be changed: create a new table with `tidewatch table create` and copy the items; \
     if this is the table of another program, name the right one";

/// The difference if the declared type of `key` is another.
pub(super) fn wrong_type(live: &Live, key: &Attribute, code: &'static str) -> Option<Difference> {
    let found = live
        .attributes
        .get(key.name)
        .filter(|found| **found != key.scalar)?;
    let what = format!(
        "{} is of type {}; must be {}",
        key.name,
        found.as_str(),
        key.scalar.as_str()
    );
    let remedy = if code == "key-type" {
        NEW_TABLE
    } else {
        "delete this index and create it again, or take a new table: see `tidewatch table print`"
    };
    let difference = Difference::new(Severity::Broken, code, what)
        .so("every item that has it is refused: type mismatch for a key")
        .remedy(remedy);
    Some(difference)
}
