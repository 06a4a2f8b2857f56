//! The embedded engine on a loopback socket, a client that counts its requests, and tables made wrong on purpose.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Credentials, Intercept, Region, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TimeToLiveSpecification,
};
use aws_sdk_dynamodb::{Client, Config};
use tidewatch::clock::Clock;
use tidewatch::table::{Difference, Kind, Step, Tables};

/// An engine that lives as long as this does.
pub(crate) struct Engine {
    pub(crate) client: Client,
    pub(crate) tables: Tables,
    requests: Requests,
    _stop: tokio::sync::oneshot::Sender<()>,
}

/// The operations sent, in order.
#[derive(Debug, Clone, Default)]
struct Requests(Arc<Mutex<Vec<String>>>);

impl Intercept for Requests {
    fn name(&self) -> &'static str {
        "Requests"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context
            .request()
            .headers()
            .get("x-amz-target")
            .unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        self.0.lock().unwrap().push(operation.to_owned());
        Ok(())
    }
}

impl Engine {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let database = dynoxide::Database::memory().unwrap();
        tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, async {
            let _ = stopped.await;
        }));
        let requests = Requests::default();
        let config = Config::builder()
            .behavior_version_latest()
            .endpoint_url(url)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("local", "local", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .interceptor(requests.clone())
            .build();
        let client = Client::from_conf(config);
        let tables = Tables::new(client.clone(), Clock::system(), Duration::from_secs(10));
        Self {
            client,
            tables,
            requests,
            _stop: stop,
        }
    }

    /// The operations sent since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.0.lock().unwrap())
    }
}

pub(crate) fn quiet(_: &Step) {}

/// `severity code` of each difference.
pub(crate) fn codes(found: &[Difference]) -> Vec<String> {
    found
        .iter()
        .map(|difference| format!("{} {}", difference.severity, difference.code))
        .collect()
}

/// A table as somebody might have made it; starts as a right audit or state table without advice-level settings.
pub(crate) struct Wrong {
    pub(crate) hash: (&'static str, ScalarAttributeType),
    pub(crate) range: Option<(&'static str, ScalarAttributeType)>,
    pub(crate) indexes: Vec<WrongIndex>,
    pub(crate) stream: Option<StreamViewType>,
    pub(crate) ttl: Option<&'static str>,
}

pub(crate) struct WrongIndex {
    pub(crate) name: &'static str,
    pub(crate) hash: (&'static str, ScalarAttributeType),
    pub(crate) range: (&'static str, ScalarAttributeType),
    pub(crate) projection: ProjectionType,
    pub(crate) included: &'static [&'static str],
}

use ScalarAttributeType::{N, S};

impl Wrong {
    pub(crate) fn audit() -> Self {
        Self {
            hash: ("SessionID", S),
            range: Some(("EventIndex", N)),
            indexes: vec![WrongIndex::timesearch("timesearchV2")],
            stream: Some(StreamViewType::NewAndOldImages),
            ttl: Some("Expires"),
        }
    }

    pub(crate) fn state() -> Self {
        Self {
            hash: ("HashKey", S),
            range: Some(("FullPath", S)),
            indexes: Vec::new(),
            stream: Some(StreamViewType::NewAndOldImages),
            ttl: Some("Expires"),
        }
    }

    pub(crate) fn partitioned() -> Self {
        Self {
            hash: ("Part", S),
            range: Some(("Key", S)),
            indexes: vec![WrongIndex::expiry()],
            ..Self::state()
        }
    }

    pub(crate) fn watch_log() -> Self {
        Self {
            hash: ("Log", S),
            range: Some(("Segment", N)),
            indexes: Vec::new(),
            stream: None,
            ttl: None,
        }
    }

    pub(crate) fn right(kind: Kind) -> Self {
        match kind {
            Kind::Audit => Self::audit(),
            Kind::State => Self::state(),
            Kind::Partitioned => Self::partitioned(),
            Kind::WatchLog => Self::watch_log(),
        }
    }

    pub(crate) async fn make(self, engine: &Engine, name: &str) {
        let mut attributes = vec![self.hash.clone()];
        attributes.extend(self.range.clone());
        for index in &self.indexes {
            attributes.extend([index.hash.clone(), index.range.clone()]);
        }
        attributes.sort();
        attributes.dedup();
        let definitions = attributes.into_iter().map(|(name, scalar)| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(scalar)
                .build()
                .unwrap()
        });
        let mut keys = vec![key(self.hash.0, KeyType::Hash)];
        keys.extend(self.range.map(|range| key(range.0, KeyType::Range)));
        let stream = self.stream.map(|view| {
            StreamSpecification::builder()
                .stream_enabled(true)
                .stream_view_type(view)
                .build()
                .unwrap()
        });
        let indexes: Vec<_> = self.indexes.into_iter().map(WrongIndex::build).collect();
        engine
            .client
            .create_table()
            .table_name(name)
            .set_attribute_definitions(Some(definitions.collect()))
            .set_key_schema(Some(keys))
            .set_global_secondary_indexes(Some(indexes).filter(|indexes| !indexes.is_empty()))
            .set_stream_specification(stream)
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await
            .unwrap();
        if let Some(attribute) = self.ttl {
            let ttl = TimeToLiveSpecification::builder()
                .attribute_name(attribute)
                .enabled(true)
                .build()
                .unwrap();
            engine
                .client
                .update_time_to_live()
                .table_name(name)
                .time_to_live_specification(ttl)
                .send()
                .await
                .unwrap();
        }
        engine.requests();
    }
}

impl WrongIndex {
    pub(crate) fn timesearch(name: &'static str) -> Self {
        Self {
            name,
            hash: ("CreatedAtDate", S),
            range: ("CreatedAt", N),
            projection: ProjectionType::All,
            included: &[],
        }
    }

    pub(crate) fn expiry() -> Self {
        Self {
            name: "expiry",
            hash: ("ExpiryShard", N),
            range: ("Expires", N),
            projection: ProjectionType::Include,
            included: &["Revision"],
        }
    }

    fn build(self) -> GlobalSecondaryIndex {
        let mut projection = Projection::builder().projection_type(self.projection);
        for name in self.included {
            projection = projection.non_key_attributes(*name);
        }
        GlobalSecondaryIndex::builder()
            .index_name(self.name)
            .key_schema(key(self.hash.0, KeyType::Hash))
            .key_schema(key(self.range.0, KeyType::Range))
            .projection(projection.build())
            .build()
            .unwrap()
    }
}

fn key(name: &str, role: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(role)
        .build()
        .unwrap()
}
