//! `tidewatch state watch` and `tidewatch watch-log` as an operator types them, against the embedded engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "table/machine.rs"]
#[allow(dead_code)] // The table commands' tests use the rest.
mod machine;

use std::time::{Duration, SystemTime};

use machine::{Ended, Machine};
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, Item, Key, Layout};
use tidewatch::watch::feed::Feed;
use tidewatch::watch::log::{Appender, Inline, Log, Pace};
use tidewatch::watch::{
    Cause, Filter, Notice, Operation, Operations, Prefix, Settings, WatchParams, Watches,
};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

const TABLE: &str = "watch-commands-state";
const LOGS: &str = "watch-commands-logs";

/// A machine with Teleport's table, and a backend on it.
async fn machine() -> (Machine, Backend) {
    let machine = Machine::start().await;
    let config = Config {
        table_name: TABLE.to_owned(),
        layout: Layout::Teleport,
        ..Config::default()
    };
    let backend = Backend::with_client(&machine.client(), config, Clock::system(), Random::system())
        .await
        .unwrap();
    (machine, backend)
}

fn teleport(machine: &Machine, arguments: &str) -> String {
    let url = machine.url();
    format!("state watch {arguments} --table {TABLE} --layout teleport --for 60s --endpoint-url {url}")
}

async fn watch(machine: &Machine, arguments: &str) -> Ended {
    machine.bare(&teleport(machine, arguments)).await
}

fn lines(ended: &Ended) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    ended.out.lines().map(line).collect()
}

/// The changes, as operation and key.
fn changes(lines: &[Value]) -> Vec<String> {
    let events = lines.iter().filter(|line| line["type"] == "event");
    events
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap();
            format!("{} {}", text("operation"), text("key"))
        })
        .collect()
}

/// The token in the last line.
fn position(lines: &[Value]) -> String {
    let last = lines.last().unwrap();
    assert_eq!(last["type"], "position", "{lines:?}");
    last["position"].as_str().unwrap().to_owned()
}

/// A watcher that runs while something is done.
struct Running {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(machine: &Machine, arguments: &str) -> Self {
        let mut child = machine
            .command(&teleport(machine, &format!("{arguments} --json")))
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, out }
    }

    /// Its lines up to the first of a type.
    async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut read = Vec::new();
        loop {
            let line = self.out.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("no {kind}: {read:?}"));
            read.push(serde_json::from_str::<Value>(&line).unwrap());
            if read.last().unwrap()["type"] == kind {
                return read;
            }
        }
    }

    async fn end(mut self) -> i32 {
        self.child.wait().await.unwrap().code().unwrap()
    }
}

#[tokio::test]
async fn changes_of_the_stream_are_printed_and_gone_on_from() {
    let (machine, backend) = machine().await;
    let mut running = Running::start(&machine, "/n --limit 3");
    let begun = running.until("watching").await;
    assert_eq!(
        begun,
        [json!({"type": "watching", "source": "stream", "table": TABLE})]
    );
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let lease = backend
        .put(&Item::new("/n/a", "topsecret").expiring(expires))
        .await
        .unwrap();
    backend.put(&Item::new("/nx", "x")).await.unwrap();
    backend.delete(&Key::from("/n/a")).await.unwrap();
    backend.put(&Item::new("/n/b", "x")).await.unwrap();
    let lines = running.until("position").await;
    assert_eq!(running.end().await, 0);
    assert_eq!(changes(&lines), ["put /n/a", "delete /n/a", "put /n/b"]);
    let mut put = lines[0].clone();
    let created = put["created"].take().as_u64().unwrap();
    assert!(created > 1_700_000_000, "{created}");
    assert_eq!(
        put,
        json!({
            "type": "event", "operation": "put", "key": "/n/a", "created": null, "expires": 4_000_000_000_u64,
            "revision": lease.revision.as_str(), "bytes": 9,
        })
    );
    assert_eq!(lines[1]["cause"], "deleted");
    assert_eq!(lines[1]["previous"]["bytes"], 9);
    assert!(!format!("{lines:?}").contains("value"), "{lines:?}");

    backend.put(&Item::new("/n/c", "x")).await.unwrap();
    let from = format!("/n --limit 1 --json --from {}", position(&lines));
    let on = self::lines(&watch(&machine, &from).await.expect(0));
    assert_eq!(changes(&on), ["put /n/c"]);
}

#[tokio::test]
async fn what_is_watched_is_chosen_and_values_are_hidden() {
    let (machine, backend) = machine().await;
    for key in ["/n/a", "/nx"] {
        backend.put(&Item::new(key, "topsecret")).await.unwrap();
    }
    backend.delete(&Key::from("/n/a")).await.unwrap();
    let text = watch(&machine, "/n --beginning --limit 2").await.expect(0);
    let shown: Vec<&str> = text.out.lines().collect();
    assert!(
        shown.len() == 2 && shown[0].contains("put      /n/a  9 bytes, expires never, revision "),
        "{}",
        text.out
    );
    assert!(shown[1].ends_with("delete   /n/a  deleted"), "{}", text.out);
    assert!(!text.out.contains("topsecret"), "{}", text.out);
    assert!(text.err.contains("go on with --from "), "{}", text.err);
    let plain = watch(&machine, "/n --plain --beginning --limit 2 --reveal")
        .await
        .expect(0);
    assert!(
        plain.out.contains("/nx") && plain.out.contains("topsecret"),
        "{}",
        plain.out
    );
    let deletes = watch(&machine, "--operations deletes --beginning --limit 1 --json").await;
    assert_eq!(changes(&lines(&deletes.expect(0))), ["delete /n/a"]);
    let listed = machine
        .bare(&format!(
            "state watch --list --json --for 2s --table {TABLE} --layout teleport --endpoint-url {}",
            machine.url()
        ))
        .await
        .expect(0);
    let listed = lines(&listed);
    assert_eq!(
        (&listed[0]["key"], &listed[0]["type"]),
        (&json!("/nx"), &json!("item"))
    );
    assert_eq!(listed[1], json!({"type": "listed", "items": 1}));
    position(&listed);

    watch(&machine, "--from nonsense").await.expect(2);
    watch(&machine, "--list --beginning").await.expect(2);
}

/// A log, and the function's feed of it.
async fn fed(machine: &Machine) -> Feed {
    machine
        .run(&format!("create --kind watch-log --table {LOGS} --yes"))
        .await
        .expect(0);
    watch_log(machine, "create --buckets 2 --yes").await.expect(0);
    let clock = Clock::system();
    let log = Log::new(&machine.client(), LOGS, TABLE, clock.clone(), Random::system());
    Feed::new(Appender::new(log, Inline::All), TABLE, Layout::Teleport, clock)
}

async fn watch_log(machine: &Machine, arguments: &str) -> Ended {
    let url = machine.url();
    let arguments = format!("watch-log {arguments} --table {TABLE} --log-table {LOGS} --endpoint-url {url}");
    machine.bare(&arguments).await
}

/// Puts of keys into the log, as Lambda hands them over.
async fn append(feed: &Feed, sequence: u64, keys: &[&str]) {
    let now = Clock::system()
        .now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let records: Vec<Value> = (sequence..)
        .zip(keys)
        .map(|(sequence, key)| {
            let keys = json!({"HashKey": {"S": "teleport"}, "FullPath": {"S": format!("teleport{key}")}});
            let mut image = keys.clone();
            image["Value"] = json!({"B": "dG9wc2VjcmV0"});
            image["Revision"] = json!({"S": format!("revision-{sequence}")});
            json!({
                "eventID": sequence.to_string(), "eventName": "INSERT", "eventSource": "aws:dynamodb",
                "eventSourceARN": format!("arn:aws:dynamodb:us-east-1:000000000000:table/{TABLE}/stream/2026-01-01T00:00:00.000"),
                "dynamodb": {
                    "ApproximateCreationDateTime": now.as_secs(), "Keys": keys, "NewImage": image,
                    "SequenceNumber": sequence.to_string(), "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            })
        })
        .collect();
    let deadline = Clock::system().instant() + Duration::from_secs(60);
    let handled = feed
        .handle(&json!({"Records": records}).to_string(), deadline)
        .await
        .unwrap();
    assert_eq!(handled.report.appended, keys.len(), "{handled:?}");
}

#[tokio::test]
async fn a_log_is_watched_broken_and_gone_on_from() {
    let (machine, backend) = machine().await;
    let feed = fed(&machine).await;
    append(&feed, 1, &["/n/a", "/m/a", "/n/b"]).await;
    let log = format!("--log {LOGS}");
    let first = watch(&machine, &format!("/n --beginning --limit 1 --json {log}")).await;
    let first = lines(&first.expect(0));
    let mut seen = changes(&first);
    let from = format!("/n --from {} --json {log}", position(&first));
    let on = lines(&watch(&machine, &format!("{from} --limit 1")).await.expect(0));
    seen.extend(changes(&on));
    seen.sort_unstable();
    assert_eq!(seen, ["put /n/a", "put /n/b"]);
    assert!(!format!("{on:?}").contains("value"), "{on:?}");

    let asked = watch_log(&machine, "break --why restored").await.expect(4);
    assert!(asked.err.contains("no terminal"), "{}", asked.err);
    watch_log(&machine, "break --why restored --yes").await.expect(0);
    let missed = watch(&machine, &format!("/n --from {} --json {log}", position(&on)))
        .await
        .expect(5);
    assert!(missed.err.contains("--list"), "{}", missed.err);
    let told = lines(&missed).pop().unwrap();
    assert_eq!(
        (&told["type"], &told["why"]),
        (&json!("compacted"), &json!("restored"))
    );

    backend.put(&Item::new("/n/b", "x")).await.unwrap();
    let mut running = Running::start(&machine, &format!("/n --list --limit 1 {log}"));
    let list = running.until("watching").await;
    assert_eq!(list[0]["key"], "/n/b");
    assert_eq!(list[2]["log_name"], TABLE);
    watch_log(&machine, "break --why again --yes").await.expect(0);
    let again = running.until("watching").await;
    let kinds: Vec<&str> = again.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["compacted", "item", "listed", "watching"]);
    append(&feed, 11, &["/m/b", "/n/c"]).await;
    assert_eq!(changes(&running.until("position").await), ["put /n/c"]);
    assert_eq!(running.end().await, 0);
}

#[tokio::test]
async fn a_log_is_made_shown_and_changed() {
    let (machine, _) = machine().await;
    let feed = fed(&machine).await;
    let again = watch_log(&machine, "create --buckets 2 --json")
        .await
        .expect(0)
        .json();
    assert_eq!(
        (&again["created"], &again["log"]["buckets"]),
        (&json!(false), &json!(2))
    );
    watch_log(&machine, "create --buckets 3 --json").await.expect(3);
    let empty = watch_log(&machine, "show").await.expect(0);
    assert!(
        empty.out.contains("bucket 1  empty") && empty.out.contains(&format!("{TABLE}, by its stream")),
        "{}",
        empty.out
    );
    append(&feed, 1, &["/n/a", "/n/b", "/n/c", "/n/d"]).await;
    watch_log(&machine, "break --why lost --yes").await.expect(0);
    let shown = watch_log(&machine, "show --json").await.expect(0).json();
    let buckets = shown["bucket_status"].as_array().unwrap();
    assert_eq!(buckets.len(), 2);
    for bucket in buckets {
        assert_eq!(bucket["gap"]["why"], "lost", "{bucket}");
        assert_eq!(bucket["newest"]["number"], bucket["gap"]["segment"]);
        assert_eq!(bucket["newest"]["entries"], 1);
        assert_eq!(bucket["oldest"]["number"], 1);
    }
    let text = watch_log(&machine, "show").await.expect(0);
    assert!(
        text.out.contains("last gap") && !text.out.contains("/n/"),
        "{}",
        text.out
    );

    let planned = watch_log(&machine, "reconfigure --buckets 5 --dry-run")
        .await
        .expect(0);
    assert!(
        planned.out.contains("2 buckets by stream become 5 by stream"),
        "{}",
        planned.out
    );
    let done = watch_log(&machine, "reconfigure --buckets 5 --yes --json")
        .await
        .expect(0)
        .json();
    assert_eq!(
        (
            &done["log"]["buckets"],
            &done["log"]["generation"],
            &done["log"]["past"]
        ),
        (&json!(5), &json!(2), &json!([1]))
    );
    watch_log(&machine, "compact --retention 1h --yes")
        .await
        .expect(2);
    let compacted = watch_log(&machine, "compact --yes --json").await.expect(0).json();
    assert_eq!(compacted, json!({"removed": 0, "unfinished": false}));
    watch_log(&machine, "show --log-name other").await.expect(1);
    // The log of a namespace has the name that the function gives it.
    let made = watch_log(&machine, "create --namespace people --yes --json").await;
    assert_eq!(
        made.expect(0).json()["log"]["log_name"],
        format!("{TABLE}.people")
    );
    watch_log(&machine, "show --namespace people").await.expect(0);
}

#[tokio::test]
async fn a_log_is_refused_for_keys_or_tables_that_it_does_not_hold() {
    let (machine, _) = machine().await;
    machine
        .run(&format!("create --kind watch-log --table {LOGS} --yes"))
        .await
        .expect(0);
    watch_log(&machine, "create --prefix /n --yes").await.expect(0);
    let log = format!("--log {LOGS} --for 1s");
    for (arguments, code) in [("/n/a", 0), ("/m", 2), ("", 2), ("/n --plain", 2), ("/n /m", 2)] {
        let arguments = format!(
            "state watch {arguments} {log} --table {TABLE} --endpoint-url {}",
            machine.url()
        );
        let ended = machine.bare(&arguments).await.expect(code);
        assert!(
            code == 0 || ended.err.contains("only what lies below /n"),
            "{}",
            ended.err
        );
    }
    let other = machine
        .bare(&format!(
            "state watch /n {log} --log-name {TABLE} --table another --endpoint-url {}",
            machine.url()
        ))
        .await
        .expect(2);
    assert!(other.err.contains("not of another"), "{}", other.err);
}

/// `tidewatch up` on a port of its own; ends with this.
struct Up {
    _child: Child,
    _directory: tempfile::TempDir,
    client: aws_sdk_dynamodb::Client,
}

impl Up {
    async fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let directory = tempfile::tempdir().unwrap();
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidewatch"))
            .args(["up", "--rate", "0", "--port", &port.to_string(), "--data-dir"])
            .arg(directory.path())
            .env_clear()
            .env("HOME", directory.path())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            _child: child,
            _directory: directory,
            client: machine::client(&format!("http://127.0.0.1:{port}")),
        }
    }

    /// Its state table and its watch log, once they are there.
    async fn opened(&self) -> (Backend, Log) {
        let (clock, random) = (Clock::system(), Random::system());
        let log = Log::new(
            &self.client,
            "tidewatch-watch",
            "tidewatch-state",
            clock.clone(),
            random.clone(),
        );
        for _ in 0..120 {
            clock.sleep(Duration::from_millis(250)).await;
            if log
                .describe(clock.instant() + Duration::from_secs(1))
                .await
                .is_err()
            {
                continue;
            }
            let config = Config {
                table_name: "tidewatch-state".to_owned(),
                layout: Layout::Teleport,
                ..Config::default()
            };
            let backend = Backend::existing(&self.client, config, clock, random).await;
            return (backend.unwrap(), log);
        }
        panic!("`tidewatch up` has no watch log after 30 s");
    }
}

/// What nobody renews is told of as expired soon after the first moment in which a read does not find it: by the function
/// `maintain` on schedules no finer than AWS's, which looks each second, and a watcher that polls each 250 ms. The seconds
/// can be set to see how long the worst takes: with 300 of them several runs take over from each other.
#[tokio::test]
async fn what_has_expired_is_told_of_within_seconds() {
    let seconds: u64 = std::env::var("TIDEWATCH_EXPIRY_SECONDS").map_or(25, |text| text.parse().unwrap());
    let up = Up::start().await;
    let (backend, log) = up.opened().await;
    let polled = Duration::from_millis(250);
    let pace = Pace {
        busy: polled,
        idle: polled,
    };
    let watches = Watches::over_log(&log, pace, &Settings::default());
    let leases = Filter::new([Prefix::component("/leases")], Operations::Deletes);
    let mut watcher = watches.watch(WatchParams::from(leases)).await.unwrap();
    let clock = Clock::system();
    let begun = clock.now();
    for number in 0..2 * seconds {
        let expires = begun + Duration::from_secs(10) + Duration::from_millis(500 * number);
        let item = Item::new(format!("/leases/{number}").as_str(), "a lease").expiring(expires);
        backend.put(&item).await.unwrap();
    }
    let mut late = Vec::new();
    let all = async {
        while late.len() < usize::try_from(2 * seconds).unwrap() {
            let Notice::Event { event, .. } = watcher.next().await.unwrap() else {
                continue;
            };
            let Operation::Delete(delete) = &event.operation else {
                panic!("{event:?}");
            };
            assert_eq!(delete.cause, Cause::Expired, "{event:?}");
            let number: u64 = event
                .key
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            let expires = begun + Duration::from_secs(10) + Duration::from_millis(500 * number);
            let expires = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            // Live in the second that it names.
            let absent = SystemTime::UNIX_EPOCH + Duration::from_secs(expires + 1);
            late.push(clock.now().duration_since(absent).unwrap());
        }
    };
    let limit = Duration::from_secs(seconds + 90);
    assert!(
        clock.timeout(limit, all).await.is_ok(),
        "{} of {} after {limit:?}",
        late.len(),
        2 * seconds
    );
    late.sort_unstable();
    let at = |part: usize| late[(late.len() * part / 100).min(late.len() - 1)].as_secs_f64();
    println!(
        "from the first moment it is absent to the watcher: median {:.2} s, 90 % {:.2} s, 99 % {:.2} s, worst {:.2} s of {}",
        at(50),
        at(90),
        at(99),
        at(100),
        late.len()
    );
    assert!(at(50) < 2.0, "{late:?}");
}
