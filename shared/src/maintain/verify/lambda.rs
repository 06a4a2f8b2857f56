//! Reading functions and mappings. Three operations of Lambda, none of which changes anything.

use aws_sdk_lambda::Client;
use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::types::{EventSourceMappingConfiguration, FunctionResponseType, State};

use super::function::Facts;
use super::{Because, Mapping, NotChecked};
use crate::aws::describe;

/// All event source mappings of a function, by its name or ARN. One request for each 100 of them, and one more for each
/// whose filter is encrypted. Dropping it does no harm.
///
/// # Errors
/// What was not read, and why.
pub async fn mappings(client: &Client, function: &str) -> Result<Vec<Mapping>, NotChecked> {
    mappings_of(client, function, &format!("function {function}")).await
}

pub(super) async fn mappings_of(
    client: &Client,
    function: &str,
    resource: &str,
) -> Result<Vec<Mapping>, NotChecked> {
    let (mut all, mut marker) = (Vec::new(), None);
    loop {
        let page = client
            .list_event_source_mappings()
            .function_name(function)
            .set_marker(marker);
        let page = Box::pin(page.send()).await;
        let page = page.map_err(|error| unread(resource, "lambda:ListEventSourceMappings", error))?;
        for mapping in page.event_source_mappings.unwrap_or_default() {
            all.push(whole(client, mapping).await);
        }
        marker = page.next_marker.filter(|marker| !marker.is_empty());
        if marker.is_none() {
            return Ok(all);
        }
    }
}

/// An encrypted filter is in no list; by itself a mapping tells it to whoever may decrypt it.
async fn whole(client: &Client, listed: EventSourceMappingConfiguration) -> Mapping {
    let mut mapping = of(&listed);
    if listed.kms_key_arn.is_none() || listed.filter_criteria.is_some() {
        return mapping;
    }
    let got = client.get_event_source_mapping().uuid(&mapping.id);
    mapping.filters = match Box::pin(got.send()).await {
        Ok(got) if got.filter_criteria_error.is_none() => got
            .filter_criteria
            .as_ref()
            .map(|criteria| patterns(criteria.filters())),
        _ => None,
    };
    mapping
}

/// What is absent is as Lambda's reference says.
fn of(listed: &EventSourceMappingConfiguration) -> Mapping {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let failure = listed
        .destination_config()
        .and_then(|config| config.on_failure())
        .and_then(|failure| failure.destination());
    let filters = listed.filter_criteria().map(|criteria| criteria.filters());
    Mapping {
        id: text(listed.uuid()),
        source: text(listed.event_source_arn()),
        state: text(listed.state()),
        last_result: text(listed.last_processing_result()),
        starting_position: listed
            .starting_position()
            .map(|position| position.as_str().to_owned()),
        batch_size: listed.batch_size().unwrap_or(100),
        window: listed.maximum_batching_window_in_seconds().unwrap_or(0),
        bisect: listed.bisect_batch_on_function_error().unwrap_or(false),
        retries: listed.maximum_retry_attempts().unwrap_or(-1),
        record_age: listed.maximum_record_age_in_seconds().unwrap_or(-1),
        parallelization: listed.parallelization_factor().unwrap_or(1),
        reports_failures: listed
            .function_response_types()
            .contains(&FunctionResponseType::ReportBatchItemFailures),
        failure_destination: failure.map(str::to_owned),
        tumbling_window: listed.tumbling_window_in_seconds().unwrap_or(0),
        filters: Some(patterns(filters.unwrap_or_default())),
    }
}

fn patterns(filters: &[aws_sdk_lambda::types::Filter]) -> Vec<String> {
    let pattern = |filter: &aws_sdk_lambda::types::Filter| filter.pattern().map(str::to_owned);
    filters.iter().filter_map(pattern).collect()
}

/// A function's settings; none if there is no such function. One request.
pub(super) async fn facts(
    client: &Client,
    function: &str,
    resource: &str,
) -> Result<Option<Facts>, NotChecked> {
    let got = client.get_function_configuration().function_name(function);
    match Box::pin(got.send()).await {
        Ok(got) => Ok(Some(Facts {
            // Lambda's default.
            time_out: got.timeout.unwrap_or(3),
            state: got.state.unwrap_or(State::Active).as_str().to_owned(),
        })),
        Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
        Err(error) => Err(unread(resource, "lambda:GetFunctionConfiguration", error)),
    }
}

fn unread<E>(resource: &str, what: &'static str, error: SdkError<E, HttpResponse>) -> NotChecked
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let because = Because::of(error.code(), status);
    NotChecked::new(resource, what, because, describe(error))
}
