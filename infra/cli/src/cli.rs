//! What all commands share: global options, exit codes, AWS configuration and output.

mod audit;
mod aws;
mod confirm;
mod output;
mod state;
mod watch_log;

use clap::Args;

pub use audit::audit_table;
pub use aws::{Document, aws_config, document};
pub(crate) use aws::{options, over};
pub use confirm::Consent;
pub use output::{ERROR, FAINT, GOOD, HEAD, Output, WARN, paint, stamp};
pub use state::{LayoutOption, StateOptions, state_config};
pub use watch_log::{NamedLog, WatchLogOptions, watch_log};

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Configuration document or Teleport's own file: a path, file://, s3:// or ssm: URI
    #[arg(
        long,
        global = true,
        env = "TIDEWATCH_CONFIG",
        value_name = "URI",
        help_heading = "Global options"
    )]
    pub config: Option<String>,
    /// Table to work on
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub table: Option<String>,
    /// AWS region
    #[arg(long, global = true, value_name = "REGION", help_heading = "Global options")]
    pub region: Option<String>,
    /// Profile of the shared AWS configuration
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub profile: Option<String>,
    /// Endpoint to use instead of AWS, for example http://127.0.0.1:8000
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub endpoint_url: Option<String>,
    /// Print JSON for machines
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

/// How a command ended; the process exits with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed; the message says how.
    Failed,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: a check found a difference or a loss.
    Found,
    /// 4: declined at the prompt.
    Declined,
    /// 5: changes were missed, and what is there must be listed again.
    Missed,
    /// As a command ended that was run for the caller.
    Command(u8),
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Found => 3,
            Exit::Declined => 4,
            Exit::Missed => 5,
            Exit::Command(status) => status,
        })
    }
}

/// Why a command failed, and how the process exits then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// What happened, and what to do next.
    pub message: String,
}

impl Failure {
    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self {
            exit: Exit::Failed,
            message,
        }
    }
}
