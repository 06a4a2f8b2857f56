//! What a failed request means for a reader.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodbstreams::operation as op;

use crate::state::ErrorKind;
use crate::state::fault::{Details, Fault as Common};
use crate::watch::WatchError;

impl Details for op::describe_stream::DescribeStreamError {}
impl Details for op::get_shard_iterator::GetShardIteratorError {}
impl Details for op::get_records::GetRecordsError {}

/// Why a request did not succeed.
pub(super) enum Fault {
    /// The iterator is older than a quarter of an hour. Another one goes on from the same place.
    Expired,
    /// What was asked for lies before what is kept.
    Trimmed(String),
    /// There is no such stream or shard.
    Gone(String),
    /// What any request to DynamoDB may end with.
    Common(Common),
}

impl Fault {
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + Details + 'static,
    {
        let said = || {
            let message = error.message().unwrap_or_default();
            format!("{}: {message}", error.code().unwrap_or_default())
        };
        match error.code() {
            Some("ExpiredIteratorException") => Self::Expired,
            Some("TrimmedDataAccessException") => Self::Trimmed(said()),
            Some("ResourceNotFoundException") => Self::Gone(said()),
            _ => Self::Common(Common::of(error)),
        }
    }

    /// Nothing came of a request in the time that one may take.
    pub(super) fn unanswered(limit: std::time::Duration) -> Self {
        Self::Common(Common::Unknown(format!("no answer within {limit:?}")))
    }

    /// Whether the same request may succeed later. Nothing here changes anything, so it may be repeated.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Expired => true,
            Self::Trimmed(_) | Self::Gone(_) => false,
            Self::Common(fault) => !matches!(fault, Common::Refused(_) | Common::Final(..)),
        }
    }

    /// Whether the service asks for fewer requests.
    pub(super) fn is_throttled(&self) -> bool {
        matches!(self, Self::Common(Common::Throttled(_)))
    }

    /// Whether credentials were not to be had or not accepted, which their provider may mend.
    pub(super) fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Common(Common::Credentials(_)))
    }

    /// What happened, for people.
    pub(super) fn said(&self) -> &str {
        match self {
            Self::Expired => "the shard iterator has expired",
            Self::Trimmed(said) | Self::Gone(said) => said,
            Self::Common(fault) => fault.said(),
        }
    }

    /// What a caller is told of a request that is not tried again; `doing` says what it was to do.
    pub(super) fn told(&self, doing: &str) -> WatchError {
        let text = format!("{doing}: {}", self.said());
        let kind = match self {
            Self::Expired => ErrorKind::Unavailable,
            Self::Trimmed(_) | Self::Gone(_) => ErrorKind::WrongTable,
            Self::Common(fault) => fault.kind(),
        };
        match kind {
            ErrorKind::AccessDenied => WatchError::AccessDenied(text),
            ErrorKind::WrongTable => WatchError::WrongSource(text),
            ErrorKind::BadParameter | ErrorKind::TooLarge => WatchError::BadParameter(text),
            _ => WatchError::Unavailable(text),
        }
    }
}
