//! How tasks hand records over to `forward` until all are acknowledged.

use std::future::Future;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::OBJECT_TRY;
use super::handed::{Handed, sequence_number};
use super::invoke::{Invoke, InvokeError, first_failed};
use crate::clock::{Clock, Instant};

/// To whom records are handed, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Hand<'a> {
    /// Where `forward` runs.
    pub forward: &'a dyn Invoke,
    /// The clock of the options.
    pub clock: &'a Clock,
    /// Until when, and whether anything is handed at all.
    pub options: Options,
}

/// Until when a run goes on, and whether it does anything.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// No payload is handed over after this; one that is under way then is given up a little later, at `deadline`.
    pub last_call: Instant,
    /// When the run must have ended.
    pub deadline: Instant,
    /// Only look.
    pub dry_run: bool,
}

/// What was handed over and acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Records.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Why not all was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandError {
    /// The last call is over, or the deadline.
    #[error("no time was left")]
    Time,
    /// The invocation did not answer by the deadline, or for longer than Lambda lets one run.
    #[error("no answer in time")]
    Silent,
    /// Where the objects are, nothing answered in time.
    #[error("the objects' place did not answer in time")]
    Objects,
    /// It failed; what was handed may be delivered.
    #[error("{0}")]
    Invoke(#[from] InvokeError),
    /// Nothing of a payload was taken: a sink is down, or the record is poison where poison stays.
    #[error("the record {0} is not taken")]
    Left(String),
}

/// A Lambda invocation at its longest, and a minute to be told of it: no answer comes after that, however far the deadline.
const INVOCATION: Duration = Duration::from_mins(16);

impl Hand<'_> {
    /// Whether a payload may be handed over now.
    pub(crate) fn in_time(&self) -> Result<(), HandError> {
        match self.clock.instant() < self.options.last_call {
            true => Ok(()),
            false => Err(HandError::Time),
        }
    }

    /// A request, and as long as it may take: a connection that died must not hold up a run for ever.
    pub(crate) async fn request<T>(&self, request: impl Future<Output = T>) -> Result<T, HandError> {
        self.within(OBJECT_TRY, request).await
    }

    /// The same for one that may take longer.
    pub(crate) async fn within<T>(
        &self,
        most: Duration,
        request: impl Future<Output = T>,
    ) -> Result<T, HandError> {
        let left = self
            .options
            .deadline
            .saturating_duration_since(self.clock.instant());
        let answer = self.clock.timeout(left.min(most), request).await;
        answer.map_err(|_| HandError::Objects)
    }

    /// Waits, if that is possible before the last call.
    #[cfg(feature = "dynamodb")]
    pub(crate) async fn wait(&self, pause: Duration) -> Result<(), HandError> {
        let left = self
            .options
            .last_call
            .saturating_duration_since(self.clock.instant());
        if pause >= left {
            return Err(HandError::Time);
        }
        self.clock.sleep(pause).await;
        Ok(())
    }

    /// Hands records over, in order, until all are acknowledged; those that are, are counted in `tally` at once.
    pub(crate) async fn over(
        &self,
        handed: &Handed<'_>,
        records: &[&str],
        tally: &mut Tally,
    ) -> Result<(), HandError> {
        let mut at = 0;
        while let Some(rest) = records.get(at..).filter(|rest| !rest.is_empty()) {
            self.in_time()?;
            let (payload, count) = handed.payload(rest.iter().copied());
            let left = self
                .options
                .deadline
                .saturating_duration_since(self.clock.instant());
            let most = left.min(INVOCATION);
            let answer = self.clock.timeout(most, self.forward.invoke(payload)).await;
            let failed = first_failed(&answer.map_err(|_| HandError::Silent)??)?;
            let given = rest.get(..count).unwrap_or_default();
            let done = match &failed {
                None => count,
                // The number may stand on several records; before the first of them all are done.
                Some(failed) => given
                    .iter()
                    .position(|raw| sequence_number(raw).as_deref() == Some(failed))
                    .ok_or_else(|| {
                        InvokeError("the answer names a record that was not handed over".to_owned())
                    })?,
            };
            at += done;
            tally.records += done;
            tally.bytes += given.iter().take(done).map(|raw| raw.len()).sum::<usize>();
            if done == 0 {
                return Err(HandError::Left(failed.unwrap_or_default()));
            }
        }
        Ok(())
    }
}
