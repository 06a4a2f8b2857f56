//! What broken connections mean, with the SDK's own HTTP client and real sockets: what was surely not sent is tried
//! again and ends as `Unavailable`, what may have arrived ends as `OutcomeUnknown`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, ProvideCredentials, Region, SharedCredentialsProvider};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Backend, Config, ErrorKind, Item, Key, Layout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::config;

/// What the server does with a request that it has read.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Answers, and closes the connection a moment later without having said so.
    AnswersAndCloses,
    Closes,
    /// Closes within the answer.
    Breaks,
    SaysNothing,
}

/// A server on this machine with what it was asked.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn new(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, does, Arc::clone(&log)));
            }
        });
        Self { port, asked }
    }

    fn backend(&self) -> Backend {
        backend(&format!("http://127.0.0.1:{}", self.port), local())
    }

    /// How often this was asked for.
    fn asked(&self, operation: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| *asked == operation).count()
    }
}

async fn serve(mut stream: TcpStream, does: Does, log: Arc<Mutex<Vec<String>>>) {
    let Some(operation) = read(&mut stream).await else {
        return;
    };
    log.lock().unwrap().push(operation);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\n";
    match does {
        Does::AnswersAndCloses => {
            let answer = format!("{head}content-length: 2\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            Clock::system().sleep(Duration::from_millis(20)).await;
        }
        Does::Closes => {}
        Does::Breaks => {
            let answer = format!("{head}content-length: 20\r\n\r\n{{\"Attr");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        Does::SaysNothing => Clock::system().sleep(Duration::from_secs(60)).await,
    }
}

/// Reads a request to its end; the operation it is for.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    loop {
        if stream.read_buf(&mut all).await.ok()? == 0 {
            return None;
        }
        if all.first() == Some(&0x16) {
            return None; // A TLS handshake.
        }
        let text = String::from_utf8_lossy(&all).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
        };
        let length: usize = field("content-length:")?.parse().ok()?;
        if body.len() >= length {
            return field("x-amz-target:")?.rsplit('.').next().map(str::to_owned);
        }
    }
}

fn local() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "test"))
}

fn backend(endpoint: &str, credentials: SharedCredentialsProvider) -> Backend {
    let sdk = aws_sdk_dynamodb::Config::builder()
        .behavior_version_latest()
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .build();
    let config = Config {
        operation_timeout: Duration::from_millis(900),
        attempt_timeout: Duration::from_millis(300),
        ..config("sockets", Layout::Teleport)
    };
    Backend::unverified(
        &Client::from_conf(sdk),
        config,
        Clock::system(),
        Random::seeded(1),
    )
}

fn item() -> Item {
    Item::new("/k", "v")
}

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_connection_that_was_never_made_applied_nothing() {
    let port = closed_port().await;
    let plain = Server::new(Does::Closes).await;
    for endpoint in [
        format!("http://127.0.0.1:{port}"),
        "http://state.invalid".to_owned(),
        // No TLS on that side: the handshake fails.
        format!("https://127.0.0.1:{}", plain.port),
    ] {
        let backend = backend(&endpoint, local());
        let error = backend.put(&item()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{endpoint}: {error}");
        assert!(error.attempts() > 1, "{endpoint}: {error}");
        assert!(
            error.to_string().contains("check the network"),
            "{endpoint}: {error}"
        );
        let error = backend.get(&Key::from("/k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{endpoint}: {error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_the_outcome_unknown() {
    for does in [Does::Closes, Does::Breaks, Does::SaysNothing] {
        let server = Server::new(does).await;
        let backend = server.backend();
        let error = backend.put(&item()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{does:?}: {error}");
        assert_eq!(server.asked("putitem"), 1, "{does:?}");
        // It was tried to settle it.
        assert!(server.asked("getitem") >= 1, "{does:?}");
        let error = backend.delete(&Key::from("/k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{does:?}: {error}");
        assert_eq!(server.asked("deleteitem"), 1, "{does:?}");
        let error = backend.get(&Key::from("/k")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{does:?}: {error}");
        assert!(error.attempts() > 1, "{does:?}: {error}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_no_fault() {
    let server = Server::new(Does::AnswersAndCloses).await;
    let backend = server.backend();
    for _ in 0..3 {
        backend.put(&item()).await.unwrap();
        Clock::system().sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(server.asked("putitem"), 3);
}

/// A provider that has no credentials until it was asked so often.
#[derive(Debug)]
struct Late(AtomicUsize);

impl ProvideCredentials for Late {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        use aws_credential_types::provider::error::CredentialsError;
        use aws_credential_types::provider::future::ProvideCredentials;
        let failing = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        ProvideCredentials::ready(match failing {
            Ok(_) => Err(CredentialsError::not_loaded("no credentials yet")),
            Err(_) => Ok(Credentials::new("local", "local", None, None, "test")),
        })
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_asked_for_three_times_and_nothing_is_sent() {
    let server = Server::new(Does::AnswersAndCloses).await;
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let late = |failing| SharedCredentialsProvider::new(Late(AtomicUsize::new(failing)));
    let error = backend(&endpoint, late(100)).put(&item()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    assert_eq!(error.attempts(), 3);
    assert!(error.to_string().contains("no credentials yet"), "{error}");
    assert_eq!(server.asked("putitem"), 0);

    backend(&endpoint, late(2)).put(&item()).await.unwrap();
    assert_eq!(server.asked("putitem"), 1);
}

/// A provider that takes its time.
#[derive(Debug)]
struct Slow;

impl ProvideCredentials for Slow {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        aws_credential_types::provider::future::ProvideCredentials::new(async {
            Clock::system().sleep(Duration::from_secs(60)).await;
            Ok(Credentials::new("local", "local", None, None, "test"))
        })
    }
}

#[tokio::test]
async fn a_request_that_waits_for_its_credentials_has_not_left() {
    let server = Server::new(Does::AnswersAndCloses).await;
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let slow = backend(&endpoint, SharedCredentialsProvider::new(Slow));
    let bounded = slow.with_deadline(slow.clock().instant() + Duration::from_secs(1));
    let error = bounded.put(&item()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(server.asked("putitem"), 0);
}
