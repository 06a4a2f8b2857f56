//! `s3://bucket/prefix`: newline-delimited JSON, an object for each run of records of one event day in a batch,
//! `<prefix>/<yyyy-mm-dd>/<first SequenceNumber, 40 digits>-<content hash>.ndjson[.gz|.zst]`.
//!
//! At least once: a batch that Lambda cuts anew has another content and so another name. The envelope, this sink's
//! default format, carries the id by which readers drop repeats. Nothing is ever overwritten.

use std::io::Write as _;

use flate2::Compression as Level;
use flate2::GzBuilder;
use futures_util::future::{BoxFuture, FutureExt};

use crate::config::Compression;
use crate::forward::sink::{Outgoing, Sink, SinkError};
use crate::objects::{self, Objects};

/// Writes batches as objects.
#[derive(Debug)]
pub struct S3 {
    objects: Objects,
    compression: Compression,
}

impl S3 {
    /// Objects of this sink and how they are compressed.
    pub fn new(objects: Objects, compression: Compression) -> Self {
        Self { objects, compression }
    }

    async fn put(&self, records: &[Outgoing<'_>]) -> Result<usize, SinkError> {
        let Some(first) = records.first() else {
            return Ok(0);
        };
        let mut content = Vec::new();
        let mut count = 0;
        for record in records.iter().take_while(|record| record.day == first.day) {
            content.extend_from_slice(record.line);
            content.push(b'\n');
            count += 1;
        }
        let extension = match self.compression {
            Compression::None => "ndjson",
            Compression::Gzip => "ndjson.gz",
            Compression::Zstd => "ndjson.zst",
        };
        let name = format!(
            "{}/{}",
            first.day,
            objects::name(first.sequence_number, &content, extension)
        );
        let body = compress(content, self.compression).map_err(|error| SinkError(error.to_string()))?;
        self.objects
            .put(&name, body)
            .await
            .map_err(|error| SinkError(error.to_string()))?;
        Ok(count)
    }
}

impl Sink for S3 {
    /// Puts one object: the first records, as far as they are of one day.
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        self.put(records).boxed()
    }
}

/// The lines of an object by its name, uncompressed.
#[cfg(feature = "dynamodb")]
pub(crate) fn lines(name: &str, body: Vec<u8>) -> std::io::Result<Box<dyn std::io::BufRead>> {
    let body = std::io::Cursor::new(body);
    if name.ends_with(".gz") {
        let gzip = flate2::bufread::MultiGzDecoder::new(body);
        return Ok(Box::new(std::io::BufReader::new(gzip)));
    }
    if name.ends_with(".zst") {
        #[cfg(feature = "zstd")]
        return Ok(Box::new(std::io::BufReader::new(zstd::Decoder::new(body)?)));
        #[cfg(not(feature = "zstd"))]
        return Err(std::io::Error::other("built without the feature `zstd`"));
    }
    Ok(Box::new(body))
}

/// Compressed content; the same bytes for the same content (no time, no name in the header).
fn compress(content: Vec<u8>, compression: Compression) -> std::io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(content),
        Compression::Gzip => {
            let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Level::default());
            encoder.write_all(&content)?;
            encoder.finish()
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd::bulk::compress(&content, zstd::DEFAULT_COMPRESSION_LEVEL),
        #[cfg(not(feature = "zstd"))]
        Compression::Zstd => Err(std::io::Error::other("built without the feature `zstd`")),
    }
}
