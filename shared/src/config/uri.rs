//! Where things go, as URIs: sinks and the quarantine.

use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::AwsConfig;

/// A sink by its URI.
///
/// | URI | meaning |
/// |---|---|
/// | `stdout://` | one line an event |
/// | `file:///dir?remember=4000000` | a file per event day; `remember` bounds the ids that are known as written |
/// | `s3://bucket/prefix?format=parquet`, `file:///dir?format=parquet` | a lake: staged here, made Parquet by the task `lake` |
/// | `s3://bucket/prefix?compression=gzip&sse_kms_key=…&region=…&endpoint=…` | an object for each run of records of one event day; `compression` is `none`, `gzip` (default) or `zstd` |
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkUri {
    /// Standard output.
    Stdout,
    /// A directory of this machine.
    File {
        /// The directory.
        dir: PathBuf,
        /// How many ids are remembered.
        remember: usize,
    },
    /// An S3 prefix.
    S3 {
        /// Where.
        location: S3Location,
        /// How objects are compressed.
        compression: Compression,
    },
    /// A lake, whose Parquet files the task `lake` writes.
    Lake(ObjectsUri),
}

/// Immutable objects by URI: `file:///dir` or `s3://bucket/prefix?sse_kms_key=…&region=…&endpoint=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectsUri {
    /// A directory of this machine.
    File(PathBuf),
    /// An S3 prefix.
    S3(S3Location),
}

/// A prefix of a bucket and how to write to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// Prefix without slashes at either end; empty for the whole bucket.
    pub prefix: String,
    /// KMS key (id, alias or ARN) for SSE-KMS; without it the bucket's default encryption acts.
    pub sse_kms_key: Option<String>,
    /// Region of the bucket, if not the function's.
    pub region: Option<String>,
    /// Endpoint instead of AWS's; with one, buckets are addressed by path.
    pub endpoint: Option<String>,
}

/// How an object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 6.
    Gzip,
    /// zstd, level 3 (feature `zstd`).
    Zstd,
}

/// Ids that a file sink remembers by default: design bound of the specification, about 210 MB when full.
const REMEMBER: usize = 4_000_000;

impl SinkUri {
    /// Where its objects or files are, if it has any.
    pub(super) fn place(&self) -> Option<ObjectsUri> {
        match self {
            Self::Stdout => None,
            Self::File { dir, .. } => Some(ObjectsUri::File(dir.clone())),
            Self::S3 { location, .. } => Some(ObjectsUri::S3(location.clone())),
            Self::Lake(place) => Some(place.clone()),
        }
    }
}

impl ObjectsUri {
    /// Whether one of the two is the other, or lies in it.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one.starts_with(other) || other.starts_with(one),
            (Self::S3(one), Self::S3(other)) => {
                // By whole components; the whole bucket has an empty prefix.
                let begins = |long: &str, short: &str| {
                    let rest = long.strip_prefix(short);
                    rest.is_some_and(|rest| short.is_empty() || rest.is_empty() || rest.starts_with('/'))
                };
                let same = one.bucket == other.bucket && one.endpoint == other.endpoint;
                same && (begins(&one.prefix, &other.prefix) || begins(&other.prefix, &one.prefix))
            }
            _ => false,
        }
    }
}

impl FromStr for SinkUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri = Uri::parse(text, "stdout://, file:///dir or s3://bucket/prefix")?;
        match uri.url.scheme() {
            "file" | "s3" if uri.takes("format") => uri.lake(),
            "stdout" => {
                if uri.url.has_host() && uri.url.host_str() != Some("") || !matches!(uri.url.path(), "" | "/")
                {
                    return Err("stdout:// takes no host and no path".to_owned());
                }
                uri.end().map(|()| Self::Stdout)
            }
            "file" => {
                let mut uri = uri;
                let remember = uri.option("remember", |text| {
                    text.parse()
                        .ok()
                        .filter(|count| *count > 0)
                        .ok_or("a number above 0 is due")
                })?;
                let dir = uri.dir()?;
                uri.end()?;
                Ok(Self::File {
                    dir,
                    remember: remember.unwrap_or(REMEMBER),
                })
            }
            "s3" => {
                let mut uri = uri;
                let compression = uri.option("compression", |text| match text {
                    "none" => Ok(Compression::None),
                    "gzip" => Ok(Compression::Gzip),
                    "zstd" if cfg!(feature = "zstd") => Ok(Compression::Zstd),
                    "zstd" => Err("zstd needs a build with the feature `zstd`"),
                    _ => Err("none, gzip or zstd is due"),
                })?;
                let location = uri.s3()?;
                uri.end()?;
                Ok(Self::S3 {
                    location,
                    compression: compression.unwrap_or(Compression::Gzip),
                })
            }
            scheme => Err(format!(
                "no sink is called {scheme}://; stdout://, file:///dir or s3://bucket/prefix is due"
            )),
        }
    }
}

impl FromStr for ObjectsUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut uri = Uri::parse(text, "file:///dir or s3://bucket/prefix")?;
        let objects = match uri.url.scheme() {
            "file" => Self::File(uri.dir()?),
            "s3" => Self::S3(uri.s3()?),
            scheme => {
                return Err(format!(
                    "{scheme}:// holds no objects; file:///dir or s3://bucket/prefix is due"
                ));
            }
        };
        uri.end()?;
        Ok(objects)
    }
}

/// A URI whose options are taken one by one.
struct Uri {
    url: Url,
    options: Vec<(String, String)>,
}

impl Uri {
    fn parse(text: &str, due: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("not a URI ({error}); {due} is due"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URI takes no user or password; name secrets by reference".to_owned());
        }
        if url.scheme() == "file" && !text.starts_with("file:///") {
            return Err("an absolute directory is due: file:///dir".to_owned());
        }
        if url.fragment().is_some() {
            return Err("a URI takes no #fragment".to_owned());
        }
        let options = url.query_pairs().into_owned().collect();
        Ok(Self { url, options })
    }

    fn takes(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| option == name)
    }

    /// A place with the option `format`.
    fn lake(mut self) -> Result<SinkUri, String> {
        self.option("format", |text| match text {
            "parquet" => Ok(()),
            _ => Err("parquet is due; whether lines have an envelope is the sink's own setting `format`"),
        })?;
        let objects = match self.url.scheme() {
            "file" => ObjectsUri::File(self.dir()?),
            _ => ObjectsUri::S3(self.s3()?),
        };
        self.end().map(|()| SinkUri::Lake(objects))
    }

    fn option<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, String> {
        let Some(at) = self.options.iter().position(|(option, _)| option == name) else {
            return Ok(None);
        };
        let (_, value) = self.options.swap_remove(at);
        parse(&value)
            .map(Some)
            .map_err(|due| format!("option {name}: {due}"))
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        self.option(name, |text| {
            if text.is_empty() {
                Err("a value is due")
            } else {
                Ok(text.to_owned())
            }
        })
    }

    fn dir(&self) -> Result<PathBuf, String> {
        match self.url.to_file_path() {
            Ok(path) if path.parent().is_some() => Ok(path),
            _ => Err("an absolute directory is due: file:///dir".to_owned()),
        }
    }

    fn s3(&mut self) -> Result<S3Location, String> {
        if !cfg!(feature = "s3") {
            return Err("s3:// needs a build with the feature `s3`".to_owned());
        }
        let bucket = self.url.host_str().unwrap_or_default().to_owned();
        // Names of general purpose buckets: 3 to 63 of a-z, 0-9, dots and hyphens.
        let named = bucket
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
        if !named || !(3..=63).contains(&bucket.len()) {
            return Err("a bucket is due: s3://bucket/prefix".to_owned());
        }
        if self.url.port().is_some() {
            return Err("s3://bucket takes no port; use ?endpoint=".to_owned());
        }
        Ok(S3Location {
            bucket,
            prefix: percent_encoding::percent_decode_str(self.url.path().trim_matches('/'))
                .decode_utf8()
                .map_err(|_| "a prefix of UTF-8 is due".to_owned())?
                .into_owned(),
            sse_kms_key: self.text("sse_kms_key")?,
            region: self.text("region")?,
            endpoint: self.option("endpoint", |text| {
                AwsConfig::check_endpoint(text).map(|()| text.to_owned())
            })?,
        })
    }

    fn end(self) -> Result<(), String> {
        match self.options.first() {
            Some((name, _)) => Err(format!("unknown or repeated option {name}")),
            None => Ok(()),
        }
    }
}
