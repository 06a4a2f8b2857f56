//! A DynamoDB endpoint on this machine, and clients of it.

use std::net::Ipv4Addr;
use std::path::Path;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running endpoint; ends with [`Endpoint::stop`].
#[derive(Debug)]
pub(super) struct Endpoint {
    url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
}

impl Endpoint {
    /// Serves a database on 127.0.0.1: in `file` if given, else in memory. Port 0 is any free one.
    ///
    /// # Errors
    /// The file cannot be opened, or the port is taken.
    pub(super) async fn start(file: Option<&Path>, port: u16) -> Result<Self, String> {
        let path = match file {
            Some(file) => file
                .to_str()
                .ok_or("the data directory's path is no UTF-8")?
                .to_owned(),
            // In memory, but with a name, so that a second connection finds it.
            None => format!(
                "file:tidewatch-{}-{port}?mode=memory&cache=shared",
                std::process::id()
            ),
        };
        let database =
            dynoxide::Database::new(&path).map_err(|error| format!("cannot open the database: {error}"))?;
        if let Err(error) = index_stream(&path) {
            tracing::warn!(%error, "the stream has no index: a large run will be slow");
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .map_err(|error| {
                format!("cannot listen on 127.0.0.1:{port}: {error}; choose another with --port")
            })?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
            let _ = stopped.await;
        }));
        Ok(Self {
            url: format!("http://{address}"),
            stop,
            server,
        })
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The configuration of SDK clients of this endpoint.
    pub(super) async fn clients(&self) -> SdkConfig {
        let credentials = Credentials::new("local", "local", None, None, "tidewatch up");
        aws_config::defaults(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(&self.url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await
    }

    /// Lets running requests finish and closes the database. Clients must be dropped before.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.server.await;
    }
}

/// Gives the engine's stream records an index. Without one each write and each read looks at all of them, so that ten
/// thousand rows take twice the time and a hundred thousand take hours. The engine works the same without it.
fn index_stream(path: &str) -> rusqlite::Result<()> {
    rusqlite::Connection::open(path)?.execute_batch(
        "CREATE INDEX IF NOT EXISTS tidewatch_stream_order ON _stream_records
             (table_name, CAST(sequence_number AS INTEGER))",
    )
}
