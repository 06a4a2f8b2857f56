//! What can go wrong with a table. A message says what happened, with the table's name, and what to do next.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::Kind;

/// An error of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Wrong input; nothing was sent.
    #[error("{what} \"{value}\" is not valid: {hint}")]
    Invalid {
        /// What the value is for.
        what: &'static str,
        /// The value.
        value: String,
        /// What would be valid.
        hint: &'static str,
    },
    /// There is no such table.
    #[error(
        "table {table} does not exist at this endpoint and region; check --region, --profile and \
         --endpoint-url, or create it with `tidewatch table create`"
    )]
    NotFound {
        /// The table.
        table: String,
    },
    /// There is one already; it was not touched.
    #[error(
        "table {table} exists already and was not changed; see whether it is what it must be with \
         `tidewatch table verify --kind {kind} --table {table}`"
    )]
    Exists {
        /// The table.
        table: String,
        /// What was to be created.
        kind: Kind,
    },
    /// The kind of a table cannot be told from its keys.
    #[error(
        "table {table} has the keys of neither an audit, a state nor a partitioned table; say which it is to be \
         with --kind"
    )]
    UnknownKind {
        /// The table.
        table: String,
    },
    /// A request failed.
    #[error("{operation} on table {table} failed: {source}; {}", source.advice(operation))]
    Request {
        /// DynamoDB's name of the operation.
        operation: &'static str,
        /// The table.
        table: String,
        /// What the service or the connection said.
        source: ServiceError,
    },
    /// A table did not become ACTIVE in time.
    #[error(
        "table {table} was still {status} after {} s; it may yet become ACTIVE: look again with \
         `tidewatch table verify --table {table}`, then run `tidewatch table apply --table {table}`",
        limit.as_secs()
    )]
    StillWaiting {
        /// The table.
        table: String,
        /// The last status seen, of the table or its index.
        status: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A table reached a status it does not leave by itself.
    #[error(
        "table {table} is {status} and will not become ACTIVE; {}",
        status_advice(status)
    )]
    Stuck {
        /// The table.
        table: String,
        /// The status.
        status: String,
    },
    /// A table is no longer what the plan was made from.
    #[error(
        "table {table} {what} that it had not when the plan was made; nothing was done to it: plan again"
    )]
    Changed {
        /// The table.
        table: String,
        /// What it has now.
        what: &'static str,
    },
    /// Work on a table stopped half-way.
    #[error(
        "table {table}: done: {done}; then: {source}. What was done stays; run \
         `tidewatch table apply --kind {kind} --table {table}` to do the rest"
    )]
    Unfinished {
        /// The table.
        table: String,
        /// Its kind.
        kind: Kind,
        /// The steps that were done.
        done: String,
        /// Why it stopped.
        source: Box<Self>,
    },
}

impl Error {
    pub(crate) fn invalid(what: &'static str, value: &str, hint: &'static str) -> Self {
        Self::Invalid {
            what,
            value: value.to_owned(),
            hint,
        }
    }
}

fn status_advice(status: &str) -> &'static str {
    match status {
        "INACCESSIBLE_ENCRYPTION_CREDENTIALS" => {
            "enable its KMS key and let DynamoDB use it: within seven days, or the table is archived"
        }
        "DELETING" => "wait until it is gone, then create it again",
        "ARCHIVING" | "ARCHIVED" => "restore it from the backup that DynamoDB made of it",
        _ => "see its page in the DynamoDB console",
    }
}

/// What the service, or the way to it, answered.
#[derive(Debug)]
pub struct ServiceError {
    code: Option<String>,
    message: String,
}

impl ServiceError {
    pub(super) fn new<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: fmt::Debug,
    {
        let code = error.code().map(str::to_owned);
        let message = match (&code, error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.clone(),
            (None, _) => DisplayErrorContext(error).to_string(),
        };
        Self { code, message }
    }

    pub(super) fn local(error: &dyn std::error::Error) -> Self {
        Self {
            code: None,
            message: error.to_string(),
        }
    }

    /// The service's code, for example `ResourceNotFoundException`; none if no service answered.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.code() == Some(code)
    }

    /// Whether the engine does not know the operation at all.
    pub fn is_unknown_operation(&self) -> bool {
        self.is("UnknownOperationException")
    }

    fn advice(&self, operation: &str) -> String {
        match self.code() {
            None => "check the network, the credentials, --region and --endpoint-url".to_owned(),
            Some("AccessDeniedException") => format!("allow dynamodb:{operation} on this table"),
            Some("ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException") => {
                "renew the credentials".to_owned()
            }
            Some("LimitExceededException" | "ThrottlingException") => {
                "wait a little and run the command again".to_owned()
            }
            Some("ResourceInUseException") => {
                "another change to the table is under way; run the command again when it has ended".to_owned()
            }
            Some(_) => "nothing was changed by this request; correct what it names and run the command again"
                .to_owned(),
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ServiceError {}
