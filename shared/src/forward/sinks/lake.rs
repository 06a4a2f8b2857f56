//! `s3://bucket/prefix?format=parquet`: envelopes, staged for the task `lake`, which alone writes the Parquet files
//! that readers see; a batch is one object, `<prefix>/_staging/<first SequenceNumber, 40 digits>-<content
//! hash>.ndjson`.
//!
//! At least once: a batch that Lambda cuts anew is staged again, and the task drops repeats by the envelope's id. An
//! object that the task has consumed may so come again under its own name: with the same content, so with repeats only.

use futures_util::future::{BoxFuture, FutureExt};

use crate::forward::sink::{Outgoing, Sink, SinkError};
use crate::objects::{self, Objects};

/// The folder of staged objects. Teleport's reader lists folders that are named by a date.
pub(crate) const STAGING: &str = "_staging/";

/// The folder of sidecars, a folder a day: the ids in each Parquet file, 16 bytes each, the start of their SHA-256.
#[cfg(any(feature = "lake", feature = "dynamodb"))]
pub(crate) const SIDECARS: &str = "_ids/";

/// The folder of lines that are no rows: a line of JSON each, the line itself in `line`.
#[cfg(any(feature = "lake", feature = "dynamodb"))]
pub(crate) const QUARANTINE: &str = "_quarantine/";

/// Bytes after which an object is full: so that the task can take any in whole, several at a time.
const FULL: usize = 4 << 20;

/// Stages batches.
#[derive(Debug)]
pub struct Lake {
    objects: Objects,
}

impl Lake {
    /// The lake's place.
    pub fn new(objects: Objects) -> Self {
        Self { objects }
    }

    async fn put(&self, records: &[Outgoing<'_>]) -> Result<usize, SinkError> {
        let Some(first) = records.first() else {
            return Ok(0);
        };
        let mut content = Vec::new();
        let mut count = 0;
        for record in records {
            if count > 0 && content.len() + record.line.len() > FULL {
                break;
            }
            content.extend_from_slice(record.line);
            content.push(b'\n');
            count += 1;
        }
        let name = format!(
            "{STAGING}{}",
            objects::name(first.sequence_number, &content, "ndjson")
        );
        self.objects
            .put(&name, content)
            .await
            .map_err(|error| SinkError(error.to_string()))?;
        Ok(count)
    }
}

impl Sink for Lake {
    /// Puts one object: the first records, as far as they fit.
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        self.put(records).boxed()
    }
}
