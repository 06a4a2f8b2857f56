//! `stdout://`: one line an event. At least once: a process that dies may have written what it did not answer for.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};

use crate::forward::sink::{Acked, Outgoing, Sink, SinkError};

/// Writes lines to standard output, or to what stands in for it.
pub struct Stdout(Mutex<Box<dyn Write + Send>>);

impl Stdout {
    /// The process's standard output.
    pub fn new() -> Self {
        Self::to(Box::new(std::io::stdout()))
    }

    /// Any writer.
    pub fn to(writer: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(writer))
    }
}

impl Default for Stdout {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Stdout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stdout")
    }
}

impl Sink for Stdout {
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<Acked, SinkError>> {
        let mut text = Vec::with_capacity(records.iter().map(|record| record.line.len() + 1).sum());
        for record in records {
            text.extend_from_slice(record.line);
            text.push(b'\n');
        }
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = writer.write_all(&text).and_then(|()| writer.flush());
        let acked = written
            .map(|()| Acked::All)
            .map_err(|error| SinkError(format!("stdout: {error}")));
        std::future::ready(acked).boxed()
    }
}
