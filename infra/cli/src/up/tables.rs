//! The tables of the local system.

use aws_sdk_dynamodb::Client;

/// The audit table's name. The engine's shard ids hold it, and botocore wants those to have 28 characters.
pub const AUDIT_TABLE: &str = "tidewatch-audit";

/// Creates the audit table unless it is there, and answers its stream's ARN.
///
/// # Errors
/// What the endpoint answered.
pub async fn create(client: &Client) -> Result<String, String> {
    use aws_sdk_dynamodb::types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TimeToLiveSpecification,
    };
    if let Ok(there) = stream(client).await {
        return Ok(there);
    }
    let say = |error: aws_sdk_dynamodb::error::BuildError| error.to_string();
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(kind)
            .build()
            .map_err(say)
    };
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .map_err(say)
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name("timesearchV2")
        .key_schema(key("CreatedAtDate", KeyType::Hash)?)
        .key_schema(key("CreatedAt", KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()
        .map_err(say)?;
    let view = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewAndOldImages)
        .build()
        .map_err(say)?;
    client
        .create_table()
        .table_name(AUDIT_TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("SessionID", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("EventIndex", ScalarAttributeType::N)?)
        .attribute_definitions(attribute("CreatedAt", ScalarAttributeType::N)?)
        .attribute_definitions(attribute("CreatedAtDate", ScalarAttributeType::S)?)
        .key_schema(key("SessionID", KeyType::Hash)?)
        .key_schema(key("EventIndex", KeyType::Range)?)
        .global_secondary_indexes(index)
        .stream_specification(view)
        .send()
        .await
        .map_err(|error| format!("cannot create {AUDIT_TABLE}: {}", error.into_service_error()))?;
    let expiry = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name("Expires")
        .build()
        .map_err(say)?;
    client
        .update_time_to_live()
        .table_name(AUDIT_TABLE)
        .time_to_live_specification(expiry)
        .send()
        .await
        .map_err(|error| {
            format!(
                "cannot set the expiry of {AUDIT_TABLE}: {}",
                error.into_service_error()
            )
        })?;
    stream(client).await
}

async fn stream(client: &Client) -> Result<String, String> {
    let described = client.describe_table().table_name(AUDIT_TABLE).send().await;
    let described = described.map_err(|error| error.into_service_error().to_string())?;
    let arn = described.table().and_then(|table| table.latest_stream_arn());
    arn.map(str::to_owned)
        .ok_or_else(|| format!("{AUDIT_TABLE} has no stream"))
}
