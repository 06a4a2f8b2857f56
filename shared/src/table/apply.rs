//! Making the changes of a [`Plan`], one at a time, and looking again.

use aws_sdk_dynamodb::operation::update_table::builders::UpdateTableFluentBuilder;
use aws_sdk_dynamodb::types::StreamSpecification;

use super::tables::{Sent, incomplete};
use super::{
    ChangeKind, Difference, Error, Live, Plan, Progress, Schema, ServiceError, Step, Tables, Warning, verify,
};

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// Made.
    Made {
        /// Which.
        change: ChangeKind,
    },
    /// The engine lacks the operation.
    Lacking {
        /// Which.
        change: ChangeKind,
        /// What it lacks.
        warning: Warning,
    },
}

/// What [`Tables::apply`] did, and what it found afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The changes, in order.
    pub outcomes: Vec<Outcome>,
    /// The table, read again.
    pub live: Live,
    /// What is still different.
    pub left: Vec<Difference>,
}

impl Tables {
    /// Makes the changes of `plan` in order, waits for the table to be ACTIVE around each, then reads it again.
    ///
    /// Requests: one a change; for the stream and for deletion protection also one DescribeTable before and one or
    /// more after; three at the end. A plan without changes costs those three only.
    ///
    /// Cancelling stops it between two changes; what was made stays.
    ///
    /// # Errors
    /// [`Error::Request`] if the first change failed, [`Error::Changed`] if the table has got a stream since it was
    /// read (AWS would refuse a second one, other engines replace it), [`Error::Unfinished`] if a later change failed.
    pub async fn apply(&self, plan: &Plan, progress: Progress<'_>) -> Result<Applied, Error> {
        let mut outcomes = Vec::new();
        for change in &plan.changes {
            match self.make(plan, change.kind, progress).await {
                Ok(Sent::Done) => outcomes.push(Outcome::Made { change: change.kind }),
                Ok(Sent::Lacking(warning)) => outcomes.push(Outcome::Lacking {
                    change: change.kind,
                    warning,
                }),
                Err(error) => return Err(unfinished(plan, &outcomes, error)),
            }
        }
        let live = self
            .read(&plan.table)
            .await
            .map_err(|error| unfinished(plan, &outcomes, error))?;
        let left = verify(plan.kind, &live);
        Ok(Applied { outcomes, live, left })
    }

    async fn make(&self, plan: &Plan, change: ChangeKind, progress: Progress<'_>) -> Result<Sent, Error> {
        let table = plan.table.as_str();
        match change {
            ChangeKind::Ttl => match plan.kind.schema().ttl {
                Some(attribute) => self.enable_ttl(table, attribute, progress).await,
                // No plan of such a kind has it.
                None => Ok(Sent::Done),
            },
            ChangeKind::Recovery => self.enable_recovery(table, progress).await,
            ChangeKind::Stream => {
                let now = self.wait_active(table, progress).await?;
                if now
                    .stream_specification()
                    .is_some_and(StreamSpecification::stream_enabled)
                {
                    return Err(Error::Changed {
                        table: table.to_owned(),
                        what: "has a stream",
                    });
                }
                let spec = StreamSpecification::builder()
                    .stream_enabled(true)
                    .stream_view_type(Schema::STREAM_VIEW);
                let spec = spec
                    .build()
                    .map_err(|error| incomplete("UpdateTable", table, &error))?;
                self.update(table, |request| request.stream_specification(spec), progress)
                    .await
            }
            ChangeKind::DeletionProtection => {
                self.wait_active(table, progress).await?;
                self.update(
                    table,
                    |request| request.deletion_protection_enabled(true),
                    progress,
                )
                .await
            }
        }
    }

    /// One UpdateTable of an ACTIVE table: DynamoDB takes one kind of change a request, and none before it has ended.
    pub(super) async fn update(
        &self,
        table: &str,
        change: impl FnOnce(UpdateTableFluentBuilder) -> UpdateTableFluentBuilder,
        progress: Progress<'_>,
    ) -> Result<Sent, Error> {
        progress(&Step::Sending("UpdateTable"));
        change(self.client.update_table().table_name(table))
            .send()
            .await
            .map_err(|error| Error::Request {
                operation: "UpdateTable",
                table: table.to_owned(),
                source: ServiceError::new(&error),
            })?;
        self.wait_active(table, progress).await?;
        Ok(Sent::Done)
    }
}

fn unfinished(plan: &Plan, outcomes: &[Outcome], error: Error) -> Error {
    let made: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Made { change } => Some(change.to_string()),
            Outcome::Lacking { .. } => None,
        })
        .collect();
    if made.is_empty() {
        return error;
    }
    Error::Unfinished {
        table: plan.table.clone(),
        kind: plan.kind,
        done: made.join(", "),
        source: Box::new(error),
    }
}
