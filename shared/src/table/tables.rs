//! The one place of this module that talks to DynamoDB: reading, sending and bounded waiting.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    IndexStatus, PointInTimeRecoverySpecification, PointInTimeRecoveryStatus, TableDescription, TableStatus,
    TimeToLiveSpecification,
};

use super::{Error, Live, Recovery, ServiceError, Ttl, Warning};
use crate::clock::{Clock, Instant};

/// Tables of one endpoint and region.
#[derive(Debug, Clone)]
pub struct Tables {
    pub(super) client: Client,
    pub(super) clock: Clock,
    limit: Duration,
}

/// What is being done, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A request is being sent.
    Sending(&'static str),
    /// The table or its index is not ACTIVE yet.
    Waiting {
        /// The status seen.
        status: String,
        /// How long it has been waited for.
        waited: Duration,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sending(operation) => f.write_str(operation),
            Self::Waiting { status, waited } => write!(f, "{status}, waiting ({} s)", waited.as_secs()),
        }
    }
}

/// Told of each [`Step`]; must not block.
pub type Progress<'a> = &'a (dyn Fn(&Step) + Send + Sync);

/// What a request for something optional came to.
pub(super) enum Sent {
    Done,
    Lacking(Warning),
}

impl Tables {
    /// How long Teleport waits for its tables, and the default here.
    pub const WAIT: Duration = Duration::from_mins(10);

    /// Longest pause between two looks at a table: a wait of the full [`Self::WAIT`] costs about 120 requests.
    const PAUSE: Duration = Duration::from_secs(5);

    /// Tables behind `client`; each wait for one of them ends after `limit`.
    pub fn new(client: Client, clock: Clock, limit: Duration) -> Self {
        Self { client, clock, limit }
    }

    /// Reads what a table is. Three requests: DescribeTable, DescribeTimeToLive, DescribeContinuousBackups. Costs no
    /// capacity. An engine without the latter two leaves the value unknown and a [`Warning`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such table; [`Error::Request`].
    pub async fn read(&self, table: &str) -> Result<Live, Error> {
        let (live, unread) = self.read_what_it_may(table).await?;
        match unread.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(live),
        }
    }

    /// As [`read`](Self::read), for a reader that may not be allowed everything: without a table's description there is
    /// an error, else the errors of the rest, which stays unknown.
    pub(crate) async fn read_what_it_may(&self, table: &str) -> Result<(Live, Vec<Error>), Error> {
        let described = self.describe(table).await?.ok_or_else(|| Error::NotFound {
            table: table.to_owned(),
        })?;
        let mut live = Live::from_description(table, &described);
        let ttl = self.read_ttl(&mut live).await;
        let recovery = self.read_recovery(&mut live).await;
        let unread = [ttl, recovery].into_iter().filter_map(Result::err);
        Ok((live, unread.collect()))
    }

    /// The ARN of a table's stream; none if it is off. One DescribeTable.
    #[cfg(feature = "lambda")]
    pub(crate) async fn stream_arn(&self, table: &str) -> Result<Option<String>, Error> {
        let described = self.describe(table).await?.ok_or_else(|| Error::NotFound {
            table: table.to_owned(),
        })?;
        let live = Live::from_description(table, &described);
        Ok(live.stream.and_then(|stream| stream.arn))
    }

    /// Whether there is such a table, in whatever state. One DescribeTable.
    ///
    /// # Errors
    /// [`Error::Request`].
    pub async fn exists(&self, table: &str) -> Result<bool, Error> {
        Ok(self.describe(table).await?.is_some())
    }

    pub(super) async fn describe(&self, table: &str) -> Result<Option<TableDescription>, Error> {
        match self.client.describe_table().table_name(table).send().await {
            Ok(answer) => Ok(answer.table),
            Err(error) => match ServiceError::new(&error) {
                source if source.is("ResourceNotFoundException") => Ok(None),
                source => Err(Error::Request {
                    operation: "DescribeTable",
                    table: table.to_owned(),
                    source,
                }),
            },
        }
    }

    async fn read_ttl(&self, live: &mut Live) -> Result<(), Error> {
        let answer = self
            .client
            .describe_time_to_live()
            .table_name(&live.name)
            .send()
            .await;
        match optional(
            "DescribeTimeToLive",
            &live.name,
            "time to live was not checked",
            answer,
        )? {
            Ok(answer) => live.ttl = Ttl::from_description(answer.time_to_live_description()),
            Err(warning) => live.warnings.push(warning),
        }
        Ok(())
    }

    async fn read_recovery(&self, live: &mut Live) -> Result<(), Error> {
        let answer = self
            .client
            .describe_continuous_backups()
            .table_name(&live.name)
            .send()
            .await;
        let left_out = "point-in-time recovery was not checked";
        match optional("DescribeContinuousBackups", &live.name, left_out, answer)? {
            Ok(answer) => {
                let status = answer
                    .continuous_backups_description()
                    .and_then(|backups| backups.point_in_time_recovery_description())
                    .and_then(|recovery| recovery.point_in_time_recovery_status());
                let on = status == Some(&PointInTimeRecoveryStatus::Enabled);
                live.recovery = if on { Recovery::On } else { Recovery::Off };
            }
            Err(warning) => live.warnings.push(warning),
        }
        Ok(())
    }

    /// Waits until the table and all its indexes are ACTIVE. One DescribeTable at once, then one a pause.
    pub(super) async fn wait_active(
        &self,
        table: &str,
        progress: Progress<'_>,
    ) -> Result<TableDescription, Error> {
        let start = self.clock.instant();
        let mut pause = Duration::from_millis(500);
        loop {
            // A table just created may not be found yet: the answer is eventually consistent.
            let described = self.describe(table).await?;
            let status = match described.as_ref().map(pending) {
                Some(None) => {
                    return described.ok_or_else(|| Error::NotFound {
                        table: table.to_owned(),
                    });
                }
                Some(Some(status)) => status,
                None => "not yet visible".to_owned(),
            };
            if let Some(stuck) = described.as_ref().and_then(stuck) {
                return Err(Error::Stuck {
                    table: table.to_owned(),
                    status: stuck,
                });
            }
            pause = self.pause(table, status, start, pause, progress).await?;
        }
    }

    async fn pause(
        &self,
        table: &str,
        status: String,
        start: Instant,
        pause: Duration,
        progress: Progress<'_>,
    ) -> Result<Duration, Error> {
        let waited = self.clock.instant() - start;
        if waited >= self.limit {
            return Err(Error::StillWaiting {
                table: table.to_owned(),
                status,
                limit: self.limit,
            });
        }
        progress(&Step::Waiting { status, waited });
        self.clock.sleep(pause.min(self.limit - waited)).await;
        Ok((pause * 2).min(Self::PAUSE))
    }

    /// Turns TTL on. One request.
    pub(super) async fn enable_ttl(
        &self,
        table: &str,
        attribute: &str,
        progress: Progress<'_>,
    ) -> Result<Sent, Error> {
        progress(&Step::Sending("UpdateTimeToLive"));
        let spec = TimeToLiveSpecification::builder()
            .attribute_name(attribute)
            .enabled(true)
            .build();
        let spec = spec.map_err(|error| incomplete("UpdateTimeToLive", table, &error))?;
        let answer = self
            .client
            .update_time_to_live()
            .table_name(table)
            .time_to_live_specification(spec)
            .send()
            .await;
        Ok(sent(optional(
            "UpdateTimeToLive",
            table,
            "expired items will not be deleted",
            answer,
        )?))
    }

    /// Turns point-in-time recovery on. One request, repeated while DynamoDB still prepares a new table's backups.
    pub(super) async fn enable_recovery(&self, table: &str, progress: Progress<'_>) -> Result<Sent, Error> {
        const OPERATION: &str = "UpdateContinuousBackups";
        progress(&Step::Sending(OPERATION));
        let spec = PointInTimeRecoverySpecification::builder()
            .point_in_time_recovery_enabled(true)
            .build();
        let spec = spec.map_err(|error| incomplete(OPERATION, table, &error))?;
        let start = self.clock.instant();
        let mut pause = Duration::from_secs(1);
        loop {
            let request = self.client.update_continuous_backups().table_name(table);
            let answer = request
                .point_in_time_recovery_specification(spec.clone())
                .send()
                .await;
            let unready = "ContinuousBackupsUnavailableException";
            if answer.as_ref().err().and_then(ProvideErrorMetadata::code) == Some(unready) {
                pause = self
                    .pause(table, "preparing its backups".to_owned(), start, pause, progress)
                    .await?;
                continue;
            }
            return Ok(sent(optional(
                OPERATION,
                table,
                "point-in-time recovery stays off",
                answer,
            )?));
        }
    }
}

/// What is not ACTIVE yet: the table's status, or an index and its status.
fn pending(table: &TableDescription) -> Option<String> {
    match table.table_status() {
        Some(TableStatus::Active) | None => {}
        Some(status) => return Some(status.as_str().to_owned()),
    }
    table.global_secondary_indexes().iter().find_map(|index| {
        let status = index
            .index_status()
            .filter(|status| **status != IndexStatus::Active)?;
        Some(format!(
            "index {} {}",
            index.index_name().unwrap_or_default(),
            status.as_str()
        ))
    })
}

fn stuck(table: &TableDescription) -> Option<String> {
    table
        .table_status()
        .filter(|status| {
            !matches!(
                status,
                TableStatus::Active | TableStatus::Creating | TableStatus::Updating
            )
        })
        .map(|status| status.as_str().to_owned())
}

/// The answer, or the warning that the engine lacks the operation.
fn optional<T, E>(
    operation: &'static str,
    table: &str,
    left_out: &str,
    answer: Result<T, SdkError<E>>,
) -> Result<Result<T, Warning>, Error>
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => match ServiceError::new(&error) {
            source if source.is_unknown_operation() => Ok(Err(Warning::lacking(operation, left_out))),
            source => Err(Error::Request {
                operation,
                table: table.to_owned(),
                source,
            }),
        },
    }
}

fn sent<T>(answer: Result<T, Warning>) -> Sent {
    match answer {
        Ok(_) => Sent::Done,
        Err(warning) => Sent::Lacking(warning),
    }
}

/// A request that misses a required field: a fault of this crate, reported like any other.
pub(super) fn incomplete(operation: &'static str, table: &str, error: &dyn std::error::Error) -> Error {
    Error::Request {
        operation,
        table: table.to_owned(),
        source: ServiceError::local(error),
    }
}
