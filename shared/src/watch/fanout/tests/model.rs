//! Every watcher sees exactly the events that its filter takes behind its start, each lane's in order, whatever stalls,
//! evictions, falls and returns there are, and from each position that it gives.

use std::collections::BTreeMap;

use super::*;
use crate::watch::position::Lane;
use crate::watch::{Position, Start, WatchParams};

const KEYS: [&str; 6] = ["/a", "/ab", "/a/b", "/b", "/b/c", ".locks/x"];

fn filters() -> Vec<Filter> {
    let component = |prefix: &str| Filter::new([Prefix::component(prefix)], Operations::All);
    vec![
        Filter::default(),
        component("/a"),
        component("/ab"),
        plain("/a"),
        Filter::new([Prefix::component("/b"), Prefix::plain(".l")], Operations::Puts),
        Filter::new([], Operations::Deletes),
        plain("/none"),
    ]
}

/// The lane of a key: a key stays in one.
fn place(key: &str, lanes: usize) -> usize {
    KEYS.iter().position(|other| *other == key).unwrap() % lanes
}

/// What is due behind a position, by lane.
fn due(script: &Script, position: &Position, filter: &Filter) -> BTreeMap<Lane, Vec<String>> {
    let lanes = script.behind(position).into_iter().map(|(lane, events)| {
        let events = events.iter().filter(|event| filter.takes(event));
        (lane, events.map(|event| tag(event)).collect())
    });
    lanes.collect()
}

struct Reading {
    filter: Filter,
    start: Position,
    seen: Vec<(String, String)>,
    watcher: Watcher,
}

async fn one_seed(seed: u64) {
    let s = setup(seed, 3, Duration::from_millis(seed % 3 * 40), &small());
    let draw = |bound: u64| s.random.below(bound);
    let filters = filters();
    let mut readings: Vec<Reading> = Vec::new();
    let mut written = 0;
    for _ in 0..60 {
        match draw(10) {
            0 | 1 if readings.len() < 12 => {
                let filter = filters[usize::try_from(draw(7)).unwrap()].clone();
                let start = match draw(4) {
                    0 => Start::Beginning,
                    1 => match readings.first() {
                        Some(reading) => Start::At(reading.watcher.position()),
                        None => Start::Now,
                    },
                    _ => Start::Now,
                };
                let params = WatchParams {
                    filter: filter.clone(),
                    start,
                    progress: (draw(2) == 0).then_some(SECOND),
                    ..WatchParams::default()
                };
                let watcher = s.watches.watch(params).await.unwrap();
                readings.push(Reading {
                    filter,
                    start: watcher.position(),
                    seen: Vec::new(),
                    watcher,
                });
            }
            2..=5 => {
                // A burst may be more than the ring holds.
                for _ in 0..draw(30) {
                    let key = KEYS[usize::try_from(draw(6)).unwrap()];
                    written += 1;
                    let event = match draw(4) {
                        0 => script::delete(key, &s.clock),
                        _ => script::put(key, &written.to_string(), &s.clock),
                    };
                    s.script.append(place(key, 3), event);
                }
            }
            6 => s.clock.sleep(s.random.jitter(3 * SECOND)).await,
            7 if !readings.is_empty() => {
                // Another one goes on where this one is.
                let place = usize::try_from(draw(readings.len() as u64)).unwrap();
                let reading = &mut readings[place];
                let params = WatchParams {
                    filter: reading.filter.clone(),
                    start: Start::At(reading.watcher.position().to_string().parse().unwrap()),
                    ..WatchParams::default()
                };
                reading.watcher = s.watches.watch(params).await.unwrap();
            }
            _ => {
                // Some are read for a while; each call may be dropped anywhere.
                for reading in &mut readings {
                    for _ in 0..draw(12) {
                        let patience = s.random.jitter(Duration::from_millis(60));
                        match s.clock.timeout(patience, reading.watcher.next()).await {
                            Ok(notice) => note(&mut reading.seen, notice.unwrap()),
                            Err(_) => {}
                        }
                    }
                }
            }
        }
    }
    for reading in &mut readings {
        while let Some(Notice::Event { event, .. }) = drained(&mut reading.watcher).await {
            reading.seen.push((event.key.to_string(), tag(&event)));
        }
        let mut seen: BTreeMap<Lane, Vec<String>> = due(&s.script, &reading.start, &plain("none"));
        for (key, tag) in &reading.seen {
            seen.get_mut(&script::lane(place(key, 3)))
                .unwrap()
                .push(tag.clone());
        }
        let due = due(&s.script, &reading.start, &reading.filter);
        assert_eq!(seen, due, "seed {seed}, {:?}", reading.filter);
    }
    assert!(
        s.script.most_readers() <= 3,
        "seed {seed}: the hub's, and two at once"
    );
    drop(readings);
    s.clock.sleep(SECOND).await;
    assert_eq!((s.script.readers(), s.script.held()), (0, 0), "seed {seed}");
}

fn note(seen: &mut Vec<(String, String)>, notice: Notice) {
    if let Notice::Event {
        event,
        may_precede_list,
    } = notice
    {
        assert!(!may_precede_list);
        seen.push((event.key.to_string(), tag(&event)));
    }
}

/// The next event, past what is told of the progress.
async fn drained(watcher: &mut Watcher) -> Option<Notice> {
    for _ in 0..20 {
        match Clock::system().timeout(20 * SECOND, watcher.next()).await {
            Ok(Ok(Notice::Progress(_))) => {}
            Ok(notice) => return Some(notice.unwrap()),
            Err(_) => return None,
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn every_watcher_sees_what_it_asks_for() {
    for seed in 0..120 {
        one_seed(seed).await;
    }
}
