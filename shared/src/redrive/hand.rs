//! Handing records over until all are acknowledged.

use serde::{Deserialize, Serialize};

use super::Options;
use crate::clock::Clock;
use crate::forward::handed::{Handed, sequence_number};
use crate::forward::{Invoke, InvokeError, first_failed};

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
    /// The invocation did not answer by the deadline.
    #[error("no answer in time")]
    Silent,
    /// It failed; what was handed may be delivered.
    #[error("{0}")]
    Invoke(#[from] InvokeError),
    /// Nothing of a payload was taken: a sink is down, or the record is poison where poison stays.
    #[error("the record {0} is not taken")]
    Left(String),
}

impl Hand<'_> {
    /// Whether a payload may be handed over now.
    pub(super) fn in_time(&self) -> Result<(), HandError> {
        match self.clock.instant() < self.options.last_call {
            true => Ok(()),
            false => Err(HandError::Time),
        }
    }

    /// Waits, if that is possible before the last call.
    #[cfg(feature = "dynamodb")]
    pub(super) async fn wait(&self, pause: std::time::Duration) -> Result<(), HandError> {
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
    pub(super) async fn over(
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
            let answer = self.clock.timeout(left, self.forward.invoke(payload)).await;
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
