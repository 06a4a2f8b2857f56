//! The yardstick of `.ci/size`: the least that a function with the same runtime and SDK client can be. It loads the
//! AWS configuration, makes the client, and its one object copy keeps the operations that `forward` uses linked.

use aws_sdk_s3::Client;
use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_from_env().await;
    let client = Client::new(&config);
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
        Ok::<_, Error>(serde_json::json!({"batchItemFailures": []}))
    }))
    .await
}
