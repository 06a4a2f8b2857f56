//! What one run deletes, and what it leaves.

use std::num::NonZeroU32;

use super::*;
use crate::maintain::Report as _;
use crate::watch::Prefix;

/// What is due, what is not, and what nobody may delete.
async fn fill(world: &World) {
    for (key, expires) in [
        ("/a/due", Some(-2)),
        ("/a/long", Some(-90_000)),
        // The clock is at 0.25: this second has not passed.
        ("/a/near", Some(0)),
        ("/a/live", Some(3)),
        ("/a/never", None),
        ("/ab/due", Some(-2)),
        (".locks/near", Some(-4)),
        (".locks/due", Some(-5)),
        (".fences/never", Some(-100)),
        ("/.locks/due", Some(-2)),
    ] {
        world.put(key, expires).await;
    }
}

const LEFT: [&str; 5] = [".fences/never", ".locks/near", "/a/live", "/a/near", "/a/never"];

/// What is due is found by an index of the layout, by one that was insisted on, and by a scan.
async fn worlds() -> [World; 3] {
    [
        World::new(FoundBy::Index, 1).await,
        World::insisted(1).await,
        World::new(FoundBy::Scan, 1).await,
    ]
}

fn left(world: &World) -> Vec<String> {
    world.stored().into_keys().collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_due_goes_and_nothing_else() {
    for world in worlds().await {
        let by = world.by;
        fill(&world).await;
        let before = left(&world);
        let wire = world.engine.beside();
        let expire = world.expire(&wire, Settings::default());
        let mut run = world.run(secs(60));
        run.dry_run = true;
        let dry = expire.run(run).await.unwrap();
        assert_eq!((dry.due, dry.deleted, left(&world)), (5, 5, before), "{dry:?}");
        assert!(
            wire.operations().iter().all(|sent| sent == "Query"),
            "nothing is written"
        );
        let report = expire.run(world.run(secs(60))).await.unwrap();
        assert_eq!(left(&world), LEFT, "{by:?}");
        assert_eq!((report.due, report.deleted, report.passes), (5, 5, 1));
        assert!(report.is_complete() && report.errors.is_empty(), "{report:?}");
        assert_eq!(report.overdue_seconds, 89_999.25);
        assert_eq!(report.advice.is_some(), by == FoundBy::Scan);
        // By what the engine charged.
        let (read, write) = charged(&wire);
        assert_eq!((report.units.read, report.units.write), (read, write), "{by:?}");
        let metrics = report.metrics();
        assert!(
            metrics
                .iter()
                .any(|metric| metric.name == "expire_deleted" && metric.value == 5.0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_prefixes_that_are_asked_for() {
    for world in worlds().await {
        fill(&world).await;
        let settings = Settings {
            prefixes: vec![Prefix::component("/a")],
            ..Settings::default()
        };
        let expire = world.expire(&world.engine.beside(), settings);
        let report = expire.run(world.run(secs(60))).await.unwrap();
        assert_eq!(report.deleted, 2, "{report:?}");
        assert!(!world.has("/a/due") && world.has("/ab/due") && world.has(".locks/due"));
    }
}

#[tokio::test(start_paused = true)]
async fn passes_are_repeated_until_the_last_call() {
    let world = World::new(FoundBy::Index, 1).await;
    for second in 0..60 {
        world.put(&format!("/{second}"), Some(second)).await;
    }
    let settings = Settings {
        every: Some(secs(5)),
        ..Settings::default()
    };
    let expire = world.expire(&world.engine.beside(), settings);
    let report = expire.run(world.run(secs(30))).await.unwrap();
    // At 0.25, 5.25 ... 25.25: what expired by 24.
    assert_eq!((report.passes, report.deleted), (6, 25), "{report:?}");
    assert_eq!(report.overdue_seconds, 4.25);
    assert!(!world.has("/24") && world.has("/25"));
}

#[tokio::test(start_paused = true)]
async fn many_are_deleted_oldest_first_at_the_pace_that_is_set() {
    for by in [FoundBy::Index, FoundBy::Scan] {
        let world = World::new(by, 1).await;
        for n in 0..700 {
            // By key the other way round than by expiry.
            world.put(&format!("/{n:03}"), Some(-10 - n)).await;
        }
        let wire = world.engine.beside();
        let settings = Settings {
            units_per_second: NonZeroU32::new(50),
            ..Settings::default()
        };
        let expire = world.expire(&wire, settings);
        let begun = world.clock.instant();
        // Not time enough: the next run goes on.
        let first = expire.run(world.run(secs(5))).await.unwrap();
        assert!(
            !first.complete && first.deleted < 700 && first.deleted >= 100,
            "{first:?}"
        );
        let deleted: Vec<String> = wire
            .sent()
            .iter()
            .filter(|sent| sent.operation == "DeleteItem")
            .map(|sent| {
                sent.body["Key"][world.layout.sort_name()]["S"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        if by == FoundBy::Index {
            assert!(deleted.is_sorted_by(|a, b| a > b), "{deleted:?}");
        }
        let second = expire.run(world.run(secs(300))).await.unwrap();
        assert!(second.complete, "{second:?}");
        assert_eq!(first.deleted + second.deleted, 700);
        let units = first.units.read + first.units.write + second.units.read + second.units.write;
        let took = (world.clock.instant() - begun).as_secs_f64();
        // Two runs have a second's worth at hand each, and the last requests are not waited for.
        assert!(
            units / 50.0 - took < 4.0 && took < units / 50.0 + 1.0,
            "{by:?}: {units} units in {took} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_other_namespaces_hold_is_passed_over() {
    let world = World::new(FoundBy::Index, 1).await;
    let other = Layout::Partitioned(crate::state::Partitioned::new("other").unwrap());
    let client = world.engine.client();
    let other = Backend::unverified(
        &client,
        config(TABLE, other),
        world.clock.clone(),
        Random::seeded(2),
    );
    for n in 0..3000 {
        let item = Item::new(format!("/{n}").as_str(), "v").expiring(world.at(-100));
        other.put(&item).await.unwrap();
    }
    world.put("/mine", Some(-2)).await;
    let report = world.sweep().await;
    assert_eq!((report.deleted, world.has("/mine")), (1, false), "{report:?}");
    assert_eq!(report.due, 1);
}

#[tokio::test(start_paused = true)]
async fn items_from_before_revisions_go_too() {
    for by in [FoundBy::Index, FoundBy::Scan] {
        let world = World::new(by, 1).await;
        world.put("/old", Some(-5)).await;
        let key = world.layout.primary(&key("/old")).unwrap();
        let client = world.engine.client();
        let strip = client.update_item().table_name(TABLE).set_key(Some(key));
        strip.update_expression("REMOVE Revision").send().await.unwrap();
        assert_eq!(world.sweep().await.deleted, 1, "{by:?}");
        assert!(!world.has("/old"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_ends_the_run() {
    for by in [FoundBy::Index, FoundBy::Scan] {
        let world = World::new(by, 1).await;
        world.put("/due", Some(-5)).await;
        let wire = world.engine.beside();
        wire.plan(|operation, _| match operation {
            "DeleteItem" => crate::engine::refusal("AccessDeniedException"),
            _ => Fate::Served,
        });
        let expire = world.expire(&wire, Settings::default());
        let error = expire.run(world.run(secs(60))).await.unwrap_err();
        assert!(error.to_string().contains("AccessDenied"), "{error}");
        // What gets better does not.
        wire.plan(|operation, _| match operation {
            "DeleteItem" => crate::engine::refusal("ThrottlingException"),
            _ => Fate::Served,
        });
        let report = expire.run(world.run(secs(60))).await.unwrap();
        assert!(!report.complete && world.has("/due"), "{report:?}");
        assert_eq!(report.errors.get("Throttled"), Some(&1), "{report:?}");
        assert!(world.sweep().await.complete && !world.has("/due"));
    }
}
