//! Versions of the configuration: each record goes by the one that was in force when it was made.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tidewatch::clock::Clock;
use tidewatch::config::{Applied, Candidate, KEPT, Versions, VersionsError};
use tidewatch::forward::{Forwarder, HandleError, Handled, InProcess, Spool, StartError, drain};
use tidewatch::objects::Objects;
use tidewatch::random::Random;

use super::store::Store;
use super::support::{Behaviour, Fake, event_line, handed, insert, payload, read_lines};

/// Second 0 of [`insert`]'s records.
const ZERO: u64 = 1_795_168_800;

/// By their sinks' names, in the order in which they were opened.
type Fakes = Vec<(String, Arc<Fake>)>;

pub(super) struct World {
    dir: tempfile::TempDir,
    pub(super) store: Store,
    in_store: bool,
    pub(super) clock: Clock,
    fakes: Arc<Mutex<Fakes>>,
}

impl World {
    /// 100 s before second 0.
    pub(super) fn new(in_store: bool) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            store: Store::new(),
            in_store,
            clock: Clock::simulated(SystemTime::UNIX_EPOCH + Duration::from_secs(ZERO - 100)),
            fakes: Arc::default(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn versions(&self) -> Versions {
        let objects = match self.in_store {
            true => self.store.objects("config"),
            false => Objects::dir(self.path("config"), Random::seeded(3)),
        };
        Versions::new(objects, self.clock.clone(), [])
    }

    /// Applies sinks, each a line with `PATH` for the directory, from a second on.
    pub(super) async fn apply(&self, sinks: &str, from: u64) -> Applied {
        let document = format!("quarantine: file://PATH/quarantine\nsinks: {{ {sinks} }}");
        self.document(&document, from).await.unwrap()
    }

    pub(super) async fn document(&self, document: &str, from: u64) -> Result<Applied, VersionsError> {
        let document = document.replace("PATH", self.dir.path().to_str().unwrap());
        self.versions()
            .apply(Candidate {
                document: &document,
                place: "test",
                effective_from: SystemTime::UNIX_EPOCH + Duration::from_secs(ZERO + from),
                forget: &BTreeSet::new(),
                move_spool: false,
                pass_over: false,
                dry_run: false,
            })
            .await
    }

    pub(super) async fn starts(&self) -> Result<Forwarder, StartError> {
        Forwarder::start_versions(self.versions(), self.clock.clone(), Random::seeded(1)).await
    }

    pub(super) async fn forwarder(&self) -> Arc<Forwarder> {
        Arc::new(self.starts().await.unwrap())
    }

    /// With fakes in place of the sinks.
    async fn faked(&self) -> Arc<Forwarder> {
        let fakes = Arc::clone(&self.fakes);
        let start = Forwarder::start_versions(self.versions(), self.clock.clone(), Random::seeded(1));
        Arc::new(start.await.unwrap().map_sinks(move |name, _| {
            let fake = Arc::new(Fake::default());
            fakes.lock().unwrap().push((name.to_owned(), Arc::clone(&fake)));
            fake
        }))
    }

    fn fake(&self, at: usize, name: &str) -> Arc<Fake> {
        let fakes = self.fakes.lock().unwrap();
        assert_eq!(fakes[at].0, name);
        Arc::clone(&fakes[at].1)
    }

    pub(super) async fn handle(&self, forwarder: &Forwarder, payload: &str) -> Result<Handled, HandleError> {
        let deadline = self.clock.instant() + Duration::from_secs(300);
        forwarder.handle(payload, deadline).await
    }

    async fn drain(&self, forwarder: &Arc<Forwarder>) -> drain::Report {
        let spool = Spool::new(Objects::dir(self.path("spool"), Random::seeded(2)));
        let forward = InProcess::new(
            Arc::clone(forwarder),
            self.clock.clone(),
            Duration::from_secs(300),
        );
        let options = drain::Options {
            last_call: self.clock.instant() + Duration::from_secs(60),
            deadline: self.clock.instant() + Duration::from_secs(120),
            dry_run: false,
        };
        drain::drain(&spool, &forward, &self.clock, options).await
    }

    pub(super) fn lines(&self, sink: &str) -> Vec<String> {
        read_lines(&self.path(sink), "ndjson").concat()
    }
}

pub(super) fn records(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|n| insert("s", n, n)).collect()
}

pub(super) fn lines(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|n| event_line("s", n)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_cut_where_a_version_begins_and_so_it_is_again() {
    for in_store in [false, true] {
        let world = World::new(in_store);
        let first = world.apply("a: { uri: 'file://PATH/a' }", 0).await;
        let forwarder = world.forwarder().await;
        let second = world.apply("b: { uri: 'file://PATH/b' }", 3).await;
        assert_eq!(second.draining, ["a"]);
        let batch = payload(&records(1..=5));
        let handled = world.handle(&forwarder, &batch).await.unwrap();
        assert_eq!((handled.first_failed, handled.report.delivered), (None, 5));
        assert_eq!(handled.report.config, Some(first.version));
        assert_eq!((world.lines("a"), world.lines("b")), (lines(1..=2), lines(3..=5)));
        // Later, in another environment, after more versions: the same.
        drop(forwarder);
        world.clock.sleep(Duration::from_secs(200)).await;
        let third = world.apply("c: { uri: 'file://PATH/c' }", 500).await;
        let handled = world.handle(&*world.forwarder().await, &batch).await.unwrap();
        assert_eq!(handled.report.config, Some(second.version));
        assert_eq!((world.lines("a"), world.lines("b")), (lines(1..=2), lines(3..=5)));
        assert!(world.lines("c").is_empty() && third.before.is_some());
        // The removed sink has no part in what has nothing for it.
        let forwarder = world.forwarder().await;
        let handled = world.handle(&forwarder, &payload(&records(6..=6))).await.unwrap();
        assert_eq!(handled.report.sinks.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(world.lines("a"), lines(1..=2));
    }
}

#[tokio::test(start_paused = true)]
async fn filter_format_and_what_is_unproven_are_the_versions() {
    let world = World::new(false);
    let sink = |format: &str, denied: u32, unproven: &str| {
        format!(
            "quarantine: file://PATH/quarantine\nmodify_unproven: {unproven}\nsinks: {{ a: {{ uri: 'file://PATH/a', \
             format: {format}, filter: {{ deny: [{{ labels: {{ ei: ['{denied}'] }} }}] }} }} }}"
        )
    };
    world.document(&sink("event", 1, "skip"), 0).await.unwrap();
    world.document(&sink("envelope", 4, "forward"), 3).await.unwrap();
    let forwarder = world.forwarder().await;
    let mut batch = records(1..=5);
    for n in [2, 5] {
        let old = insert("old", n, 10 + n).replace("INSERT", "MODIFY");
        let created = format!(r#""CreatedAt":{{"N":"{}"}}"#, ZERO + u64::from(n));
        assert!(old.contains(&created));
        batch.push(old.replace(&created, r#""CreatedAt":{"N":"1000"}"#));
    }
    let handled = world.handle(&forwarder, &payload(&batch)).await.unwrap();
    assert_eq!(
        (
            handled.report.delivered,
            handled.report.filtered,
            handled.report.skipped()
        ),
        (4, 2, 1)
    );
    assert_eq!(handled.report.sinks["a"].filtered, 2);
    let lines = world.lines("a");
    assert_eq!(lines[0], event_line("s", 2));
    let enveloped: Vec<String> = lines[1..]
        .iter()
        .map(|line| {
            let envelope: serde_json::Value = serde_json::from_str(line).unwrap();
            envelope["event"]["uid"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(enveloped, ["uid-s-3", "uid-s-5", "uid-old-5"]);
}

const SPOOLED: &str = "quarantine: file://PATH/quarantine\nspool: file://PATH/spool\nsinks: ";

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_removed_sink_is_drained_however_late() {
    let world = World::new(false);
    let both = format!("{SPOOLED}{{ a: {{ uri: 'file://PATH/a' }}, b: {{ uri: 'file://PATH/b' }} }}");
    world.document(&both, 0).await.unwrap();
    let forwarder = world.faked().await;
    world.fake(0, "a").set(Behaviour::Fail);
    let handled = world.handle(&forwarder, &payload(&records(1..=2))).await.unwrap();
    assert_eq!((handled.first_failed, handled.report.spooled), (None, 2));
    let one = format!("{SPOOLED}{{ b: {{ uri: 'file://PATH/b' }} }}");
    world.document(&one, 3).await.unwrap();
    world.handle(&forwarder, &payload(&records(3..=4))).await.unwrap();
    assert_eq!(*world.fake(1, "b").lines.lock().unwrap(), lines(1..=4));
    assert!(world.fake(0, "a").lines.lock().unwrap().is_empty());
    // No version within reach has it any more.
    world.clock.sleep(KEPT + Duration::from_secs(200)).await;
    let from = KEPT.as_secs() + 600;
    let applied = world.document(&one, from).await.unwrap();
    assert_eq!(applied.draining, ["a"]);
    drop(forwarder);
    let forwarder = world.faked().await;
    let report = world.drain(&forwarder).await;
    assert_eq!(
        (
            report.sinks["a"].records,
            report.sinks["a"].left.as_ref().unwrap().objects
        ),
        (2, 0)
    );
    let drained = world
        .fakes
        .lock()
        .unwrap()
        .iter()
        .rfind(|(name, _)| name == "a")
        .cloned()
        .unwrap();
    assert_eq!(*drained.1.lines.lock().unwrap(), lines(1..=2));
    let unknown = handed(r#"{"origin":"drain","sink":"c"}"#, &records(1..=1));
    let unknown = world.handle(&forwarder, &unknown).await;
    assert_eq!(unknown, Err(HandleError::UnknownSink("c".to_owned())));
}

/// What was parked has passed its filter; without a creation time it would meet another when it is drained.
#[tokio::test(start_paused = true)]
async fn what_was_parked_is_not_filtered_again() {
    let world = World::new(false);
    let sinks =
        |filter: &str| format!("{SPOOLED}{{ a: {{ uri: 'file://PATH/a', filter: {{ {filter} }} }} }}");
    world.document(&sinks(""), 0).await.unwrap();
    let forwarder = world.faked().await;
    world.fake(0, "a").set(Behaviour::Fail);
    let timeless = insert("s", 1, 1).replace(r#""ApproximateCreationDateTime":1795168801.25,"#, "");
    world
        .handle(&forwarder, &payload(std::slice::from_ref(&timeless)))
        .await
        .unwrap();
    world
        .document(&sinks("deny: [{ types: ['*'] }]"), 3)
        .await
        .unwrap();
    world.clock.sleep(Duration::from_secs(200)).await;
    world.fake(0, "a").set(Behaviour::Work);
    let handled = world
        .handle(&forwarder, &payload(&[timeless.replace("uid-s-1", "uid-s-2")]))
        .await;
    assert_eq!(handled.unwrap().report.filtered, 1);
    world.drain(&forwarder).await;
    assert_eq!(*world.fake(0, "a").lines.lock().unwrap(), lines(1..=1));
}

/// A sink that goes elsewhere: two places, one name in the spool and in the report.
#[tokio::test(start_paused = true)]
async fn a_moved_sink_is_two_places_with_one_queue() {
    let world = World::new(false);
    let sinks = |dir: &str| format!("{SPOOLED}{{ a: {{ uri: 'file://PATH/{dir}' }} }}");
    world.document(&sinks("one"), 0).await.unwrap();
    let forwarder = world.faked().await;
    world.document(&sinks("two"), 3).await.unwrap();
    world.fake(0, "a").set(Behaviour::Fail);
    let handled = world.handle(&forwarder, &payload(&records(1..=5))).await.unwrap();
    let report = &handled.report.sinks["a"];
    assert_eq!((report.spooled, report.delivered), (2, 3), "{report:?}");
    // While something waits under its name all of it waits.
    let handled = world.handle(&forwarder, &payload(&records(6..=7))).await.unwrap();
    assert_eq!(handled.report.sinks["a"].spooled, 2);
    world.fake(0, "a").set(Behaviour::Work);
    world.drain(&forwarder).await;
    assert_eq!(*world.fake(0, "a").lines.lock().unwrap(), lines(1..=2));
    assert_eq!(*world.fake(1, "a").lines.lock().unwrap(), lines(3..=7));
}
