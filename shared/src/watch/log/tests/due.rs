//! The due list: what is filed, what is void, and that nothing that expires is forgotten.

use std::collections::BTreeMap;

use super::*;
use crate::engine::{Fate, refusal};
use crate::watch::log::{DueKey, Sweeps};

const SECOND: Duration = Duration::from_secs(1);

/// A put with an expiry, created now.
fn lease(bench: &Bench, key: &str, sequence: u64, expires: Option<SystemTime>) -> Incoming {
    let put = Put {
        expires,
        revision: Revision::from(format!("r{sequence}").as_str()),
        value: Value::Omitted,
    };
    record(key, sequence, Some(bench.clock.now()), Operation::Put(put))
}

/// All that stands in the list, as key and seconds from now.
async fn listed(bench: &Bench, sweeps: &Sweeps) -> Vec<(String, i64)> {
    let (mut all, mut after) = (Vec::new(), None);
    let ever = bench.clock.now() + Duration::from_secs(1_000_000);
    loop {
        let chunks = sweeps.due(ever, after.as_ref(), bench.stop()).await.unwrap();
        let Some(last) = chunks.last().cloned() else {
            return all;
        };
        let now = crate::state::item::seconds(bench.clock.now());
        let keys = chunks.iter().flat_map(|chunk| &chunk.keys);
        all.extend(keys.map(|due| {
            (
                due.key.to_string(),
                crate::state::item::seconds(due.expires) - now,
            )
        }));
        after = Some(last);
    }
}

async fn append(bench: &Bench, appender: &Appender, batch: &[Incoming]) {
    appender.append(STREAM, batch, bench.stop()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_filed_once_until_its_entry_is_looked_at() {
    let bench = Bench::new(1).await;
    let appender = bench.appender(Inline::None);
    let at = |seconds: u64| Some(bench.clock.now() + Duration::from_secs(seconds));
    // Nobody sweeps: nothing is filed.
    append(&bench, &appender, &[lease(&bench, "/a", 1, at(600))]).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    assert_eq!(listed(&bench, &sweeps).await, []);
    bench.clock.sleep(Sweeps::FILED).await;
    append(&bench, &appender, &[lease(&bench, "/a", 2, at(600))]).await;
    assert_eq!(listed(&bench, &sweeps).await, [("/a".to_owned(), 600)]);
    // Renewed, or with others in a batch: the pending entry will find it.
    bench.clock.sleep(300 * SECOND).await;
    let batch = [
        lease(&bench, "/a", 3, at(600)),
        lease(&bench, "/b", 4, at(60)),
        lease(&bench, "/c", 5, None),
    ];
    append(&bench, &appender, &batch).await;
    let both = [("/b".to_owned(), 60), ("/a".to_owned(), 300)];
    assert_eq!(listed(&bench, &sweeps).await, both);
    // Delivered again: nothing more.
    append(&bench, &appender, &batch).await;
    assert_eq!(listed(&bench, &sweeps).await, both);
    // Made shorter.
    append(&bench, &appender, &[lease(&bench, "/a", 6, at(100))]).await;
    assert_eq!(listed(&bench, &sweeps).await.len(), 3);
    // Made anew, or changed nobody knows how.
    bench.clock.sleep(SECOND).await;
    let mut anew = lease(&bench, "/b", 7, at(60));
    if let Incoming::Record(record) = &mut anew {
        record.inserted = true;
    }
    let unknown = record("/a", 8, None, Operation::Unknown);
    append(&bench, &appender, &[anew, unknown]).await;
    assert_eq!(listed(&bench, &sweeps).await[0], ("/a".to_owned(), 0));
    assert_eq!(listed(&bench, &sweeps).await.len(), 5);
    // The entry may have been looked at by now.
    bench.clock.sleep(295 * SECOND).await;
    append(&bench, &appender, &[lease(&bench, "/a", 9, at(600))]).await;
    assert_eq!(listed(&bench, &sweeps).await.last().unwrap().1, 600);
    // What expired before it was filed is the first to be found.
    append(
        &bench,
        &bench.appender(Inline::None),
        &[lease(&bench, "/old", 10, Some(UNIX_EPOCH + SECOND))],
    )
    .await;
    assert_eq!(listed(&bench, &sweeps).await[0].0, "/old");
}

#[tokio::test(start_paused = true)]
async fn a_check_makes_entries_void_that_were_seen_before() {
    let bench = Bench::new(1).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    let due = |after: u64, seen: u64| DueKey {
        key: "/a".into(),
        expires: bench.clock.now() + Duration::from_secs(after),
        seen: UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seen),
    };
    let open = async |entry: &DueKey| {
        let open = sweeps.unchecked(vec![entry.clone()], bench.stop()).await.unwrap();
        open.first().map(|open| open.noted)
    };
    let (first, second) = (due(10, 1), due(20, 2));
    assert_eq!(open(&first).await, Some(false));
    // The check at 2 found the key renewed: it has its own entry.
    sweeps
        .refile(std::slice::from_ref(&second), bench.stop())
        .await
        .unwrap();
    assert_eq!(open(&first).await, None);
    assert_eq!(open(&second).await, Some(true));
    // A check that looked earlier and ends later changes nothing.
    sweeps
        .refile(std::slice::from_ref(&first), bench.stop())
        .await
        .unwrap();
    assert_eq!(open(&first).await, None);
    // Its own entry must be gone: whoever noted it was late.
    let pending = due(600, 1);
    bench.clock.sleep(15 * SECOND).await;
    assert_eq!(open(&pending).await, None);
    bench.clock.sleep(20 * SECOND).await;
    assert_eq!(open(&pending).await, Some(true));
    // It ended: what is pending counts again.
    sweeps.forget(&["/a".into()], bench.stop()).await.unwrap();
    assert_eq!(open(&first).await, Some(false));
    // Of several entries of a key the latest.
    let some = sweeps
        .unchecked(vec![first.clone(), second.clone(), first], bench.stop())
        .await
        .unwrap();
    assert_eq!(some.len(), 1);
    assert_eq!(some[0].key, second);
}

#[tokio::test(start_paused = true)]
async fn many_keys_are_paged_and_removed() {
    let bench = Bench::new(1).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    let keys: Vec<DueKey> = (0..30_000)
        .map(|number| DueKey {
            key: format!("/leases/{number:0>60}").as_str().into(),
            expires: bench.clock.now() + Duration::from_secs(number % 25),
            seen: bench.clock.now(),
        })
        .collect();
    sweeps.file(&keys, bench.stop()).await.unwrap();
    assert_eq!(listed(&bench, &sweeps).await.len(), 30_000);
    // Up to the slot that has begun.
    let now = sweeps.due(bench.clock.now(), None, bench.stop()).await.unwrap();
    assert!(
        now.iter()
            .flat_map(|chunk| &chunk.keys)
            .all(|due| due.expires < bench.clock.now() + 10 * SECOND)
    );
    loop {
        let ever = bench.clock.now() + 100 * SECOND;
        let chunks = sweeps.due(ever, None, bench.stop()).await.unwrap();
        if chunks.is_empty() {
            break;
        }
        sweeps.remove(&chunks, bench.stop()).await.unwrap();
    }
    assert_eq!(listed(&bench, &sweeps).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_absence_begins_the_list_anew() {
    let bench = Bench::new(1).await;
    let begun = bench.log().announce_sweeps(bench.stop()).await.unwrap().since();
    assert_eq!(begun, Some(bench.clock.now()));
    bench.engine.sent();
    // A read, and a write an hour.
    for _ in 0..60 {
        bench.clock.sleep(60 * SECOND).await;
        let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
        assert_eq!(sweeps.since(), begun);
    }
    assert_eq!(bench.engine.sent().len(), 61);
    bench.clock.sleep(19 * 3600 * SECOND).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    assert_eq!(sweeps.since(), begun);
    bench.clock.sleep(20 * 3600 * SECOND).await;
    assert_eq!(bench.log().sweeps(bench.stop()).await.unwrap().since(), None);
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    assert_eq!(sweeps.since(), Some(bench.clock.now()));
    let appender = bench.appender(Inline::None);
    append(&bench, &appender, &[bench.put("/a", 1)]).await;
    assert_eq!(sweeps.newest_gap(bench.stop()).await.unwrap(), None);
    bench
        .log()
        .break_all("lost", "1", None, bench.stop())
        .await
        .unwrap();
    assert_eq!(
        sweeps.newest_gap(bench.stop()).await.unwrap(),
        Some(bench.clock.now())
    );
}

/// What a table holds of some keys, and what a sweep of it does.
#[derive(Default)]
struct Table {
    items: BTreeMap<String, Option<SystemTime>>,
    checks: usize,
}

impl Table {
    /// One pass, as `maintain` makes it: settles what has fallen due.
    async fn sweep(&mut self, bench: &Bench, sweeps: &Sweeps) {
        let now = bench.clock.now();
        let chunks = sweeps.due(now, None, bench.stop()).await.unwrap();
        // A chunk that is not due in whole stays.
        let is_due = |due: &DueKey| due.expires + SECOND < now;
        let chunks: Vec<_> = chunks
            .into_iter()
            .filter(|chunk| chunk.keys.iter().all(is_due))
            .collect();
        let keys = chunks.iter().flat_map(|chunk| chunk.keys.clone()).collect();
        let (mut renewed, mut ended) = (Vec::new(), Vec::new());
        for open in sweeps.unchecked(keys, bench.stop()).await.unwrap() {
            self.checks += 1;
            let name = open.key.key.to_string();
            match self.items.get(&name).copied().flatten() {
                Some(expires) if expires + SECOND >= now => renewed.push(DueKey {
                    expires,
                    seen: now,
                    ..open.key
                }),
                found => {
                    if found.is_some() {
                        self.items.remove(&name);
                    }
                    ended.extend(open.noted.then_some(open.key.key));
                }
            }
        }
        sweeps.refile(&renewed, bench.stop()).await.unwrap();
        sweeps.forget(&ended, bench.stop()).await.unwrap();
        sweeps.remove(&chunks, bench.stop()).await.unwrap();
    }
}

/// Keys that are made, renewed, shortened, made lasting and deleted at random, by environments that come and go; batches
/// come twice and late. Whatever happens, nothing stands longer than a slot and a lag after it expired.
#[tokio::test(start_paused = true)]
async fn nothing_that_expires_is_forgotten() {
    for seed in 0..12 {
        let bench = Bench::new(1).await;
        let random = Random::seeded(seed);
        let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
        let mut appenders = [bench.appender(Inline::None), bench.appender(Inline::None)];
        let mut table = Table::default();
        // What the stream has not delivered yet, and when it will.
        let mut waiting: Vec<(SystemTime, Incoming)> = Vec::new();
        for sequence in 1..=300 {
            bench.clock.sleep(Duration::from_secs(random.below(20))).await;
            let (now, key) = (bench.clock.now(), format!("/{}", random.below(4)));
            let expires = match random.below(8) {
                0 => None,
                _ => Some(now + Duration::from_secs(1 + random.below(150))),
            };
            let incoming = if random.below(10) == 0 && table.items.remove(&key).is_some() {
                deletion(&key, sequence, now, None)
            } else {
                let inserted = table.items.insert(key.clone(), expires).is_none();
                match lease(&bench, &key, sequence, expires) {
                    Incoming::Record(record) => Incoming::Record(Record { inserted, ..record }),
                    other => other,
                }
            };
            let lag = Duration::from_secs(if random.below(20) == 0 {
                random.below(60)
            } else {
                0
            });
            let since = waiting.last().map_or(now, |(at, _)| *at);
            waiting.push(((now + lag).max(since), incoming));
            let ready = waiting.iter().take_while(|(at, _)| *at <= now).count();
            let batch: Vec<Incoming> = waiting.drain(..ready).map(|(_, incoming)| incoming).collect();
            let which = usize::try_from(random.below(2)).unwrap();
            if random.below(20) == 0 {
                appenders[which] = bench.appender(Inline::None);
            }
            for _ in 0..=random.below(2) {
                append(&bench, &appenders[which], &batch).await;
            }
            if random.below(3) > 0 {
                table.sweep(&bench, &sweeps).await;
            }
        }
        let rest: Vec<Incoming> = waiting.into_iter().map(|(_, incoming)| incoming).collect();
        append(&bench, &appenders[0], &rest).await;
        for _ in 0..4 {
            bench.clock.sleep(Duration::from_secs(151)).await;
            table.sweep(&bench, &sweeps).await;
        }
        let left: Vec<_> = table.items.values().flatten().collect();
        assert_eq!(left, Vec::<&SystemTime>::new(), "seed {seed}");
        assert_eq!(listed(&bench, &sweeps).await, [], "seed {seed}");
    }
}

/// What is in the log must be filed, also where the rest of its batch comes again.
#[tokio::test(start_paused = true)]
async fn what_a_bucket_took_is_filed_though_another_failed() {
    let bench = Bench::new(4).await;
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    let expires = Some(bench.clock.now() + 600 * SECOND);
    let keys: Vec<String> = (0..20).map(|number| format!("/{number}")).collect();
    let batch: Vec<Incoming> = (1..)
        .zip(&keys)
        .map(|(at, key)| lease(&bench, key, at, expires))
        .collect();
    let bucket = format!("{}#1#2", sweeps.control.id);
    bench.engine.plan(move |operation, body| {
        let refused = operation == "PutItem" && body["Item"]["Log"]["S"] == bucket.as_str();
        if refused {
            refusal("ProvisionedThroughputExceededException")
        } else {
            Fate::Served
        }
    });
    let stop = bench.clock.instant() + 5 * SECOND;
    let failed = bench.appender(Inline::None).append(STREAM, &batch, stop).await;
    assert!(failed.unwrap_err().first < 20);
    assert_eq!(listed(&bench, &sweeps).await.len(), 20);
}

/// Who listed at a seal has seen what came before; a list that was filled before has not.
#[tokio::test(start_paused = true)]
async fn a_seal_is_a_gap_to_the_list() {
    let bench = Bench::new(2).await;
    bench
        .log()
        .break_all("lost", "1", None, bench.stop())
        .await
        .unwrap();
    let lost = bench.clock.now();
    bench.clock.sleep(30 * SECOND).await;
    bench
        .log()
        .reconfigure(3, Transport::Stream, bench.stop())
        .await
        .unwrap();
    let sweeps = bench.log().announce_sweeps(bench.stop()).await.unwrap();
    let newest = sweeps.newest_gap(bench.stop()).await.unwrap();
    assert_eq!(newest, Some(lost + 30 * SECOND));
}
