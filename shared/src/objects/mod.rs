//! Objects in a directory or an S3 prefix, most of them immutable: written once, never overwritten.
//!
//! An immutable object's name comes from its content ([`name`]), so that whoever finds the name taken knows that the
//! content is there: a zombie or a second attempt can neither erase nor change what another has written.
//!
//! Names are relative to the place, with `/` between folders; one that would leave the place is refused.

mod dir;
#[cfg(feature = "s3")]
mod s3;

use std::path::PathBuf;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use self::dir::Dir;
#[cfg(feature = "s3")]
use self::s3::S3;
#[cfg(all(feature = "s3", feature = "dynamodb"))]
pub(crate) use self::s3::client as s3_client;
use crate::config::ObjectsUri;
use crate::random::Random;

/// The SDK's configuration; nothing where no feature links it.
#[cfg(feature = "s3")]
type Sdk = aws_config::SdkConfig;
#[cfg(not(feature = "s3"))]
type Sdk = std::convert::Infallible;

/// A place for objects.
#[derive(Debug)]
pub struct Objects(Place);

#[derive(Debug)]
enum Place {
    Dir(Dir),
    #[cfg(feature = "s3")]
    S3(S3),
}

/// Why an object was not written, read, listed or deleted. It may be tried again; a write may have happened.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ObjectsError {
    /// The object or prefix.
    pub place: String,
    /// What happened.
    pub reason: String,
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The content.
    pub body: Vec<u8>,
    /// Which content it is, for [`Objects::delete_if`].
    pub tag: Tag,
}

/// The entity tag of an object: of this very content, in a directory; of this very write where S3 encrypts with a key of
/// KMS. It tells whether an object is still the one that was read, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, where the place tells.
    pub modified: Option<SystemTime>,
}

/// A page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects in the order of their names' bytes.
    pub objects: Vec<Listed>,
    /// Whether more follow.
    pub more: bool,
}

/// Most names in a page: S3's own limit.
pub const PAGE: usize = 1000;

/// An object's name: the first SequenceNumber padded to 40 digits, its greatest length, so that names sort as numbers
/// do, and the first 128 bits of the content's SHA-256.
pub fn name(first_sequence_number: &str, content: &[u8], extension: &str) -> String {
    let digits: String = first_sequence_number
        .chars()
        .filter(char::is_ascii_digit)
        .take(40)
        .collect();
    format!("{digits:0>40}-{}.{extension}", hash(content))
}

/// The first 128 bits of the content's SHA-256, in hex.
pub fn hash(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Runs one method of either place. S3's futures are large.
macro_rules! at {
    ($objects:expr, $place:ident => $call:expr) => {
        match &$objects.0 {
            Place::Dir($place) => $call.await,
            #[cfg(feature = "s3")]
            Place::S3($place) => Box::pin($call).await,
        }
    };
}

impl Objects {
    /// Objects in a directory, made when the first is written. What is written survives the end of the process, not the
    /// loss of power: nothing is synced.
    pub fn dir(path: PathBuf, random: Random) -> Self {
        Self(Place::Dir(Dir::new(path, random)))
    }

    /// Objects under a prefix of a bucket.
    #[cfg(feature = "s3")]
    pub fn s3(client: aws_sdk_s3::Client, location: crate::config::S3Location) -> Self {
        Self(Place::S3(S3::new(client, location)))
    }

    /// Objects where a URI says. No request.
    ///
    /// # Errors
    /// What is missing: the AWS configuration for `s3://`, or the feature.
    #[cfg_attr(not(feature = "s3"), allow(unused_variables))]
    pub fn open(uri: &ObjectsUri, sdk: Option<&Sdk>, random: Random) -> Result<Self, &'static str> {
        match uri {
            ObjectsUri::File(dir) => Ok(Self::dir(dir.clone(), random)),
            #[cfg(feature = "s3")]
            ObjectsUri::S3(location) => {
                let sdk = sdk.ok_or("s3:// needs an AWS configuration")?;
                Ok(Self::s3(s3::client(sdk, location), location.clone()))
            }
            #[cfg(not(feature = "s3"))]
            ObjectsUri::S3(_) => Err("built without the feature `s3`"),
        }
    }

    /// Where an object of this name stands, for messages.
    pub fn place(&self, name: &str) -> String {
        match &self.0 {
            Place::Dir(dir) => dir.place(name),
            #[cfg(feature = "s3")]
            Place::S3(s3) => s3.place(name),
        }
    }

    /// Writes an object under a name that its content determines; a name that is taken counts as written. One PUT.
    /// Cancel-safe: a dropped call has written the object whole or not at all.
    ///
    /// # Errors
    /// [`ObjectsError`]; the object may be there all the same.
    pub async fn put(&self, name: &str, body: Vec<u8>) -> Result<(), ObjectsError> {
        self.create(name, body).await.map(drop)
    }

    /// Writes an object unless its name is taken; answers whether it did. One PUT, with `If-None-Match: *`.
    /// Cancel-safe as [`put`](Self::put).
    ///
    /// # Errors
    /// [`ObjectsError`]; the object may be there all the same: read it to know whose it is.
    pub async fn create(&self, name: &str, body: Vec<u8>) -> Result<bool, ObjectsError> {
        at!(self, place => place.put(name, body, true))
    }

    /// Writes as [`put`](Self::put) does; answers the id of the version that stands there, where the place keeps versions.
    /// One PUT, and a HEAD if the name is taken.
    ///
    /// # Errors
    /// [`ObjectsError`]; the object may be there all the same.
    pub async fn put_versioned(&self, name: &str, body: Vec<u8>) -> Result<Option<String>, ObjectsError> {
        match &self.0 {
            Place::Dir(dir) => dir.put(name, body, true).await.map(|_| None),
            #[cfg(feature = "s3")]
            Place::S3(s3) => Box::pin(s3.put_versioned(name, body)).await,
        }
    }

    /// Writes an object, in place of what stands under its name. One PUT. Cancel-safe as [`put`](Self::put).
    ///
    /// # Errors
    /// [`ObjectsError`]; the object may be there all the same.
    pub async fn replace(&self, name: &str, body: Vec<u8>) -> Result<(), ObjectsError> {
        at!(self, place => place.put(name, body, false)).map(drop)
    }

    /// Writes an object in place of this one, and of no other; answers whether it did. One PUT, with `If-Match`.
    ///
    /// # Errors
    /// [`ObjectsError`]; the object may be there all the same: read it to know whose it is.
    pub async fn replace_if(&self, name: &str, tag: &Tag, body: Vec<u8>) -> Result<bool, ObjectsError> {
        at!(self, place => place.replace_if(name, tag, body))
    }

    /// Shows that objects can be written, encryption included, by writing `probe`, which holds nothing and may be
    /// overwritten. One PUT.
    ///
    /// # Errors
    /// [`ObjectsError`].
    pub async fn probe(&self) -> Result<(), ObjectsError> {
        self.replace("probe", Vec::new()).await
    }

    /// Reads an object whole; none if there is none. One GET.
    ///
    /// # Errors
    /// [`ObjectsError`].
    pub async fn get(&self, name: &str) -> Result<Option<Object>, ObjectsError> {
        at!(self, place => place.get(name))
    }

    /// Objects whose names begin with `prefix`, in the order of their bytes, after the name `after`; at most `limit` and
    /// [`PAGE`]. One LIST. What is put or deleted meanwhile may show or not.
    ///
    /// # Errors
    /// [`ObjectsError`].
    pub async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, ObjectsError> {
        at!(self, place => place.list(prefix, after, limit.min(PAGE)))
    }

    /// Deletes an object; one that is not there is deleted. One DELETE.
    ///
    /// # Errors
    /// [`ObjectsError`]; it may be gone all the same.
    pub async fn delete(&self, name: &str) -> Result<(), ObjectsError> {
        at!(self, place => place.delete(name, None)).map(drop)
    }

    /// Deletes an object if it is still this one; answers whether nothing of this tag is left. One DELETE, with
    /// `If-Match`.
    ///
    /// # Errors
    /// [`ObjectsError`]; it may be gone all the same.
    pub async fn delete_if(&self, name: &str, tag: &Tag) -> Result<bool, ObjectsError> {
        at!(self, place => place.delete(name, Some(tag)))
    }
}
