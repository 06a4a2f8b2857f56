//! What the due list finds, what it costs, and what it survives.

use std::num::NonZeroU32;

use super::volume::{DUE, leases, load, only_live_are_left};
use super::*;

/// A table whose list is full.
async fn filled(seed: u64) -> World {
    let world = World::new(FoundBy::List, seed).await;
    world.clock.sleep(secs(12 * 60)).await;
    let report = world.sweep().await;
    assert!(report.complete && report.list == Some(List::Ready), "{report:?}");
    world
}

fn every(seconds: u64) -> Settings {
    Settings {
        every: Some(secs(seconds)),
        ..Settings::default()
    }
}

/// Seconds since the test began.
fn now(world: &World) -> i64 {
    let now = world.clock.now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from((now - START).as_secs()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_falls_due_is_deleted_and_told_as_expired() {
    let world = filled(1).await;
    let at = now(&world);
    for (key, expires) in [
        ("/a", Some(at + 13)),
        ("/b", Some(at + 24)),
        ("/c", Some(at + 900)),
        ("/never", None),
    ] {
        world.put(key, expires).await;
    }
    world.put(".locks/a", Some(at + 13)).await;
    world.put(".fences/a", Some(at + 13)).await;
    world.put("/gone", Some(at + 13)).await;
    world.put("/kept", Some(at + 13)).await;
    world.feed().deliver().await;
    let backend = world.backend(&world.engine.beside());
    backend.delete(&key("/gone")).await.unwrap();
    world.put("/kept", None).await;
    let wire = world.engine.beside();
    let expire = world.expire(&wire, every(5));
    let report = tokio::select! {
        report = expire.run(world.run(secs(40))) => report.unwrap(),
        () = world.feed().run() => unreachable!(),
    };
    let left: Vec<String> = world.stored().into_keys().collect();
    assert_eq!(left, [".fences/a", "/c", "/kept", "/never"]);
    assert_eq!(
        (report.deleted, report.gone, report.checks),
        (3, 1, 5),
        "{report:?}"
    );
    assert!(report.complete && report.overdue_seconds < 11.0, "{report:?}");
    assert_eq!(charged(&wire), (report.units.read, report.units.write));
    // Nothing is looked at twice, and nothing is left in the list but what falls due yet.
    let report = expire.run(world.run(secs(40))).await.unwrap();
    assert_eq!((report.checks, report.due), (0, 0), "{report:?}");
    world.feed().deliver().await;
    let mut told = world.feed().deletes().await;
    told.sort();
    let expected = [(".locks/a", true), ("/a", true), ("/b", true), ("/gone", false)];
    assert_eq!(told, expected.map(|(key, expired)| (key.to_owned(), expired)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_renewed_is_found_when_it_is_let_go() {
    let world = filled(1).await;
    let at = now(&world);
    world.put("/a", Some(at + 20)).await;
    world.feed().deliver().await;
    // The appender has an entry of it, and files none: whoever checks that one does.
    world.put("/a", Some(at + 90)).await;
    world.feed().deliver().await;
    let expire = world.expire(&world.engine.beside(), every(5));
    let report = expire.run(world.run(secs(60))).await.unwrap();
    assert_eq!(
        (report.renewed, report.checks, report.due),
        (1, 1, 0),
        "{report:?}"
    );
    let report = expire.run(world.run(secs(60))).await.unwrap();
    assert_eq!((report.deleted, report.checks), (1, 1), "{report:?}");
    assert!(report.overdue_seconds < 6.0, "{report:?}");
}

/// At a pace at which their deletes take much longer than a note is believed.
#[tokio::test(start_paused = true)]
async fn what_falls_due_together_is_told_as_expired_however_slowly_it_goes() {
    let world = filled(1).await;
    let at = now(&world);
    for n in 0..60 {
        let mut item = Item::new(format!("/{n}"), vec![b'v'; 2500]);
        item.expires = Some(world.at(at + 13));
        world.backend(&world.engine.beside()).put(&item).await.unwrap();
    }
    world.feed().deliver().await;
    let settings = Settings {
        units_per_second: NonZeroU32::new(10),
        ..Settings::default()
    };
    world.clock.sleep(secs(16)).await;
    let begun = world.clock.instant();
    let expire = world.expire(&world.engine.beside(), settings);
    tokio::select! {
        report = expire.run(world.run(secs(60))) => assert_eq!(report.unwrap().deleted, 60),
        () = world.feed().run() => unreachable!(),
    }
    // One pass, and it ended with its last delete.
    assert!(world.clock.instant() - begun > secs(12), "the pace was kept");
    world.feed().deliver().await;
    let told = world.feed().deletes().await;
    assert_eq!(
        (told.len(), told.iter().filter(|(_, expired)| *expired).count()),
        (60, 60)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_writes_nothing() {
    let world = filled(1).await;
    let at = now(&world);
    world.put("/due", Some(at + 1)).await;
    world.put("/renewed", Some(at + 1)).await;
    world.feed().deliver().await;
    world.put("/renewed", Some(at + 500)).await;
    world.clock.sleep(secs(10)).await;
    let wire = world.engine.beside();
    let mut run = world.run(secs(30));
    run.dry_run = true;
    let report = world.expire(&wire, every(5)).run(run).await.unwrap();
    assert_eq!(
        (report.deleted, report.renewed, report.passes),
        (1, 1, 1),
        "{report:?}"
    );
    for sent in wire.operations() {
        assert!(
            matches!(sent.as_str(), "Query" | "GetItem" | "BatchGetItem"),
            "{sent}"
        );
    }
    assert_eq!(world.sweep().await.deleted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pass_over_the_list_reads_what_is_due() {
    let world = World::new(FoundBy::List, 1).await;
    load(&world, leases(1000));
    world.clock.sleep(secs(12 * 60)).await;
    let settings = Settings {
        units_per_second: None,
        ..Settings::default()
    };
    let fill = world.expire(&world.engine.beside(), settings.clone());
    let report = fill.run(world.run(secs(120))).await.unwrap();
    assert_eq!(
        (report.list, report.deleted),
        (Some(List::Ready), 0),
        "{report:?}"
    );
    world.clock.sleep(secs(1000 - 12 * 60)).await;
    let wire = world.engine.beside();
    let report = world
        .expire(&wire, settings)
        .run(world.run(secs(60)))
        .await
        .unwrap();
    only_live_are_left(&world);
    let (read, write) = charged(&wire);
    println!(
        "list: {read} read units and {write} write units for {DUE} due, {} checks",
        report.checks
    );
    assert!(read <= 2.0 * DUE as f64, "{read}");
    assert_eq!((report.deleted, report.units.read), (DUE, read), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_checked_about_once_a_ttl() {
    const LEASES: i64 = 30;
    const TTL: i64 = 600;
    const HOURS: i64 = 9;
    let world = filled(1).await;
    let begun = now(&world);
    let expire = world.expire(&world.engine.beside(), every(10));
    let (mut checks, mut renewals) = (0, 0);
    world.feed().deliver().await;
    // Each lease twelve times a TTL, at a moment of its own.
    for tick in 0..HOURS * 3600 / 10 {
        let second = tick * 10;
        let renewed = (0..LEASES).filter(|lease| (second + lease * 10) % (TTL / 12) == 0);
        let renewed: Vec<_> = renewed
            .map(|lease| (format!("/nodes/{lease}"), begun + second + TTL))
            .collect();
        renewals += renewed.len();
        // As Teleport's server does: the whole item anew.
        let items = load(&world, renewed.into_iter());
        world.feed().tell(items).await;
        if second % 7_200 == 3_600 {
            world.feed().restart();
        }
        if second % 60 == 0 {
            let report = expire.run(world.run(secs(9))).await.unwrap();
            assert_eq!((report.deleted, report.errors.len()), (0, 0), "{report:?}");
            checks += report.checks;
        }
        let next = world.at(begun + second + 10) + (START - secs(START.as_secs()));
        world
            .clock
            .sleep(next.duration_since(world.clock.now()).unwrap_or_default())
            .await;
    }
    let due = (LEASES * HOURS * 3600 / TTL) as f64;
    let each = checks as f64 / due;
    println!("{renewals} renewals, {checks} checks: {each:.2} a lease and TTL");
    assert!(each < 1.5 && each > 0.9, "{each}");
    // They are let go, and none is forgotten.
    world.clock.sleep(secs(700)).await;
    assert_eq!(world.sweep().await.deleted, LEASES.unsigned_abs());
}

/// Puts an item past the SDK, which would take minutes for so many.
fn write(world: &World, name: &str, expires: i64) {
    let primary = world.layout.primary(&key(name)).unwrap();
    let seconds = world.at(expires).duration_since(UNIX_EPOCH).unwrap().as_secs();
    let put = json!({"TableName": TABLE, "Item": {
        "HashKey": {"S": "teleport"}, "FullPath": {"S": primary["FullPath"].as_s().unwrap()},
        "Value": {"B": "dg=="}, "Expires": {"N": seconds.to_string()},
        "Revision": {"S": world.random.uuid().to_string()},
    }});
    world
        .engine
        .database
        .put_item(serde_json::from_value(put).unwrap())
        .unwrap();
}

#[test]
fn the_list_survives_what_happens_to_the_stream() {
    assert_eq!(seeds(40, troubled), []);
}

/// Batches are lost, with a gap some time after, come twice, and come late; leases are renewed, let go, and made shorter.
async fn troubled(seed: u64) -> Result<(), String> {
    let world = filled(seed).await;
    let random = world.random.clone();
    let mut late: Vec<(i64, Vec<Value>)> = Vec::new();
    let mut expected = BTreeMap::new();
    let begun = now(&world);
    for round in 0..40 {
        for _ in 0..random.below(4) {
            let name = format!("/{}", random.below(12));
            let expires = now(&world) + i64::try_from(5 + random.below(200)).unwrap();
            expected.insert(name.clone(), world.at(expires));
            write(&world, &name, expires);
        }
        let batch = world.feed().take();
        match random.below(8) {
            0 => {
                world.clock.sleep(millis(random.below(20_000))).await;
                world.feed().lose(&format!("lost {round}")).await;
            }
            1 => {
                world.feed().append(&batch).await;
                world.feed().append(&batch).await;
            }
            2 => late.push((now(&world) + i64::try_from(random.below(400)).unwrap(), batch)),
            3 => {
                world.feed().restart();
                world.feed().append(&batch).await;
            }
            _ => world.feed().append(&batch).await,
        }
        let (come, left) = late.into_iter().partition(|(at, _)| *at <= now(&world));
        late = left;
        for (_, batch) in come {
            world.feed().append(&batch).await;
        }
        let expire = world.expire(&world.engine.beside(), every(5));
        let report = expire.run(world.run(secs(random.below(20)))).await.unwrap();
        if !report.errors.is_empty() {
            return Err(format!("{report:?}"));
        }
        let alive: Vec<&String> = expected
            .iter()
            .filter(|(_, expires)| **expires >= world.clock.now())
            .map(|(name, _)| name)
            .collect();
        if let Some(lost) = alive.iter().find(|name| !world.has(name)) {
            return Err(format!("{lost} was live"));
        }
    }
    for (_, batch) in late {
        world.feed().append(&batch).await;
    }
    // All have expired; what was lost is found by the fill after its gap.
    world.clock.sleep(secs(300)).await;
    world.sweep().await;
    let last = world.sweep().await;
    let left = world.stored();
    if !left.is_empty() || !last.complete {
        return Err(format!(
            "{left:?} are left after {} s: {last:?}",
            now(&world) - begun
        ));
    }
    Ok(())
}

/// A run that is to make one pass, of a table whose fill takes longer than the run.
#[tokio::test(start_paused = true)]
async fn what_falls_due_does_not_wait_for_the_end_of_a_fill() {
    let world = World::new(FoundBy::List, 1).await;
    load(&world, (0..10_000).map(|n| (format!("/live/{n:06}"), 9_000)));
    world.clock.sleep(secs(12 * 60)).await;
    world.put("/soon", Some(now(&world) + 60)).await;
    world.feed().deliver().await;
    let settings = Settings {
        units_per_second: NonZeroU32::new(1),
        ..Settings::default()
    };
    let expire = world.expire(&world.engine.beside(), settings);
    let report = expire.run(world.run(secs(150))).await.unwrap();
    assert_eq!(
        (report.list, report.deleted),
        (Some(List::Filling), 1),
        "{report:?}"
    );
    assert!(report.overdue_seconds < 45.0 && report.filled > 500, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fill_that_is_cut_goes_on_where_it_was() {
    let world = World::new(FoundBy::List, 1).await;
    for n in 0..3000 {
        write(&world, &format!("/{n:04}"), 800 + n % 7);
    }
    world.feed().take();
    // Not before every appender knows of the sweep.
    let early = world.sweep().await;
    assert_eq!((early.scanned, early.list), (0, Some(List::Filling)));
    world.clock.sleep(secs(12 * 60)).await;
    let slow = Settings {
        units_per_second: std::num::NonZeroU32::new(5),
        ..Settings::default()
    };
    let (mut scanned, mut runs) = (0, 0);
    loop {
        let expire = world.expire(&world.engine.beside(), slow.clone());
        let report = expire.run(world.run(secs(2))).await.unwrap();
        scanned += report.scanned;
        runs += 1;
        assert!(!report.complete || report.list == Some(List::Ready));
        if report.list == Some(List::Ready) {
            break;
        }
    }
    assert!(runs > 1, "{runs}");
    // The task's own item and the record of it are read as well.
    assert!((3000..3010).contains(&scanned), "{scanned} in {runs} runs");
    world.clock.sleep(secs(120)).await;
    let all = Settings {
        units_per_second: None,
        ..Settings::default()
    };
    let expire = world.expire(&world.engine.beside(), all);
    let report = expire.run(world.run(secs(300))).await.unwrap();
    assert_eq!((report.deleted, world.stored().len()), (3000, 0), "{report:?}");
}
