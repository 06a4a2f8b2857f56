//! The binary, an engine for it, and nothing else.

use serde_json::Value;
use tokio::process::Command;

/// An engine, and a home directory without AWS files.
pub(crate) struct Machine {
    url: String,
    home: tempfile::TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// What the command left.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        assert!(
            !self.out.contains('\x1b') && !self.err.contains('\x1b'),
            "colour without a terminal: {} {}",
            self.out,
            self.err
        );
        self
    }
}

/// A client of an endpoint.
pub(crate) fn client(url: &str) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .endpoint_url(url)
        .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
        .credentials_provider(aws_sdk_dynamodb::config::Credentials::new(
            "local", "local", None, None, "test",
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

impl Machine {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let database = dynoxide::Database::memory().unwrap();
        tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
            let _ = stopped.await;
        }));
        Self {
            url,
            home: tempfile::tempdir().unwrap(),
            _stop: stop,
        }
    }

    /// Runs `tidewatch table …` against the engine.
    pub(crate) async fn run(&self, arguments: &str) -> Ended {
        let url = self.url.clone();
        self.bare(&format!("table {arguments} --endpoint-url {url}"))
            .await
    }

    /// Runs `tidewatch state …` against the engine.
    pub(crate) async fn state(&self, arguments: &str) -> Ended {
        let url = self.url.clone();
        self.bare(&format!("state {arguments} --endpoint-url {url}"))
            .await
    }

    /// The engine's endpoint.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A directory that goes with it.
    pub(crate) fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// `tidewatch …`, to be run.
    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidewatch"));
        command
            .args(arguments.split_whitespace())
            .env_clear()
            .env("HOME", self.home.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .stdin(std::process::Stdio::null());
        command
    }

    /// Runs `tidewatch …`.
    pub(crate) async fn bare(&self, arguments: &str) -> Ended {
        let output = self.command(arguments).output().await.unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A client of the same engine, to make tables wrong with.
    pub(crate) fn client(&self) -> aws_sdk_dynamodb::Client {
        client(&self.url)
    }

    /// A state table without stream and TTL.
    pub(crate) async fn bare_state(&self, name: &str) {
        use aws_sdk_dynamodb::types::{
            AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        };
        let mut request = self
            .client()
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest);
        for (name, role) in [("HashKey", KeyType::Hash), ("FullPath", KeyType::Range)] {
            let attribute = AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S);
            let key = KeySchemaElement::builder().attribute_name(name).key_type(role);
            request = request
                .attribute_definitions(attribute.build().unwrap())
                .key_schema(key.build().unwrap());
        }
        request.send().await.unwrap();
    }
}
