//! What is told: progress, positions, and what a list says of the events behind it.

use std::time::SystemTime;

use super::*;
use crate::state::{Item, Key};
use crate::watch::fanout::listed::{Listed, Read, Verdict};
use crate::watch::{Put, Value, WatchParams};

#[tokio::test(start_paused = true)]
async fn progress_is_told_while_there_is_nothing_else() {
    let s = setup(1, 2, Duration::ZERO, &small());
    let params = WatchParams {
        progress: Some(10 * SECOND),
        ..plain("/a").into()
    };
    let mut watcher = s.watches.watch(params).await.unwrap();
    let start = s.clock.instant();
    for n in 0..30 {
        s.script
            .append(n % 2, script::put("/other", &n.to_string(), &s.clock));
    }
    // A call that is dropped does not start the wait again.
    assert!(s.clock.timeout(6 * SECOND, watcher.next()).await.is_err());
    let Notice::Progress(position) = watcher.next().await.unwrap() else {
        panic!("progress is due");
    };
    assert_eq!(s.clock.instant() - start, 10 * SECOND);
    assert_eq!(position.lanes[&script::lane(0)], script::mark(15));
    assert_eq!(position, watcher.position());
    s.script.append(0, script::put("/a", "1", &s.clock));
    event(&mut watcher).await;
    let start = s.clock.instant();
    assert!(matches!(watcher.next().await, Ok(Notice::Progress(_))));
    assert_eq!(s.clock.instant() - start, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn prefixes_end_where_their_components_do() {
    let s = setup(2, 1, Duration::ZERO, &small());
    let component = Filter::new([Prefix::component("/a")], Operations::All);
    let mut component = s.watches.watch(component.into()).await.unwrap();
    let mut plain = s.watches.watch(plain("/a").into()).await.unwrap();
    for key in ["/ab", "/a", "/b", "/a/b"] {
        s.script.append(0, script::put(key, key, &s.clock));
    }
    for due in ["/a", "/a/b"] {
        assert_eq!(tag(&*event(&mut component).await), due);
    }
    for due in ["/ab", "/a", "/a/b"] {
        assert_eq!(tag(&*event(&mut plain).await), due);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_its_error() {
    use futures_util::StreamExt;
    let s = setup(3, 1, Duration::ZERO, &small());
    let watcher = s.watches.watch(WatchParams::default()).await.unwrap();
    s.script.append(0, script::put("/a", "1", &s.clock));
    s.clock.sleep(SECOND).await;
    let mut stream = std::pin::pin!(watcher.into_stream());
    assert!(stream.next().await.unwrap().is_ok());
    s.watches.close();
    assert!(stream.next().await.unwrap().is_err());
    assert!(stream.next().await.is_none());
}

/// A change of the one key: its time, and what it makes of it.
#[derive(Debug, Clone, Copy)]
enum Change {
    Put(u64),
    /// Keeps the revision.
    KeepAlive(u64),
    Delete(u64),
}

/// The stored item after so many changes: revision and expiry.
type Stored = Option<(String, Option<SystemTime>)>;

fn secs(at: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + at)
}

fn history(changes: &[Change]) -> (Vec<Event>, Vec<Stored>) {
    let (mut events, mut states) = (Vec::new(), vec![None]);
    for (n, change) in changes.iter().enumerate() {
        let last: Stored = states.last().cloned().flatten();
        let (at, stored) = match change {
            Change::Put(at) => (at, Some((format!("r{n}"), Some(secs(at + 1000))))),
            Change::KeepAlive(at) => (at, last.map(|(revision, _)| (revision, Some(secs(at + 1000))))),
            Change::Delete(at) => (at, None),
        };
        let operation = match &stored {
            Some((revision, expires)) => Operation::Put(Put {
                expires: *expires,
                revision: revision.as_str().into(),
                value: Value::Omitted,
            }),
            None => script::delete("/a", &Clock::manual(secs(0))).operation,
        };
        events.push(Event {
            key: Key::from("/a"),
            operation,
            created: Some(secs(*at)),
        });
        states.push(stored);
    }
    (events, states)
}

/// At every place of the list and of the position among the changes of a key: whoever applies what is delivered ends with
/// what is stored, sees no older write after a newer one without being told that it may be, and nothing of the past.
#[tokio::test(start_paused = true)]
async fn a_list_tells_what_is_new() {
    use Change::{Delete, KeepAlive, Put};
    let times: [[u64; 5]; 3] = [[1, 20, 40, 60, 80], [10, 10, 11, 11, 12], [1, 9, 10, 11, 80]];
    let shapes: [fn(u64, usize) -> Change; 3] = [
        |at, _| Put(at),
        |at, n| if n % 2 == 0 { Put(at) } else { KeepAlive(at) },
        |at, n| if n % 2 == 0 { Put(at) } else { Delete(at) },
    ];
    for (times, shape) in times
        .iter()
        .flat_map(|times| shapes.iter().map(move |shape| (times, shape)))
    {
        let changes: Vec<Change> = times.iter().enumerate().map(|(n, at)| shape(*at, n)).collect();
        let (events, states) = history(&changes);
        for (timeless, read) in [false, true]
            .into_iter()
            .flat_map(|timeless| (0..6).map(move |read| (timeless, read)))
        {
            // The page is read between two changes; the list began up to then, and the position is before that.
            let asked = if read == 0 { 0 } else { times[read - 1] };
            let answered = times.get(read).copied().unwrap_or(100);
            for start in 0..=read {
                for began in [if start == 0 { 0 } else { times[start - 1] }, asked] {
                    let page = Read {
                        asked: secs(asked),
                        answered: secs(answered),
                    };
                    let whole = Read {
                        asked: secs(began),
                        answered: secs(100),
                    };
                    let mut listed = Listed::new(whole, Clock::system().instant());
                    if let Some((revision, expires)) = &states[read] {
                        let item = Item {
                            expires: *expires,
                            ..Item::new("/a", "v").at(revision.as_str())
                        };
                        listed.add(&item, page);
                    }
                    let mut applied = states[read].clone();
                    let mut newest = read;
                    let what = format!("{changes:?} read after {read}, from {start}, timeless: {timeless}");
                    for (n, event) in events.iter().enumerate().skip(start) {
                        let event = Event {
                            created: event.created.filter(|_| !timeless),
                            ..event.clone()
                        };
                        let verdict = listed.verdict(&event);
                        listed.settle(&event, verdict, Clock::system().instant());
                        let position = n + 1;
                        match verdict {
                            // A keep-alive within the second changes nothing: it is the same write to everybody.
                            _ if states[position] == states[read] => {}
                            Verdict::Shown => assert!(position <= read, "lost: {n} of {what}"),
                            Verdict::Follows => assert!(position > read, "back: {n} of {what}"),
                            Verdict::MayPrecede => {}
                        }
                        if verdict != Verdict::Shown {
                            applied = states[position].clone();
                            newest = newest.max(position);
                        }
                        // Far from the page's time nobody is left in doubt, if the list has the key.
                        // A time that may have been rounded down stands for what follows it.
                        let rounded = if times[n] % 60 == 0 { 60 } else { 1 };
                        let far = times[n] + rounded + 2 < asked || times[n] > answered + 2;
                        if far && !timeless && states[read].is_some() && verdict == Verdict::MayPrecede {
                            panic!("in doubt: {n} of {what}");
                        }
                    }
                    assert_eq!(applied, states[5], "{what}");
                }
            }
        }
    }
}

/// Late events do not make a watcher remember its list for ever.
#[tokio::test(start_paused = true)]
async fn a_list_is_forgotten() {
    let read = Read {
        asked: secs(0),
        answered: secs(1),
    };
    let now = Clock::system().instant();
    let mut listed = Listed::new(read, now);
    listed.add(&Item::new("/a", "v").at("r"), read);
    let (events, _) = history(&[Change::Put(5), Change::Put(1)]);
    assert_eq!(listed.verdict(&events[0]), Verdict::Follows);
    listed.settle(&events[0], Verdict::Follows, now);
    assert_eq!(
        listed.verdict(&events[1]),
        Verdict::Follows,
        "what follows news is news"
    );
    listed.settle(&events[1], Verdict::Follows, now + Duration::from_secs(601));
    assert_eq!(
        listed.verdict(&events[1]),
        Verdict::MayPrecede,
        "only the times are left"
    );
    assert_eq!(listed.remembered(), 0);
}
