//! The settings of a mapping, named as in Lambda's API.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of an event source mapping and of the function behind it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most records in a batch, 1 to 10,000.
    pub batch_size: usize,
    /// How long a batch that is not full waits for more.
    pub batch_window: Duration,
    /// Batches of one shard handled at once, 1 to 10. Above 1 only the records of one item stay in order.
    pub parallelization_factor: u32,
    /// Retries before a batch is given up; `None` is Lambda's -1, without end.
    pub maximum_retry_attempts: Option<u32>,
    /// Age at which a record is given up; `None` is Lambda's -1, never.
    pub maximum_record_age: Option<Duration>,
    /// Halve a batch on a function error.
    pub bisect_on_function_error: bool,
    /// Read `batchItemFailures` in the answer; without it any answer means success.
    pub report_batch_item_failures: bool,
    /// Where given-up batches are written, as to Lambda's S3 destination.
    pub on_failure: Option<PathBuf>,
    /// The function's time-out.
    pub timeout: Duration,
    /// Wait before the first retry; doubles up to 64 times itself.
    pub retry_delay: Duration,
    /// Name of the function in on-failure payloads.
    pub function: String,
}

/// A setting that Lambda would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(&'static str);

impl Default for Settings {
    /// As the template deploys `tidewatch-forward`, but in smaller batches at once: 100 records without a window instead
    /// of 500 within a second, so that little traffic makes many invocations.
    fn default() -> Self {
        Self {
            batch_size: 100,
            batch_window: Duration::ZERO,
            parallelization_factor: 1,
            maximum_retry_attempts: Some(300),
            maximum_record_age: Some(Duration::from_secs(82_800)),
            bisect_on_function_error: true,
            report_batch_item_failures: true,
            on_failure: None,
            timeout: Duration::from_secs(300),
            retry_delay: Duration::from_millis(100),
            function: "tidewatch-forward".to_owned(),
        }
    }
}

impl Settings {
    /// Refuses what Lambda's API refuses.
    pub(super) fn check(&self) -> Result<(), InvalidSettings> {
        let day = Duration::from_secs(86_400);
        if !(1..=10_000).contains(&self.batch_size) {
            return Err(InvalidSettings("the batch size must be 1 to 10000"));
        }
        if self.batch_window > Duration::from_secs(300) {
            return Err(InvalidSettings("the batch window must be at most 300 s"));
        }
        if !(1..=10).contains(&self.parallelization_factor) {
            return Err(InvalidSettings("the parallelization factor must be 1 to 10"));
        }
        if self.maximum_retry_attempts.is_some_and(|most| most > 10_000) {
            return Err(InvalidSettings(
                "the maximum of retry attempts must be at most 10000",
            ));
        }
        if self
            .maximum_record_age
            .is_some_and(|age| age < Duration::from_secs(60) || age > 7 * day)
        {
            return Err(InvalidSettings("the maximum record age must be 60 s to 7 days"));
        }
        if self.timeout.is_zero() || self.timeout > Duration::from_secs(900) {
            return Err(InvalidSettings("the time-out must be above 0 and at most 900 s"));
        }
        Ok(())
    }
}
