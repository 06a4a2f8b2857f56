//! An S3 engine (s3s-fs) behind the SDK, in this process and without a socket: requests can be counted, delayed, lost or
//! answered otherwise. Requests are applied one after the other, as S3 applies those to one key.
//!
//! The engine ignores `If-Match` of a DELETE; that is looked after here.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fmt;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RuntimeComponents};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use s3s::service::{S3Service, S3ServiceBuilder};
use tidewatch::clock::Clock;
use tidewatch::config::S3Location;
use tidewatch::objects::Objects;

use super::engine::Fate;

/// The one bucket.
pub const BUCKET: &str = "audit-bucket";

const HOST: &str = "store.invalid";

/// A request: `PUT`, `GET`, `LIST`, `HEAD` or `DELETE`, and the key or the listed prefix.
type Plan = Box<dyn FnMut(&str, &str) -> Fate + Send>;

/// The engine and the wire to it. Clones share both; [`beside`](Self::beside) shares the engine alone.
#[derive(Clone)]
pub struct Store {
    root: Arc<tempfile::TempDir>,
    service: S3Service,
    /// The same objects for requests that are not signed.
    open: S3Service,
    turn: Arc<tokio::sync::Mutex<()>>,
    sent: Arc<Mutex<Vec<(String, String)>>>,
    plan: Arc<Mutex<Option<Plan>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let engine = || S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        let mut builder = engine();
        builder.set_auth(s3s::auth::SimpleAuth::from_single("local", "local"));
        Self {
            service: builder.build(),
            open: engine().build(),
            root: Arc::new(root),
            turn: Arc::default(),
            sent: Arc::default(),
            plan: Arc::default(),
        }
    }

    /// The same engine over a wire of its own.
    pub fn beside(&self) -> Self {
        Self {
            sent: Arc::default(),
            plan: Arc::default(),
            ..self.clone()
        }
    }

    /// Decides over each request from now on, by its method and key.
    pub fn plan(&self, plan: impl FnMut(&str, &str) -> Fate + Send + 'static) {
        *self.plan.lock().unwrap() = Some(Box::new(plan));
    }

    /// Methods and keys sent since the last call.
    pub fn sent(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// Where the bucket's objects are, as files.
    pub fn folder(&self) -> std::path::PathBuf {
        self.root.path().join(BUCKET)
    }

    pub fn client(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(format!("http://{HOST}"))
            .force_path_style(true)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .http_client(self.clone())
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Objects under a prefix of the bucket.
    pub fn objects(&self, prefix: &str) -> Objects {
        let location = S3Location {
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            ..S3Location::default()
        };
        Objects::s3(self.client(), location)
    }

    async fn serve(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let broken = || ConnectorError::io("the connection broke".into());
        let (method, key) = called(&request);
        self.sent.lock().unwrap().push((method.clone(), key.clone()));
        let fate = match self.plan.lock().unwrap().as_mut() {
            Some(plan) => plan(&method, &key),
            None => Fate::Served,
        };
        let clock = Clock::system();
        match fate {
            Fate::Served => Ok(self.apply(request).await),
            Fate::Delayed { before, after } => {
                clock.sleep(before).await;
                let answer = self.apply(request).await;
                clock.sleep(after).await;
                Ok(answer)
            }
            Fate::Dropped => Err(broken()),
            Fate::AnswerLost => {
                self.apply(request).await;
                Err(broken())
            }
            Fate::Late(after) => {
                tokio::spawn(async move {
                    clock.sleep(after).await;
                    self.apply(request).await;
                });
                Err(broken())
            }
            Fate::Answered(status, body) => {
                Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
            }
        }
    }

    /// Applies a request whole, even if its client does not wait: the engine, cut off, leaves half an object.
    async fn apply(&self, request: HttpRequest) -> HttpResponse {
        let store = self.clone();
        let applied = tokio::spawn(async move { store.applied(request).await });
        applied.await.unwrap()
    }

    async fn applied(&self, request: HttpRequest) -> HttpResponse {
        let _turn = self.turn.lock().await;
        if request.method() == "DELETE"
            && let Some(tag) = request.headers().get("if-match")
        {
            let head = http::Request::head(request.uri())
                .body(s3s::Body::empty())
                .unwrap();
            let head = self.open.call(head).await.unwrap();
            let refused = match head.headers().get("etag") {
                None => Some(404),
                Some(found) if found.as_bytes() != tag.as_bytes() => Some(412),
                Some(_) => None,
            };
            if let Some(status) = refused {
                return HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
            }
        }
        let mut request = request.try_into_http1x().unwrap();
        // Hyper would add it; the signature holds it.
        request
            .headers_mut()
            .insert("host", http::HeaderValue::from_static(HOST));
        let request = request.map(|body| s3s::Body::from(body.bytes().unwrap_or_default().to_vec()));
        let (parts, mut body) = self.service.call(request).await.unwrap().into_parts();
        let body = body.store_all_limited(1 << 30).await.unwrap();
        let answer = http::Response::from_parts(parts, SdkBody::from(body));
        answer.try_into().unwrap()
    }
}

/// A request's method and key; of a list the prefix.
fn called(request: &HttpRequest) -> (String, String) {
    let uri: http::Uri = request.uri().parse().unwrap();
    let path = percent_encoding::percent_decode_str(uri.path())
        .decode_utf8()
        .unwrap();
    let key = path
        .strip_prefix(&format!("/{BUCKET}"))
        .unwrap_or_default()
        .trim_start_matches('/');
    if !key.is_empty() {
        return (request.method().to_owned(), key.to_owned());
    }
    let query = uri.query().unwrap_or_default();
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
    let prefix = percent_encoding::percent_decode_str(prefix.unwrap_or_default()).decode_utf8();
    ("LIST".to_owned(), prefix.unwrap().into_owned())
}

impl HttpConnector for Store {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().serve(request))
    }
}

impl HttpClient for Store {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
