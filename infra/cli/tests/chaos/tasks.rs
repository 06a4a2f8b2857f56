//! Drain and lake, run again and again, some killed and some twice at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tidewatch::forward::drain::{self, drain};
use tidewatch::forward::{Invoke, InvokeError, Spool};
use tidewatch::lake::{self, Lake, Limits};

use crate::engine::Fate;
use crate::verdict;
use crate::world::{INVOCATION, Plant, World};

/// How often a run is polled before it is killed, at most: most have not ended then.
const MOST_POLLS: u64 = 40;
/// What becomes of the tasks.
pub(crate) const FATES: [&str; 5] = [
    "drains killed",
    "drains twice at once",
    "lake runs killed",
    "lake runs twice at once",
    "records drained",
];

/// Records that drains handed over, by sink: how many, and which.
pub(crate) type Handed = BTreeMap<String, (u64, BTreeSet<String>)>;

/// The function, to whom drains hand over.
struct Hand {
    world: Arc<World>,
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hand")
    }
}

impl Invoke for Hand {
    fn invoke(&self, payload: String) -> BoxFuture<'_, Result<String, InvokeError>> {
        async move {
            let world = &self.world;
            let handed: Value = serde_json::from_str(&payload).unwrap();
            let sink = handed["tidewatch"]["sink"].as_str().unwrap();
            {
                let mut all = world.handed.lock().unwrap();
                let (times, which) = all.entry(sink.to_owned()).or_default();
                for record in handed["Records"].as_array().unwrap() {
                    *times += 1;
                    which.insert(record["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned());
                }
            }
            if world.planted(Plant::SpoolDeletedEarly) {
                let queue = world.store.folder().join("spool").join(sink);
                if let Some(first) = verdict::files(&queue, ".ndjson").first() {
                    std::fs::remove_file(first).unwrap();
                }
            }
            let answer = (world.function)(payload, world.clock.now() + INVOCATION);
            answer.await.map_err(InvokeError)
        }
        .boxed()
    }
}

impl World {
    pub(crate) async fn drain(self: &Arc<Self>) -> drain::Report {
        let wire = self.wire();
        let hand = Hand {
            world: Arc::clone(self),
        };
        let now = self.clock.instant();
        let options = drain::Options {
            last_call: now + INVOCATION,
            deadline: now + 2 * INVOCATION,
            dry_run: false,
        };
        let spool = Spool::new(wire.objects("spool"));
        let report = drain(&spool, &hand, &self.clock, options).await;
        for sink in report.sinks.values() {
            self.counted.add("records drained", sink.records);
        }
        report
    }

    /// Runs the lake task.
    pub(crate) async fn file(self: &Arc<Self>) -> Result<lake::Report, lake::Failed> {
        let wire = self.wire();
        match self.options.plant {
            Some(Plant::LakeInputsDeletedEarly) => {
                let (folder, mut read, mut cut) = (self.store.folder(), Vec::new(), true);
                wire.plan(move |method, key| {
                    if method == "GET" && key.starts_with("lake/_staging/") {
                        read.push(key.to_owned());
                    } else if method == "PUT" && key.ends_with(".parquet") && std::mem::take(&mut cut) {
                        for key in read.drain(..) {
                            let _ = std::fs::remove_file(folder.join(key));
                        }
                        return Fate::Dropped;
                    }
                    Fate::Served
                });
            }
            Some(Plant::SidecarsLost) => wire.plan(|method, key| {
                if method == "PUT" && key.starts_with("lake/_ids/") {
                    return Fate::Answered(200, String::new());
                }
                Fate::Served
            }),
            _ => {}
        }
        let limits = Limits {
            inputs: 100,
            ..Limits::default()
        };
        let lake = Lake::new(
            wire.objects("lake"),
            limits,
            self.clock.clone(),
            self.random.clone(),
        );
        let ran = lake.run(self.clock.instant() + INVOCATION).await;
        if let Ok(report) = &ran {
            self.counted.add("lake: rows", report.rows);
            let repeats = usize::try_from(report.repeats).unwrap();
            self.counted.add("lake: repeats dropped", repeats);
        }
        ran
    }

    /// Runs a task again and again, now and then twice at once, and kills some.
    pub(crate) async fn task<F: Future<Output = ()> + Send + 'static>(
        self: Arc<Self>,
        each: Duration,
        (killed, twice): (&'static str, &'static str),
        work: impl Fn(Arc<Self>) -> F,
    ) {
        for run in 0.. {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            if self.options.calm {
                self.clock.sleep(each).await;
                work(Arc::clone(&self)).await;
                continue;
            }
            self.wait(2 * each).await;
            match run % 4 {
                0 => {
                    // The first time early, so that it does happen.
                    let most = if self.counted.of(killed) == 0 {
                        4
                    } else {
                        MOST_POLLS
                    };
                    let polls = 1 + self.random.below(most);
                    if !polled(work(Arc::clone(&self)), polls).await {
                        self.counted.add(killed, 1);
                    }
                }
                1 => {
                    let other = tokio::spawn(work(Arc::clone(&self)));
                    work(Arc::clone(&self)).await;
                    other.await.unwrap();
                    self.counted.add(twice, 1);
                }
                _ => work(Arc::clone(&self)).await,
            }
        }
    }
}

/// Polls work so many times, then drops it. Answers whether it had ended.
async fn polled(work: impl Future<Output = ()>, mut polls: u64) -> bool {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(false);
        }
        polls -= 1;
        work.as_mut().poll(context).map(|()| true)
    })
    .await
}
