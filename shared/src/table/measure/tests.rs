//! Against the embedded engine, under a paused clock: what happens between two looks is decided here.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::clock::Clock;
use crate::engine::{Engine, refusal};
use crate::table::{Added, Billing, Kind, Live, Measure, Measured, Spec, Tables};

const ITEM: usize = 1_000;

struct World {
    engine: Engine,
    clock: Clock,
    tables: Tables,
}

impl World {
    async fn new() -> Self {
        let (engine, clock) = (Engine::new(), Clock::simulated(SystemTime::UNIX_EPOCH));
        let tables = Tables::new(engine.client(), clock.clone(), Tables::WAIT);
        let spec = Spec::new(Kind::State, "state").unwrap();
        tables.create(&spec, &|_| {}).await.unwrap();
        Self {
            engine,
            clock,
            tables,
        }
    }

    /// The table with as many items, of which `live` would tell some hours later.
    async fn live(&self, items: u64) -> Live {
        let mut live = self.tables.read("state").await.unwrap();
        (live.items, live.bytes) = (items, items * ITEM as u64);
        self.engine.sent();
        live
    }

    async fn fill(&self, leases: usize, rest: usize) {
        let client = self.engine.client();
        for n in 0..leases {
            put(&client, n, Some(1_000), "a").await;
        }
        for n in leases..leases + rest {
            put(&client, n, None, "a").await;
        }
    }
}

async fn put(client: &Client, n: usize, expires: Option<u64>, revision: &str) {
    let mut item = HashMap::from([
        ("HashKey".to_owned(), AttributeValue::S("teleport".to_owned())),
        ("FullPath".to_owned(), AttributeValue::S(format!("/nodes/{n:06}"))),
        ("Revision".to_owned(), AttributeValue::S(revision.to_owned())),
        ("Value".to_owned(), AttributeValue::B(vec![0; ITEM - 100].into())),
    ]);
    if let Some(expires) = expires {
        item.insert("Expires".to_owned(), AttributeValue::N(expires.to_string()));
    }
    let put = client.put_item().table_name("state").set_item(Some(item));
    put.send().await.unwrap();
}

async fn remove(client: &Client, n: usize) {
    let delete = client
        .delete_item()
        .table_name("state")
        .key("HashKey", AttributeValue::S("teleport".to_owned()))
        .key("FullPath", AttributeValue::S(format!("/nodes/{n:06}")));
    delete.send().await.unwrap();
}

/// As Teleport renews: `Expires` moves, and nothing else.
async fn renew(client: &Client, n: usize, expires: u64) {
    let update = client
        .update_item()
        .table_name("state")
        .key("HashKey", AttributeValue::S("teleport".to_owned()))
        .key("FullPath", AttributeValue::S(format!("/nodes/{n:06}")))
        .update_expression("SET Expires = :e")
        .expression_attribute_values(":e", AttributeValue::N(expires.to_string()));
    update.send().await.unwrap();
}

fn measure(units: u32, units_per_second: u32) -> Measure {
    Measure {
        units,
        units_per_second,
        apart: Duration::from_secs(30),
    }
}

#[tokio::test(start_paused = true)]
async fn what_changed_between_the_looks_is_counted_and_only_read() {
    let world = World::new().await;
    world.fill(300, 100).await;
    let live = world.live(400).await;
    let (client, clock) = (world.engine.beside().client(), world.clock.clone());
    tokio::spawn(async move {
        clock.sleep(Duration::from_secs(20)).await;
        for n in 0..60 {
            renew(&client, n, 2_000).await;
        }
        // Neither makes an entry of the index move.
        put(&client, 350, None, "b").await;
        renew(&client, 100, 1_000).await;
        put(&client, 200, Some(1_000), "b").await;
        for n in 290..295 {
            remove(&client, n).await;
        }
        // Behind the last, and in place of one without an expiry.
        put(&client, 500, Some(1_000), "a").await;
        put(&client, 399, Some(1_000), "a").await;
    });
    let begun = world.clock.instant();
    let measured = world.tables.measure(&live, measure(1_000, 50)).await.unwrap();
    assert_eq!(
        (
            measured.renewed,
            measured.rewritten,
            measured.added,
            measured.removed
        ),
        (60, 1, 2, 5)
    );
    assert_eq!(
        (measured.looked_at, measured.expiring, measured.whole),
        (400, 300, true)
    );
    assert!((30.0..32.0).contains(&measured.apart), "{measured:?}");
    // 380 KB twice, eventually consistent: half a unit for 4 KB.
    assert!((90.0..100.0).contains(&measured.units), "{measured:?}");
    let sent = world.engine.operations();
    assert!(sent.iter().all(|operation| operation == "Scan"), "{sent:?}");
    assert!((world.clock.instant() - begun).as_secs() < 35);

    let added = Added::new(&live, &measured);
    assert!((added.renewals_per_second - 2.0).abs() < 0.1, "{added:?}");
    assert!((added.writes_per_second - 128.0 / 30.0).abs() < 0.2, "{added:?}");
    assert!(!added.reckoned && added.entries == 300, "{added:?}");
}

#[tokio::test(start_paused = true)]
async fn a_big_table_is_looked_at_in_stretches_and_within_the_budget() {
    let world = World::new().await;
    world.fill(600, 0).await;
    let live = world.live(600).await;
    let client = world.engine.beside().client();
    // Every lease is renewed every 60 s.
    let clock = world.clock.clone();
    let renewing = tokio::spawn(async move {
        for round in 0..100 {
            for n in 0..600 {
                clock.sleep(Duration::from_millis(100)).await;
                // Not in the order in which they are looked at.
                renew(&client, n * 1_499 % 600, 2_000 + round).await;
            }
        }
    });
    let begun = world.clock.instant();
    // 75 pages a look: at one a second three stretches of 30 s.
    let whole = world.tables.measure(&live, measure(1_000, 1)).await.unwrap();
    assert!(whole.whole && whole.looked_at == 600, "{whole:?}");
    assert!((30.0..33.0).contains(&whole.apart), "{whole:?}");
    let added = Added::new(&live, &whole);
    // Half of them within 30 s.
    assert!((added.renewals_per_second / 10.0 - 1.0).abs() < 0.15, "{added:?}");
    let took = (world.clock.instant() - begun).as_secs_f64();
    assert!(
        took >= whole.units && took < whole.units + 40.0,
        "{took} {whole:?}"
    );

    // A budget for less than that.
    let bounds = measure(40, 10);
    let part = world.tables.measure(&live, bounds).await.unwrap();
    assert!(!part.whole, "{part:?}");
    assert!(part.units <= 40.0 + 2.0 * 12.0, "{part:?}");
    let added = Added::new(&live, &part);
    assert!(added.reckoned && (580..620).contains(&added.entries), "{added:?}");
    assert!((added.renewals_per_second / 10.0 - 1.0).abs() < 0.5, "{added:?}");
    renewing.abort();
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_the_first_refusal() {
    let world = World::new().await;
    world.fill(10, 0).await;
    let live = world.live(10).await;
    world.engine.plan(|operation, _| match operation {
        "Scan" => refusal("AccessDeniedException"),
        _ => crate::engine::Fate::Served,
    });
    let error = world.tables.measure(&live, measure(100, 50)).await.unwrap_err();
    assert!(error.to_string().contains("allow dynamodb:Scan"), "{error}");
    assert_eq!(world.engine.operations(), ["Scan"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_table_is_measured_too() {
    let world = World::new().await;
    let live = world.live(0).await;
    let measured = world.tables.measure(&live, Measure::gentle(&live)).await.unwrap();
    assert!(measured.whole && measured.looked_at == 0, "{measured:?}");
    let added = Added::new(&live, &measured);
    assert_eq!((added.entries, added.per_month.micros()), (0, 0));
}

fn measured() -> Measured {
    Measured {
        looked_at: 20_000,
        expiring: 10_000,
        units: 100.0,
        whole: true,
        apart: 30.0,
        renewed: 3_000,
        rewritten: 0,
        added: 30,
        removed: 30,
    }
}

#[tokio::test]
async fn what_it_adds_is_reckoned_by_how_the_table_is_paid_for() {
    let world = World::new().await;
    let mut live = world.live(20_000).await;
    let added = Added::new(&live, &measured());
    assert!((added.renewals_per_second - 100.0).abs() < 1e-9);
    assert!((added.writes_per_second - 202.0).abs() < 1e-9);
    assert!((added.of_a_partition - 0.202).abs() < 1e-9);
    // 202 x 2,628,000 s at $0.625 a million.
    assert_eq!(added.per_month.to_string(), "$331.79");
    assert_eq!(added.filling.to_string(), "$0.006");
    assert_eq!(added.provisioned, None);
    assert!(!added.burst_throttles && !added.is_dangerous(), "{added:?}");
    assert!((added.burst_per_second - 333.3).abs() < 0.1);

    live.billing = Billing::Provisioned { rcu: 100, wcu: 50 };
    let added = Added::new(&live, &measured());
    // Twice what was measured: 404 WCU at $0.00065 and 100 RCU at $0.00013, 730 h.
    assert_eq!(added.provisioned, Some(404));
    assert_eq!(added.per_month.to_string(), "$201.19");
    assert!(!added.is_dangerous(), "{added:?}");
    // What is taken now is little, and all leases at once are more than the index would get.
    let idle = Measured {
        renewed: measured().renewed / 10,
        ..measured()
    };
    let added = Added::new(&live, &idle);
    assert!(added.provisioned.is_some_and(|units| units < 333), "{added:?}");
    assert!(added.burst_throttles && added.is_dangerous(), "{added:?}");
    live.billing = Billing::Provisioned { rcu: 100, wcu: 2_000 };
    assert_eq!(Added::new(&live, &measured()).provisioned, Some(2_000));
    assert_eq!(Measure::gentle(&live).units_per_second, 10);

    // A part of a table of five times as many.
    live.items = 100_000;
    let part = Measured {
        whole: false,
        ..measured()
    };
    let added = Added::new(&live, &part);
    assert!(added.reckoned && added.entries == 50_000, "{added:?}");
    assert!((added.writes_per_second - 1_010.0).abs() < 1e-6);
    assert!(added.burst_throttles && added.of_a_partition > 1.0, "{added:?}");
    assert!(added.is_dangerous());
    // Where the first keys have no expiry the rest may.
    let blind = Measured {
        expiring: 0,
        renewed: 0,
        rewritten: 0,
        added: 0,
        removed: 0,
        ..part
    };
    let added = Added::new(&live, &blind);
    assert!(!added.burst_throttles && added.is_dangerous(), "{added:?}");
}
