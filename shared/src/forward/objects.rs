//! Immutable objects in a directory or an S3 prefix: written once, never overwritten.
//!
//! An object's name comes from its content, so that whoever finds the name taken knows that the content is there:
//! a zombie or a second attempt can neither erase nor change what another has written.

use std::io::Write as _;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::random::Random;

/// A place for immutable objects.
#[derive(Debug)]
pub enum Objects {
    /// A directory of this machine.
    Dir(Dir),
    /// A prefix of a bucket.
    #[cfg(feature = "s3")]
    S3(S3),
}

/// A directory. Objects are written beside and linked to their name, so a name never shows half an object.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    random: Random,
}

/// A prefix of a bucket. Puts carry `If-None-Match: *`.
#[cfg(feature = "s3")]
#[derive(Debug)]
pub struct S3 {
    client: aws_sdk_s3::Client,
    location: crate::config::S3Location,
}

/// Why an object was not written. It may be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct PutError {
    /// The object.
    pub place: String,
    /// What happened.
    pub reason: String,
}

/// An object's name: the first SequenceNumber padded to 40 digits, its greatest length, so that names sort as numbers
/// do, and the first 128 bits of the content's SHA-256.
pub fn name(first_sequence_number: &str, content: &[u8], extension: &str) -> String {
    let digits: String = first_sequence_number
        .chars()
        .filter(char::is_ascii_digit)
        .take(40)
        .collect();
    let hash: String = Sha256::digest(content)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{digits:0>40}-{hash}.{extension}")
}

impl Objects {
    /// Objects in a directory, made when the first is written.
    pub fn dir(path: PathBuf, random: Random) -> Self {
        Self::Dir(Dir { path, random })
    }

    /// Objects under a prefix of a bucket.
    #[cfg(feature = "s3")]
    pub fn s3(client: aws_sdk_s3::Client, location: crate::config::S3Location) -> Self {
        Self::S3(S3 { client, location })
    }

    /// Writes an object under a name that its content determines; a name that is taken counts as written. One PUT.
    /// Cancel-safe: a dropped call has written the object whole or not at all.
    ///
    /// # Errors
    /// [`PutError`]; the object may be there all the same.
    pub async fn put(&self, name: &str, body: Vec<u8>) -> Result<(), PutError> {
        match self {
            Self::Dir(dir) => dir.put(name, body).await,
            #[cfg(feature = "s3")]
            Self::S3(s3) => Box::pin(s3.put(name, body, true)).await,
        }
    }

    /// Shows that objects can be written, encryption included, by writing `probe`, which holds nothing and may be
    /// overwritten. One PUT.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn probe(&self) -> Result<(), PutError> {
        match self {
            Self::Dir(dir) => dir.write("probe", b"", false),
            #[cfg(feature = "s3")]
            Self::S3(s3) => Box::pin(s3.put("probe", Vec::new(), false)).await,
        }
    }
}

impl Dir {
    async fn put(&self, name: &str, body: Vec<u8>) -> Result<(), PutError> {
        let dir = Self {
            path: self.path.clone(),
            random: self.random.clone(),
        };
        let name = name.to_owned();
        let place = dir.path.join(&name).display().to_string();
        match tokio::task::spawn_blocking(move || dir.write(&name, &body, true)).await {
            Ok(written) => written,
            Err(error) => Err(PutError {
                place,
                reason: error.to_string(),
            }),
        }
    }

    fn write(&self, name: &str, body: &[u8], once: bool) -> Result<(), PutError> {
        let target = self.path.join(name);
        let folder = target.parent().unwrap_or(&self.path);
        let beside = folder.join(format!(".{:016x}.tmp", self.random.u64()));
        let write = || -> std::io::Result<()> {
            if once && target.exists() {
                return Ok(());
            }
            std::fs::create_dir_all(folder)?;
            std::fs::File::create_new(&beside)?.write_all(body)?;
            if !once {
                return std::fs::rename(&beside, &target);
            }
            match std::fs::hard_link(&beside, &target) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        };
        let written = write();
        let _ = std::fs::remove_file(&beside);
        written.map_err(|error| PutError {
            place: target.display().to_string(),
            reason: error.to_string(),
        })
    }
}

#[cfg(feature = "s3")]
fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("ndjson") => "application/x-ndjson",
        Some("gz") => "application/gzip",
        Some("zst") => "application/zstd",
        _ => "application/octet-stream",
    }
}

#[cfg(feature = "s3")]
impl S3 {
    async fn put(&self, name: &str, body: Vec<u8>, once: bool) -> Result<(), PutError> {
        use aws_sdk_s3::types::ServerSideEncryption;
        let location = &self.location;
        let key = if location.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", location.prefix)
        };
        let kms = location.sse_kms_key.as_ref();
        let put = self
            .client
            .put_object()
            .bucket(&location.bucket)
            .key(&key)
            .content_type(content_type(name))
            .set_if_none_match(once.then(|| "*".to_owned()))
            .set_server_side_encryption(kms.map(|_| ServerSideEncryption::AwsKms))
            .set_ssekms_key_id(kms.cloned())
            .body(body.into())
            .send()
            .await;
        let place = format!("s3://{}/{key}", location.bucket);
        match put {
            Ok(_) => Ok(()),
            // The name is the content, so a name that is taken is an object that is written.
            Err(error)
                if error
                    .raw_response()
                    .is_some_and(|response| response.status().as_u16() == 412) =>
            {
                Ok(())
            }
            Err(error) => Err(PutError {
                place,
                reason: crate::aws::describe(error),
            }),
        }
    }
}
