//! Objects in a bucket.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::types::ServerSideEncryption;

use super::{Listed, Object, ObjectsError, Page, Tag};
use crate::config::S3Location;

/// A prefix of a bucket.
#[derive(Debug)]
pub(super) struct S3 {
    client: Client,
    location: S3Location,
}

/// The HTTP status of an answer, if there is one.
fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// A client for a location.
pub(crate) fn client(sdk: &aws_config::SdkConfig, location: &S3Location) -> Client {
    let mut builder = aws_sdk_s3::config::Builder::from(sdk);
    if let Some(region) = &location.region {
        builder = builder.region(aws_config::Region::new(region.clone()));
    }
    if let Some(endpoint) = &location.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    // What stands in for S3 is addressed by path.
    let elsewhere = location.endpoint.is_some() || sdk.endpoint_url().is_some();
    Client::from_conf(builder.force_path_style(elsewhere).build())
}

impl S3 {
    pub(super) fn new(client: Client, location: S3Location) -> Self {
        Self { client, location }
    }

    pub(super) fn place(&self, name: &str) -> String {
        format!("s3://{}/{}", self.location.bucket, self.key(name))
    }

    fn key(&self, name: &str) -> String {
        if self.location.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.location.prefix)
        }
    }

    fn error(&self, name: &str, error: impl std::error::Error) -> ObjectsError {
        ObjectsError {
            place: self.place(name),
            reason: crate::aws::describe(error),
        }
    }

    fn request(&self, name: &str, body: Vec<u8>) -> PutObjectFluentBuilder {
        let kms = self.location.sse_kms_key.as_ref();
        self.client
            .put_object()
            .bucket(&self.location.bucket)
            .key(self.key(name))
            .content_type(content_type(name))
            .set_server_side_encryption(kms.map(|_| ServerSideEncryption::AwsKms))
            .set_ssekms_key_id(kms.cloned())
            .body(body.into())
    }

    pub(super) async fn put(&self, name: &str, body: Vec<u8>, once: bool) -> Result<bool, ObjectsError> {
        self.write(name, body, once).await.map(|put| put.is_some())
    }

    pub(super) async fn put_versioned(
        &self,
        name: &str,
        body: Vec<u8>,
    ) -> Result<Option<String>, ObjectsError> {
        if let Some(put) = self.write(name, body, true).await? {
            return Ok(put.version_id);
        }
        let head = self.client.head_object();
        let head = head
            .bucket(&self.location.bucket)
            .key(self.key(name))
            .send()
            .await;
        head.map(|head| head.version_id)
            .map_err(|error| self.error(name, error))
    }

    /// Puts an object; none if `once` and the name is taken.
    async fn write(
        &self,
        name: &str,
        body: Vec<u8>,
        once: bool,
    ) -> Result<Option<PutObjectOutput>, ObjectsError> {
        let put = self.request(name, body);
        match put.set_if_none_match(once.then(|| "*".to_owned())).send().await {
            Ok(put) => Ok(Some(put)),
            Err(error) if once && status(&error) == Some(412) => Ok(None),
            Err(error) => Err(self.error(name, error)),
        }
    }

    pub(super) async fn replace_if(
        &self,
        name: &str,
        tag: &Tag,
        body: Vec<u8>,
    ) -> Result<bool, ObjectsError> {
        match self.request(name, body).if_match(&tag.0).send().await {
            Ok(_) => Ok(true),
            Err(error) if matches!(status(&error), Some(404 | 412)) => Ok(false),
            Err(error) => Err(self.error(name, error)),
        }
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Object>, ObjectsError> {
        let got = self
            .client
            .get_object()
            .bucket(&self.location.bucket)
            .key(self.key(name))
            .send()
            .await;
        match got {
            Ok(object) => {
                let tag = Tag(object.e_tag.unwrap_or_default());
                let body = object.body.collect().await;
                let body = body.map_err(|error| self.error(name, error))?.to_vec();
                Ok(Some(Object { body, tag }))
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_no_such_key()) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.error(name, error)),
        }
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, ObjectsError> {
        let listed = self
            .client
            .list_objects_v2()
            .bucket(&self.location.bucket)
            .prefix(self.key(prefix))
            .set_start_after(after.map(|after| self.key(after)))
            .max_keys(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| self.error(prefix, error))?;
        let outside = self.key("").len();
        let objects = listed.contents.unwrap_or_default().into_iter();
        let objects = objects.filter_map(|object| {
            Some(Listed {
                name: object.key?.get(outside..)?.to_owned(),
                size: object
                    .size
                    .and_then(|size| u64::try_from(size).ok())
                    .unwrap_or_default(),
                modified: object.last_modified.and_then(|at| at.try_into().ok()),
            })
        });
        Ok(Page {
            objects: objects.collect(),
            more: listed.is_truncated.unwrap_or_default(),
        })
    }

    pub(super) async fn delete(&self, name: &str, tag: Option<&Tag>) -> Result<bool, ObjectsError> {
        let deleted = self
            .client
            .delete_object()
            .bucket(&self.location.bucket)
            .key(self.key(name))
            .set_if_match(tag.map(|tag| tag.0.clone()))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(true),
            Err(error) => match status(&error) {
                Some(404) => Ok(true),
                Some(412) if tag.is_some() => Ok(false),
                _ => Err(self.error(name, error)),
            },
        }
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("ndjson") => "application/x-ndjson",
        Some("json") => "application/json",
        Some("gz") => "application/gzip",
        Some("zst") => "application/zstd",
        Some("parquet") => "application/vnd.apache.parquet",
        _ => "application/octet-stream",
    }
}
