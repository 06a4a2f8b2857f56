//! What the pipeline's tests share: a forwarder over sinks that misbehave on demand, and records to give it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::{
    Forwarder, HandleError, Handled, InProcess, Outgoing, Sink, SinkError, Spool, drain,
};
use tidewatch::objects::Objects;
use tidewatch::random::Random;

/// How a fake sink behaves.
#[derive(Debug, Clone, Copy)]
pub enum Behaviour {
    Work,
    Fail,
    /// Takes this many records in all, two a call, then fails.
    FailAfter(usize),
    /// Fails so many times, then works.
    FailTimes(usize),
    Hang,
    /// Takes nothing and says that it took so many.
    Claim(usize),
    /// Panics on a call whose lines contain this.
    PanicOn(&'static str),
}

/// A sink that keeps lines in memory.
#[derive(Debug)]
pub struct Fake {
    pub behaviour: Mutex<Behaviour>,
    pub lines: Mutex<Vec<String>>,
    pub calls: AtomicUsize,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            behaviour: Mutex::new(Behaviour::Work),
            lines: Mutex::default(),
            calls: AtomicUsize::new(0),
        }
    }
}

impl Fake {
    pub fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }
}

impl Sink for Fake {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        async move {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            let text = |record: &Outgoing<'_>| String::from_utf8(record.line.to_vec()).unwrap();
            let behaviour = *self.behaviour.lock().unwrap();
            let take = match behaviour {
                Behaviour::Work => records.len(),
                Behaviour::FailTimes(times) if call >= times => records.len(),
                Behaviour::FailAfter(most) => {
                    let left = most - self.lines.lock().unwrap().len();
                    left.min(2).min(records.len())
                }
                Behaviour::Claim(count) => {
                    assert!(call < 10_000, "asked without a pause");
                    return Ok(count);
                }
                Behaviour::Hang => std::future::pending().await,
                Behaviour::PanicOn(what) => {
                    assert!(
                        !records.iter().any(|record| text(record).contains(what)),
                        "planted"
                    );
                    records.len()
                }
                Behaviour::Fail | Behaviour::FailTimes(_) => 0,
            };
            if take == 0 {
                return Err(SinkError("down".to_owned()));
            }
            self.lines
                .lock()
                .unwrap()
                .extend(records[..take].iter().map(text));
            Ok(take)
        }
        .boxed()
    }
}

/// A forwarder with its directory.
pub struct Setup {
    pub forwarder: Arc<Forwarder>,
    pub dir: tempfile::TempDir,
    fakes: HashMap<String, Arc<Fake>>,
    clock: Clock,
}

impl Setup {
    /// One fake sink, `a`.
    pub async fn new() -> Self {
        Self::with(&["a"]).await
    }

    pub async fn with(names: &[&str]) -> Self {
        Self::build(names, "event", true, "").await
    }

    pub async fn formatted(format: &str) -> Self {
        Self::build(&["a"], format, true, "").await
    }

    /// One fake sink, `a`, and a further setting.
    pub async fn configured(setting: &str) -> Self {
        Self::build(&["a"], "event", true, setting).await
    }

    /// A real file sink, `a`.
    pub async fn file() -> Self {
        Self::build(&["a"], "event", false, "").await
    }

    /// Fake sinks, each with its settings, and a spool and a spill.
    pub async fn spooled(sinks: &[(&str, &str)]) -> Self {
        let sinks: Vec<String> = sinks
            .iter()
            .map(|(name, settings)| format!("  {name}: {{ uri: 'file://PATH/{name}', {settings} }}"))
            .collect();
        let places = "spool: file://PATH/spool\nspill: file://PATH/spill";
        Self::document(&format!("sinks:\n{}\n{places}", sinks.join("\n")), true).await
    }

    async fn build(names: &[&str], format: &str, fake: bool, setting: &str) -> Self {
        let sinks: Vec<String> = names
            .iter()
            .map(|name| format!("  {name}: {{ uri: 'file://PATH/{name}', format: {format} }}"))
            .collect();
        Self::document(&format!("sinks:\n{}\n{setting}", sinks.join("\n")), fake).await
    }

    /// By a document without a quarantine; `PATH` in it is the directory.
    async fn document(document: &str, fake: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let document = format!("quarantine: file://PATH/quarantine\n{document}\n").replace("PATH", path);
        let config = Config::parse(&document, "test", []).unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_632_860);
        let clock = Clock::simulated(start);
        let fakes: Arc<Mutex<HashMap<String, Arc<Fake>>>> = Arc::default();
        let forwarder = Forwarder::start(&config, clock.clone(), Random::seeded(1))
            .await
            .unwrap();
        let made = Arc::clone(&fakes);
        let forwarder = forwarder.map_sinks(move |name, sink| {
            if !fake {
                return sink;
            }
            let fake = Arc::new(Fake::default());
            made.lock().unwrap().insert(name.to_owned(), Arc::clone(&fake));
            fake
        });
        let fakes = fakes.lock().unwrap().clone();
        Self {
            forwarder: Arc::new(forwarder),
            dir,
            fakes,
            clock,
        }
    }

    /// Drains the spool, with a minute to do it.
    pub async fn drain(&self) -> drain::Report {
        self.drain_as(false).await
    }

    pub async fn drain_as(&self, dry_run: bool) -> drain::Report {
        let objects = Objects::dir(self.dir.path().join("spool"), Random::seeded(2));
        let spool = Spool::new(objects);
        let forward = InProcess::new(
            Arc::clone(&self.forwarder),
            self.clock.clone(),
            Duration::from_secs(300),
        );
        let options = drain::Options {
            last_call: self.clock.instant() + Duration::from_secs(60),
            deadline: self.clock.instant() + Duration::from_secs(120),
            dry_run,
        };
        drain::drain(&spool, &forward, &self.clock, options).await
    }

    /// A folder below the setup's.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Names and lines of the objects of a folder below the setup's.
    pub fn objects(&self, folder: &str) -> Vec<(String, Vec<String>)> {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join(folder)) else {
            return Vec::new();
        };
        let mut objects: Vec<(String, Vec<String>)> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, text.lines().map(str::to_owned).collect())
            })
            .collect();
        objects.sort();
        objects
    }

    /// Puts a file where a directory was, or the directory there again.
    pub fn break_place(&self, folder: &str, broken: bool) {
        let path = self.dir.path().join(folder);
        let aside = self.dir.path().join(format!("{folder}-aside"));
        if broken {
            std::fs::rename(&path, &aside).unwrap();
            std::fs::write(&path, "").unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
            std::fs::rename(&aside, &path).unwrap();
        }
    }

    pub async fn handle(&self, payload: &str) -> Result<Handled, HandleError> {
        self.handle_within(payload, Duration::from_secs(300)).await
    }

    pub async fn handle_within(&self, payload: &str, time: Duration) -> Result<Handled, HandleError> {
        self.forwarder.handle(payload, self.clock.instant() + time).await
    }

    pub fn fake(&self, name: &str) -> &Fake {
        &self.fakes[name]
    }

    /// Lines that a sink holds; of a file sink those of all days, by day.
    pub fn lines(&self, name: &str) -> Vec<String> {
        if let Some(fake) = self.fakes.get(name) {
            return fake.lines.lock().unwrap().clone();
        }
        read_lines(&self.dir.path().join(name), "ndjson").concat()
    }

    pub fn quarantined(&self) -> Vec<serde_json::Value> {
        let files = read_lines(&self.dir.path().join("quarantine"), "ndjson");
        files
            .concat()
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Puts a file where the quarantine's directory was.
    pub fn break_quarantine(&self) {
        let path = self.dir.path().join("quarantine");
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::write(&path, "").unwrap();
    }
}

/// Lines of each file of a directory with the extension, files by name.
pub fn read_lines(dir: &std::path::Path, extension: &str) -> Vec<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            std::fs::read_to_string(path)
                .unwrap()
                .lines()
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

/// A Lambda event of some raw records.
pub fn payload(records: &[String]) -> String {
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

/// The stream record of an inserted event; created at second `index` and a quarter of 2026-11-20 10:00 UTC.
pub fn insert(session: &str, index: u32, number: u32) -> String {
    let created = 1_795_168_800 + index;
    format!(
        r#"{{"eventID":"e{number}","eventName":"INSERT","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-north-1","dynamodb":{{"ApproximateCreationDateTime":{created}.25,"Keys":{{"SessionID":{{"S":"{session}"}},"EventIndex":{{"N":"{index}"}}}},"NewImage":{{"SessionID":{{"S":"{session}"}},"EventIndex":{{"N":"{index}"}},"EventType":{{"S":"session.command"}},"CreatedAt":{{"N":"{created}"}},"FieldsMap":{{"M":{{"uid":{{"S":"uid-{session}-{index}"}},"event":{{"S":"session.command"}},"ei":{{"N":"{index}"}},"time":{{"S":"2026-11-20T10:00:00Z"}}}}}}}},"SequenceNumber":"{number}","StreamViewType":"NEW_IMAGE"}},"eventSourceARN":"arn:aws:dynamodb:eu-north-1:1:table/audit/stream/1"}}"#
    )
}

/// The same from a task.
pub fn handed(header: &str, records: &[String]) -> String {
    format!(r#"{{"tidewatch":{header},"Records":[{}]}}"#, records.join(","))
}

/// The line of [`insert`]'s event.
pub fn event_line(session: &str, index: u32) -> String {
    format!(
        r#"{{"ei":{index},"event":"session.command","time":"2026-11-20T10:00:00Z","uid":"uid-{session}-{index}"}}"#
    )
}
