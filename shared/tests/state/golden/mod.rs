//! Beside Teleport: what its backend stored reads back as what it is, and the same calls to ours send and store the
//! same. Each golden file is a recording of the original (`tests/golden/state/README.md`).

mod beside;
mod replay;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tidewatch::clock::Clock;
use tidewatch::state::{Backend, ErrorKind, Item, Key, Layout, Lease, Range};

use crate::engine::Engine;

const TABLE: &str = "golden-state";

fn files() -> BTreeMap<String, Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/state");
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            all.insert(
                name,
                serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap(),
            );
        }
    }
    assert_eq!(all.len(), 21, "golden files");
    all
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// When the goldens were recorded.
const RECORDED: u64 = 1_795_277_360;

async fn open(engine: &Engine) -> (Backend, Clock) {
    let clock = Clock::simulated(at(RECORDED));
    (engine.backend(TABLE, Layout::Teleport, &clock, 1).await, clock)
}

fn store(engine: &Engine, item: &Value) {
    let request = json!({"TableName": TABLE, "Item": item});
    engine
        .database
        .put_item(serde_json::from_value(request).unwrap())
        .unwrap();
}

/// The whole table, raw, by key.
fn stored(engine: &Engine) -> BTreeMap<String, Value> {
    let request = json!({"TableName": TABLE});
    let answer = engine
        .database
        .scan(serde_json::from_value(request).unwrap())
        .unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    let items = answer["Items"].as_array().unwrap().iter();
    items
        .map(|item| (item["FullPath"]["S"].as_str().unwrap().to_owned(), item.clone()))
        .collect()
}

fn text<'v>(item: &'v Value, attribute: &str, kind: &str) -> Option<&'v str> {
    item.get(attribute)?.get(kind)?.as_str()
}

/// What a stored image is, read by the format's description and nothing of ours.
fn described(image: &Value) -> Item {
    let key = text(image, "FullPath", "S")
        .unwrap()
        .strip_prefix("teleport")
        .unwrap();
    let value = STANDARD
        .decode(text(image, "Value", "B").unwrap_or_default())
        .unwrap();
    let revision = text(image, "Revision", "S").unwrap_or("00000000-0000-0000-0000-000000000000");
    let expires = text(image, "Expires", "N").map(|seconds| at(seconds.parse().unwrap()));
    Item {
        expires,
        ..Item::new(key, value).at(revision)
    }
}

fn images(golden: &Value) -> Vec<&Value> {
    let lists = ["items", "items_while_locked"]
        .into_iter()
        .filter_map(|list| golden[list].as_array());
    let records = golden["stream"].as_array().into_iter().flatten();
    let news = records.filter_map(|record| record["dynamodb"].get("NewImage"));
    news.chain(lists.flatten()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_stored_image_reads_as_what_it_is() {
    let (mut read, mut expired, mut blank, mut valueless, mut locks, mut unknown) = (0, 0, 0, 0, 0, 0);
    for (name, golden) in files() {
        let engine = Engine::new();
        let (backend, _) = open(&engine).await;
        for image in images(&golden) {
            store(&engine, image);
            let due = described(image);
            let one = Range::between(&due.key, &due.key);
            let found = backend.get(&due.key).await;
            let listed = backend.get_range(one.clone().into()).await.unwrap();
            let entries: Vec<_> = backend.entries(one.clone().into()).try_collect().await.unwrap();
            let count = backend.count(&one).await.unwrap();
            if due.expires.is_some_and(|at_| at_ < at(RECORDED)) {
                assert_eq!(found.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
                assert_eq!((listed.len(), entries.len(), count), (0, 0, 0), "{name}: {image}");
                expired += 1;
                continue;
            }
            let found = found.unwrap();
            assert_eq!(found, due, "{name}: {image}");
            assert_eq!(found.value, due.value, "{name}: {image}");
            assert_eq!(listed, std::slice::from_ref(&due), "{name}: {image}");
            let entry = &entries[0];
            assert_eq!(
                (&entry.key, &entry.expires, &entry.revision),
                (&due.key, &due.expires, &due.revision)
            );
            assert_eq!(count, 1);
            read += 1;
            blank += usize::from(found.revision.is_blank());
            valueless += usize::from(found.value.is_empty());
            unknown += usize::from(image.get("Extra").is_some() || image.get("ID").is_some());
            if due.key.has_prefix(&Key::from(".locks/")) && due.expires.is_some() {
                assert_eq!(found.value.len(), 16, "a lock's token: {image}");
                locks += 1;
            }
        }
        // Nothing but reads was done: the table is as it was, byte for byte.
        let mut last = BTreeMap::new();
        for image in images(&golden) {
            last.insert(text(image, "FullPath", "S").unwrap().to_owned(), image.clone());
        }
        assert_eq!(stored(&engine), last, "{name}");
    }
    println!("{read} read, {expired} expired, {blank} blank, {valueless} without value, {locks} locks");
    assert!(read > 60 && expired > 5 && blank > 2 && valueless > 4 && locks > 3 && unknown > 3);
}

/// What the original leaves to the engine, ours says before it sends.
#[tokio::test(start_paused = true)]
async fn limits_are_told_before_a_request() {
    let engine = Engine::new();
    let (backend, _) = open(&engine).await;
    let large = backend
        .put(&Item::new("/l/big", vec![b'A'; 409_600]))
        .await
        .unwrap_err();
    assert_eq!(large.kind(), ErrorKind::TooLarge);
    let long = format!("/l/{}", "k".repeat(1100));
    let long = backend.put(&Item::new(long, "v")).await.unwrap_err();
    assert_eq!(long.kind(), ErrorKind::BadParameter);
    let bytes = backend.put(&Item::new(vec![b'/', 0xff], "v")).await.unwrap_err();
    assert_eq!(bytes.kind(), ErrorKind::BadParameter);
    assert_eq!(engine.operations(), [""; 0]);
}

/// The stricter keep-alive, on items that Teleport stored.
#[tokio::test(start_paused = true)]
async fn leases_on_items_of_the_original() {
    let engine = Engine::new();
    let (backend, _) = open(&engine).await;
    let golden = files().remove("keepalive").unwrap();
    let mut leases = HashMap::new();
    for record in golden["stream"].as_array().unwrap() {
        if record["eventName"] == "INSERT" {
            let image = &record["dynamodb"]["NewImage"];
            store(&engine, image);
            let item = described(image);
            leases.insert(
                item.key.to_string(),
                Lease {
                    key: item.key,
                    revision: item.revision,
                },
            );
        }
    }
    // The expiry that the original gave them in the recording.
    let later = at(1_925_089_445);
    backend.keep_alive(&leases["/k/exp"], later).await.unwrap();
    let permanent = backend.keep_alive(&leases["/k/noexp"], later).await.unwrap_err();
    assert_eq!(permanent.kind(), ErrorKind::BadParameter);
    let gone = backend.keep_alive(&leases["/k/gone"], later).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let ours = stored(&engine);
    let theirs = golden["items"].as_array().unwrap().iter();
    for item in theirs.filter(|item| item["FullPath"]["S"] != "teleport/k/noexp") {
        assert_eq!(&ours[item["FullPath"]["S"].as_str().unwrap()], item);
    }
}
