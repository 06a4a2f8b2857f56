//! Secondary indexes: the one that must be there, and those that need not.

use aws_sdk_dynamodb::types::{IndexStatus, ProjectionType};

use super::super::schema::OLD_AUDIT_INDEX;
use super::super::{Index, IndexSchema, Live, Schema};
use super::keys::wrong_type;
use super::{Difference, Severity, named};

pub(super) fn verify(schema: &Schema, live: &Live) -> Vec<Difference> {
    let mut all = schema
        .index
        .as_ref()
        .map(|must| required(must, live))
        .unwrap_or_default();
    let wanted = schema.index.as_ref().map(|must| must.name);
    let others = live
        .indexes
        .iter()
        .filter(|index| Some(index.name.as_str()) != wanted);
    all.extend(others.map(|index| unexpected(index, schema)));
    all
}

fn required(must: &IndexSchema, live: &Live) -> Vec<Difference> {
    let Some(index) = live.indexes.iter().find(|index| index.name == must.name) else {
        return vec![missing(must, live)];
    };
    if !same_keys(index, must) {
        return vec![wrong_keys(index, must)];
    }
    let types = [&must.hash, &must.range]
        .into_iter()
        .filter_map(|key| wrong_type(live, key, "index-type"));
    types
        .chain(wrong_projection(index))
        .chain(not_active(index))
        .collect()
}

fn same_keys(index: &Index, must: &IndexSchema) -> bool {
    index.keys.hash == must.hash.name && index.keys.range.as_deref() == Some(must.range.name)
}

fn missing(must: &IndexSchema, live: &Live) -> Difference {
    let other = live.indexes.iter().find(|index| same_keys(index, must));
    let old = live.indexes.iter().find(|index| index.name == OLD_AUDIT_INDEX);
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
                "add it with UpdateTable ({} and {}, projection ALL) and wait for its backfill; \
                 `tidewatch table print` has its definition",
                named(&must.hash),
                named(&must.range)
            ),
        ),
    };
    Difference::new(Severity::Broken, "index", found)
        .so("every search by time fails, in Teleport and here; events are still written and forwarded")
        .remedy(remedy)
}

fn wrong_keys(index: &Index, must: &IndexSchema) -> Difference {
    let range = index.keys.range.as_deref().unwrap_or("no sort key");
    let found = format!(
        "index {} has the keys {} and {range}; must be {} and {}",
        index.name,
        index.keys.hash,
        named(&must.hash),
        named(&must.range)
    );
    Difference::new(Severity::Broken, "index-keys", found)
        .so("every search by time fails, in Teleport and here")
        .remedy(
            "delete the index, then add it again with the right keys; searches fail until its backfill ends",
        )
}

fn wrong_projection(index: &Index) -> Option<Difference> {
    if index.projection == ProjectionType::All {
        return None;
    }
    let found = format!(
        "index {} projects {}; must be ALL",
        index.name,
        index.projection.as_str()
    );
    let difference = Difference::new(Severity::Broken, "index-projection", found)
        .so("a search finds rows without the event in them: Teleport shows none of them")
        .remedy(
            "delete the index, then add it again with projection ALL; searches fail until its backfill ends",
        );
    Some(difference)
}

fn not_active(index: &Index) -> Option<Difference> {
    if matches!(index.status, IndexStatus::Active | IndexStatus::Updating) {
        return None;
    }
    let found = format!("index {} is {}", index.name, index.status.as_str());
    let difference = Difference::new(Severity::Degraded, "index-status", found)
        .so("searches by time fail or miss events until it is ACTIVE")
        .remedy("wait for its backfill to end and verify again");
    Some(difference)
}

fn unexpected(index: &Index, schema: &Schema) -> Difference {
    let name = &index.name;
    if schema.index.is_some() && name == OLD_AUDIT_INDEX {
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
        format!("index {name}, which Teleport does not create"),
    )
    .so("writes to it are paid for, and on provisioned capacity it can throttle the table's writes")
    .remedy("keep it if something of yours queries it")
}
