//! A new bucket of a real S3, or of what stands in for it, that `TIDEWATCH_S3_ENDPOINT` names; it is left there.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::print_stdout
)]

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Config, Credentials, Region};
use tidewatch::config::S3Location;
use tidewatch::objects::Objects;
use tidewatch::random::Random;

/// The section `aws` of a document by which it is reached.
pub const AWS: &str = "aws: { region: us-east-1, access_key: test, secret_key: test }";

/// A bucket with the client that made it.
pub struct Bucket {
    pub endpoint: String,
    pub name: String,
    client: Client,
}

impl Bucket {
    /// None, and a word of it, if the variable is not set.
    pub async fn new() -> Option<Self> {
        let Ok(endpoint) = std::env::var("TIDEWATCH_S3_ENDPOINT") else {
            println!("skipped: TIDEWATCH_S3_ENDPOINT names no S3");
            return None;
        };
        let config = Config::builder()
            .behavior_version_latest()
            .endpoint_url(&endpoint)
            .force_path_style(true)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let client = Client::from_conf(config);
        let name = format!("tidewatch-{}", Random::system().uuid());
        client.create_bucket().bucket(&name).send().await.unwrap();
        Some(Self {
            endpoint,
            name,
            client,
        })
    }

    /// What is below a prefix.
    pub fn objects(&self, prefix: &str) -> Objects {
        Objects::s3(self.client.clone(), location(&self.name, prefix))
    }

    /// Keeps what is overwritten, as a spill's bucket should.
    pub async fn versioned(&self) {
        let versioning = aws_sdk_s3::types::VersioningConfiguration::builder()
            .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
            .build();
        let request = self.client.put_bucket_versioning().bucket(&self.name);
        request.versioning_configuration(versioning).send().await.unwrap();
    }

    /// A version of an object.
    pub async fn read(&self, key: &str, version: &str) -> Vec<u8> {
        let request = self.client.get_object().bucket(&self.name).key(key);
        let answer = request.version_id(version).send().await.unwrap();
        answer.body.collect().await.unwrap().to_vec()
    }

    /// Puts something else in an object's place.
    pub async fn overwrite(&self, key: &str) {
        let request = self.client.put_object().bucket(&self.name).key(key);
        let body = b"other".to_vec().into();
        request.body(body).send().await.unwrap();
    }

    /// Makes another bucket, and answers all that is in it.
    pub async fn beside(&self, name: &str) -> Objects {
        self.client.create_bucket().bucket(name).send().await.unwrap();
        Objects::s3(self.client.clone(), location(name, ""))
    }
}

fn location(bucket: &str, prefix: &str) -> S3Location {
    S3Location {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        ..S3Location::default()
    }
}
