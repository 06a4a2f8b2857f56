//! The audit log itself: events written, searched and exported, on Teleport's own table.
//!
//! | part | concept |
//! |---|---|
//! | [`Config`], [`AuditUri`] | where it is kept, as Teleport's `audit_events_uri` says |
//! | [`Log`] | every event to all backends |
//! | [`Dynamo`] | the audit table: written, searched, exported |
//! | [`Search`], [`Condition`], [`Cursor`] | a page of events by time, type, session and members |
//! | [`Export`], [`Part`], [`Position`] | any range as a stream |
//! | [`Tail`] | what is new, again and again |
//!
//! # Identity
//! An event is what its canonical JSON says. Emitted again it is not stored again; another event with the same key
//! (session and index) is stored beside the first, under an index that is made from its payload alone, so that it too is
//! known when it comes again. An event without a session has its uid as key; one without a uid but with a time gets a uid
//! made from its payload.
//!
//! # Numbers
//! They are the text that they are, and never go through a float. A number that DynamoDB would not keep exactly is refused.

mod ahead;
mod condition;
mod config;
mod cursor;
mod dynamo;
mod error;
mod export;
mod lines;
mod pages;
mod prepare;
mod search;
mod tail;
mod tries;
mod trim;
mod uri;
mod value;

use std::path::Path;

use aws_sdk_dynamodb::Client;
pub use condition::{Condition, ConditionError, Value};
pub use config::Config;
pub use cursor::{Cursor, CursorError};
pub use dynamo::{Dynamo, Outcome};
pub use error::{Completed, EmitError, LogError};
pub use export::{Export, Part, Position};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use lines::Lines;
pub use pages::Found;
use prepare::{Prepared, shown};
pub use search::{Answer, MAX_ANSWER, Order, Search};
pub use tail::{TAIL_WINDOW, Tail};
pub use uri::{AuditUri, DynamoUri};

use crate::clock::Clock;
use crate::random::Random;
use crate::state::ErrorKind;

/// Events of one call that are on their way at a time.
const AT_ONCE: usize = 16;

/// An audit log: every event goes to each of its backends. Clones share them.
#[derive(Debug, Clone)]
pub struct Log {
    backends: Vec<Backend>,
    clock: Clock,
    random: Random,
}

/// Where a log is kept.
#[derive(Debug, Clone)]
pub struct Backend(Kept);

#[derive(Debug, Clone)]
enum Kept {
    Table(Dynamo),
    Lines(Lines),
}

/// An event that every backend has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Its uid, as it was or as it was filled in; empty for the types that have none.
    pub uid: String,
    /// The event as it was stored, whatever was missing filled in.
    pub event: Completed,
    /// What became of it, in the order of the backends. Files and standard output recognise no repetition.
    pub outcomes: Vec<Outcome>,
}

impl Backend {
    /// A directory of this machine, made if it is missing: a file a day, `<yyyy-mm-dd>.00:00:00.log`, and the link
    /// `events.log` to the newest.
    ///
    /// # Errors
    /// [`LogError`] if it cannot be made.
    pub fn dir(dir: &Path) -> Result<Self, LogError> {
        Lines::dir(dir).map(|lines| Self(Kept::Lines(lines)))
    }

    /// Standard output.
    pub fn stdout() -> Self {
        Self(Kept::Lines(Lines::stdout()))
    }

    fn name(&self) -> &str {
        match &self.0 {
            Kept::Table(table) => table.name(),
            Kept::Lines(lines) => lines.name(),
        }
    }
}

impl From<Dynamo> for Backend {
    fn from(table: Dynamo) -> Self {
        Self(Kept::Table(table))
    }
}

impl Log {
    /// Opens what `config` describes, over the AWS default chain. Tables are opened as [`Dynamo::open`] does.
    ///
    /// # Errors
    /// [`LogError`] if there is no backend, audit and state share a table, or a backend cannot be opened.
    pub async fn open(config: &Config) -> Result<Self, LogError> {
        let wrong = |name: &str, what: String| LogError::new(ErrorKind::BadParameter, name, what);
        config.check().map_err(|what| wrong("configuration", what))?;
        if config.backends.is_empty() {
            return Err(wrong("configuration", "it names no backend".to_owned()));
        }
        let (clock, random) = (Clock::system(), Random::system());
        let mut backends = Vec::new();
        for uri in &config.backends {
            backends.push(match uri {
                AuditUri::File(dir) => Backend::dir(dir)?,
                AuditUri::Stdout => Backend::stdout(),
                AuditUri::Dynamodb(table) => {
                    let loader = config.aws_of(table).loader().await;
                    let loader = loader.map_err(|error| wrong(&uri.to_string(), error.to_string()))?;
                    // Saying no would override the environment's yes.
                    let loader = match config.fips_of(table) {
                        true => loader.use_fips(true),
                        false => loader,
                    };
                    let client = Client::new(&loader.load().await);
                    let (clock, random) = (clock.clone(), random.clone());
                    let opened = Dynamo::open(&client, &table.table, config.retention, clock, random).await?;
                    match table.disable_conflict_check {
                        true => opened.without_conflict_check().into(),
                        false => opened.into(),
                    }
                }
            });
        }
        Ok(Self::new(backends, clock, random))
    }

    /// A log of these backends.
    pub fn new(backends: impl IntoIterator<Item = Backend>, clock: Clock, random: Random) -> Self {
        Self {
            backends: backends.into_iter().collect(),
            clock,
            random,
        }
    }

    /// Stores an event, a JSON object, in every backend, at the same time. What is missing is filled in: `ei` 0, `time`
    /// now in milliseconds, `uid`. Emitting an event again is safe: a table that has it drops it, also while another call
    /// stores it. An event without `time` gets another one each time, and so is another event: emit again what the answer or
    /// the error gives as `event`.
    ///
    /// In a table an event that takes more than DynamoDB's 400 KB has its longest strings cut, as little as makes it fit,
    /// each with a mark `...[trimmed: <bytes> bytes, sha256 <hash>]` at its end.
    ///
    /// Requests: one PutItem a table; one more for an event whose key another event has. A write unit for each KB of the
    /// row, and the same for the index; a refused repetition costs the table's share. A request is tried again for up to 30 s,
    /// and a lost answer stores nothing twice. If the call is dropped, some backends may have the event.
    ///
    /// # Errors
    /// [`EmitError::Refused`] for what is no event: no JSON object, no `event` or `code`, a `time` or `ei` that is none, a
    /// number that cannot be kept exactly. [`EmitError::Failed`] names each backend that failed, and those that have it.
    pub async fn emit(&self, event: &str) -> Result<Emitted, EmitError> {
        let prepared = Prepared::new(event, &self.clock, &self.random).map_err(EmitError::Refused)?;
        let line = prepared.line();
        let (prepared, line) = (&prepared, &line);
        let puts = self.backends.iter().map(|backend| async move {
            match &backend.0 {
                Kept::Table(table) => table.put(prepared).await,
                Kept::Lines(lines) => lines.write(line, &self.clock).await.map(|()| Outcome::Stored),
            }
        });
        let (mut outcomes, mut stored, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (backend, put) in self.backends.iter().zip(join_all(puts).await) {
            match put {
                Ok(outcome) => {
                    outcomes.push(outcome);
                    stored.push(backend.name().to_owned());
                }
                Err(error) => failed.push(error),
            }
        }
        let event = Completed::new(line);
        if failed.is_empty() {
            return Ok(Emitted {
                uid: prepared.uid.clone(),
                event,
                outcomes,
            });
        }
        Err(EmitError::Failed {
            uid: shown(&prepared.uid),
            event_type: shown(&prepared.event_type),
            event,
            failed,
            stored,
        })
    }

    /// Stores events as [`emit`](Self::emit) does, sixteen at a time, each for itself; answers in their order.
    pub async fn emit_all<'a>(
        &self,
        events: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Result<Emitted, EmitError>> {
        let emits = events.into_iter().map(|event| self.emit(event));
        stream::iter(emits).buffered(AT_ONCE).collect().await
    }

    /// The backend that searches go to: the first table.
    ///
    /// # Errors
    /// [`BadParameter`](ErrorKind::BadParameter) if there is none.
    pub fn reader(&self) -> Result<&Dynamo, LogError> {
        let tables = self.backends.iter().find_map(|backend| match &backend.0 {
            Kept::Table(table) => Some(table),
            Kept::Lines(_) => None,
        });
        tables.ok_or_else(|| {
            let names: Vec<&str> = self.backends.iter().map(Backend::name).collect();
            LogError::new(
                ErrorKind::BadParameter,
                &names.join(", "),
                "only a table can be searched",
            )
        })
    }
}
