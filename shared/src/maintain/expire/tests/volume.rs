//! A pass costs what is due, not what is stored.

use super::*;
use crate::state::Partitioned;

const LIVE: u64 = 100_000;
pub(super) const DUE: u64 = 100;

/// An item as it is stored: it expires so many seconds from the second that the test began in.
fn lease(world: &World, key: &str, expires: i64) -> Value {
    let primary = world.layout.primary(&Key::from(key)).unwrap();
    let text = |name: &str| primary[name].as_s().unwrap().clone();
    let (hash, sort) = (world.layout.partition_name(), world.layout.sort_name());
    let seconds = START.as_secs().checked_add_signed(expires).unwrap();
    let mut item = json!({
        hash: {"S": text(hash)}, sort: {"S": text(sort)}, "Value": {"B": "dg=="},
        "Expires": {"N": seconds.to_string()}, "Timestamp": {"N": "1799990000"},
        "Revision": {"S": world.random.uuid().to_string()},
    });
    if let Layout::Partitioned(_) = world.layout {
        let shard = Partitioned::expiry_shard(key.as_bytes());
        item["ExpiryShard"] = json!({"N": shard.to_string()});
    }
    item
}

/// Puts leases by the engine's own import, which leaves nothing in the stream: through the SDK it would take minutes, and
/// each write takes the engine longer the more there is in its stream. Answers the items.
pub(super) fn load(world: &World, leases: impl Iterator<Item = (String, i64)>) -> Vec<Value> {
    let items: Vec<Value> = leases.map(|(key, expires)| lease(world, &key, expires)).collect();
    for some in items.chunks(1000) {
        let some = some
            .iter()
            .map(|item| serde_json::from_value(item.clone()).unwrap());
        let options = dynoxide::ImportOptions::default();
        let done = world.engine.database.import_items(TABLE, some.collect(), options);
        done.unwrap();
    }
    items
}

/// Live leases and due ones, at a second of the test.
pub(super) fn leases(at: i64) -> impl Iterator<Item = (String, i64)> {
    let after = move |n: u64| at + 30 + i64::try_from(n % 600).unwrap();
    let before = move |n: u64| at - 2 - i64::try_from(n % 50).unwrap();
    let live = (0..LIVE).map(move |n| (format!("/live/{n:06}"), after(n)));
    let due = (0..DUE).map(move |n| (format!("/due/{n:06}"), before(n)));
    live.chain(due)
}

/// Exactly what was due is gone.
pub(super) fn only_live_are_left(world: &World) {
    let stored = world.stored();
    assert_eq!(stored.len() as u64, LIVE);
    assert!(stored.keys().all(|key| key.starts_with("/live/")));
}

#[tokio::test(start_paused = true)]
async fn a_pass_over_the_index_reads_what_is_due() {
    for world in [World::new(FoundBy::Index, 1).await, World::insisted(1).await] {
        load(&world, leases(0));
        let wire = world.engine.beside();
        let expire = world.expire(&wire, Settings::default());
        let report = expire.run(world.run(secs(60))).await.unwrap();
        only_live_are_left(&world);
        let (read, write) = charged(&wire);
        let layout = world.layout.name();
        println!("index, {layout}: {read} read units and {write} write units for {DUE} due of {LIVE}");
        assert!(read <= 2.0 * DUE as f64, "{read}");
        assert_eq!((report.deleted, report.units.read), (DUE, read), "{report:?}");
    }
}
