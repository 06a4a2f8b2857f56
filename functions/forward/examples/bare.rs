//! The yardstick of `.ci/size`: the least that a function with the same runtime and SDK clients can be. It loads the
//! AWS configuration, makes the clients, and its one copy, of an object or an item, keeps the operations that `forward`
//! uses linked.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_from_env().await;
    let client = Client::new(&config);
    let tables = aws_sdk_dynamodb::Client::new(&config);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        if let Some(key) = event.payload.get("copy").and_then(Value::as_str) {
            let object = client.get_object().bucket("bucket").key(key).send().await?;
            let body = object.body.collect().await?.into_bytes();
            client
                .put_object()
                .bucket("bucket")
                .key("copy")
                .if_none_match("*")
                .body(body.into())
                .send()
                .await?;
        }
        if let Some(key) = event.payload.get("item").and_then(Value::as_str) {
            let key = AttributeValue::S(key.to_owned());
            let newest = tables
                .query()
                .table_name("table")
                .key_condition_expression("k = :k")
                .expression_attribute_values(":k", key.clone())
                .scan_index_forward(false)
                .send()
                .await?;
            let item = tables.get_item().table_name("table").key("k", key).send().await?;
            let item: Option<HashMap<_, _>> = item.item.or_else(|| newest.items?.into_iter().next());
            tables
                .put_item()
                .table_name("table")
                .set_item(item)
                .condition_expression("attribute_not_exists(k)")
                .send()
                .await?;
        }
        Ok::<_, Error>(serde_json::json!({"batchItemFailures": []}))
    }))
    .await
}
