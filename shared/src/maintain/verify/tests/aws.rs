//! Lambda and S3 as far as they are asked here: canned answers as AWS writes them.

use std::sync::{Arc, Mutex};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;

/// An answer: status and body.
pub(super) type Answer = (u16, String);

/// What was asked: `GET /path?query`.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Clients whose requests are answered by `answer`.
pub(super) fn sdk(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> (SdkConfig, Asked) {
    let asked = Asked::default();
    let kept = asked.clone();
    let client = infallible_client_fn(move |request| {
        let line = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
        kept.0.lock().unwrap().push(line.clone());
        let (status, body) = answer(&line);
        let mut response = http::Response::new(SdkBody::from(body));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    });
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url("http://aws.invalid")
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "a", "b", None, None, "test",
        )))
        .retry_config(RetryConfig::disabled())
        .http_client(client)
        .build();
    (sdk, asked)
}

/// S3's way to refuse.
pub(super) fn s3_error(status: u16, code: &str) -> Answer {
    (
        status,
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>"),
    )
}

/// Lambda's way to refuse.
pub(super) fn lambda_error(status: u16, code: &str) -> Answer {
    // The type is in a header too; the body is enough for the SDK.
    (status, format!(r#"{{"__type":"{code}","Message":"no"}}"#))
}

/// The settings of a spool bucket as they must be.
pub(super) fn good_bucket(line: &str) -> Answer {
    let answer = |body: &str| (200, body.to_owned());
    match line.split_once('?').map_or("", |(_, query)| query) {
        "versioning" => answer("<VersioningConfiguration/>"),
        "lifecycle" => answer(
            "<LifecycleConfiguration><Rule><ID>unfinished</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
             <Rule><ID>off</ID><Status>Disabled</Status><Filter><Prefix></Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>\
             <Rule><ID>other</ID><Status>Enabled</Status><Prefix>tmp/</Prefix><Expiration><Days>1</Days></Expiration></Rule>\
             <Rule><ID>tagged</ID><Status>Enabled</Status><Filter><And><Prefix></Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>\
             <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>",
        ),
        "publicAccessBlock" => answer(
            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls>\
             <BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
        ),
        "encryption" => answer(
            "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>\
             </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
        ),
        "policy" => answer(
            r#"{"Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}}"#,
        ),
        _ => (501, String::new()),
    }
}
