//! `stdout://`: one line an event. At least once: a process that dies may have written what it did not answer for.
//! In Lambda the function's own log lines stand between the events.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};

use crate::forward::sink::{Outgoing, Sink, SinkError};

/// Writes lines to standard output, or to what stands in for it.
pub struct Stdout(Arc<Mutex<Writer>>);

struct Writer {
    out: Box<dyn Write + Send>,
    /// A write failed midway: its half line must be ended before the next begins.
    torn: bool,
}

impl Stdout {
    /// The process's standard output.
    pub fn new() -> Self {
        Self::to(Box::new(std::io::stdout()))
    }

    /// Any writer.
    pub fn to(out: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Writer { out, torn: false })))
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
    fn deliver<'a>(&'a self, records: &'a [Outgoing<'a>]) -> BoxFuture<'a, Result<usize, SinkError>> {
        let mut text = Vec::with_capacity(records.iter().map(|record| record.line.len() + 1).sum());
        for record in records {
            text.extend_from_slice(record.line);
            text.push(b'\n');
        }
        let writer = Arc::clone(&self.0);
        let count = records.len();
        async move {
            // A pipe that nobody reads blocks, and must not block the function's clock.
            let write = move || writer.lock().unwrap_or_else(PoisonError::into_inner).write(&text);
            match tokio::task::spawn_blocking(write).await {
                Ok(Ok(())) => Ok(count),
                Ok(Err(error)) => Err(SinkError(format!("stdout: {error}"))),
                Err(error) => Err(SinkError(format!("stdout: {error}"))),
            }
        }
        .boxed()
    }
}

impl Writer {
    fn write(&mut self, text: &[u8]) -> std::io::Result<()> {
        if self.torn {
            self.out.write_all(b"\n")?;
        }
        self.torn = true;
        self.out.write_all(text)?;
        self.out.flush()?;
        self.torn = false;
        Ok(())
    }
}
