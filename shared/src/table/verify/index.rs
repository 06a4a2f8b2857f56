//! Secondary indexes: the one that must be there, and those that need not.
//!
//! Without its index an audit table cannot be searched; one of state serves every read and write, but no sweep.

use aws_sdk_dynamodb::types::IndexStatus;

use super::super::schema::OLD_AUDIT_INDEX;
use super::super::{Index, IndexSchema, Kind, Live, Schema};
use super::keys::wrong_type;
use super::{Difference, Severity, named};

/// `must`: the one that has to be there.
pub(super) fn verify(schema: &Schema, must: Option<&IndexSchema>, live: &Live) -> Vec<Difference> {
    let mut all = must
        .map(|must| required(must, schema.kind, live))
        .unwrap_or_default();
    let wanted = must.map(|must| must.name);
    let others = live
        .indexes
        .iter()
        .filter(|index| Some(index.name.as_str()) != wanted);
    all.extend(others.map(|index| unexpected(index, schema)));
    all
}

fn required(must: &IndexSchema, kind: Kind, live: &Live) -> Vec<Difference> {
    let Some(index) = live.indexes.iter().find(|index| index.name == must.name) else {
        return vec![missing(must, kind, live)];
    };
    if !same_keys(index, must) {
        return vec![wrong_keys(index, must, kind)];
    }
    let types = [&must.hash, &must.range]
        .into_iter()
        .filter_map(|key| wrong_type(live, key, "index-type"));
    types
        .chain(wrong_projection(index, must, kind))
        .chain(not_active(index, kind))
        .collect()
}

fn same_keys(index: &Index, must: &IndexSchema) -> bool {
    index.keys.hash == must.hash.name && index.keys.range.as_deref() == Some(must.range.name)
}

/// How bad it is that the index cannot be read, and what fails.
fn unread(kind: Kind) -> (Severity, &'static str) {
    match kind {
        Kind::Audit => (
            Severity::Broken,
            "every search by time fails, in Teleport and here",
        ),
        Kind::State | Kind::Partitioned | Kind::WatchLog => (
            Severity::Degraded,
            "no sweep finds what has expired: it stays until DynamoDB deletes it, days later",
        ),
    }
}

fn missing(must: &IndexSchema, kind: Kind, live: &Live) -> Difference {
    let other = live.indexes.iter().find(|index| same_keys(index, must));
    let is_old = |index: &&Index| kind == Kind::Audit && index.name == OLD_AUDIT_INDEX;
    let old = live.indexes.iter().find(is_old);
    let (found, remedy) = match (other, old) {
        (Some(other), _) => (
            format!(
                "no index {}; {} has its keys under another name",
                must.name, other.name
            ),
            format!(
                "add index {0} with UpdateTable, wait for its backfill, then delete {1}",
                must.name, other.name
            ),
        ),
        (None, Some(old)) => (
            format!(
                "no index {}, only {} from before Teleport 6.2",
                must.name, old.name
            ),
            format!(
                "let Teleport 6.2 migrate it: index {} alone would lack the rows without CreatedAtDate",
                must.name
            ),
        ),
        (None, None) => (
            format!("no index {}", must.name),
            format!(
                "add it with UpdateTable ({} and {}, projection {}) and wait for its backfill; \
                 `tidewatch table print` has its definition",
                named(&must.hash),
                named(&must.range),
                must.projection
            ),
        ),
    };
    let (severity, consequence) = unread(kind);
    let difference = Difference::new(severity, "index", found).remedy(remedy);
    match kind {
        Kind::Audit => difference.so(format!("{consequence}; events are still written and forwarded")),
        Kind::State | Kind::Partitioned | Kind::WatchLog => difference.so(consequence),
    }
}

fn wrong_keys(index: &Index, must: &IndexSchema, kind: Kind) -> Difference {
    let range = index.keys.range.as_deref().unwrap_or("no sort key");
    let found = format!(
        "index {} has the keys {} and {range}; must be {} and {}",
        index.name,
        index.keys.hash,
        named(&must.hash),
        named(&must.range)
    );
    let (severity, consequence) = unread(kind);
    Difference::new(severity, "index-keys", found)
        .so(consequence)
        .remedy("delete the index, then add it again with the right keys; that lasts until its backfill ends")
}

fn wrong_projection(index: &Index, must: &IndexSchema, kind: Kind) -> Option<Difference> {
    if must.projection.is_covered_by(index) {
        return None;
    }
    let found = format!(
        "index {} projects {}; must be {}",
        index.name,
        index.projection.as_str(),
        must.projection
    );
    let (severity, consequence) = match kind {
        Kind::Audit => (
            Severity::Broken,
            "a search finds rows without the event in them: Teleport shows none of them",
        ),
        Kind::State | Kind::Partitioned | Kind::WatchLog => (
            Severity::Degraded,
            "a sweep sees what has expired, not which revision of it: it deletes nothing",
        ),
    };
    let remedy = format!(
        "delete the index, then add it again with projection {}; that lasts until its backfill ends",
        must.projection
    );
    Some(
        Difference::new(severity, "index-projection", found)
            .so(consequence)
            .remedy(remedy),
    )
}

fn not_active(index: &Index, kind: Kind) -> Option<Difference> {
    if matches!(index.status, IndexStatus::Active | IndexStatus::Updating) {
        return None;
    }
    let found = format!("index {} is {}", index.name, index.status.as_str());
    let difference = Difference::new(Severity::Degraded, "index-status", found)
        .so(match kind {
            Kind::Audit => "searches by time fail or miss events until it is ACTIVE",
            Kind::State | Kind::Partitioned | Kind::WatchLog => {
                "a sweep fails or misses what has expired until it is ACTIVE"
            }
        })
        .remedy("wait for its backfill to end and verify again");
    Some(difference)
}

fn unexpected(index: &Index, schema: &Schema) -> Difference {
    let name = &index.name;
    if schema.kind == Kind::Audit && name == OLD_AUDIT_INDEX {
        return Difference::new(
            Severity::Advice,
            "old-index",
            format!("index {name} from before Teleport 6.2"),
        )
        .so("one more write an event, all of them to one partition: it throttles the table when busy")
        .remedy("delete it once no Teleport before 6.2 runs on this table");
    }
    Difference::new(
        Severity::Note,
        "other-index",
        format!("index {name}, which such a table need not have"),
    )
    .so("writes to it are paid for, and what it cannot take is refused to the table's writers")
    .remedy("keep it if something of yours queries it")
}
