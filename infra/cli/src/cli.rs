//! What all commands share: global options, exit codes, AWS configuration and output.

mod applies;
mod aws;
mod confirm;
mod output;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use aws::{aws_config, document};
pub use confirm::Consent;
pub use output::{ERROR, FAINT, GOOD, HEAD, Output, WARN, paint};

/// Tidewatch: an access platform's state and audit trail on DynamoDB and S3.
#[derive(Debug, Parser)]
#[command(
    name = "tidewatch",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(after_help = "Examples:
  tidewatch up
  tidewatch table create --kind audit --table teleport.audit --dry-run
  tidewatch table verify --table teleport.audit
  tidewatch config check --config tidewatch.yaml

Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 a check found a \
    difference or a loss; 4 declined at the prompt.")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line, and whether every option of it applies to its command. Ends the process if it cannot be
    /// read, or if it asks for help.
    pub fn read() -> (Self, Result<(), Failure>) {
        let matches = Self::command().get_matches();
        let cli = Self::from_arg_matches(&matches)
            .unwrap_or_else(|error| error.format(&mut Self::command()).exit());
        (cli, applies::check(&matches))
    }
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Configuration document: a path, file://, s3:// or ssm: URI
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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, verify, plan, apply or print the tables
    Table(crate::table::TableArgs),
    /// Check a configuration document, print its schema
    Config(crate::config::ConfigArgs),
    /// Run the whole system on this machine
    Up(crate::up::UpArgs),
    /// Print a shell completion script
    #[command(after_help = "Examples:
  tidewatch completions bash > ~/.local/share/bash-completion/completions/tidewatch
  tidewatch completions zsh > ~/.zfunc/_tidewatch
  tidewatch completions fish > ~/.config/fish/completions/tidewatch.fish")]
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
}

/// How a command ended; the process exits with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; the message says how.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// A check found a difference or a loss.
    Found = 3,
    /// Declined at the prompt.
    Declined = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
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
