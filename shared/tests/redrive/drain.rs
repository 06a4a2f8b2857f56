//! The drain of a spool, cut at each of its requests and invocations.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::forward::drain::{Report, drain};
use tidewatch::forward::{Invoke, InvokeError, Spool};
use tidewatch::objects::name;

use crate::store::Store;
use crate::support::insert;
use crate::{Fate, names, options};

/// What waits for the sinks, an object each; by their names 100 follows 13.
const WAITING: [(&str, &[u32]); 5] = [
    ("a", &[100, 101, 102]),
    ("b", &[13, 14, 15]),
    ("a", &[9, 10, 11]),
    ("b", &[7, 8]),
    ("a", &[12]),
];
const ORDER: [(&str, &[u32]); 2] = [("a", &[9, 10, 11, 12, 100, 101, 102]), ("b", &[7, 8, 13, 14, 15])];
/// What is no queue's, and stays.
const OTHERS: [&str; 3] = ["spool-2/a/1.ndjson", "spool.ndjson", "spool/.probe"];
/// Records of a payload that `forward` takes: an object is handed over in parts.
const TAKES: usize = 2;
/// Longer than any run.
const FOREVER: Duration = Duration::from_hours(24);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It fails, and the run goes on as it may.
    Fails,
    /// It is not answered; other sinks' requests are.
    Hangs,
    /// The process ends: nothing that comes later takes effect.
    Ends,
}

/// A request of a run, by what it is for and its number among those: sinks go on side by side.
#[derive(Debug, Clone)]
struct Cut {
    of: String,
    at: usize,
    after: bool,
    kind: Kind,
}

#[derive(Debug, Default)]
struct Script {
    cut: Option<Cut>,
    /// What was sent, by what it was for.
    seen: BTreeMap<String, Vec<String>>,
    met: bool,
    ended: bool,
}

impl Script {
    /// What is to happen to a request: none if it is served.
    fn meet(&mut self, of: &str, what: &str) -> Option<(Kind, bool)> {
        let seen = self.seen.entry(of.to_owned()).or_default();
        seen.push(what.to_owned());
        if self.ended {
            return Some((Kind::Ends, false));
        }
        let cut = self.cut.as_ref()?;
        if cut.of != of || cut.at + 1 != seen.len() {
            return None;
        }
        self.met = true;
        self.ended = cut.kind == Kind::Ends;
        Some((cut.kind, cut.after))
    }
}

/// A `forward` that takes little at a time, for the sink that it is told.
#[derive(Debug, Default)]
struct Sinks {
    script: Arc<Mutex<Script>>,
    taken: Mutex<Vec<(String, Value)>>,
}

impl Invoke for Sinks {
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        async move {
            let payload: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(payload["tidewatch"]["origin"], "drain");
            let sink = payload["tidewatch"]["sink"].as_str().unwrap();
            let of = format!("forward for {sink}");
            let cut = self.script.lock().unwrap().meet(&of, "invoke");
            let failed = || Err(InvokeError("planted".to_owned()));
            match cut {
                Some((Kind::Fails, false)) => return failed(),
                Some((_, false)) => pending().await,
                _ => {}
            }
            let records = payload["Records"].as_array().unwrap();
            for record in records.iter().take(TAKES) {
                let taken = (sink.to_owned(), record.clone());
                self.taken.lock().unwrap().push(taken);
            }
            match cut {
                Some((Kind::Fails, true)) => return failed(),
                Some((_, true)) => pending().await,
                _ => {}
            }
            let left = records
                .get(TAKES)
                .map(|record| &record["dynamodb"]["SequenceNumber"]);
            let left = left.map(|number| json!({"itemIdentifier": number}));
            Ok(json!({"batchItemFailures": Vec::from_iter(left)}).to_string())
        }
        .boxed()
    }
}

struct World {
    store: Store,
    spool: Spool,
    sinks: Sinks,
    clock: Clock,
}

impl World {
    async fn new(cut: Option<Cut>) -> Self {
        let store = Store::new();
        let objects = store.objects("");
        for other in OTHERS {
            objects.put(other, b"{}\n".to_vec()).await.unwrap();
        }
        for (sink, numbers) in WAITING {
            let lines: String = numbers.iter().map(|n| insert("s", *n, *n) + "\n").collect();
            let name = name(&numbers[0].to_string(), lines.as_bytes(), "ndjson");
            let name = format!("spool/{sink}/{name}");
            objects.put(&name, lines.into_bytes()).await.unwrap();
        }
        let sinks = Sinks::default();
        sinks.script.lock().unwrap().cut = cut;
        let script = Arc::clone(&sinks.script);
        store.plan(move |method, key| {
            let of = key.split('/').nth(1).unwrap_or_default();
            let delayed = |before, after| Fate::Delayed { before, after };
            match script.lock().unwrap().meet(of, method) {
                None => Fate::Served,
                Some((Kind::Fails, false)) => Fate::Dropped,
                Some((Kind::Fails, true)) => Fate::AnswerLost,
                Some((_, false)) => delayed(FOREVER, Duration::ZERO),
                Some((_, true)) => delayed(Duration::ZERO, FOREVER),
            }
        });
        Self {
            spool: Spool::new(store.objects("spool")),
            store,
            sinks,
            clock: Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_132_800)),
        }
    }

    async fn run(&self) -> Report {
        drain(&self.spool, &self.sinks, &self.clock, options(&self.clock, false)).await
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.sinks.script.lock().unwrap()
    }

    /// The numbers of a sink's records, in the order in which they were first taken.
    fn delivered(&self, sink: &str) -> Vec<u32> {
        let mut numbers = Vec::new();
        for (to, record) in self.sinks.taken.lock().unwrap().iter() {
            let number = record["dynamodb"]["SequenceNumber"].as_str().unwrap();
            let number: u32 = number.parse().unwrap();
            let sent: Value = serde_json::from_str(&insert("s", number, number)).unwrap();
            assert_eq!(*record, sent);
            if to == sink && !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        numbers
    }

    /// Nothing is gone that was not delivered, and nothing came out of turn.
    async fn nothing_is_lost(&self, cut: &Cut) {
        // By a wire of its own: it is not the run that asks.
        let objects = self.store.beside().objects("");
        let there = names(&objects).await;
        let other = |name: &&str| !there.iter().any(|there| there == name);
        assert_eq!(OTHERS.iter().copied().find(other), None, "{cut:?}");
        let mut kept = BTreeMap::<&str, String>::new();
        for name in &there {
            if let Some(sink) = name.strip_prefix("spool/").and_then(|name| name.split_once('/')) {
                let body = objects.get(name).await.unwrap().unwrap().body;
                *kept.entry(sink.0).or_default() += &String::from_utf8(body).unwrap();
            }
        }
        for (sink, due) in ORDER {
            let delivered = self.delivered(sink);
            assert!(due.starts_with(&delivered), "{cut:?}: {sink} got {delivered:?}");
            let kept = kept.get(sink).map(String::as_str).unwrap_or_default();
            for number in &due[delivered.len()..] {
                let line = insert("s", *number, *number);
                assert!(kept.contains(&line), "{cut:?}: {number} of {sink} is lost");
            }
        }
    }

    /// As after a run that nothing cut.
    async fn all_is_drained(&self, cut: Option<&Cut>) {
        assert_eq!(names(&self.store.beside().objects("")).await, OTHERS, "{cut:?}");
        for (sink, due) in ORDER {
            assert_eq!(self.delivered(sink), due, "{cut:?}: {sink}");
        }
    }
}

fn failed(report: &Report) -> bool {
    report.error.is_some() || report.sinks.values().any(|sink| sink.error.is_some())
}

/// All that a whole run sends, by what it is for.
fn sent() -> BTreeMap<String, Vec<String>> {
    let object = ["LIST", "GET", "DELETE"];
    let queue = |objects| [object.repeat(objects), vec!["LIST"; 2]].concat();
    [
        ("", vec!["LIST"; 4]),
        ("a", queue(3)),
        ("b", queue(2)),
        ("forward for a", vec!["invoke"; 2 + 1 + 2]),
        ("forward for b", vec!["invoke"; 1 + 2]),
    ]
    .map(|(of, sent)| (of.to_owned(), sent.into_iter().map(str::to_owned).collect()))
    .into()
}

#[tokio::test(start_paused = true)]
async fn a_whole_run_sends_what_is_cut_below() {
    let world = World::new(None).await;
    let report = world.run().await;
    assert!(!failed(&report), "{report:?}");
    let counts = |sink: &str| (report.sinks[sink].objects, report.sinks[sink].records);
    assert_eq!((counts("a"), counts("b")), ((3, 7), (2, 5)));
    world.all_is_drained(None).await;
    assert_eq!(world.sinks.taken.lock().unwrap().len(), 12);
    assert_eq!(world.script().seen, sent());
}

/// Cuts a run there, and another one goes on.
async fn cut_and_run_again(cut: Cut) {
    let world = World::new(Some(cut.clone())).await;
    // No time passes but what is waited for.
    let run = world.clock.timeout(Duration::from_secs(1), world.run());
    match cut.kind {
        Kind::Ends => assert!(run.await.is_err(), "{cut:?}"),
        Kind::Fails => assert!(failed(&run.await.unwrap()), "{cut:?}"),
        Kind::Hangs => assert!(failed(&world.run().await), "{cut:?}"),
    }
    assert!(world.script().met, "{cut:?}");
    world.nothing_is_lost(&cut).await;
    *world.script() = Script::default();
    let report = world.run().await;
    assert!(!failed(&report), "{cut:?}: {report:?}");
    let left = report.sinks.values().filter_map(|sink| sink.left.as_ref());
    assert_eq!(left.map(|left| left.objects).sum::<usize>(), 0, "{cut:?}");
    world.all_is_drained(Some(&cut)).await;
}

/// Each request and invocation, before and after it takes effect.
async fn cut_everywhere(kind: Kind) {
    let mut cuts = 0;
    for (of, sent) in sent() {
        for at in 0..sent.len() {
            for after in [false, true] {
                let of = of.clone();
                let cut = Cut { of, at, after, kind };
                cut_and_run_again(cut).await;
                cuts += 1;
            }
        }
    }
    assert_eq!(cuts, 2 * (4 + 11 + 8 + 5 + 3));
}

#[tokio::test(start_paused = true)]
async fn cut_by_a_failure_anywhere_and_run_again_nothing_is_lost() {
    cut_everywhere(Kind::Fails).await;
}

#[tokio::test(start_paused = true)]
async fn cut_by_silence_anywhere_and_run_again_nothing_is_lost() {
    cut_everywhere(Kind::Hangs).await;
}

#[tokio::test(start_paused = true)]
async fn ended_anywhere_and_run_again_nothing_is_lost() {
    cut_everywhere(Kind::Ends).await;
}
