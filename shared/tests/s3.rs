//! `s3://` against a real S3 engine (s3s-fs, in this process), and the answers it never gives by canned ones.

#![cfg(feature = "s3")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{event_line, insert, payload};
use tidewatch::clock::Clock;
use tidewatch::config::{Config, S3Location};
use tidewatch::forward::Forwarder;
use tidewatch::objects::{self, Objects};
use tidewatch::random::Random;

/// An S3 engine over a directory with the bucket `audit-bucket`; answers its URL.
async fn engine(root: &Path) -> String {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    std::fs::create_dir(root.join("audit-bucket")).unwrap();
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("AKIATEST", "secret"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    url
}

async fn forwarder(url: &str, options: &str, quarantine: &str) -> Forwarder {
    let document = format!(
        "quarantine: '{quarantine}'\nsinks: {{ archive: {{ uri: 's3://audit-bucket/events{options}', timeout: 1s }} }}\naws: {{ region: us-east-1, endpoint_url: '{url}', access_key: AKIATEST, secret_key: secret }}"
    );
    let config = Config::parse(&document, "test", []).unwrap();
    Forwarder::start(&config, Clock::system(), Random::seeded(1))
        .await
        .unwrap()
}

/// Objects under a directory, by name from there; the engine's own files are not among them.
fn objects_in(dir: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                walk(&path, out)
            } else {
                out.push(path)
            }
        }
    }
    let mut paths = Vec::new();
    walk(dir, &mut paths);
    paths.sort();
    let name = |path: &Path| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| (name(path), std::fs::read(path).unwrap()))
        .collect()
}

fn deadline() -> tokio::time::Instant {
    Clock::system().instant() + Duration::from_secs(20)
}

#[tokio::test]
async fn objects_by_event_day_named_by_their_content_and_never_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let url = engine(root.path()).await;
    let late = insert("s", 2, 2).replace("2026-11-20T10:00:00Z", "2026-11-18T23:59:59Z");
    let batch = payload(&[insert("s", 1, 1), late.clone(), insert("s", 3, 3)]);
    for attempt in 0..2 {
        // A new environment remembers nothing: the repeat finds its names taken.
        let forwarder = forwarder(&url, "?compression=none", "s3://audit-bucket/quarantine").await;
        let handled = forwarder.handle(&batch, deadline()).await.unwrap();
        assert_eq!(
            (handled.first_failed, handled.report.repeats),
            (None, 0),
            "{attempt}"
        );
        let objects = objects_in(&root.path().join("audit-bucket/events"));
        let names: Vec<&str> = objects.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(objects.len(), 3, "{names:?}");
        let number = format!("{:0>40}", 2);
        assert!(
            names[0].starts_with(&format!("2026-11-18/{number}-")) && names[0].ends_with(".ndjson"),
            "{names:?}"
        );
        assert!(names[1].starts_with("2026-11-20/"), "{names:?}");
        // Nothing is put before a record that precedes it: the run of one day ends where another day begins.
        let events: Vec<serde_json::Value> = objects[1..]
            .iter()
            .flat_map(|(_, bytes)| std::str::from_utf8(bytes).unwrap().lines())
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].clone())
            .collect();
        let expected: Vec<serde_json::Value> = [1, 3]
            .iter()
            .map(|n| serde_json::from_str(&event_line("s", *n)).unwrap())
            .collect();
        assert_eq!(events, expected);
    }
}

#[tokio::test]
async fn gzip_and_zstd_hold_the_same_lines() {
    let root = tempfile::tempdir().unwrap();
    let url = engine(root.path()).await;
    let batch = payload(&[insert("s", 1, 1), insert("s", 2, 2)]);
    let mut options = vec!["", "?compression=none"];
    if cfg!(feature = "zstd") {
        options.push("?compression=zstd");
    }
    for option in &options {
        let forwarder = forwarder(&url, option, "s3://audit-bucket/quarantine").await;
        assert_eq!(
            forwarder.handle(&batch, deadline()).await.unwrap().first_failed,
            None
        );
    }
    let objects = objects_in(&root.path().join("audit-bucket/events"));
    assert_eq!(objects.len(), options.len());
    let mut texts: Vec<Vec<u8>> = objects
        .iter()
        .map(|(name, bytes)| match name.rsplit('.').next().unwrap() {
            "gz" => {
                let mut text = Vec::new();
                flate2::read::GzDecoder::new(&bytes[..])
                    .read_to_end(&mut text)
                    .unwrap();
                text
            }
            #[cfg(feature = "zstd")]
            "zst" => zstd::stream::decode_all(&bytes[..]).unwrap(),
            _ => bytes.clone(),
        })
        .collect();
    texts.dedup();
    assert_eq!(texts.len(), 1);
}

#[tokio::test]
async fn poison_goes_to_the_quarantine_in_s3() {
    let root = tempfile::tempdir().unwrap();
    let url = engine(root.path()).await;
    let forwarder = forwarder(&url, "", "s3://audit-bucket/quarantine").await;
    let poison = r#"{"eventID":"bad","eventName":"INSERT","dynamodb":{"SequenceNumber":"7"}}"#.to_owned();
    let handled = forwarder.handle(&payload(&[poison]), deadline()).await.unwrap();
    assert_eq!((handled.first_failed, handled.report.quarantined), (None, 1));
    let objects = objects_in(&root.path().join("audit-bucket/quarantine"));
    let names: Vec<&str> = objects.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with(&format!("{:0>40}-", 7)), "{names:?}");
    assert_eq!(names[1], "probe");
}

#[tokio::test]
async fn what_may_not_write_the_quarantine_does_not_start() {
    let root = tempfile::tempdir().unwrap();
    let url = engine(root.path()).await;
    let document = format!(
        "quarantine: s3://audit-bucket/q\nsinks: {{ out: {{ uri: 'stdout://' }} }}\naws: {{ region: us-east-1, endpoint_url: '{url}', access_key: AKIATEST, secret_key: wrong-one }}"
    );
    let config = Config::parse(&document, "test", []).unwrap();
    let started = Forwarder::start(&config, Clock::system(), Random::seeded(1)).await;
    let Err(error) = started else { panic!("it started") };
    let message = error.to_string();
    assert!(
        message.contains("s3://audit-bucket/q/probe") && message.contains("SignatureDoesNotMatch"),
        "{message}"
    );
    assert!(!message.contains("wrong-one"), "{message}");
}

/// A conflict (409: another put of the name is under way) is a failure to try again; 412 is success. SSE-KMS and
/// `If-None-Match` are sent.
#[tokio::test]
async fn conflicts_are_tried_again_and_taken_names_are_done() {
    use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
    let answer = |status: u16| {
        ReplayEvent::new(
            http::Request::builder()
                .uri("https://unused/")
                .body(aws_sdk_s3::primitives::SdkBody::empty())
                .unwrap(),
            http::Response::builder()
                .status(status)
                .body(aws_sdk_s3::primitives::SdkBody::empty())
                .unwrap(),
        )
    };
    let answers = vec![answer(409), answer(412), answer(200), answer(200), answer(200)];
    let replay = StaticReplayClient::new(answers);
    let config = aws_sdk_s3::Config::builder()
        .with_test_defaults()
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .http_client(replay.clone())
        .build();
    let location = S3Location {
        bucket: "audit-bucket".to_owned(),
        prefix: "p".to_owned(),
        sse_kms_key: Some("alias/audit".to_owned()),
        ..S3Location::default()
    };
    let client = aws_sdk_s3::Client::from_conf(config);
    let objects = Objects::s3(client.clone(), location.clone());
    let name = objects::name("42", b"content", "ndjson");
    assert!(objects.put(&name, b"content".to_vec()).await.is_err());
    assert!(objects.put(&name, b"content".to_vec()).await.is_ok());
    assert!(objects.put(&name, b"content".to_vec()).await.is_ok());
    // A probe must be encrypted and written each time, not found there.
    objects.probe().await.unwrap();
    let whole_bucket = S3Location {
        prefix: String::new(),
        ..location
    };
    let whole_bucket = Objects::s3(client, whole_bucket);
    whole_bucket.put("name.ndjson.gz", Vec::new()).await.unwrap();
    let requests: Vec<_> = replay.actual_requests().collect();
    assert_eq!(requests.len(), 5, "one PUT each");
    assert_eq!(requests[3].headers().get("if-none-match"), None);
    assert!(requests[3].headers().contains_key("x-amz-server-side-encryption"));
    assert_eq!(
        requests[4].headers().get("content-type"),
        Some("application/gzip")
    );
    let path = requests[4].uri().split('?').next().unwrap();
    assert!(
        path.ends_with("/name.ndjson.gz") && !path.ends_with("//name.ndjson.gz"),
        "{path}"
    );
    for request in &requests[..3] {
        let header = |name: &str| request.headers().get(name).map(ToOwned::to_owned);
        assert_eq!(header("if-none-match").as_deref(), Some("*"));
        assert_eq!(header("x-amz-server-side-encryption").as_deref(), Some("aws:kms"));
        assert_eq!(
            header("x-amz-server-side-encryption-aws-kms-key-id").as_deref(),
            Some("alias/audit")
        );
        assert!(request.uri().contains(&name), "{}", request.uri());
    }
}

/// The version is told whether the object was written or found; without versions there is none.
#[tokio::test]
async fn the_version_that_stands_there_is_told() {
    use aws_smithy_http_client::test_util::{ReplayEvent, StaticReplayClient};
    let answer = |status: u16, version: Option<&str>| {
        let request = http::Request::builder().uri("https://unused/");
        let mut response = http::Response::builder().status(status);
        if let Some(version) = version {
            response = response.header("x-amz-version-id", version);
        }
        ReplayEvent::new(
            request.body(aws_sdk_s3::primitives::SdkBody::empty()).unwrap(),
            response.body(aws_sdk_s3::primitives::SdkBody::empty()).unwrap(),
        )
    };
    let answers = vec![
        answer(200, Some("v1")),
        answer(412, None),
        answer(200, Some("v1")),
        answer(200, None),
        answer(412, None),
        answer(404, None),
    ];
    let replay = StaticReplayClient::new(answers);
    let config = aws_sdk_s3::Config::builder()
        .with_test_defaults()
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .http_client(replay.clone())
        .build();
    let location = S3Location {
        bucket: "audit-bucket".to_owned(),
        ..S3Location::default()
    };
    let objects = Objects::s3(aws_sdk_s3::Client::from_conf(config), location);
    let put = async || objects.put_versioned("x.json", b"x".to_vec()).await;
    assert_eq!(put().await.unwrap().as_deref(), Some("v1"));
    assert_eq!(put().await.unwrap().as_deref(), Some("v1"));
    assert_eq!(put().await.unwrap(), None);
    // Gone since: tried again, for the pointer must point to something.
    assert!(put().await.is_err());
    let requests: Vec<_> = replay.actual_requests().collect();
    let methods: Vec<&str> = requests.iter().map(|request| request.method()).collect();
    assert_eq!(methods, ["PUT", "PUT", "HEAD", "PUT", "PUT", "HEAD"]);
}

/// Another content has another name; a sequence number that is none leads nowhere else.
#[test]
fn names_are_of_the_content_and_hold_digits_only() {
    let one = objects::name("42", b"one", "ndjson");
    assert_ne!(one, objects::name("42", b"two", "ndjson"));
    let strange = objects::name("../4/2", b"one", "ndjson");
    assert_eq!(strange, one);
}

#[tokio::test]
async fn objects_in_a_directory_are_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::dir(dir.path().to_owned(), Random::seeded(1));
    objects.put("day/name", b"first".to_vec()).await.unwrap();
    objects.put("day/name", b"second".to_vec()).await.unwrap();
    objects.probe().await.unwrap();
    objects.probe().await.unwrap();
    let found = objects_in(dir.path());
    assert_eq!(
        found,
        [
            ("day/name".to_owned(), b"first".to_vec()),
            ("probe".to_owned(), Vec::new())
        ]
    );
}
