//! The tables of the local system.

use aws_sdk_dynamodb::Client;
use tidewatch::clock::Clock;
use tidewatch::table::{Error, Kind, Spec, Tables};

/// The audit table's name. The engine's shard ids hold it, and botocore wants those to have 28 characters.
pub(super) const AUDIT_TABLE: &str = "tidewatch-audit";
/// The state table's name.
pub(super) const STATE_TABLE: &str = "tidewatch-state";
/// The name of the table of watch logs.
pub(super) const WATCH_TABLE: &str = "tidewatch-watch";
/// All.
pub(super) const ALL: [&str; 3] = [AUDIT_TABLE, STATE_TABLE, WATCH_TABLE];

/// The ARNs of the tables' streams.
pub(super) struct Streams {
    pub(super) audit: String,
    pub(super) state: String,
}

/// Creates the tables unless they are there.
///
/// # Errors
/// What the endpoint answered.
pub(super) async fn create(client: &Client, clock: &Clock) -> Result<Streams, String> {
    let stream = async |kind, name: &str| {
        let arn = create_one(client, clock, kind, name).await?;
        arn.ok_or_else(|| format!("{name} has no stream"))
    };
    let state = stream(Kind::State, STATE_TABLE).await?;
    let audit = stream(Kind::Audit, AUDIT_TABLE).await?;
    create_one(client, clock, Kind::WatchLog, WATCH_TABLE).await?;
    Ok(Streams { audit, state })
}

/// Creates a table unless it is there, and answers its stream's ARN if it has one.
async fn create_one(
    client: &Client,
    clock: &Clock,
    kind: Kind,
    name: &str,
) -> Result<Option<String>, String> {
    let spec = Spec::new(kind, name).map_err(|error| error.to_string())?;
    let tables = Tables::new(client.clone(), clock.clone(), Tables::WAIT);
    Ok(match tables.create(&spec, &|_| {}).await {
        Ok(created) => created.stream_arn,
        Err(Error::Exists { .. }) => {
            let described = client.describe_table().table_name(name).send().await;
            let described = described.map_err(|error| error.into_service_error().to_string())?;
            described.table.and_then(|table| table.latest_stream_arn)
        }
        Err(error) => return Err(error.to_string()),
    })
}
