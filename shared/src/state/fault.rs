//! What an attempt's failure tells: whether the request was applied, and whether to try again.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};
use std::collections::HashMap;

use super::ErrorKind;
use crate::aws::describe;

/// Attributes by name, as the SDK has them.
pub(crate) type Attributes = HashMap<String, AttributeValue>;

/// Why an attempt did not succeed.
pub(crate) enum Fault {
    /// A condition did not hold. Not applied.
    Refused(Option<Attributes>),
    /// No capacity. Not applied.
    Throttled(String),
    /// Another write was in the way. Not applied.
    Contended(String),
    /// It never reached the service, or the service would not take it from us. Not applied.
    NotSent(String),
    /// Credentials that could not be had or were not accepted. Not applied.
    Credentials(String),
    /// Nobody knows.
    Unknown(String),
    /// The service has the same request under way.
    InProgress,
    /// Not applied, and never will be.
    Final(ErrorKind, String),
}

/// The SDK's error of an operation.
pub(crate) type Failed<E> = SdkError<E, HttpResponse>;

/// What is to be known of an operation's error beyond its code.
pub(crate) trait Details {
    /// The item as it was, where a condition on it failed.
    fn old(&mut self) -> Option<Attributes> {
        None
    }
    /// Why a transaction was cancelled, an entry an action.
    fn reasons(&self) -> &[CancellationReason] {
        &[]
    }
}

impl Fault {
    pub(crate) fn of<E>(error: Failed<E>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Details + 'static,
    {
        match error {
            // Whatever could not even be written down.
            SdkError::ConstructionFailure(_) => Self::Final(ErrorKind::BadParameter, describe(error)),
            SdkError::DispatchFailure(ref failure) => {
                let cause = failure
                    .as_connector_error()
                    .map(|error| error as &(dyn std::error::Error + 'static));
                if has_cause(cause, |_: &CredentialsError| true) {
                    Self::Credentials(describe(error))
                } else if has_cause(cause, hyper_util::client::legacy::Error::is_connect) {
                    Self::NotSent(describe(error))
                } else {
                    // A connection that was made may have carried the request.
                    Self::Unknown(describe(error))
                }
            }
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                Self::of_service(service.into_err(), status)
            }
            error => Self::Unknown(describe(error)),
        }
    }

    fn of_service<E: ProvideErrorMetadata + Details>(mut error: E, status: u16) -> Self {
        let Some(code) = error.code().map(str::to_owned) else {
            // Not DynamoDB's words: a part of an answer, or something in between that spoke for it.
            return Self::Unknown(format!("an answer that cannot be read (HTTP {status})"));
        };
        let said = match error.message() {
            Some(message) => format!("{code}: {message}"),
            None => format!("{code} (HTTP {status})"),
        };
        match code.as_str() {
            "ConditionalCheckFailedException" => Self::Refused(error.old()),
            "TransactionCanceledException" => Self::of_cancellation(error.reasons(), said),
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "LimitExceededException" => Self::Throttled(said),
            "TransactionConflictException" | "ReplicatedWriteConflictException" => Self::Contended(said),
            "TransactionInProgressException" => Self::InProgress,
            "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignatureException" => Self::Credentials(said),
            "AccessDeniedException" => Self::Final(ErrorKind::AccessDenied, denied(said)),
            "ResourceNotFoundException" => Self::Final(
                ErrorKind::WrongTable,
                format!("{said}; there is no such table or index at this endpoint and region"),
            ),
            "ItemCollectionSizeLimitExceededException" => Self::Final(ErrorKind::TooLarge, said),
            "ValidationException" => Self::Final(validation(&said), said),
            _ if !(400..500).contains(&status) => Self::Unknown(said),
            _ => Self::Final(ErrorKind::BadParameter, said),
        }
    }

    /// A cancelled transaction wrote nothing. A failed condition weighs more than a conflict beside it.
    fn of_cancellation(reasons: &[CancellationReason], said: String) -> Self {
        let has = |codes: &[&str]| {
            reasons
                .iter()
                .any(|reason| reason.code().is_some_and(|code| codes.contains(&code)))
        };
        let messages: Vec<&str> = reasons.iter().filter_map(CancellationReason::message).collect();
        if has(&["ConditionalCheckFailed"]) {
            Self::Refused(None)
        } else if has(&["TransactionConflict"]) {
            Self::Contended(said)
        } else if has(&[
            "ThrottlingError",
            "ProvisionedThroughputExceeded",
            "RequestLimitExceeded",
        ]) {
            Self::Throttled(said)
        } else if has(&["ItemCollectionSizeLimitExceeded"]) {
            Self::Final(ErrorKind::TooLarge, said)
        } else {
            let said = format!("{said} {}", messages.join("; "));
            Self::Final(validation(&said), said)
        }
    }

    /// How metrics name it.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Throttled(_) => "throttled",
            Self::Contended(_) => "contended",
            Self::NotSent(_) => "not_sent",
            Self::Credentials(_) => "credentials",
            Self::Unknown(_) => "unknown",
            Self::InProgress => "in_progress",
            Self::Final(..) => "error",
        }
    }

    /// What happened, for a message.
    pub(crate) fn said(&self) -> &str {
        match self {
            Self::Refused(_) => "the condition does not hold",
            Self::InProgress => "the same transaction is still under way",
            Self::Throttled(said)
            | Self::Contended(said)
            | Self::NotSent(said)
            | Self::Credentials(said)
            | Self::Unknown(said)
            | Self::Final(_, said) => said,
        }
    }

    /// What a caller is told when there is no time left for another attempt, and nothing was applied.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::ConditionFailed,
            Self::Throttled(_) => ErrorKind::Throttled,
            Self::Contended(_) => ErrorKind::Contended,
            Self::NotSent(_) => ErrorKind::Unavailable,
            Self::Credentials(_) => ErrorKind::AccessDenied,
            Self::Unknown(_) | Self::InProgress => ErrorKind::OutcomeUnknown,
            Self::Final(kind, _) => *kind,
        }
    }
}

fn validation(said: &str) -> ErrorKind {
    const SIZES: [&str; 4] = ["Item size", "item size", "size of", "exceeded the maximum"];
    if SIZES.iter().any(|size| said.contains(size)) {
        ErrorKind::TooLarge
    } else {
        ErrorKind::BadParameter
    }
}

/// The one permission that policies written for older versions lack.
fn denied(said: String) -> String {
    if said.contains("ConditionCheckItem") {
        said + "; allow dynamodb:ConditionCheckItem on this table: atomic writes need it"
    } else {
        said + "; `tidewatch iam policy` prints what is needed"
    }
}

/// Whether an error of this kind is among the causes.
fn has_cause<E: std::error::Error + 'static>(
    mut cause: Option<&(dyn std::error::Error + 'static)>,
    is: impl Fn(&E) -> bool,
) -> bool {
    while let Some(error) = cause {
        if error.downcast_ref::<E>().is_some_and(&is) {
            return true;
        }
        cause = error.source();
    }
    false
}

macro_rules! details {
    ($($error:path),+) => { $(impl Details for $error {})+ };
}

/// A refused condition with the item as it was, which costs nothing more.
macro_rules! details_with_old {
    ($($error:path),+) => { $(
        impl Details for $error {
            fn old(&mut self) -> Option<Attributes> {
                match self {
                    Self::ConditionalCheckFailedException(failed) => failed.item.take(),
                    _ => None,
                }
            }
        }
    )+ };
}

use aws_sdk_dynamodb::operation as op;

details_with_old!(
    op::put_item::PutItemError,
    op::update_item::UpdateItemError,
    op::delete_item::DeleteItemError
);
details!(
    op::get_item::GetItemError,
    op::batch_get_item::BatchGetItemError,
    op::query::QueryError,
    op::describe_table::DescribeTableError,
    op::batch_write_item::BatchWriteItemError
);

impl Details for op::transact_get_items::TransactGetItemsError {
    fn reasons(&self) -> &[CancellationReason] {
        match self {
            Self::TransactionCanceledException(cancelled) => cancelled.cancellation_reasons(),
            _ => &[],
        }
    }
}

impl Details for op::transact_write_items::TransactWriteItemsError {
    fn reasons(&self) -> &[CancellationReason] {
        match self {
            Self::TransactionCanceledException(cancelled) => cancelled.cancellation_reasons(),
            _ => &[],
        }
    }
}
