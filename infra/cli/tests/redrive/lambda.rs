//! Lambda's Invoke API on a socket, before a real forwarder; and of S3 what a redrive asks, over a directory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tidewatch::clock::Clock;
use tidewatch::config::Config;
use tidewatch::forward::{Forwarder, InProcess, Invoke};
use tidewatch::random::Random;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::files;

/// A function whose sink `a` is a directory.
pub(crate) struct Lambda {
    pub(crate) url: String,
    dir: tempfile::TempDir,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Of the bucket `audit-bucket`.
    bucket: PathBuf,
    /// Request lines and payloads.
    asked: Mutex<Vec<(String, Value)>>,
    /// Invocations that fail.
    fails: Mutex<Vec<usize>>,
}

impl Lambda {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let document = format!(
            "quarantine: file://{0}/quarantine\nsinks: {{ a: {{ uri: 'file://{0}/a' }} }}\n",
            dir.path().display()
        );
        let config = Config::parse(&document, "test", []).unwrap();
        let clock = Clock::system();
        let forwarder = Forwarder::start(&config, clock.clone(), Random::seeded(1))
            .await
            .unwrap();
        let forward = InProcess::new(Arc::new(forwarder), clock, Duration::from_secs(100));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            bucket: dir.path().join("bucket"),
            ..State::default()
        });
        let kept = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, forward.clone(), Arc::clone(&kept)));
            }
        });
        Self { url, dir, state }
    }

    /// These invocations fail from now on, counted from the next.
    pub(crate) fn fail(&self, invocations: &[usize]) {
        let now = self.state.asked.lock().unwrap().len();
        *self.state.fails.lock().unwrap() = invocations.iter().map(|at| at + now).collect();
    }

    /// Request lines and payloads since the last call.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.fail(&[]);
        std::mem::take(&mut self.state.asked.lock().unwrap())
    }

    /// The objects of the bucket `audit-bucket`.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.state.bucket.clone()
    }

    /// Where its sink is.
    pub(crate) fn sink(&self) -> PathBuf {
        self.dir.path().join("a")
    }
}

/// The number `n` of each event in a file sink, in its order, days by name.
pub(crate) fn delivered(sink: &Path) -> Vec<u64> {
    let mut files: Vec<_> = std::fs::read_dir(sink)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    let text: String = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    text.lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["n"]
                .as_u64()
                .unwrap()
        })
        .collect()
}

async fn answer(stream: TcpStream, forward: InProcess, state: Arc<State>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        if reader.read_line(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.unwrap();
        if let Some((status, text)) = s3(&state.bucket, &request) {
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            );
            reader.get_mut().write_all(answer.as_bytes()).await.unwrap();
            continue;
        }
        let payload = String::from_utf8(body).unwrap();
        let at = {
            let mut asked = state.asked.lock().unwrap();
            asked.push((
                request.trim_end().to_owned(),
                serde_json::from_str(&payload).unwrap(),
            ));
            asked.len() - 1
        };
        let planted = state.fails.lock().unwrap().contains(&at);
        let (header, text) = match planted {
            true => (
                "x-amz-function-error: Unhandled\r\n",
                r#"{"errorMessage":"planted"}"#.to_owned(),
            ),
            false => match forward.invoke(payload).await {
                Ok(text) => ("", text),
                Err(error) => (
                    "x-amz-function-error: Unhandled\r\n",
                    serde_json::json!({"errorMessage": error.to_string()}).to_string(),
                ),
            },
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{header}content-length: {}\r\n\r\n{text}",
            text.len()
        );
        if reader.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Lists in one page, reads, deletes.
fn s3(bucket: &Path, request: &str) -> Option<(&'static str, String)> {
    let (method, target) = request.split_once(' ')?;
    let target = target.strip_prefix("/audit-bucket")?.split(' ').next()?;
    let (key, query) = target.split_once('?').unwrap_or((target, ""));
    let path = bucket.join(key.trim_start_matches('/'));
    Some(match method {
        "GET" if query.contains("list-type=2") => {
            let prefix = query.split('&').find_map(|part| part.strip_prefix("prefix="));
            let prefix = prefix.unwrap_or_default().replace("%2F", "/");
            let names = files(bucket).into_iter().filter(|name| name.starts_with(&prefix));
            let contents: String = names
                .map(|name| format!("<Contents><Key>{name}</Key><Size>1</Size><LastModified>2026-11-20T00:00:00Z</LastModified></Contents>"))
                .collect();
            (
                "200 OK",
                format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"),
            )
        }
        "GET" => match std::fs::read_to_string(path) {
            Ok(text) => ("200 OK\r\netag: \"x\"", text),
            Err(_) => ("404 Not Found", String::new()),
        },
        "DELETE" => {
            std::fs::remove_file(path).unwrap();
            ("204 No Content", String::new())
        }
        _ => ("501 Not Implemented", String::new()),
    })
}
