//! The audit table that the global options or Teleport's own file name.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use tidewatch::audit::log::{AuditUri, Config, Dynamo, DynamoUri};
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state;

use super::aws::{aws_config, load, named, options, over, text};
use super::{Failure, Global};

/// The audit table: the first `dynamodb://` of Teleport's own file if `--config` names one, with `--table`, `--region`,
/// `--profile` and `--endpoint-url` over it; `--table` alone, and the section `aws` of a document of ours, if not. It must
/// be there. Three requests to describe it, and one for a document in S3 or SSM.
///
/// # Errors
/// [`Failure`] if no table is named, the document cannot be read, or the table is none of the audit log.
pub async fn audit_table(global: &Global) -> Result<Dynamo, Failure> {
    const WHICH: &str =
        "which audit table? Name it with --table NAME, or name Teleport's own file with --config";
    let usage = |error: String| Failure::usage(error);
    let teleport = match named(global) {
        Some(uri) => {
            let text = text(global, uri)
                .await
                .map_err(|error| usage(error.to_string()))?;
            match state::Config::is_teleport(&text) {
                true => Some(Config::parse_teleport(&text, uri).map_err(|error| usage(error.to_string()))?),
                false => None,
            }
        }
        None => None,
    };
    let (table, sdk) = match teleport {
        Some(config) => {
            let table = config.backends.iter().find_map(|backend| match backend {
                AuditUri::Dynamodb(uri) => Some(uri.clone()),
                _ => None,
            });
            let uri = match (&global.table, table) {
                (Some(table), found) => DynamoUri {
                    table: table.clone(),
                    ..found.unwrap_or_default()
                },
                (None, Some(found)) => found,
                (None, None) => {
                    return Err(Failure::usage(
                        "Teleport's file names no audit log in DynamoDB: audit_events_uri has no dynamodb://TABLE",
                    ));
                }
            };
            let fips = config.fips_of(&uri) && global.endpoint_url.is_none();
            let settings = over(options(global), config.aws_of(&uri));
            let sdk = load(&settings).await.map_err(|error| usage(error.to_string()))?;
            // Saying no would override the environment's yes.
            let sdk = match fips {
                true => sdk.into_builder().use_fips(true).build(),
                false => sdk,
            };
            (uri.table, sdk)
        }
        None => {
            let table = global.table.clone().ok_or_else(|| Failure::usage(WHICH))?;
            (table, aws_config(global).await?)
        }
    };
    if sdk.region().is_none() {
        return Err(Failure::usage(
            "which AWS region? Name it with --region, the --config document, AWS_REGION or a --profile that has one",
        ));
    }
    let client = Client::from_conf(Builder::from(&sdk).build());
    Ok(Dynamo::existing(&client, &table, Clock::system(), Random::system()).await?)
}
