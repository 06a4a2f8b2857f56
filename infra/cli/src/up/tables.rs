//! The tables of the local system.

use aws_sdk_dynamodb::Client;
use tidewatch::clock::Clock;
use tidewatch::table::{Error, Kind, Spec, Tables};

/// The audit table's name. The engine's shard ids hold it, and botocore wants those to have 28 characters.
pub(super) const AUDIT_TABLE: &str = "tidewatch-audit";
/// The state table's name.
pub(super) const STATE_TABLE: &str = "tidewatch-state";
/// Both.
pub(super) const ALL: [&str; 2] = [AUDIT_TABLE, STATE_TABLE];

/// Creates the tables unless they are there, and answers the ARN of the audit table's stream.
///
/// # Errors
/// What the endpoint answered.
pub(super) async fn create(client: &Client, clock: &Clock) -> Result<String, String> {
    create_one(client, clock, Kind::State, STATE_TABLE).await?;
    create_one(client, clock, Kind::Audit, AUDIT_TABLE).await
}

/// Creates a table unless it is there, and answers its stream's ARN.
async fn create_one(client: &Client, clock: &Clock, kind: Kind, name: &str) -> Result<String, String> {
    let spec = Spec::new(kind, name).map_err(|error| error.to_string())?;
    let tables = Tables::new(client.clone(), clock.clone(), Tables::WAIT);
    let stream_arn = match tables.create(&spec, &|_| {}).await {
        Ok(created) => created.stream_arn,
        Err(Error::Exists { .. }) => {
            let described = client.describe_table().table_name(name).send().await;
            let described = described.map_err(|error| error.into_service_error().to_string())?;
            described.table.and_then(|table| table.latest_stream_arn)
        }
        Err(error) => return Err(error.to_string()),
    };
    stream_arn.ok_or_else(|| format!("{name} has no stream"))
}
