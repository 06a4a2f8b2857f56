//! Reading a bucket's settings. Five operations of S3, none of which changes anything.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    BucketVersioningStatus, ExpirationStatus, LifecycleRule, LifecycleRuleFilter, TransitionStorageClass,
};

use super::bucket::{self, Encryption, Rule, Versioning};
use super::report::Found;
use super::{Because, NotChecked, Place};
use crate::aws::describe;

pub(super) async fn check(client: &Client, place: &Place, resource: &str) -> Found {
    let name = place.location.bucket.as_str();
    let reading = Reading {
        client,
        name,
        resource,
    };
    let mut found = Found::default();
    let versions = match Box::pin(reading.versioning()).await {
        Ok(None) => {
            found = Found::looked();
            found.add(resource, [bucket::missing()]);
            return found;
        }
        Ok(Some(versions)) => Ok(versions),
        Err(error) => Err(error),
    };
    if let Some(versions) = found.take(versions) {
        found.add(resource, bucket::versioning(versions, place.holds));
    }
    if let Some(rules) = found.take(Box::pin(reading.lifecycle()).await) {
        found.add(resource, bucket::lifecycle(&rules, place));
    }
    if let Some(blocked) = found.take(Box::pin(reading.public_access()).await) {
        found.add(resource, bucket::public_access(blocked));
    }
    if let Some(encryption) = found.take(Box::pin(reading.encryption()).await) {
        found.add(resource, bucket::encryption(encryption.as_ref(), place));
    }
    if let Some(policy) = found.take(Box::pin(reading.policy()).await) {
        found.add(resource, bucket::tls(policy.as_deref(), name));
    }
    found
}

struct Reading<'a> {
    client: &'a Client,
    name: &'a str,
    resource: &'a str,
}

impl Reading<'_> {
    /// None if there is no such bucket.
    async fn versioning(&self) -> Result<Option<Versioning>, NotChecked> {
        match self.client.get_bucket_versioning().bucket(self.name).send().await {
            Ok(got) => Ok(Some(match got.status {
                Some(BucketVersioningStatus::Enabled) => Versioning::On,
                Some(_) => Versioning::Suspended,
                None => Versioning::Never,
            })),
            Err(error) if error.code() == Some("NoSuchBucket") => Ok(None),
            Err(error) => Err(self.unread("s3:GetBucketVersioning", error)),
        }
    }

    async fn lifecycle(&self) -> Result<Vec<Rule>, NotChecked> {
        let request = self.client.get_bucket_lifecycle_configuration();
        match request.bucket(self.name).send().await {
            Ok(got) => Ok(got.rules().iter().filter_map(rule).collect()),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
            Err(error) => Err(self.unread("s3:GetLifecycleConfiguration", error)),
        }
    }

    async fn public_access(&self) -> Result<[bool; 4], NotChecked> {
        match self
            .client
            .get_public_access_block()
            .bucket(self.name)
            .send()
            .await
        {
            Ok(got) => {
                let block = got.public_access_block_configuration;
                let on = |on: Option<bool>| on.unwrap_or(false);
                Ok(block.map_or([false; 4], |block| {
                    [
                        on(block.block_public_acls),
                        on(block.ignore_public_acls),
                        on(block.block_public_policy),
                        on(block.restrict_public_buckets),
                    ]
                }))
            }
            Err(error) if error.code() == Some("NoSuchPublicAccessBlockConfiguration") => Ok([false; 4]),
            Err(error) => Err(self.unread("s3:GetBucketPublicAccessBlock", error)),
        }
    }

    async fn encryption(&self) -> Result<Option<Encryption>, NotChecked> {
        match self.client.get_bucket_encryption().bucket(self.name).send().await {
            Ok(got) => Ok(got
                .server_side_encryption_configuration
                .and_then(|config| config.rules.into_iter().next())
                .and_then(|rule| rule.apply_server_side_encryption_by_default)
                .map(|default| Encryption {
                    algorithm: default.sse_algorithm.as_str().to_owned(),
                    key: default.kms_master_key_id,
                })),
            Err(error) if error.code() == Some("ServerSideEncryptionConfigurationNotFoundError") => Ok(None),
            Err(error) => Err(self.unread("s3:GetEncryptionConfiguration", error)),
        }
    }

    async fn policy(&self) -> Result<Option<String>, NotChecked> {
        match self.client.get_bucket_policy().bucket(self.name).send().await {
            Ok(got) => Ok(got.policy),
            Err(error) if error.code() == Some("NoSuchBucketPolicy") => Ok(None),
            Err(error) => Err(self.unread("s3:GetBucketPolicy", error)),
        }
    }

    fn unread<E>(&self, what: &'static str, error: SdkError<E, HttpResponse>) -> NotChecked
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let because = Because::of(error.code(), status);
        NotChecked::new(self.resource, what, because, describe(error))
    }
}

/// An enabled rule.
fn rule(rule: &LifecycleRule) -> Option<Rule> {
    if rule.status != ExpirationStatus::Enabled {
        return None;
    }
    let (prefix, tagged) = rule.filter.as_ref().map_or((None, false), filter);
    // What older rules have instead of a filter.
    #[allow(deprecated)]
    let older = rule.prefix.as_deref();
    let expiration = rule.expiration.as_ref();
    let archive = rule.transitions().iter().find_map(|transition| {
        let class = transition.storage_class.as_ref()?;
        let is_archive = matches!(
            class,
            TransitionStorageClass::Glacier | TransitionStorageClass::DeepArchive
        );
        is_archive.then(|| class.as_str().to_owned())
    });
    Some(Rule {
        id: rule.id.clone().unwrap_or_else(|| "without a name".to_owned()),
        prefix: prefix.or(older).unwrap_or_default().to_owned(),
        tagged,
        expires: expiration.is_some_and(|expiration| expiration.days.is_some() || expiration.date.is_some()),
        archives: archive,
    })
}

fn filter(filter: &LifecycleRuleFilter) -> (Option<&str>, bool) {
    match &filter.and {
        Some(and) => (and.prefix.as_deref(), !and.tags().is_empty()),
        None => (filter.prefix.as_deref(), filter.tag.is_some()),
    }
}
