//! The watch log that the options or the document name.

use aws_sdk_dynamodb::Client;
use clap::Args;
use tidewatch::clock::Clock;
use tidewatch::random::Random;
use tidewatch::state::{Layout, Partitioned};
use tidewatch::watch::log::{Log, LogError, LogErrorKind, LogSpec};

use super::aws::{Document, aws_config, document, named};
use super::{Exit, Failure, Global};

/// Options of every command on a watch log.
#[derive(Debug, Clone, Default, Args)]
pub struct WatchLogOptions {
    /// Table of watch logs [default: as the document's section watch says]
    #[arg(long, value_name = "NAME")]
    pub log_table: Option<String>,
    /// Name of the log in it [default: as the document says; the state table's, or TABLE.NAMESPACE]
    #[arg(long, value_name = "NAME")]
    pub log_name: Option<String>,
    /// The state table is a partitioned one, and the log is of this namespace
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// Which watch log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedLog {
    /// The table of logs.
    pub table: String,
    /// The log's name in it.
    pub name: String,
    /// The state table, if it was named.
    pub state: Option<String>,
    /// Its layout.
    pub layout: Layout,
}

impl NamedLog {
    /// The log, over a client of the region and endpoint that the options or the document name.
    ///
    /// # Errors
    /// [`Failure`] if these cannot be had.
    pub async fn open(&self, global: &Global) -> Result<Log, Failure> {
        let sdk = aws_config(global).await?;
        if sdk.region().is_none() {
            return Err(Failure::usage(
                "which AWS region? Name it with --region, the --config document, AWS_REGION or a --profile that has one",
            ));
        }
        let client = Client::new(&sdk);
        Ok(Log::new(
            &client,
            &self.table,
            &self.name,
            Clock::system(),
            Random::system(),
        ))
    }

    /// Refuses a log of another state table than the one that was named.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn is_of(&self, table: &str) -> Result<(), Failure> {
        match &self.state {
            Some(state) if state != table => Err(Failure::usage(format!(
                "the log {} in {} is of the table {table}, not of {state}: correct --table, or name another with \
                 --log-name",
                self.name, self.table
            ))),
            _ => Ok(()),
        }
    }
}

/// The log that the options name: over the section `watch` of the document that `--config` names, or the table that
/// Teleport's own file does. Sends one request for a document in S3 or SSM.
///
/// # Errors
/// [`Failure`] if the document cannot be read, or if something is not named.
pub async fn watch_log(global: &Global, options: &WatchLogOptions) -> Result<NamedLog, Failure> {
    let read = match named(global) {
        Some(_) => document(global).await.map(Some),
        None => Ok(None),
    };
    let (state, log, layout) = match read.map_err(|error| Failure::usage(error.to_string()))? {
        Some(Document::Teleport(config)) => (Some(config.table_name), None, None),
        Some(Document::Tidewatch(document)) => match document.watch {
            Some(watch) => (Some(watch.table), Some(watch.log), Some(watch.layout)),
            None => (None, None, None),
        },
        None => (None, None, None),
    };
    let (log_table, log_name) = log.map(|log| (log.table, log.name)).unzip();
    let namespace = options.namespace.as_ref().map(Partitioned::new).transpose();
    let namespace = namespace.map_err(|error| Failure::usage(error.to_string()))?;
    // Another table or namespace that is named has another log.
    let same = (global.table.is_none() || global.table == state) && namespace.is_none();
    let layout = namespace.map(Layout::Partitioned).or(layout.filter(|_| same));
    let layout = layout.unwrap_or(Layout::Teleport);
    let state = global.table.clone().or(state);
    let log_table = options.log_table.clone().or(log_table);
    let name = options.log_name.clone().or(log_name.filter(|_| same));
    let name = name.or_else(|| Some(LogSpec::default_name(state.as_ref()?, &layout)));
    Ok(NamedLog {
        table: log_table
            .ok_or_else(|| Failure::usage("which table of watch logs? Name it with --log-table NAME"))?,
        name: name.ok_or_else(|| {
            Failure::usage("which watch log? Name it with --log-name NAME, or its table with --table")
        })?,
        state,
        layout,
    })
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let exit = match error.kind() {
            LogErrorKind::BadParameter => Exit::Usage,
            _ => Exit::Failed,
        };
        Self {
            exit,
            message: error.to_string(),
        }
    }
}
